//! The directory side on a simulated disk: kills and power cuts at drawn instants, and single rules.

use std::path::Path;
use std::time::Duration;

use millrace_sim::{DiskEffect, DiskFault, DiskOp, Sim, When};

use super::model::{self, Part, at, incarnation, open, options};
use super::*;
use crate::mark::Mark;

const PARTS: u8 = 4;

/// What a run must find again.
#[derive(Clone, Debug, Default)]
struct Promise {
    /// Acknowledged ids in order.
    acked: Vec<u64>,
    /// Everything ever appended behind them.
    maybe: Vec<u64>,
    /// Cut, and the cut was durable: never to be seen again.
    gone: Vec<u64>,
}

async fn life(sim: &Sim, host: millrace_host::Host, promises: &[std::sync::Mutex<Promise>], next_id: &mut u64) {
    let (dir, report) = open(&host).await;
    assert!(report.damaged.is_empty(), "{report:?}");
    let mut parts = Vec::new();
    for index in 0..PARTS {
        let part = Part::open(&host, &dir, index).await;
        let mut promise = lock(&promises[index as usize]);
        let found = &part.records;
        assert!(
            found.starts_with(&promise.acked),
            "partition {index}: acknowledged {:?}, found {found:?}",
            promise.acked
        );
        for id in &found[promise.acked.len()..] {
            assert!(promise.maybe.contains(id), "partition {index}: {id} from nowhere");
        }
        assert!(!found.iter().any(|id| promise.gone.contains(id)), "a cut came back");
        promise.acked.clone_from(found);
        drop(promise);
        parts.push(part);
    }
    for _ in 0..sim.draw(60) {
        let index = sim.draw(u64::from(PARTS)) as usize;
        let part = &mut parts[index];
        match sim.draw(20) {
            0 if part.records.len() > 2 => {
                let keep = sim.draw(part.records.len() as u64) as usize;
                let lost = part.records[keep..].to_vec();
                {
                    let mut promise = lock(&promises[index]);
                    promise.acked.truncate(keep);
                    promise.maybe.extend_from_slice(&lost);
                }
                part.cut(keep).await;
                // Once something behind the cut is acknowledged, what was cut is gone.
                *next_id += 1;
                lock(&promises[index]).maybe.push(*next_id);
                part.append(*next_id, 10, true);
                for _ in 0..100 {
                    if part.acked() == keep + 1 {
                        let mut promise = lock(&promises[index]);
                        promise.acked = part.records.clone();
                        promise.gone.extend(lost);
                        break;
                    }
                    sim.pause(Duration::from_millis(1)).await;
                }
            }
            1..4 => sim.pause(Duration::from_micros(sim.draw(30_000))).await,
            kind => {
                *next_id += 1;
                lock(&promises[index]).maybe.push(*next_id);
                let len = if kind < 6 { 1 + sim.draw(150_000) } else { 1 + sim.draw(3000) };
                part.append(*next_id, len as usize, sim.draw(3) > 0);
            }
        }
        for (part, promise) in parts.iter().zip(promises) {
            let mut promise = lock(promise);
            let acked = part.acked();
            if acked > promise.acked.len() {
                promise.acked = part.records[..acked].to_vec();
            }
        }
    }
    if sim.draw(4) == 0 {
        for part in &parts {
            let settled = part.handle.settle().await;
            if settled.is_ok() && !part.records.is_empty() {
                part.handle.mark(Mark::Close(part.end));
            }
        }
        if dir.close().await.is_ok() {
            for (part, promise) in parts.iter().zip(promises) {
                lock(promise).acked.clone_from(&part.records);
            }
        }
    }
}

/// Lives one after the other, each ended by a kill or a power cut at a drawn instant.
fn run(seed: u64, lives: usize) {
    let sim = Sim::new(seed);
    let promises: Vec<_> = (0..PARTS).map(|_| std::sync::Mutex::new(Promise::default())).collect();
    let mut next_id = seed << 20;
    for _ in 0..lives {
        let host = sim.node("n");
        let span = Duration::from_micros(sim.draw(400_000));
        sim.block_on(async {
            tokio::select! {
                biased;
                () = sim.pause(span) => {}
                () = life(&sim, host, &promises, &mut next_id) => {}
            }
        });
        if sim.draw(2) == 0 {
            sim.kill("n");
        } else {
            sim.crash("n");
        }
        assert!(sim.panics().is_empty(), "seed {seed}: {:?}", sim.panics());
    }
    // And once more in peace.
    let host = sim.node("n");
    sim.block_on(life(&sim, host, &promises, &mut next_id));
}

#[test]
fn what_was_acknowledged_is_there_after_any_kill_or_power_cut() {
    for seed in 0..150 {
        let caught = std::panic::catch_unwind(|| run(seed, 8));
        assert!(caught.is_ok(), "seed {seed}");
    }
}
