//! What a start believes: ledgers, boots, page caches, clocks.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use millrace_host::{Mono, Now};
use millrace_log::dir::LogDir;
use millrace_log::mark::Durability;
use millrace_log::partition::{LogSettings, PartitionOptions, Partitions, WallGuard};
use millrace_sim::Sim;

use super::{edit, ensure, file, history, images, play, what_a_sync_failed_for_is_proven};
use crate::Wrong;
use crate::node::{DIR, options, settings, text, topic};
use crate::promise::{Acks, Promises, Seen};
use crate::stage::Stage;
use crate::volume::{Change, Op, Tree, Volume};

const LEDGERS: [&str; 2] = ["/log/ledger.0", "/log/ledger.1"];

pub(super) fn a_ledger_that_cant_be_read_is_not_an_empty_one() -> Result<(), Wrong> {
    for (broken, at) in [(1, 8), (1, 300), (2, 8), (2, 20), (2, 300)] {
        play(async |stage| {
            let mut one = stage.open(0).await?;
            stage.append(&mut one, 30).await?;
            stage.stop(vec![one]).await?;
            stage.kill_to(|volume| {
                let mut tree = volume.durable.clone();
                for ledger in &LEDGERS[..broken] {
                    edit(&mut tree, ledger, |bytes| bytes[at.min(60)] ^= 4);
                }
                tree
            });
            let home = stage.tree().lookup(Path::new("/log/t-0"));
            let started = stage.start().await;
            if broken < LEDGERS.len() {
                started?;
                let one = stage.open(0).await?;
                return ensure(one.log.log_end() == 2, "one of the two is enough");
            }
            let refused = started.err().ok_or("what can't be read is empty")?;
            ensure(refused.contains("ledger"), &refused)?;
            let is = stage.tree().lookup(Path::new("/log/t-0"));
            ensure(home == is && home.is_some(), "nothing is touched")
        })?;
    }
    Ok(())
}

pub(super) fn the_only_whole_ledger_is_written_last() -> Result<(), Wrong> {
    for (broken, torn) in LEDGERS.into_iter().enumerate() {
        play(async |stage| {
            let mut one = stage.open(0).await?;
            stage.append(&mut one, 30).await?;
            stage.stop(vec![one]).await?;
            // A power cut came while the other was written.
            stage.kill_to(|volume| {
                let mut tree = volume.durable.clone();
                edit(&mut tree, torn, |bytes| bytes[60] ^= 4);
                tree
            });
            let tree = stage.tree();
            let files = LEDGERS.map(|ledger| tree.lookup(Path::new(ledger)));
            let before = stage.ops().len();
            stage.start().await?;
            stage.idle().await;
            let ops = stage.ops();
            let first = ops[before..].iter().find_map(|op| match op {
                Op::Change(Change::Write { file, .. }) => {
                    files.iter().position(|ledger| *ledger == Some(*file))
                }
                Op::Change(_)
                | Op::SyncBegun(..)
                | Op::SyncEnded(_)
                | Op::SyncFailed { .. }
                | Op::Killed
                | Op::Left { .. }
                | Op::Forgotten(_) => None,
            });
            ensure(first == Some(broken), "the whole one is written over")
        })?;
    }
    Ok(())
}

pub(super) fn a_ledger_holds_durable_commits_only() -> Result<(), Wrong> {
    history("journal_round")?;
    history("clean_stop")
}

pub(super) fn a_full_disk_stops_no_removal() -> Result<(), Wrong> {
    let sim = Sim::new(1);
    let promises = Arc::default();
    let acks = |whose| {
        let promises = Arc::clone(&promises);
        Arc::new(Acks { whose, promises })
    };
    sim.block_on(async {
        let host = sim.node("n");
        let opened = LogDir::open(host.clone(), Path::new(DIR), options()).await;
        let dir = opened.map_err(text)?.0;
        let partitions = Partitions::new(dir, host, PartitionOptions::default());
        let (whose, name) = topic(0);
        let mut seen = Seen::default();
        let settings = settings(Durability::Fsync);
        let one = partitions.open(whose, name, settings, acks(whose), &mut seen);
        let log = one.await.map_err(text)?.log;
        let mut one = crate::node::Part::of(log, acks(whose), sim.node("n"));
        one.append(2_200)?;
        one.acked().await?;
        sim.set_capacity("n", 0);
        sim.pause(Duration::from_secs(2)).await;
        ensure(one.append(2_200).is_err(), "the disk is full")?;
        one.remove().await?;
        let known = partitions.dir().entry(&whose);
        ensure(known.is_none(), "the partition is gone")?;
        ensure(
            partitions.dir().offline().is_none(),
            "and the directory is not",
        )
    })?;
    let failed: &std::sync::Mutex<Promises> = &promises;
    ensure(crate::disk::lock(failed).failed.is_none(), "nothing failed")
}

/// A torn batch lies in the file of a partition that nobody opens for a while.
async fn torn_and_not_opened(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    let mut one = stage.open(0).await?;
    let mut two = stage.open(1).await?;
    stage.append(&mut one, 20).await?;
    stage.append(&mut two, 20).await?;
    stage.idle().await;
    one.append(300)?;
    one.append(300)?;
    drop((one, two));
    stage.cut_power_to(|volume| {
        let mut tree = volume.cache.clone();
        edit(&mut tree, &file("t-0", 0, "log"), |log| {
            // Not the last write: on the same boot this would be damage.
            let len = log.len();
            log[len - 500] ^= 1;
        });
        tree
    });
    stage.start().await
}

pub(super) fn a_debt_outlives_starts_that_do_not_pay_it() -> Result<(), Wrong> {
    for clean in [false, true] {
        images(50, async |stage| {
            torn_and_not_opened(stage).await?;
            stage.begin();
            let mut two = stage.open(1).await?;
            stage.append(&mut two, 20).await?;
            if clean {
                stage.stop(vec![two]).await?;
            } else {
                drop(two);
                stage.kill();
            }
            stage.start().await?;
            let mut one = stage.open(0).await?;
            ensure(one.log.log_end() == 2, "the log is cut at the tear")?;
            stage.append(&mut one, 20).await
        })?;
    }
    history("never_opened_between_starts")
}

pub(super) fn what_is_repeated_stays_of_the_boot_that_wrote_it() -> Result<(), Wrong> {
    play(async |stage| {
        let mut one = stage.open(0).await?;
        stage.append(&mut one, 30).await?;
        drop(one);
        stage.kill();
        stage.start().await?;
        // *Recovered* is in the commit of this append, the last of the boot.
        let mut one = stage.open(0).await?;
        stage.append(&mut one, 30).await?;
        drop(one);
        stage.cut_power();
        for life in 0..3 {
            stage.start().await?;
            // The commit is made again, and the run before is not let go yet.
            stage.pause(stage.sync * 3 / 2).await;
            let dir = stage.process()?.partitions.dir().clone();
            let entry = dir.entry(&topic(0).0).ok_or("it was written")?;
            let of = entry.since_generation;
            let what = format!("life {life}: bytes of another boot count as of generation {of}");
            ensure(!dir.same_boot(&entry), &what)?;
            drop(dir);
            stage.kill();
        }
        Ok(())
    })
    .map(drop)
}

pub(super) fn an_append_behind_a_clean_start_outlives_a_kill() -> Result<(), Wrong> {
    images(50, async |stage| {
        stage.options.flush_lag = Duration::from_secs(10);
        let mut one = stage.open(0).await?;
        stage.append(&mut one, 30).await?;
        stage.stop(vec![one]).await?;
        stage.start().await?;
        stage.begin();
        let mut one = stage.open(0).await?;
        // Nobody waits for it to be durable.
        one.append(30)?;
        drop(one);
        stage.kill();
        stage.start().await?;
        let mut one = stage.open(0).await?;
        ensure(one.log.log_end() == 4, "what was written is there")?;
        stage.append(&mut one, 30).await
    })
}

pub(super) fn a_flipped_base_offset_is_found() -> Result<(), Wrong> {
    let flipped = |volume: &Volume, tree: Tree| {
        let mut tree = tree;
        edit(&mut tree, &file("t-0", 0, "log"), |log| {
            // The lowest byte of the second batch's base offset.
            let first = 12 + u32::from_be_bytes(log[8..12].try_into().unwrap()) as usize;
            log[first + 7] ^= 1;
        });
        assert!(volume.limbo.is_empty());
        tree
    };
    // Above the mark, behind a power cut: the log is cut there. (Below it: broker/log.)
    images(20, async |stage| {
        let mut one = stage.open(0).await?;
        stage.append(&mut one, 30).await?;
        stage.idle().await;
        one.append(30)?;
        drop(one);
        stage.cut_power_to(|volume| flipped(volume, volume.cache.clone()));
        stage.begin();
        stage.start().await?;
        let one = stage.open(0).await?;
        ensure(one.log.log_end() == 2, "the batch is not taken")
    })
}

pub(super) fn a_change_of_durability_counts_nothing_before_its_sync() -> Result<(), Wrong> {
    history("durability_switched")
}

pub(super) fn a_page_cache_log_of_many_segments_keeps_what_was_synced() -> Result<(), Wrong> {
    play(async |stage| {
        let mut one = stage.open_page_cache(0).await?;
        for _ in 0..60 {
            one.append(900)?;
            stage.idle().await;
        }
        let synced = one.promise(|promise| promise.acked);
        ensure(synced > 100, "segments are synced as they are closed")?;
        drop(one);
        stage.cut_power();
        stage.start().await?;
        let one = stage.open_page_cache(0).await?;
        ensure(one.log.log_end() >= synced, "it is not cut at an early one")
    })?;
    history("page_cache_segments")?;
    history("page_cache_killed")
}

pub(super) fn what_a_failed_write_back_left_in_the_cache_is_written_again() -> Result<(), Wrong> {
    what_a_sync_failed_for_is_proven(|path| path.contains(".log"), 2_200)
}

const HOUR_MS: i64 = 3_600_000;

fn at(mono_ms: u64, wall_ms: i64) -> Now {
    Now {
        mono: Mono(mono_ms * 1_000_000),
        wall_ms,
    }
}

pub(super) fn a_zeroed_time_index_condemns_nothing() -> Result<(), Wrong> {
    play(async |stage| {
        let mut one = stage.open(0).await?;
        for _ in 0..5 {
            stage.append(&mut one, 900).await?;
        }
        stage.stop(vec![one]).await?;
        stage.kill_to(|volume| {
            let mut tree = volume.durable.clone();
            for base in [0, 4] {
                edit(&mut tree, &file("t-0", base, "timeindex"), |index| {
                    index.fill(0);
                });
            }
            tree
        });
        stage.start().await?;
        let retaining = LogSettings {
            retention_ms: Some(500),
            ..settings(Durability::Fsync)
        };
        let mut one = stage.open_with(0, retaining).await?;
        one.log.reader().measure().await.map_err(text)?;
        let (end, fresh) = (one.log.log_end(), at(0, 1_400));
        let due = one.log.retention_due(fresh, end, true);
        ensure(due.is_none(), "what is 400 ms old is not due")?;
        let due = one.log.retention_due(at(0, 1_600), end, true);
        ensure(due.is_some(), "what is 600 ms old is")
    })
    .map(drop)
}

pub(super) fn a_clock_that_jumps_holds_retention_by_time() -> Result<(), Wrong> {
    let start = 1_700_000_000_000;
    let mut guard = WallGuard::new("retention", at(0, start), Some(start));
    ensure(
        guard.allows(at(1_000, start + 1_000)),
        "a clock that goes on",
    )?;
    let jumped = start + 9_000 * HOUR_MS;
    ensure(!guard.allows(at(2_000, jumped)), "a jump of a year")?;
    let day = 24 * HOUR_MS;
    let held = guard.allows(at(day as u64 - 1, jumped + day - 2_001));
    ensure(!held, "for a day")?;
    let later = at(day as u64 + 2_001, jumped + day + 1);
    ensure(guard.allows(later), "and no longer")?;
    let mut away = WallGuard::new("retention", at(0, start), Some(start - 8 * day));
    ensure(!away.allows(at(1, start + 1)), "away for more than a week")
}
