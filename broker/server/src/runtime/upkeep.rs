//! What a node does on its own, now and then: retention, and the deadlines of open partitions.
//!
//! What always holds: a log start moves for others only after its mark is durable; one partition's
//! trouble does not keep the next one waiting.

use std::sync::Arc;
use std::time::Duration;

use millrace_core::partition::Event;
use millrace_host::{Mono, Now, Pool};
use millrace_log::mark::Incarnation;
use millrace_log::partition::{Removal, WallGuard};

use super::partition::OpenPartition;
use crate::context::Node;

/// How often partitions are asked whether a deadline of theirs has passed.
const DEADLINES_INTERVAL: Duration = Duration::from_millis(500);

/// Runs until the node stops.
pub(crate) async fn run(node: Arc<Node>) {
    node.partitions.finish_removals().await;
    node.partitions.finish_moves().await;
    node.partitions.begin_moves();
    node.partitions.sweep_deleted().await;
    let clock = Arc::clone(&node.host.clock);
    let mut guard = WallGuard::new(clock.now(), node.partitions.last_wall_ms());
    let mut retention_at = clock.now().mono + node.config.log.retention_check_interval;
    let mut configured = node.cluster.image().config_offset();
    loop {
        let next = clock.now().mono + DEADLINES_INTERVAL;
        tokio::select! {
            biased;
            () = node.stopping.cancelled() => return,
            () = clock.sleep_until(next) => {}
        }
        // Whoever changes a configuration has it act at once, unless it went away before.
        let newest = node.cluster.image().config_offset();
        if newest != configured {
            configured = newest;
            node.configure(None);
        }
        for open in node.partitions.open_partitions() {
            if let Err(unserved) = open.step_if_due(clock.now().mono) {
                tracing::debug!(incarnation = %open.incarnation(), %unserved, "no upkeep");
            }
        }
        let now = clock.now();
        if now.mono >= retention_at {
            retention_at = now.mono + node.config.log.retention_check_interval;
            let by_time = guard.allows(now);
            node.partitions.open_written().await;
            for open in node.partitions.open_partitions() {
                retain(&node, &open, (now, by_time)).await;
            }
        }
    }
}

/// Moves one partition's log start as its topic's retention says. The clock may step while the pass
/// goes on: what is due is due by the time that was judged.
async fn retain(node: &Node, open: &Arc<OpenPartition>, (now, by_time): (Now, bool)) {
    if let Err(error) = open.reader().measure().await {
        tracing::warn!(incarnation = %open.incarnation(), %error, "retention can't read a segment");
        return;
    }
    // A client deletes records: the next pass does the rest.
    let Some(turn) = open.try_start_move() else {
        return;
    };
    match turn.retain(now, by_time).await {
        Ok(None) => {}
        Ok(Some(removal)) => {
            let incarnation = open.incarnation();
            tracing::info!(%incarnation, segments = removal.segments(), "retention removes segments");
            remove_segments(node, incarnation, removal);
        }
        Err(error) => {
            tracing::warn!(incarnation = %open.incarnation(), %error, "retention failed");
        }
    }
}

/// Removes the files of segments below a log start that is shown, in a task of its own.
pub(crate) fn remove_segments(node: &Node, incarnation: Incarnation, removal: Removal) {
    let removing = async move {
        if let Err(error) = removal.run().await {
            tracing::warn!(%incarnation, %error, "files of removed segments stay for now");
        }
    };
    let spawn = &node.host.spawn;
    drop(spawn.spawn(Pool::Data, "segment removal", Box::pin(removing)));
}

impl OpenPartition {
    /// Lets core see the time when something of it is due.
    fn step_if_due(&self, now: Mono) -> Result<(), millrace_core::partition::Unserved> {
        let due = self.look(|core| core.next_deadline_ns().is_some_and(|due| due <= now.0))?;
        if due {
            self.step(Event::Deadline)
        } else {
            Ok(())
        }
    }
}
