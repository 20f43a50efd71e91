//! Opens what a crash left, three times, and says what is wrong with it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millrace_host::{Host, OpenMode};
use millrace_sim::Sim;

use super::disk::{Machine, RecordedDisk};
use super::promise::{Found, Promises, Removal, found};
use super::volume::{Op, Tree, Volume};
use super::{cut_off, history};
use crate::check::rebuild_ledger;
use crate::dir::LogDir;
use crate::fixture::{Seen, Silent};
use crate::mark::{Durability, Incarnation};
use crate::partition::{PartitionLog, PartitionOptions, Partitions};
use crate::testing::BatchSpec;

/// What was found, by partition; those that are gone are left out.
type State = BTreeMap<Incarnation, Found>;

/// What a start saw.
#[derive(Default)]
struct Saw {
    found: State,
    /// What it said was durable.
    flushed: BTreeMap<Incarnation, i64>,
    /// What it left behind itself.
    after: State,
}

/// Judges every image of a recorded history from operation `from` on: how many there were, or what
/// is wrong with the first bad one.
pub(super) fn every_image(history: &history::Recorded, from: usize) -> Result<usize, String> {
    let sim = Sim::new(1);
    let mut volume = Volume::default();
    let mut images = 0;
    let mut wrong = None;
    let mut boot = 0;
    for (index, op) in history.ops.iter().enumerate() {
        volume.apply(op);
        boot += u32::from(matches!(op, Op::Lost));
        if index < from || matches!(op, Op::SyncBegun(..)) {
            continue;
        }
        // What was promised before the next change of anything.
        let next = history.ops[index + 1..]
            .iter()
            .position(|op| !matches!(op, Op::SyncBegun(..)));
        let promised = next.map_or(history.ops.len(), |next| index + 1 + next);
        let promises = &history.told[promised];
        let mut judge = |tree: Tree, boot: u32, how: &str| {
            if wrong.is_none() {
                images += 1;
                let judged = sim.block_on(judge(&sim, tree, boot, promises));
                wrong = judged.err().map(|error| {
                    format!(
                        "after operation {index} of {}: {op:?}: {how}: {error}",
                        history.ops.len()
                    )
                });
            }
        };
        judge(volume.cache.clone(), boot, "killed");
        cut_off::each(&volume, op, |tree, how| judge(tree, boot + 1, how));
        if let Some(wrong) = wrong {
            return Err(wrong);
        }
    }
    Ok(images)
}

/// Takes the ledger away at every moment of a history, makes another one and judges what is left
/// after a kill, and after a power cut that kept nothing.
pub(super) fn without_ledger(history: &history::Recorded) -> Result<usize, String> {
    let sim = Sim::new(1);
    let mut volume = Volume::default();
    let mut images = 0;
    for (index, op) in history.ops.iter().enumerate() {
        volume.apply(op);
        if index < history.from || matches!(op, Op::SyncBegun(..)) {
            continue;
        }
        // What was promised by the operation's own time: later promises need later operations.
        let promises = &history.told[index];
        for (how, tree) in [("killed", &volume.cache), ("power cut", &volume.durable)] {
            let rebuilt = sim.block_on(rebuilt(&sim, tree.clone()));
            let judged = rebuilt
                .and_then(|tree| sim.block_on(judge(&sim, tree, 9, promises)))
                .map_err(|error| format!("after operation {index}: {op:?}: {how}: {error}"));
            judged?;
            images += 1;
        }
    }
    Ok(images)
}

async fn rebuilt(sim: &Sim, tree: Tree) -> Result<Tree, String> {
    let machine = Machine::new(tree, false);
    let host = host(sim, &machine, 8);
    for name in ["ledger.0", "ledger.1"] {
        let path = Path::new(history::DIR).join(name);
        let file = host.disk.open(&path, OpenMode::Create).unwrap();
        file.set_len(0).unwrap();
    }
    let report = rebuild_ledger(&host, Path::new(history::DIR)).await;
    report.map_err(|error| error.to_string())?;
    let durable = machine.lock().unwrap().volume.durable.clone();
    Ok(durable)
}

async fn judge(sim: &Sim, tree: Tree, boot: u32, promises: &Promises) -> Result<(), String> {
    let (first, tree) = start(sim, tree, boot, promises, Look::Check).await?;
    let (second, tree) = start(sim, tree, boot + 1, promises, Look::CheckAndAppend).await?;
    for (whose, one) in &first.found {
        let two = &second.found[whose];
        let (flushed, end) = (first.flushed[whose], two.log_end);
        if end < flushed {
            return Err(format!(
                "a second start ends at {end}, the first said {flushed} was durable"
            ));
        }
        // What a page-cache topic held after a kill may go with the power; its promise was checked.
        if promises[whose].durability == Durability::Fsync && one != two {
            return Err("a second start finds something else than the first".to_owned());
        }
    }
    let (third, _) = start(sim, tree, boot + 2, promises, Look::Again).await?;
    if third.found != second.after {
        return Err("what was appended after the crash is not what is found".to_owned());
    }
    Ok(())
}

/// What a start is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    Check,
    CheckAndAppend,
    /// What was promised was checked before; more was appended since.
    Again,
}

/// What a start saw, and what a power cut leaves of it.
async fn start(
    sim: &Sim,
    tree: Tree,
    boot: u32,
    promises: &Promises,
    look: Look,
) -> Result<(Saw, Tree), String> {
    let machine = Machine::new(tree, false);
    let left = process(sim, host(sim, &machine, boot), promises, look).await;
    sim.kill("n");
    assert_eq!(sim.panics(), Vec::<String>::new());
    let durable = machine.lock().unwrap().volume.durable.clone();
    left.map(|left| (left, durable))
}

pub(super) fn host(sim: &Sim, machine: &Arc<Mutex<Machine>>, boot: u32) -> Host {
    Host {
        disk: Arc::new(RecordedDisk::on(machine, boot)),
        ..sim.node("n")
    }
}

async fn process(sim: &Sim, host: Host, promises: &Promises, look: Look) -> Result<Saw, String> {
    let opened = LogDir::open(host.clone(), Path::new(history::DIR), history::options()).await;
    let (dir, report) = opened.map_err(|error| error.to_string())?;
    if !report.damaged.is_empty() {
        return Err(format!("damaged: {:?}", report.damaged));
    }
    let partitions = Partitions::new(dir, host, PartitionOptions::default());
    partitions
        .sweep_deleted()
        .await
        .map_err(|error| error.to_string())?;
    let mut saw = Saw::default();
    // Removals first: a new topic of the name waits for them.
    let order = |removal| {
        promises
            .iter()
            .filter(move |(_, promise)| (promise.removal == Removal::None) != removal)
    };
    for (whose, promise) in order(true).chain(order(false)) {
        let text = |error: String| format!("{}: {error}", promise.topic);
        let entry = partitions.dir().entry(whose);
        if promise.removal != Removal::None {
            if entry.is_some() && promise.removal == Removal::Done {
                return Err(text("a removed partition is back".to_owned()));
            }
            let removed = partitions.remove(*whose, Duration::ZERO).await;
            removed.map_err(|error| text(error.to_string()))?;
            continue;
        }
        let mut seen = Seen::default();
        let opened = partitions
            .open(
                *whose,
                promise.topic,
                history::settings_of(promise.durability),
                Arc::new(Silent),
                &mut seen,
            )
            .await;
        let mut opened = opened.map_err(|error| text(error.to_string()))?;
        if let Some(reason) = opened.quarantined {
            return Err(text(reason));
        }
        let one = found(&opened.log, &seen).await;
        if look != Look::Again {
            promise.check(&one).map_err(text)?;
        }
        saw.found.insert(*whose, one);
        saw.flushed.insert(*whose, opened.flushed);
        if look == Look::CheckAndAppend {
            append(sim, &mut opened.log).await.map_err(text)?;
        }
        saw.after.insert(*whose, found(&opened.log, &seen).await);
    }
    Ok(saw)
}

async fn append(sim: &Sim, log: &mut PartitionLog) -> Result<(), String> {
    let spec = BatchSpec {
        base_offset: log.log_end(),
        payload: 3,
        epoch: log.epochs().last().map_or(0, |last| last.0),
        ..BatchSpec::default()
    };
    crate::partition::log_tests::try_append(log, spec).map_err(|error| error.to_string())?;
    if log.durability() == Durability::PageCache {
        // Nobody else asks for it.
        log.flush_now();
    }
    for _ in 0..100 {
        if log.flushed() == log.log_end() {
            return Ok(());
        }
        sim.pause(Duration::from_micros(300)).await;
    }
    Err("an append was never acknowledged".to_owned())
}
