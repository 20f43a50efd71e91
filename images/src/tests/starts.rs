//! Starts: how many syncs they wait for, and what they still settle of the process before.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use millrace_log::dir::LogDir;
use millrace_log::mark::{Durability, Incarnation};
use millrace_log::partition::{PartitionOptions, Partitions};
use millrace_sim::{DiskEffect, DiskFault, DiskOp, Sim, When};

use super::play;
use crate::Wrong;
use crate::node::{DIR, Part, options, settings};
use crate::promise::{Acks, Seen};
use crate::stage::Stage;

/// How many syncs stood one behind the other in what `work` waited for: nothing else takes time.
async fn in_series(
    stage: &mut Stage<'_>,
    work: impl AsyncFnOnce(&mut Stage<'_>) -> Result<(), Wrong>,
) -> Result<u128, Wrong> {
    let before = stage.sim.elapsed();
    work(stage).await?;
    let after = stage.sim.elapsed();
    Ok(after.saturating_sub(before).as_millis() / stage.sync.as_millis())
}

async fn start_and_append(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    stage.start().await?;
    let mut one = stage.open(0).await?;
    stage.append(&mut one, 10).await
}

#[test]
fn r9_a_start_waits_for_few_syncs_in_series() {
    let played = play(async |stage| {
        // So that looks at the clock, and commits that nobody waits for, don't count.
        stage.sync = Duration::from_millis(100);
        stage.options.flush_lag = Duration::from_secs(10);
        stage.kill();
        // Files and names; the append's commit.
        assert_eq!(in_series(stage, start_and_append).await?, 2);
        let mut one = stage.open(0).await?;
        stage.append(&mut one, 2_200).await?;
        one.append(10)?;
        stage.pause(stage.sync / 2).await;
        drop(one);
        // Files and names; beside the last commit made again, the partition's own; the append's.
        stage.kill();
        assert_eq!(in_series(stage, start_and_append).await?, 3);
        // The same, and that it is recovered: what is appended from now on is of this boot.
        stage.cut_power();
        assert_eq!(in_series(stage, start_and_append).await?, 4);
        let one = stage.open(0).await?;
        stage.stop(vec![one]).await?;
        assert_eq!(in_series(stage, start_and_append).await?, 2);
        Ok(())
    });
    assert!(!played.unwrap().ops.is_empty());
}

#[test]
fn r6_a_roll_behind_the_recovery_from_a_power_cut_outlives_a_kill() {
    let played = play(async |stage| {
        stage.options.flush_lag = Duration::from_secs(10);
        let mut one = stage.open(0).await?;
        stage.append(&mut one, 900).await?;
        drop(one);
        stage.cut_power();
        stage.start().await?;
        let mut one = stage.open(0).await?;
        // Nobody waits for these to be durable; their marks never reach the journal.
        for _ in 0..3 {
            one.append(900)?;
        }
        let end = one.log.log_end();
        drop(one);
        stage.kill();
        stage.start().await?;
        assert_eq!(stage.open(0).await?.log.log_end(), end);
        Ok(())
    });
    assert!(!played.unwrap().ops.is_empty());
}

async fn opened(sim: &Sim) -> Partitions {
    let host = sim.node("n");
    let opened = LogDir::open(host.clone(), Path::new(DIR), options()).await;
    Partitions::new(opened.unwrap().0, host, PartitionOptions::default())
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
            let (whose, promises) = (whose(partition), Arc::default());
            let acks = Arc::new(Acks { whose, promises });
            let (settings, mut seen) = (settings(Durability::Fsync), Seen::default());
            let one = partitions.open(whose, "t", settings, acks.clone(), &mut seen);
            let mut one = Part::of(one.await.unwrap().log, acks, sim.node("n"));
            one.append(20).unwrap();
            logs.push(one);
        }
        for one in &logs {
            one.acked().await.unwrap();
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
