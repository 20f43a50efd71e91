//! Whether the node serves, and whether it lives, as `/health/ready` and `/health/live` say.
//!
//! What always holds: *ready* is only a node whose listeners accept and whose metadata were read, that
//! does not stop, and that has not lost the metadata's directory. What costs only a part of the
//! service (one log directory of several, a full disk, a sync that hangs) leaves it ready, since
//! nobody else would serve the rest, and is told in the answer. *Live* is a process that a restart
//! would not help: one whose data pool still runs its tasks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use millrace_host::Mono;

use crate::context::Node;

/// A data pool that ran nothing for so long stands still: a task is due in it once a second. Longer
/// than a sync may take by default, so that a disk that hangs is told by its own limit first.
const STANDSTILL: Duration = Duration::from_mins(1);

/// What the node is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Opening its directories and reading its metadata.
    Starting,
    /// Serving clients.
    Serving,
    /// Ending: no request is begun.
    Stopping,
    /// It can't go on, for this reason.
    Failed(String),
}

/// What is known of a node's health.
#[derive(Debug)]
pub(crate) struct Health {
    phase: Mutex<Phase>,
    /// When the data pool last ran its task, in milliseconds; 0 before it did.
    beat_ms: AtomicU64,
}

impl Health {
    /// Of a node that begins.
    pub(crate) fn new() -> Self {
        Self {
            phase: Mutex::new(Phase::Starting),
            beat_ms: AtomicU64::new(0),
        }
    }

    /// The node goes on to `phase`. One that failed stays failed, one that stops does not serve again.
    pub(crate) fn enter(&self, phase: Phase) {
        let mut now = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        let stays = match &*now {
            Phase::Starting | Phase::Serving => false,
            Phase::Stopping => phase == Phase::Serving,
            Phase::Failed(_) => true,
        };
        if !stays {
            *now = phase;
        }
    }

    /// The data pool runs its tasks.
    pub(crate) fn beat(&self, now: Mono) {
        self.beat_ms.store(now.as_ms().max(1), Ordering::Relaxed);
    }

    /// The text of `/health/ready`, an error unless clients are served.
    pub(crate) fn ready(&self, node: Option<&Node>) -> Result<String, String> {
        let phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        let phase = phase.clone();
        match phase {
            Phase::Starting => Err("not ready: the node is starting\n".to_owned()),
            Phase::Stopping => Err("not ready: the node is stopping\n".to_owned()),
            Phase::Failed(reason) => Err(format!("not ready: {reason}\n")),
            Phase::Serving => {
                let mut text = "ready\n".to_owned();
                for lack in node.map(lacks).unwrap_or_default() {
                    text += "but ";
                    text += &lack;
                    text.push('\n');
                }
                Ok(text)
            }
        }
    }

    /// The text of `/health/live`, an error where a restart would help.
    pub(crate) fn live(&self, now: Mono) -> Result<String, String> {
        let beat_ms = self.beat_ms.load(Ordering::Relaxed);
        let still_ms = now.as_ms().saturating_sub(beat_ms);
        if beat_ms > 0 && u128::from(still_ms) > STANDSTILL.as_millis() {
            return Err(format!(
                "not live: nothing has run in the data pool for {} s\n",
                still_ms / 1000
            ));
        }
        Ok("live\n".to_owned())
    }
}

/// What a node that serves can't do.
fn lacks(node: &Node) -> Vec<String> {
    let opened = node.partitions.opened_directories();
    let mut lacks = Vec::new();
    for path in &node.config.log.dirs {
        let (shown, known) = (path.display(), opened.iter());
        let mut known = known.map(|(_, dir)| dir).filter(|dir| dir.path() == path);
        let Some(dir) = known.next() else {
            lacks.push(format!(
                "log directory {shown} could not be used at the start"
            ));
            continue;
        };
        if let Some(reason) = dir.offline() {
            lacks.push(format!("log directory {shown} is offline: {reason}"));
        } else if dir.is_full() {
            lacks.push(format!(
                "log directory {shown} is full: produces to it are refused"
            ));
        }
    }
    let hanging = node.metrics.sync.under_way_for_long.get();
    if hanging > 0 {
        lacks.push(format!(
            "{hanging} syncs have not returned for a second or more"
        ));
    }
    lacks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_failed_or_stops_is_never_ready_again() {
        let health = Health::new();
        assert!(health.ready(None).unwrap_err().contains("starting"));
        health.enter(Phase::Serving);
        assert_eq!(health.ready(None), Ok("ready\n".to_owned()));
        health.enter(Phase::Stopping);
        health.enter(Phase::Serving);
        assert!(health.ready(None).unwrap_err().contains("stopping"));
        health.enter(Phase::Failed("the disk is gone".to_owned()));
        health.enter(Phase::Stopping);
        let words = health.ready(None).unwrap_err();
        assert_eq!(words, "not ready: the disk is gone\n");
    }

    #[test]
    fn a_data_pool_that_stands_still_is_not_live() {
        let health = Health::new();
        let start = Mono(1);
        health.live(start + 10 * STANDSTILL).unwrap();
        health.beat(start);
        health.live(start + STANDSTILL).unwrap();
        let words = health.live(start + 2 * STANDSTILL).unwrap_err();
        assert!(
            words.contains("120 s") || words.contains("119 s"),
            "{words}"
        );
        health.beat(start + 2 * STANDSTILL);
        health.live(start + 3 * STANDSTILL).unwrap();
    }
}
