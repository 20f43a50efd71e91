//! What a node does on its own, now and then: retention, compaction, and the deadlines of open
//! partitions.
//!
//! What always holds: a log start moves for others only after its mark is durable; one partition's
//! trouble does not keep the next one waiting; a round looks at what the schedule says is due, never
//! at everything.

use std::sync::Arc;
use std::time::Duration;

use millrace_host::{Mono, Now, Pool};
use millrace_log::mark::Incarnation;
use millrace_log::partition::{Removal, WallGuard};

use super::cleaning_look;
use super::partition::OpenPartition;
use crate::context::Node;
use crate::handlers::Pace;

/// How often partitions are asked whether a deadline of theirs has passed.
const DEADLINES_INTERVAL: Duration = Duration::from_millis(500);
/// How long retention rests behind a partition that it had to open.
const OPEN_EVERY: Duration = Duration::from_millis(1);

/// Runs until the node stops.
pub(crate) async fn run(node: Arc<Node>) {
    node.partitions.finish_removals().await;
    node.partitions.finish_moves().await;
    node.partitions.begin_moves();
    node.partitions.sweep_deleted().await;
    tokio::join!(
        see_deadlines(&node),
        check_retention(&node),
        cleaning_look::run(&node),
    );
}

/// Has partitions see the time when something of theirs is due.
async fn see_deadlines(node: &Node) {
    let clock = Arc::clone(&node.host.clock);
    let mut configured = node.cluster.image().config_offset();
    while pause(node, clock.now().mono + DEADLINES_INTERVAL).await {
        // Whoever changes a configuration has it act at once, unless it went away before.
        let newest = node.cluster.image().config_offset();
        if newest != configured {
            configured = newest;
            node.configure(None);
            if let Some(doors) = node.doors() {
                doors.follow(&node.live_config().network, Vec::new()).await;
            }
        }
        node.partitions.give_back_memory();
        let now = clock.now().mono;
        let mut pace = Pace::default();
        for due in node.partitions.schedule().take_deadlines(now.0) {
            if let Some(open) = node.partitions.opened(&due)
                && let Err(unserved) = open.see_time(now)
            {
                tracing::debug!(incarnation = %due, %unserved, "no upkeep");
            }
            pace.step().await;
        }
    }
}

/// Looks at the partitions to which retention may owe something, once an interval: those that are
/// open first. What nobody has asked for since the start is opened once, one at a time.
async fn check_retention(node: &Node) {
    let clock = Arc::clone(&node.host.clock);
    let interval = node.config.log.retention_check_interval;
    let what = "retention by time (by size it goes on)";
    let mut guard = WallGuard::new(what, clock.now(), node.partitions.last_wall_ms());
    let mut check_at = clock.now().mono + interval;
    node.partitions.check_written();
    while pause(node, check_at).await {
        let now = clock.now();
        check_at = now.mono + interval;
        let by_time = guard.allows(now);
        let due = node
            .partitions
            .schedule()
            .take_retention(now.wall_ms, by_time);
        let (open, unopened): (Vec<_>, Vec<_>) = due
            .into_iter()
            .partition(|incarnation| node.partitions.opened(incarnation).is_some());
        for incarnation in open {
            if let Some(open) = node.partitions.opened(&incarnation) {
                retain(node, &open, (now, by_time)).await;
            }
        }
        for incarnation in unopened {
            let Some(open) = node.partitions.open_to_retain(incarnation).await else {
                continue;
            };
            retain(node, &open, (now, by_time)).await;
            if !pause(node, clock.now().mono + OPEN_EVERY).await {
                return;
            }
        }
    }
}

/// Waits; `false` when the node stops before.
async fn pause(node: &Node, until: Mono) -> bool {
    tokio::select! {
        biased;
        () = node.stopping.cancelled() => false,
        () = node.host.clock.sleep_until(until) => true,
    }
}

/// Moves one partition's log start as its topic's retention says, and plans the next look. The clock
/// may step while the pass goes on: what is due is due by the time that was judged.
async fn retain(node: &Node, open: &Arc<OpenPartition>, (now, by_time): (Now, bool)) {
    open.begin_check();
    if let Err(error) = open.reader().measure().await {
        tracing::warn!(incarnation = %open.incarnation(), %error, "retention can't read a segment");
    } else if let Some(turn) = open.try_start_move() {
        match turn.retain(now, by_time).await {
            Ok(None) => {}
            Ok(Some(removal)) => {
                let incarnation = open.incarnation();
                let segments = removal.segments();
                tracing::info!(%incarnation, segments, "retention removes segments");
                remove_segments(node, incarnation, removal);
            }
            Err(error) => {
                tracing::warn!(incarnation = %open.incarnation(), %error, "retention failed");
            }
        }
        open.end_check();
        return;
    }
    // It can't be read, or a client deletes records: the next check does the rest.
    open.check_soon();
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
