//! Which partitions are to be looked at, and when: for core's deadlines, and for retention.
//!
//! What always holds: a partition whose next deadline may have come earlier has said so; one of
//! which anything changed that retention goes by is looked at by the next check, every other one by
//! the first check after its segments can be due; so a pass costs what is due, not what there is. A
//! partition that nobody has opened is looked at once, and then is as the others.

use std::collections::BTreeSet;

use millrace_host::sync::{Mutex, lock};
use millrace_log::mark::Incarnation;

use super::due::Due;

/// Never due.
pub(crate) const NEVER: u64 = u64::MAX;

/// The schedule of a node's partitions.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    /// In monotonic ns.
    deadlines: Mutex<Due<Incarnation>>,
    retention: Mutex<Retention>,
}

#[derive(Debug, Default)]
struct Retention {
    /// To be looked at by the next check, whatever the time.
    changed: BTreeSet<Incarnation>,
    /// In wall ms since 1970.
    due: Due<Incarnation>,
}

impl Schedule {
    /// Core wants to see the time at `at_ns`; [`NEVER`] for not at all.
    pub(crate) fn deadline(&self, partition: Incarnation, at_ns: u64) {
        let mut deadlines = lock(&self.deadlines);
        if at_ns == NEVER {
            deadlines.forget(&partition);
        } else {
            deadlines.set(partition, at_ns);
        }
    }

    /// Takes out those whose deadlines have come.
    pub(crate) fn take_deadlines(&self, now_ns: u64) -> Vec<Incarnation> {
        let mut deadlines = lock(&self.deadlines);
        std::iter::from_fn(|| deadlines.take(now_ns)).collect()
    }

    /// Retention has to look at it again.
    pub(crate) fn changed(&self, partition: Incarnation) {
        let mut retention = lock(&self.retention);
        retention.due.forget(&partition);
        retention.changed.insert(partition);
    }

    /// As long as nothing changes, nothing of it can be due before `at_ms` of wall time; `None` for
    /// never.
    pub(crate) fn retained(&self, partition: Incarnation, at_ms: Option<i64>) {
        let mut retention = lock(&self.retention);
        match at_ms {
            // It changed meanwhile.
            _ if retention.changed.contains(&partition) => {}
            Some(at_ms) => retention
                .due
                .set(partition, u64::try_from(at_ms).unwrap_or(0)),
            None => retention.due.forget(&partition),
        }
    }

    /// Takes out those that a check at `now_ms` has to look at. Without `by_time` what waits for the
    /// wall clock goes on waiting.
    pub(crate) fn take_retention(&self, now_ms: i64, by_time: bool) -> BTreeSet<Incarnation> {
        let mut retention = lock(&self.retention);
        let mut taken = std::mem::take(&mut retention.changed);
        let now_ms = u64::try_from(now_ms).unwrap_or(0);
        while by_time && let Some(due) = retention.due.take(now_ms) {
            taken.insert(due);
        }
        taken
    }

    /// The topic is gone.
    pub(crate) fn forget_topic(&self, topic_id: [u8; 16]) {
        let of = |partition| Incarnation {
            topic_id,
            partition,
        };
        let all = of(0)..=of(i32::MAX);
        lock(&self.deadlines).forget_all(all.clone());
        let mut retention = lock(&self.retention);
        let changed: Vec<Incarnation> = retention.changed.range(all.clone()).copied().collect();
        for partition in changed {
            retention.changed.remove(&partition);
        }
        retention.due.forget_all(all);
    }

    /// How many it knows, of either kind.
    #[cfg(test)]
    pub(crate) fn known(&self) -> usize {
        let deadlines = lock(&self.deadlines).len();
        let retention = lock(&self.retention);
        deadlines + retention.changed.len() + retention.due.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(partition: i32) -> Incarnation {
        Incarnation {
            topic_id: [1; 16],
            partition,
        }
    }

    fn taken(schedule: &Schedule, now_ms: i64, by_time: bool) -> Vec<i32> {
        let taken = schedule.take_retention(now_ms, by_time);
        taken.iter().map(|of| of.partition).collect()
    }

    #[test]
    fn a_check_takes_what_changed_and_what_is_due_and_nothing_else() {
        let schedule = Schedule::default();
        schedule.retained(partition(0), Some(100));
        schedule.retained(partition(1), Some(200));
        schedule.retained(partition(2), None);
        schedule.changed(partition(3));
        assert_eq!(taken(&schedule, 99, true), [3]);
        assert_eq!(taken(&schedule, 150, true), [0]);
        assert_eq!(taken(&schedule, 500, true), [1]);
        assert_eq!(schedule.known(), 0);
    }

    #[test]
    fn what_waits_for_a_doubted_clock_waits_on_and_what_changed_does_not() {
        let schedule = Schedule::default();
        schedule.retained(partition(0), Some(100));
        schedule.changed(partition(1));
        assert_eq!(taken(&schedule, 500, false), [1]);
        assert_eq!(taken(&schedule, 500, true), [0]);
    }

    #[test]
    fn a_change_during_a_look_is_looked_at_again() {
        let schedule = Schedule::default();
        schedule.changed(partition(0));
        assert_eq!(taken(&schedule, 0, true), [0]);
        schedule.changed(partition(0));
        schedule.retained(partition(0), Some(1_000));
        assert_eq!(taken(&schedule, 0, true), [0]);
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let schedule = Schedule::default();
        schedule.deadline(partition(0), 5);
        schedule.changed(partition(0));
        schedule.retained(partition(1), Some(5));
        schedule.retained(partition(2), Some(5));
        schedule.forget_topic([2; 16]);
        assert_eq!(schedule.known(), 4);
        schedule.forget_topic([1; 16]);
        assert_eq!(schedule.known(), 0);
        assert_eq!(schedule.take_deadlines(10), []);
    }
}
