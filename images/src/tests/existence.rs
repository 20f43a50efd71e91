//! Whether something is there: first appends, missing files, offline directories, old copies.

use std::path::Path;
use std::sync::Arc;

use millrace_log::dir::{Generations, LogDir};
use millrace_sim::Sim;

use super::{ensure, history, images, play};
use crate::Wrong;
use crate::disk::{Machine, host};
use crate::node::{DIR, options, topic};
use crate::volume::{Op, Tree, Volume};

pub(super) fn a_first_large_append_exists_before_its_ack() -> Result<(), Wrong> {
    images(100, async |stage| {
        let mut one = stage.open(0).await?;
        stage.begin();
        stage.append(&mut one, 2_200).await?;
        drop(one);
        stage.cut_power();
        stage.start().await?;
        let known = stage.process()?.partitions.dir().entry(&topic(0).0);
        ensure(known.is_some(), "it is known that it was written")?;
        let mut one = stage.open(0).await?;
        ensure(one.log.log_end() == 2, "it is there")?;
        stage.append(&mut one, 10).await
    })
}

pub(super) fn a_small_first_append_whose_files_are_lost_is_made_anew() -> Result<(), Wrong> {
    images(100, async |stage| {
        let mut one = stage.open(0).await?;
        stage.append(&mut one, 10).await?;
        drop(one);
        stage.cut_power();
        let home = |tree: Tree| tree.lookup(Path::new("/log/t-0"));
        ensure(home(stage.tree()).is_none(), "its files are lost")?;
        stage.begin();
        stage.start().await?;
        let mut one = stage.open(0).await?;
        ensure(one.log.log_end() == 2, "the journal holds it")?;
        stage.append(&mut one, 10).await
    })
}

pub(super) fn what_is_taken_in_is_shown_behind_its_durable_mark() -> Result<(), Wrong> {
    images(100, async |stage| {
        let mut one = stage.open(0).await?;
        // In the page cache: no commit, no sync.
        one.append(900)?;
        drop(one);
        stage.kill();
        stage.begin();
        stage.start().await?;
        let one = stage.open(0).await?;
        ensure(one.log.flushed() == 2, "it is taken in and proven")?;
        drop(one);
        stage.cut_power();
        stage.start().await?;
        let one = stage.open(0).await?;
        ensure(one.log.log_end() == 2, "what was shown is there")
    })
}

pub(super) fn a_segment_left_without_those_before_it_is_set_aside() -> Result<(), Wrong> {
    play(async |stage| {
        let mut one = stage.open(0).await?;
        stage.append(&mut one, 900).await?;
        stage.append(&mut one, 900).await?;
        stage.stop(vec![one]).await?;
        stage.start().await?;
        let mut one = stage.open(0).await?;
        for _ in 0..4 {
            one.append(900)?;
        }
        drop(one);
        // Of the segments that were begun only the second's name is left.
        stage.cut_power_to(|volume| {
            let mut tree = volume.cache.clone();
            let journals = volume.durable.clone();
            tree.files.clone_from(&journals.files);
            let home = tree.lookup(Path::new("/log/t-0")).expect("it is there");
            let names = tree.dirs.get_mut(&home).expect("it has names");
            let later = names.get("00000000000000000008.log").copied();
            tree.files.entry(later.expect("it was begun")).or_default();
            Arc::make_mut(names).remove("00000000000000000004.log");
            tree
        });
        stage.start().await?;
        let mut one = stage.open(0).await?;
        ensure(one.log.log_end() == 4, "it ends where it was closed")?;
        for _ in 0..4 {
            stage.append(&mut one, 900).await?;
        }
        Ok(())
    })
    .map(drop)
}

pub(super) fn what_was_settled_and_is_missing_is_not_made_anew() -> Result<(), Wrong> {
    play(async |stage| {
        let mut one = stage.open(0).await?;
        stage.append(&mut one, 2_200).await?;
        stage.stop(vec![one]).await?;
        stage.kill_to(|volume| {
            let mut tree = volume.durable.clone();
            let dir = tree.lookup(Path::new(DIR)).expect("it is there");
            let names = tree.dirs.get_mut(&dir).expect("it has names");
            Arc::make_mut(names).remove("t-0");
            tree
        });
        stage.start().await?;
        let opened = stage.open(0).await;
        let refused = opened
            .err()
            .ok_or("a log whose files are missing is empty")?;
        ensure(refused.contains("missing"), &refused)?;
        let home = stage.tree().lookup(Path::new("/log/t-0"));
        ensure(home.is_none(), "nothing is made in its place")
    })
    .map(drop)
}

pub(super) fn an_old_copy_of_a_directory_is_refused() -> Result<(), Wrong> {
    let mut starts = Vec::new();
    let mut id = [0; 16];
    let recorded = play(async |stage| {
        for life in 0..4 {
            let mut one = stage.open(0).await?;
            stage.append(&mut one, 30).await?;
            starts.push(stage.ops().len());
            id = stage.process()?.partitions.dir().id();
            match life {
                0 => stage.stop(vec![one]).await?,
                1 => {
                    drop(one);
                    stage.cut_power();
                }
                _ => {
                    drop(one);
                    stage.kill();
                }
            }
            stage.start().await?;
        }
        Ok(())
    })?;
    let last = recorded.told.last().ok_or("nothing was told")?.generation;
    let mut volume = Volume::default();
    let (mut old, mut young) = (0, 0);
    for (index, op) in recorded.ops.iter().enumerate() {
        volume.apply(op);
        if matches!(op, Op::SyncBegun(..)) || index < starts[0] {
            continue;
        }
        // The generation that had been shown when the copy was made.
        let copied = recorded.told[index + 1].generation;
        if opens(volume.durable.clone(), id, last) {
            young += 1;
        } else {
            ensure(copied < last, "it is refused though it is the newest")?;
            old += 1;
        }
        let served = opens(volume.durable.clone(), id, copied);
        ensure(served, "the newest is refused")?;
    }
    println!("{old} old copies refused, {young} taken");
    ensure(old > 30 && young > 0, "copies of both kinds were tried")
}

/// Whether a copy is served where generation `known` is known of it.
fn opens(tree: Tree, id: [u8; 16], known: u64) -> bool {
    let sim = Sim::new(1);
    let machine = Machine::new(Volume::of(tree), false);
    let host = host(&sim, &machine, 7, 1);
    let known = Generations::from([(id, known)]);
    let opened = sim.block_on(LogDir::open_known(host, Path::new(DIR), options(), &known));
    opened.is_ok()
}

pub(super) fn a_file_with_unsettled_bytes_stays_open() -> Result<(), Wrong> {
    play(async |stage| {
        // Two segments may be open at once; more are unsettled.
        let mut parts = Vec::new();
        for index in 0..5 {
            parts.push(stage.open(index).await?);
        }
        for _ in 0..4 {
            for part in &mut parts {
                part.append(900)?;
            }
            for part in &parts {
                part.acked().await?;
            }
        }
        ensure(stage.closed_early().is_empty(), "one was closed")
    })?;
    history("segment_sync_fails")
}

pub(super) fn an_offline_directory_is_left_as_it_is() -> Result<(), Wrong> {
    // Each of them asks an offline directory for appends, marks and a clean close.
    for name in [
        "journal_sync_fails_and_forgets",
        "segment_sync_fails_and_forgets",
        "ledger_sync_fails",
        "directory_sync_fails",
    ] {
        history(name)?;
    }
    Ok(())
}
