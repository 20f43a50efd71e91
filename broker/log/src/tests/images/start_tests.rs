//! Starts that stand on, or still settle, what the process before left in the page cache only.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use millrace_sim::{DiskEffect, DiskFault, DiskOp, Sim, When};

use super::history::{Stage, record, settings};
use super::judge::every_image;
use crate::dir::LogDir;
use crate::fixture::{Seen, Silent, options};
use crate::mark::{Durability, Incarnation};
use crate::partition::log_tests::try_append;
use crate::partition::{LogSettings, PartitionOptions, Partitions};
use crate::testing::BatchSpec;

const LAG: Duration = Duration::from_millis(10);

/// Segments whose last mark is on its way when the process is killed: in the page cache it counts,
/// and the next start removes their files by it.
pub(super) async fn killed_behind_retention(stage: &mut Stage<'_>) {
    let page_cache = LogSettings {
        durability: Durability::PageCache,
        ..settings()
    };
    let mut one = stage.open_with(0, page_cache).await;
    for _ in 0..5 {
        one.append(900);
        stage.pause(LAG).await;
    }
    stage.begin();
    one.begin_move_start(5).await;
    stage.pause(stage.sync / 2).await;
    drop(one);
    stage.kill();
    stage.start().await;
    let mut one = stage.open_with(0, page_cache).await;
    one.append(40);
    stage.pause(LAG).await;
}

#[test]
fn j4_no_file_goes_by_a_mark_that_may_have_missed_the_disk() {
    let history = record(None, killed_behind_retention);
    let images = every_image(&history, history.from).unwrap();
    assert!(images >= 100, "only {images} images");
}

#[test]
fn r6_a_roll_behind_the_recovery_from_a_power_cut_outlives_a_kill() {
    let history = record(None, async |stage| {
        stage.options.flush_lag = Duration::from_secs(10);
        let mut one = stage.open(0).await;
        stage.append(&mut one, 900).await;
        drop(one);
        stage.cut_power();
        stage.start().await;
        let mut one = stage.open(0).await;
        // Nobody waits for these to be durable; their marks never reach the journal.
        for _ in 0..3 {
            one.append(900);
        }
        let end = one.log.log_end();
        drop(one);
        stage.kill();
        stage.start().await;
        assert_eq!(stage.open(0).await.log.log_end(), end);
    });
    assert!(!history.ops.is_empty());
}

#[test]
fn j4_a_removal_beside_the_settling_of_the_run_before_costs_no_directory() {
    const PARTITIONS: i32 = 40;
    let whose = |partition| Incarnation {
        topic_id: [7; 16],
        partition,
    };
    let sim = Sim::new(1);
    sim.block_on(async {
        let partitions = opened(&sim).await;
        let mut logs = Vec::new();
        for partition in 0..PARTITIONS {
            let (silent, mut seen) = (Arc::new(Silent), Seen::default());
            let one = partitions.open(whose(partition), "t", settings(), silent, &mut seen);
            let mut log = one.await.unwrap().log;
            try_append(&mut log, BatchSpec::default()).unwrap();
            logs.push(log);
        }
        while logs.iter().any(|log| log.flushed() < log.log_end()) {
            sim.pause(Duration::from_millis(1)).await;
        }
    });
    sim.kill("n");
    let slow = DiskFault {
        op: DiskOp::Sync,
        path_contains: ".log".into(),
        when: When::Always,
        effect: DiskEffect::Slow(Duration::from_millis(200)),
    };
    sim.inject("n", slow);
    sim.block_on(async {
        let partitions = opened(&sim).await;
        let last = whose(PARTITIONS - 1);
        partitions.remove(last, Duration::ZERO).await.unwrap();
        sim.pause(Duration::from_secs(2)).await;
        assert_eq!(partitions.dir().offline(), None);
    });
}

async fn opened(sim: &Sim) -> Partitions {
    let host = sim.node("n");
    let opened = LogDir::open(host.clone(), Path::new("/data"), options()).await;
    Partitions::new(opened.unwrap().0, host, PartitionOptions::default())
}
