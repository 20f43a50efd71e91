//! A partition whose log moves to another log directory (`durability.md` M2, M3).
//!
//! What always holds: while the end of the log is copied nothing is appended, its start does not move
//! and its durability does not change; whoever appends waits, everybody else is served; the copy
//! takes the log's place under the partition's lock, behind the record that names it.

use std::sync::Arc;

use millrace_core::partition::{Event, Unserved};
use millrace_log::dir::LogDir;
use millrace_log::flusher::Durable;
use millrace_log::partition::{Ending, Outline, PartitionLog};

use super::{OpenPartition, PartitionSink, State};

/// Appends are held until this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    partition: Arc<OpenPartition>,
}

impl Drop for Held {
    fn drop(&mut self) {
        // One that is broken says so to whoever waits.
        self.partition
            .with(|state, _, _| {
                state.held = false;
                state.switching = false;
            })
            .ok();
        self.partition.held.modify(|held| *held = false);
    }
}

/// What was refused: by core, or by the log.
fn unserved(unserved: Unserved) -> String {
    unserved.to_string()
}

impl OpenPartition {
    /// How its log stands, for a copy; refused, with the reason, where it can't move.
    pub(crate) fn outline(&self) -> Result<Outline, String> {
        let outline =
            self.with(|state, _, _| leading(state)?.outline().map_err(|error| error.to_string()));
        outline.map_err(unserved)?
    }

    /// Holds appends from now on. Afterwards everything that was written is to be settled, which
    /// the future does. `None` when that can't begin now: its durability is being changed.
    pub(crate) fn hold(self: &Arc<Self>) -> Result<Option<(Held, Durable)>, String> {
        let begun = self.with(|state, _, _| {
            if state.held || state.switching {
                return Ok::<_, String>(None);
            }
            let settled = leading(state)?.settle();
            state.held = true;
            // None begins meanwhile.
            state.switching = true;
            self.held.modify(|held| *held = true);
            Ok(Some(settled))
        });
        let settled = begun.map_err(unserved)??;
        Ok(settled.map(|settled| {
            let partition = Arc::clone(self);
            (Held { partition }, settled)
        }))
    }

    /// Completes while appends are not held.
    pub(crate) async fn until_released(&self) {
        self.held.wait_for(|held| (!held).then_some(())).await;
    }

    /// What a copy of the held log ends with; who is told of what becomes durable in it is `sink`.
    pub(crate) fn ending(&self, sink: &Arc<PartitionSink>) -> Result<Ending, String> {
        let ending = self.with(|state, now, _| {
            Ok(Ending {
                outline: leading(state)?
                    .outline()
                    .map_err(|error| error.to_string())?,
                high_watermark: state.core.bounds().high_watermark,
                producers: state.core.producers_snapshot(now),
                sink: sink.clone(),
            })
        });
        ending.map_err(unserved)?
    }

    /// Puts the copy in `dir`, which the metadata name, in the held log's place, and begins to
    /// remove the old one. `None` when the partition serves no more: the copy was let go, as a log
    /// that was closed.
    pub(crate) fn hand_over(
        self: &Arc<Self>,
        (dir, copy): (&Arc<LogDir>, PartitionLog),
        sink: &Arc<PartitionSink>,
    ) -> Option<Durable> {
        let handed = self.with(|state, now, effects| {
            if leading(state).is_err() {
                return None;
            }
            // All of it is durable, and the old directory will say nothing any more.
            let flushed = Event::Flushed {
                upto: state.log.log_end(),
                cut_count: state.log.cut_count(),
            };
            state.core.step(now, flushed, effects);
            let mut old = state.log.hand_over(copy);
            self.dir.store(Arc::clone(dir));
            Some(old.remove())
        });
        let removal = handed.ok()??;
        sink.attach(self);
        // What it was told before is lost.
        if dir.offline().is_some() {
            self.step(Event::DirectoryFailed).ok();
        }
        Some(removal)
    }

    /// Whether its durability is not the configured one and has to be changed now, by
    /// [`Self::change_durability`]: a change that was asked for while appends were held.
    pub(crate) fn owes_durability(&self) -> bool {
        let owed = self.with(|state, _, _| {
            let free = !(state.held || state.switching);
            let owed = free && leading(state).is_ok() && !state.log.is_as_configured();
            state.switching |= owed;
            owed
        });
        owed.unwrap_or(false)
    }
}

/// Its log, as long as it leads.
fn leading(state: &State) -> Result<&PartitionLog, String> {
    if state.core.is_leader() {
        return Ok(&state.log);
    }
    Err("it serves no more".to_owned())
}
