//! What enters the journal, how it lies there, and how it is replayed.

use std::path::Path;

use super::{edit, ensure, file, history, images, play, what_a_sync_failed_for_is_proven};
use crate::Wrong;
use crate::volume::{Change, Inode, Op, Tree, Volume};

const BLOCK: usize = 4096;
const JOURNAL: &str = "/log/journal.0000000001.0";

fn inode(tree: &Tree, path: &str) -> Result<Inode, Wrong> {
    let found = tree.lookup(Path::new(path));
    found.ok_or_else(|| format!("{path} is not there"))
}

/// Where the commits of a journal file begin.
fn commits(bytes: &[u8]) -> Vec<usize> {
    let blocks = (0..bytes.len() / BLOCK).map(|block| block * BLOCK);
    blocks.filter(|at| &bytes[*at..at + 4] == b"MRjc").collect()
}

pub(super) fn an_old_cut_is_not_done_again_over_direct_bytes() -> Result<(), Wrong> {
    images(200, async |stage| {
        let mut one = stage.open(0).await?;
        for _ in 0..3 {
            stage.append(&mut one, 200).await?;
        }
        // In the file, and not in the journal yet.
        one.append(200)?;
        drop(one);
        stage.cut_power_to(|volume| {
            let mut tree = volume.cache.clone();
            edit(&mut tree, &file("t-0", 0, "log"), |log| {
                log.truncate(log.len() - 7);
            });
            tree
        });
        stage.start().await?;
        stage.begin();
        let mut one = stage.open(0).await?;
        ensure(one.log.log_end() == 6, "recovery cuts the torn batch")?;
        stage.append(&mut one, 2_200).await?;
        drop(one);
        stage.kill();
        stage.start().await?;
        let one = stage.open(0).await?;
        ensure(one.log.log_end() == 8, "what was synced directly is there")
    })?;
    history("cut_then_direct")
}

pub(super) fn a_torn_commit_stays_dead_behind_a_shorter_one() -> Result<(), Wrong> {
    images(200, async |stage| {
        let mut one = stage.open(0).await?;
        let mut others = Vec::new();
        for index in 1..4 {
            others.push(stage.open(index).await?);
        }
        stage.append(&mut one, 20).await?;
        for other in &mut others {
            other.append(1_700)?;
        }
        stage.pause(stage.sync / 2).await;
        drop((one, others));
        // The commit's first sector missed the device, all that lies behind it did not.
        stage.cut_power_to(|volume| {
            let mut tree = volume.durable.clone();
            let written = volume.cache.lookup(Path::new(JOURNAL));
            let written = written.and_then(|journal| volume.cache.files.get(&journal));
            let written = written.expect("it is there").read(0, usize::MAX);
            edit(&mut tree, JOURNAL, |journal| {
                let torn = *commits(&written).last().expect("there is a commit");
                journal[torn + 512..].copy_from_slice(&written[torn + 512..]);
            });
            tree
        });
        stage.begin();
        stage.start().await?;
        let mut one = stage.open(0).await?;
        stage.append(&mut one, 5).await?;
        drop(one);
        stage.cut_power();
        stage.start().await?;
        for index in 1..4 {
            let other = stage.open(index).await?;
            ensure(other.log.log_end() == 0, "nothing of a torn commit counts")?;
        }
        Ok(())
    })?;
    history("torn_then_shorter")
}

pub(super) fn a_commit_whose_sync_failed_is_proven_before_it_counts() -> Result<(), Wrong> {
    what_a_sync_failed_for_is_proven(|path| path.contains("journal."), 40)?;
    history("journal_sync_fails")
}

pub(super) fn no_block_of_the_journal_is_written_twice() -> Result<(), Wrong> {
    play(async |stage| {
        let mut one = stage.open(0).await?;
        let mut two = stage.open(1).await?;
        let before = stage.ops().len();
        for len in [10, 3_000, 500, 1, 1_800, 700] {
            two.append(len / 2)?;
            stage.append(&mut one, len).await?;
        }
        stage.idle().await;
        let journal = inode(&stage.tree(), JOURNAL)?;
        let mut free = 0;
        for op in &stage.ops()[before..] {
            let Op::Change(Change::Write { file, at, bytes }) = op else {
                continue;
            };
            if *file == journal {
                ensure(at % BLOCK == 0 && bytes.len() % BLOCK == 0, "whole blocks")?;
                ensure(*at >= free, "a block of a commit is written again")?;
                free = at + bytes.len();
            }
        }
        ensure(free > 6 * BLOCK, "commits were written")
    })?;
    history("several_partitions")
}

pub(super) fn a_flipped_length_hides_nothing() -> Result<(), Wrong> {
    // The length, and the first byte of what is the length's guard.
    for at in [24, 25, 26, 28] {
        play(async |stage| {
            let mut one = stage.open(0).await?;
            for _ in 0..4 {
                stage.append(&mut one, 30).await?;
            }
            stage.idle().await;
            drop(one);
            stage.cut_power_to(|volume| {
                let mut tree = volume.durable.clone();
                edit(&mut tree, JOURNAL, |journal| {
                    let second = commits(journal)[1];
                    journal[second + at] ^= 0x10;
                });
                tree
            });
            let before = stage.tree();
            let started = stage.start().await;
            let refused = started
                .err()
                .ok_or("commits behind a broken one are hidden")?;
            ensure(refused.contains("commit"), &refused)?;
            let same = |path: &str| inode(&before, path) == inode(&stage.tree(), path);
            ensure(same(JOURNAL) && same("/log/t-0"), "nothing is removed")
        })?;
    }
    Ok(())
}

pub(super) fn a_completion_from_before_a_cut_confirms_nothing() -> Result<(), Wrong> {
    history("cut_twice")
}

pub(super) fn nothing_of_a_partition_overtakes_its_direct_sync() -> Result<(), Wrong> {
    images(100, async |stage| {
        let mut one = stage.open(0).await?;
        let mut two = stage.open(1).await?;
        stage.append(&mut one, 20).await?;
        stage.begin();
        // Direct; then small, in a new segment; then small again while a commit is on its way.
        one.append(2_200)?;
        stage.pause(stage.sync / 4).await;
        two.append(10)?;
        one.append(900)?;
        stage.pause(stage.sync / 4).await;
        one.append(10)?;
        one.acked().await?;
        two.acked().await?;
        stage.idle().await;
        Ok(())
    })?;
    history("direct_sync")
}

pub(super) fn a_journal_file_grows_beside_the_commits() -> Result<(), Wrong> {
    history("journal_growth")
}

pub(super) fn the_journal_holds_the_bytes_as_they_stand_in_the_file() -> Result<(), Wrong> {
    play(async |stage| {
        let mut one = stage.open(0).await?;
        one.new_epoch();
        stage.append(&mut one, 30).await?;
        stage.append(&mut one, 30).await?;
        drop(one);
        // Nothing but the journal is durable.
        stage.cut_power();
        ensure(inode(&stage.tree(), "/log/t-0").is_err(), "files are lost")?;
        stage.start().await?;
        // Held against the stored bytes: offsets and leader epochs are the broker's.
        let one = stage.open(0).await?;
        ensure(one.log.log_end() == 4, "both batches are there")
    })
    .map(drop)
}

pub(super) fn a_page_that_the_cache_dropped_is_in_the_journal_all_the_same() -> Result<(), Wrong> {
    images(20, async |stage| {
        let mut one = stage.open(0).await?;
        stage.append(&mut one, 30).await?;
        stage.begin();
        one.append(300)?;
        stage.forget(&file("t-0", 0, "log"))?;
        // Before the commit is written.
        one.acked().await?;
        drop(one);
        stage.cut_power();
        stage.start().await?;
        let one = stage.open(0).await?;
        ensure(one.log.log_end() == 4, "what was acknowledged is there")
    })
}

pub(super) fn rot_in_the_last_commit_of_an_idle_directory_is_damage() -> Result<(), Wrong> {
    play(async |stage| {
        let mut one = stage.open(0).await?;
        stage.append(&mut one, 30).await?;
        stage.append(&mut one, 300).await?;
        stage.idle().await;
        drop(one);
        let left = |volume: &Volume| {
            let mut tree = volume.durable.clone();
            edit(&mut tree, JOURNAL, |journal| {
                // The last one is the closing commit, which proves the one before.
                let commits = commits(journal);
                let last = commits[commits.len() - 2];
                journal[last + 200] ^= 1;
            });
            tree
        };
        stage.cut_power_to(left);
        match stage.start().await {
            Err(wrong) => ensure(
                wrong.contains("damaged") || wrong.contains("commit"),
                &wrong,
            ),
            Ok(()) => Err("rot passes for a tear".to_owned()),
        }
    })?;
    history("idle_directory")
}

pub(super) fn bytes_of_a_segment_that_was_cut_off_stay_out_of_the_next_one() -> Result<(), Wrong> {
    images(50, async |stage| {
        let mut one = stage.open(0).await?;
        for _ in 0..4 {
            stage.append(&mut one, 900).await?;
        }
        let bases = |tree: &Tree| inode(tree, &file("t-0", 4, "log")).is_ok();
        ensure(bases(&stage.tree()), "the second segment begins at 4")?;
        one.cut(2).await?;
        stage.begin();
        stage.append(&mut one, 800).await?;
        stage.append(&mut one, 850).await?;
        stage.append(&mut one, 20).await?;
        ensure(bases(&stage.tree()), "the next one begins there too")?;
        drop(one);
        stage.cut_power();
        stage.start().await?;
        let one = stage.open(0).await?;
        ensure(one.log.log_end() >= 6, "what was acknowledged is there")
    })
}
