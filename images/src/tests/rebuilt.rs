//! Directories whose ledger is taken away and made anew from files and journals.

use std::path::Path;
use std::sync::{Arc, Mutex};

use millrace_host::OpenMode;
use millrace_log::check::rebuild_ledger;
use millrace_sim::Sim;

use crate::directory::Directory;
use crate::disk::{Machine, host};
use crate::draw::Draw;
use crate::judge::{Subject, Work};
use crate::node::DIR;
use crate::promise::Promises;
use crate::stage::Recorded;
use crate::volume::{Op, Tree, Volume};
use crate::{HISTORIES, Wrong};

/// Takes the ledger away at every moment of a history, makes another one and judges what is left
/// after a kill, and after a power cut that kept nothing.
fn without_ledger(history: &Recorded<Promises>) -> Result<usize, Wrong> {
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
            let judged = sim.block_on(async {
                let tree = rebuilt(&sim, tree.clone()).await?;
                judge(&sim, tree, promises.clone(), index).await
            });
            sim.kill("n");
            judged.map_err(|error| format!("after operation {index}: {op:?}: {how}: {error}"))?;
            images += 1;
        }
    }
    Ok(images)
}

async fn rebuilt(sim: &Sim, tree: Tree) -> Result<Tree, Wrong> {
    let machine = Machine::new(Volume::of(tree), false);
    let host = host(sim, &machine, 8, 1);
    for name in ["ledger.0", "ledger.1"] {
        let path = Path::new(DIR).join(name);
        let file = host.disk.open(&path, OpenMode::Create).unwrap();
        file.set_len(0).unwrap();
    }
    let report = rebuild_ledger(&host, Path::new(DIR)).await;
    report.map_err(|error| error.to_string())?;
    drop(host);
    sim.kill("n");
    let durable = machine.lock().unwrap().volume.durable.clone();
    Ok(durable)
}

async fn judge(sim: &Sim, tree: Tree, mut promises: Promises, index: usize) -> Result<(), Wrong> {
    // The files don't say which generation it was.
    promises.generation = 0;
    let machine = Machine::new(Volume::of(tree), false);
    let host = host(sim, &machine, 9, 2);
    let work = Work {
        draw: Draw::of(4, index as u64),
        lazy: false,
        machine,
    };
    let promises = Arc::new(Mutex::new(promises));
    Directory.process(sim, host, promises, work).await
}

#[test]
fn l3_a_ledger_made_from_files_and_journals_loses_nothing() {
    for name in [
        "direct_sync",
        "rolls",
        "cut_back",
        "removal",
        "journal_round",
        "clean_stop",
        "kill_and_power_cut",
    ] {
        let found = HISTORIES.iter().find(|history| history.name == name);
        let recorded = found.unwrap().record(None).unwrap();
        match without_ledger(&recorded) {
            Ok(images) => println!("{name}: {images} images without a ledger"),
            Err(wrong) => panic!("{name}: {wrong}"),
        }
    }
}
