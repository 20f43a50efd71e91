//! A log directory that goes away under a running broker: unmounted, renamed or removed, while the
//! files in it still take writes and syncs.
//!
//! What always holds: it is back with all that was in it before the next start, so that whatever was
//! acknowledged by then must be there; what was not synced may have been written to what stood in its
//! place (F5 of docs/durability.md).

use std::collections::BTreeSet;
use std::time::Duration;

use millrace_host::Host;

use super::{BROKER, Run};
use crate::ledger::Barred;
use crate::workload::Workload;

/// What no sync stands behind is acknowledged for so long: the broker looks once a second.
const NOTICED_WITHIN: Duration = Duration::from_millis(1200);
/// So long it is watched from then on.
const WATCHED: Duration = Duration::from_millis(600);

impl Run {
    /// Takes a directory away. What is sent to its partitions, once the broker had time to look, is
    /// not acknowledged in this life.
    pub(super) async fn lose_directory(
        &mut self,
        (directory, leaves_empty): (usize, bool),
        workload: &Workload,
        clients: &Host,
    ) {
        let Some(path) = self.directories.get(directory).cloned() else {
            return;
        };
        let topic = workload.topic();
        let before = self.partitions_in(&format!("{path}/"), topic.topic.id);
        if self.away.is_some() || !self.world.take_away(BROKER, &path, leaves_empty) {
            return;
        }
        (self.away, self.is_lossy) = (Some(path.clone()), true);
        self.pause_until(self.world.elapsed() + NOTICED_WITHIN)
            .await;
        // Whatever had moved away by then.
        let others = self.directories.iter().filter(|other| **other != path);
        let others = others.map(|other| self.partitions_in(&format!("{other}/"), topic.topic.id));
        let moved: BTreeSet<i32> = others.flatten().collect();
        let barred = Barred {
            life: workload.progress.life(),
            since: clients.clock.now().mono,
            incarnation: topic.number,
            partitions: before.difference(&moved).copied().collect(),
        };
        workload.progress.ledger().barred.push(barred);
        self.pause_until(self.world.elapsed() + WATCHED).await;
    }
}
