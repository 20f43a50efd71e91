//! Bounds that move back and names that go: cuts, log starts, removals.

use super::{edit, ensure, file, history, images, play};
use crate::Wrong;
use crate::volume::{Change, Inode, Op, Tree, Volume, is_dir};

/// The paths that a tree gives to an inode in the directory of journals and homes, or in a home.
fn is_in_journal(tree: &Tree, wanted: Inode) -> bool {
    let names = tree.dirs.values().flat_map(|names| names.iter());
    let mut of = names.filter(|(_, inode)| **inode == wanted);
    of.any(|(name, _)| name.starts_with("journal."))
}

fn is_record_file(tree: &Tree, wanted: Inode) -> bool {
    let names = tree.dirs.values().flat_map(|names| names.iter());
    let mut of = names.filter(|(_, inode)| **inode == wanted);
    of.any(|(name, _)| name.contains(".log"))
}

pub(super) fn a_file_is_shortened_only_behind_the_durable_mark() -> Result<(), Wrong> {
    let mut begun = 0;
    let recorded = play(async |stage| {
        let mut one = stage.open(0).await?;
        for _ in 0..4 {
            stage.append(&mut one, 900).await?;
        }
        stage.idle().await;
        begun = stage.ops().len();
        one.cut(2).await
    })?;
    let mut volume = Volume::default();
    let mut changed = 0;
    for (index, op) in recorded.ops.iter().enumerate() {
        let takes_away = match op {
            Op::Change(Change::Len { file, len }) => {
                let before = volume.cache.files.get(file).map_or(0, |file| file.len());
                *len < before && is_record_file(&volume.cache, *file)
            }
            Op::Change(Change::Names { names, .. }) => names
                .iter()
                .any(|(name, inode)| inode.is_none_or(is_dir) && name.contains(".log")),
            Op::Change(_)
            | Op::SyncBegun(..)
            | Op::SyncEnded(_)
            | Op::SyncFailed { .. }
            | Op::Killed
            | Op::Left { .. }
            | Op::Forgotten(_) => false,
        };
        if takes_away && index >= begun {
            changed += 1;
            let waits = volume.pending.iter().any(|(_, change)| {
                matches!(change, Change::Write { file, .. } if is_in_journal(&volume.cache, *file))
            });
            ensure(!waits, "something goes before its mark is durable")?;
        }
        volume.apply(op);
    }
    ensure(changed >= 2, "a segment is removed and one shortened")?;
    history("cut_back")
}

pub(super) fn a_log_start_that_was_shown_never_comes_back() -> Result<(), Wrong> {
    history("log_start")?;
    history("retirement")
}

pub(super) fn a_new_topic_of_a_name_never_meets_the_old_data() -> Result<(), Wrong> {
    history("removal")?;
    history("removal_of_two")
}

pub(super) fn a_cut_tail_never_returns_behind_new_records() -> Result<(), Wrong> {
    images(200, async |stage| {
        let mut one = stage.open(0).await?;
        stage.append(&mut one, 20).await?;
        // In the files of three segments, and not in the journal yet.
        for _ in 0..5 {
            one.append(900)?;
        }
        drop(one);
        stage.cut_power_to(|volume| {
            let mut tree = volume.cache.clone();
            edit(&mut tree, &file("t-0", 0, "log"), |log| {
                let last = log.len() - 1;
                log[last] ^= 1;
            });
            tree
        });
        stage.begin();
        stage.start().await?;
        let mut one = stage.open(0).await?;
        let end = one.log.log_end();
        ensure(end < 6, "the log is cut in its first segment")?;
        stage.append(&mut one, 900).await?;
        stage.append(&mut one, 900).await?;
        stage.idle().await;
        Ok(())
    })
}

/// A page of zeros stands where a batch was, with whole batches behind it.
fn zeros(tree: &mut Tree) {
    edit(tree, &file("t-0", 0, "log"), |log| {
        let len = log.len();
        log[len - 1_200..len - 700].fill(0);
    });
}

pub(super) fn batches_behind_a_page_of_zeros_never_come_back() -> Result<(), Wrong> {
    images(100, async |stage| {
        let mut one = stage.open(0).await?;
        stage.append(&mut one, 20).await?;
        for _ in 0..4 {
            one.append(300)?;
        }
        drop(one);
        stage.cut_power_to(|volume| {
            let mut tree = volume.cache.clone();
            zeros(&mut tree);
            tree
        });
        stage.begin();
        stage.start().await?;
        let mut one = stage.open(0).await?;
        let end = one.log.log_end();
        ensure((2..8).contains(&end), "the log ends before the zeros")?;
        stage.append(&mut one, 20).await?;
        stage.idle().await;
        Ok(())
    })?;
    // Without a restart of the machine it is damage.
    play(async |stage| {
        let mut one = stage.open(0).await?;
        stage.append(&mut one, 20).await?;
        for _ in 0..4 {
            one.append(300)?;
        }
        drop(one);
        stage.kill_to(|volume| {
            let mut tree = volume.cache.clone();
            zeros(&mut tree);
            tree
        });
        stage.start().await?;
        let opened = stage.open(0).await.map(drop);
        let refused = opened.err().ok_or("damage passes for a tear")?;
        ensure(refused.contains("did not restart"), &refused)
    })
    .map(drop)
}

pub(super) fn a_snapshot_above_a_cut_is_not_believed() -> Result<(), Wrong> {
    images(100, async |stage| {
        let mut one = stage.open(0).await?;
        for _ in 0..6 {
            stage.append(&mut one, 900).await?;
        }
        stage.idle().await;
        // A snapshot of producers stands at each roll.
        let listed = stage.tree();
        let named = listed.dirs.values().flat_map(|names| names.keys());
        let snapshots = named.filter(|name| name.ends_with("producers"));
        ensure(snapshots.count() > 0, "there is a snapshot")?;
        stage.begin();
        one.cut(2).await?;
        stage.append(&mut one, 20).await?;
        drop(one);
        stage.kill();
        stage.start().await?;
        // Held against what is known of the producer at this end.
        let mut one = stage.open(0).await?;
        stage.append(&mut one, 20).await
    })
}

pub(super) fn a_kill_behind_retention_removes_by_durable_marks_only() -> Result<(), Wrong> {
    history("killed_behind_retention")
}
