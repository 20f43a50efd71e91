//! The sequences of events that each rule of `docs/durability.md` prevents, by name, and what
//! the judge itself must find.

mod bounds;
mod existence;
mod journal;
mod planted;
mod rebuilt;
mod recovery;
mod sequences;
mod starts;

use std::path::Path;

use crate::cut_off::Scale;
use crate::directory::Directory;
use crate::disk::SyncFault;
use crate::judge::{Plan, every_image};
use crate::promise::Promises;
use crate::stage::{Recorded, Stage, record};
use crate::volume::Tree;
use crate::{HISTORIES, Wrong, judge};

/// Plays a script that is whole.
fn play(
    script: impl AsyncFnOnce(&mut Stage<'_>) -> Result<(), Wrong>,
) -> Result<Recorded<Promises>, Wrong> {
    record(None, script)
}

/// Plays a script and judges its images: at least so many.
fn images(
    at_least: u64,
    script: impl AsyncFnOnce(&mut Stage<'_>) -> Result<(), Wrong>,
) -> Result<(), Wrong> {
    let recorded = play(script)?;
    let plan = Plan::of(Scale {
        one_in: 4,
        ..Scale::TEST
    });
    let counts = every_image(&Directory, &recorded, plan).map_err(|failure| failure.to_string())?;
    println!("{counts}");
    if counts.all() < at_least {
        return Err(format!("only {counts}"));
    }
    Ok(())
}

/// The sync of such a file fails under an append of `payload` bytes, and the cache keeps what the
/// device did not take. Whoever shows it after a kill has proven it: a power cut takes nothing.
fn what_a_sync_failed_for_is_proven(of: fn(&str) -> bool, payload: usize) -> Result<(), Wrong> {
    images(50, async |stage| {
        let mut one = stage.open(0).await?;
        stage.append(&mut one, 30).await?;
        stage.idle().await;
        stage.begin();
        stage.fail_sync(SyncFault { of, lost: false });
        one.append(payload)?;
        stage.failed().await?;
        drop(one);
        stage.kill();
        stage.start().await?;
        let one = stage.open(0).await?;
        let shown = one.log.flushed();
        ensure(shown == 4, "the same boot finds it")?;
        drop(one);
        stage.cut_power();
        stage.start().await?;
        let one = stage.open(0).await?;
        ensure(one.log.log_end() == shown, "what counted is there")
    })
}

/// Judges the images of one of the histories.
fn history(name: &str) -> Result<(), Wrong> {
    let found = HISTORIES.iter().find(|history| history.name == name);
    let history = found.ok_or_else(|| format!("there is no history {name}"))?;
    let counts = judge(history, Plan::of(Scale::TEST)).map_err(|broken| broken.to_string())?;
    println!("{name}: {counts}");
    Ok(())
}

/// The path of a file of a partition.
fn file(home: &str, base: i64, suffix: &str) -> String {
    format!("/log/{home}/{base:020}.{suffix}")
}

/// Changes a file that is there.
fn edit(tree: &mut Tree, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
    assert!(tree.edit(Path::new(path), change), "{path} is there");
}

/// What must hold, or the reason why it does not.
fn ensure(holds: bool, what: &str) -> Result<(), Wrong> {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}
