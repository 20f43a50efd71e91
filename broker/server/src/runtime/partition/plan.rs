//! What a partition tells the schedule: when core wants to see the time, and when retention has to
//! look at its log.
//!
//! What always holds: told under the partition's lock, before anybody sees what made it so.

use millrace_core::partition::{Event, Unserved};
use millrace_host::Mono;
use millrace_log::partition::NextLook;

use super::super::schedule::NEVER;
use super::{OpenPartition, State};

impl OpenPartition {
    /// Says so if core wants to see the time earlier than it was planned. Later costs nothing: it is
    /// looked at when it was planned, and planned anew.
    pub(super) fn plan_deadline(&self, state: &mut State) {
        let due_ns = state.core.next_deadline_ns().unwrap_or(NEVER);
        if due_ns < state.seen_at_ns {
            state.seen_at_ns = due_ns;
            self.schedule.deadline(self.incarnation, due_ns);
        }
    }

    /// What was planned has come: lets core see the time, if something of it is due, and plans anew.
    pub(crate) fn see_time(&self, now: Mono) -> Result<(), Unserved> {
        self.with(|state, seen_at, effects| {
            state.seen_at_ns = NEVER;
            let due_ns = state.core.next_deadline_ns();
            if due_ns.is_some_and(|due_ns| due_ns <= now.0) {
                state.core.step(seen_at, Event::Deadline, effects);
            }
        })
    }

    /// Something changed that retention goes by: the next check looks at it.
    pub(super) fn plan_check(&self, state: &mut State) {
        if !state.to_check {
            state.to_check = true;
            self.schedule.changed(self.incarnation);
        }
    }

    /// The same for whoever has just opened it.
    pub(crate) fn check_soon(&self) {
        // One that is broken keeps what it has.
        self.with(|state, _, _| self.plan_check(state)).ok();
    }

    /// A check begins to look: what changes from now on is for the next one.
    pub(crate) fn begin_check(&self) {
        self.with(|state, _, _| state.to_check = false).ok();
    }

    /// The check has done what it could: plans the next look.
    pub(crate) fn end_check(&self) {
        self.with(|state, _, _| {
            let high_watermark = state.core.bounds().high_watermark;
            match state.log.next_retention(high_watermark) {
                NextLook::Soon => self.plan_check(state),
                NextLook::At(at_ms) => self.schedule.retained(self.incarnation, Some(at_ms)),
                NextLook::Never => self.schedule.retained(self.incarnation, None),
            }
        })
        .ok();
    }
}
