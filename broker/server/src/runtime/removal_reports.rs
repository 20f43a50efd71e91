//! Which removed topics' data are gone and nobody has said so in the metadata yet.
//!
//! What always holds: one task at a time reports, all that have come since its last report in one
//! proposal of at most [`AT_ONCE`] topics, so that ten thousand deletions are few entries of the
//! metadata log; a topic that was added is taken by it. No more are due than topics were removed.

use std::sync::{Mutex, MutexGuard, PoisonError};

use millrace_protocol::ids::TopicId;

/// Topics of one report: deciding it keeps other proposals waiting.
const AT_ONCE: usize = 1000;

/// What is due, and whether a task is about it.
#[derive(Debug, Default)]
pub(super) struct Reports {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    due: Vec<TopicId>,
    is_reporting: bool,
}

impl Reports {
    /// One more topic is due. `true` if the caller is to report, until [`Self::take`] has no more.
    pub(super) fn add(&self, topic: TopicId) -> bool {
        let mut state = self.lock();
        state.due.push(topic);
        !std::mem::replace(&mut state.is_reporting, true)
    }

    /// The topics of the next report; `None` when all were taken, and reporting is over.
    pub(super) fn take(&self) -> Option<Vec<TopicId>> {
        let mut state = self.lock();
        let count = state.due.len().min(AT_ONCE);
        state.is_reporting = count > 0;
        (count > 0).then(|| state.due.drain(..count).collect())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(at: u32) -> TopicId {
        TopicId::from_bytes(u128::from(at + 1).to_be_bytes())
    }

    #[test]
    fn one_reports_at_a_time_and_takes_what_others_add() {
        let reports = Reports::default();
        assert!(reports.add(id(0)));
        assert!(!reports.add(id(1)), "somebody is about it");
        assert_eq!(reports.take(), Some(vec![id(0), id(1)]));
        assert!(!reports.add(id(2)), "still");
        assert_eq!(reports.take(), Some(vec![id(2)]));
        assert_eq!(reports.take(), None);
        assert!(reports.add(id(3)), "the next one begins anew");
    }

    #[test]
    fn a_report_has_a_bound() {
        let reports = Reports::default();
        for at in 0..2500 {
            reports.add(id(at));
        }
        let sizes: Vec<usize> = std::iter::from_fn(|| reports.take())
            .map(|topics| topics.len())
            .collect();
        assert_eq!(sizes, [AT_ONCE, AT_ONCE, 500]);
    }
}
