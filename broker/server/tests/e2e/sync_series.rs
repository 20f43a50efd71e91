//! How many syncs stand one behind the other between the start of a process and the first record
//! that it acknowledges: syncs take a second here, and everything else next to nothing.

use std::time::Duration;

use millrace_sim::{DiskEffect, DiskFault, DiskOp, Sim, When, World};

use crate::node::{Node, Topic, batch};

const SYNC: Duration = Duration::from_secs(1);
/// The most that a start may wait for.
const IN_SERIES_MAX: u64 = 4;
/// After a power cut it is marked that the metadata log, then the partition, is recovered.
const BEHIND_POWER_CUT_MAX: u64 = IN_SERIES_MAX + 2;
/// Commits that nobody waits for stay out of the way.
const LAG: (&str, &str) = ("log.flush.lag.ms", "60000");

fn slow_syncs(world: &World) {
    for op in [DiskOp::Sync, DiskOp::SyncDir] {
        let fault = DiskFault {
            op,
            path_contains: String::new(),
            when: When::Always,
            effect: DiskEffect::Slow(SYNC),
        };
        world.inject("broker", fault);
    }
}

async fn append(node: &mut Node, topic: &Topic, value: &str, offset: i64) {
    let outcome = node.produce(topic, batch(&[value])).await;
    assert_eq!((outcome.error_code, outcome.base_offset), (0, offset));
}

#[test]
fn a_fresh_node_acknowledges_after_four_syncs_a_topic_included() {
    let sim = Sim::new(1);
    slow_syncs(&sim.world());
    sim.block_on(async {
        let mut node = Node::start(sim.world(), &[LAG]).await.unwrap();
        let topic = node.topic("t", &[]).await;
        append(&mut node, &topic, "one", 0).await;
        let in_series = sim.elapsed().as_secs();
        assert_eq!(in_series, IN_SERIES_MAX);
    });
}

#[test]
fn a_killed_node_acknowledges_after_four_syncs_its_recovery_included() {
    for (power_cut, most) in [(false, IN_SERIES_MAX), (true, BEHIND_POWER_CUT_MAX)] {
        let sim = Sim::new(2);
        slow_syncs(&sim.world());
        sim.block_on(async {
            let mut node = Node::start(sim.world(), &[LAG]).await.unwrap();
            let topic = node.topic("t", &[]).await;
            for offset in 0..3 {
                append(&mut node, &topic, "one", offset).await;
            }
            if power_cut {
                sim.crash("broker");
            } else {
                sim.kill("broker");
            }
            drop(node.broker.take());
            let before = sim.elapsed();
            node.start_again().await;
            append(&mut node, &topic, "again", 3).await;
            let in_series = (sim.elapsed().saturating_sub(before)).as_secs();
            assert_eq!(in_series, most, "power cut: {power_cut}");
        });
    }
}
