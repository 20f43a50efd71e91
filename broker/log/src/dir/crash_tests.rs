//! The directory side on a simulated disk: kills and power cuts at drawn instants, and single rules.

use millrace_host::sync::Mutex;
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

async fn life(sim: &Sim, host: Host, promises: &[Mutex<Promise>], next_id: &mut u64) {
    let Some((dir, mut parts)) = reopen(&host, promises).await else {
        return;
    };
    for _ in 0..sim.draw(60) {
        let index = sim.draw(u64::from(PARTS)) as usize;
        step(sim, &mut parts[index], &promises[index], next_id).await;
        for (part, promise) in parts.iter().zip(promises) {
            let mut promise = lock(promise);
            let acked = part.acked();
            if acked > promise.acked.len() {
                promise.acked = part.records[..acked].to_vec();
            }
        }
    }
    if sim.draw(4) == 0 {
        stop(&dir, &parts, promises).await;
    }
}

/// Opens the directory and every partition; all that was promised must be there.
async fn reopen(host: &Host, promises: &[Mutex<Promise>]) -> Option<(Arc<LogDir>, Vec<Part>)> {
    let (dir, report) = match LogDir::open(host.clone(), &model::path(), options()).await {
        Ok(opened) => opened,
        // A planted fault.
        Err(Error::Io { .. } | Error::Offline { .. }) => return None,
        Err(error) => panic!("{error}"),
    };
    assert!(report.damaged.is_empty(), "{report:?}");
    let mut parts = Vec::new();
    for index in 0..PARTS {
        let part = Part::try_open(host, &dir, index).await?;
        let mut promise = lock(&promises[index as usize]);
        let found = &part.records;
        assert!(
            found.starts_with(&promise.acked),
            "partition {index}: acknowledged {:?}, found {found:?}",
            promise.acked
        );
        for id in &found[promise.acked.len()..] {
            assert!(
                promise.maybe.contains(id),
                "partition {index}: {id} from nowhere"
            );
        }
        assert!(
            !found.iter().any(|id| promise.gone.contains(id)),
            "a cut came back"
        );
        promise.acked.clone_from(found);
        drop(promise);
        parts.push(part);
    }
    Some((dir, parts))
}

/// An append, a cut or a pause.
async fn step(sim: &Sim, part: &mut Part, promise: &Mutex<Promise>, next_id: &mut u64) {
    match sim.draw(20) {
        0 if part.records.len() > 2 => {
            let keep = sim.draw(part.records.len() as u64) as usize;
            let lost = part.records[keep..].to_vec();
            {
                let mut promise = lock(promise);
                promise.acked.truncate(keep);
                promise.maybe.extend_from_slice(&lost);
            }
            part.cut(keep).await;
            // Once something behind the cut is acknowledged, what was cut is gone.
            *next_id += 1;
            lock(promise).maybe.push(*next_id);
            part.append(*next_id, 10, true);
            for _ in 0..100 {
                if part.acked() == keep + 1 {
                    let mut promise = lock(promise);
                    promise.acked.clone_from(&part.records);
                    promise.gone.extend(lost);
                    break;
                }
                sim.pause(Duration::from_millis(1)).await;
            }
        }
        1..4 => sim.pause(Duration::from_micros(sim.draw(30_000))).await,
        kind => {
            *next_id += 1;
            lock(promise).maybe.push(*next_id);
            let len = if kind < 6 {
                1 + sim.draw(150_000)
            } else {
                1 + sim.draw(3000)
            };
            part.append(*next_id, len as usize, sim.draw(3) > 0);
        }
    }
}

/// A clean stop.
async fn stop(dir: &LogDir, parts: &[Part], promises: &[Mutex<Promise>]) {
    for part in parts {
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

/// Lives one after the other, each ended by a kill or a power cut at a drawn instant.
fn run(seed: u64, lives: usize, faults: bool) {
    let sim = Sim::new(seed);
    let promises: Vec<_> = (0..PARTS).map(|_| Mutex::new(Promise::default())).collect();
    let mut next_id = seed << 20;
    for _ in 0..lives {
        let host = sim.node("n");
        let span = Duration::from_micros(sim.draw(400_000));
        if faults && sim.draw(2) == 0 {
            let path = ["journal", "ledger", ".log", ""][sim.draw(4) as usize];
            let op = [DiskOp::Sync, DiskOp::SyncDir][usize::from(sim.draw(4) == 0)];
            let fault = DiskFault {
                op,
                path_contains: path.into(),
                when: When::Nth(1 + sim.draw(30)),
                effect: DiskEffect::Error,
            };
            sim.inject("n", fault);
        }
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
    sim.heal_disk("n", None);
    let host = sim.node("n");
    sim.block_on(life(&sim, host, &promises, &mut next_id));
}

#[test]
fn what_was_acknowledged_is_there_after_any_kill_or_power_cut() {
    for seed in 0..40 {
        let caught = std::panic::catch_unwind(|| run(seed, 8, false));
        assert!(caught.is_ok(), "seed {seed}");
    }
}

#[test]
fn f1_what_was_acknowledged_is_there_after_failed_syncs_too() {
    for seed in 1000..1030 {
        let caught = std::panic::catch_unwind(|| run(seed, 8, true));
        assert!(caught.is_ok(), "seed {seed}");
    }
}

async fn appended(part: &mut Part, sim: &Sim, id: u64, len: usize) {
    part.append(id, len, true);
    while part.acked() < part.records.len() {
        sim.pause(Duration::from_micros(200)).await;
    }
}

#[test]
fn s3_a_journal_written_round_many_times_grows_and_loses_nothing() {
    let sim = Sim::new(7);
    let host = sim.node("n");
    let ids: Vec<u64> = (1..=1200).collect();
    sim.block_on(async {
        let (dir, _) = open(&host).await;
        let mut parts = [
            Part::open(&host, &dir, 0).await,
            Part::open(&host, &dir, 1).await,
        ];
        for id in &ids {
            appended(&mut parts[(*id % 2) as usize], &sim, *id, 9000).await;
        }
        let counts = dir.flusher_counts();
        assert!(counts.ledgers > 2, "files were given back: {counts:?}");
        assert!(
            counts.journal_bytes > 8 * options().journal_file_bytes_max,
            "{counts:?}"
        );
    });
    sim.crash("n");
    let host = sim.node("n");
    sim.block_on(async {
        let (dir, report) = open(&host).await;
        assert!(
            report.replayed_bytes < 4 * options().journal_file_bytes_max,
            "{report:?}"
        );
        for index in 0..2 {
            let part = Part::open(&host, &dir, index).await;
            let want: Vec<u64> = ids
                .iter()
                .copied()
                .filter(|id| id % 2 == u64::from(index))
                .collect();
            assert_eq!(part.records, want);
        }
    });
    let file = Path::new("/data").join(crate::journal::file::name(1, 0));
    assert!(
        host.disk
            .open(&file, millrace_host::OpenMode::Read)
            .is_err(),
        "old journals are let go"
    );
}

#[test]
fn f1_a_failed_sync_ends_the_directory_and_is_never_tried_again() {
    let sim = Sim::new(8);
    let host = sim.node("n");
    sim.block_on(async {
        let (dir, _) = open(&host).await;
        let mut part = Part::open(&host, &dir, 0).await;
        appended(&mut part, &sim, 1, 100).await;
        let fault = DiskFault {
            op: DiskOp::Sync,
            path_contains: "journal".into(),
            when: When::Nth(1),
            effect: DiskEffect::Error,
        };
        sim.inject("n", fault);
        part.append(2, 100, true);
        sim.pause(Duration::from_millis(100)).await;
        assert_eq!(part.acked(), 1);
        assert!(lock(&part.heard.failed).is_some() && dir.offline().is_some());
        // F2, F3: nothing more is written or promised, though the disk would take it.
        let commits = dir.flusher_counts().commits;
        part.append(3, 100, true);
        assert!(part.handle.mark_now(Mark::HighWatermark(2)).await.is_err());
        assert!(part.handle.settle().await.is_err());
        assert!(dir.close().await.is_err());
        assert_eq!(dir.flusher_counts().commits, commits);
        drop(part);
        drop(dir);
    });
    sim.kill("n");
    let host = sim.node("n");
    sim.block_on(async {
        let (dir, _) = open(&host).await;
        let part = Part::open(&host, &dir, 0).await;
        assert!(part.records.starts_with(&[1]));
    });
}

#[test]
fn c7_an_idle_directory_proves_its_last_commit_and_then_rests() {
    let sim = Sim::new(9);
    let host = sim.node("n");
    sim.block_on(async {
        let (dir, _) = open(&host).await;
        let mut part = Part::open(&host, &dir, 0).await;
        appended(&mut part, &sim, 1, 100).await;
        assert_eq!(
            dir.flusher_counts().commits,
            1,
            "one commit acknowledges a first append"
        );
        sim.pause(Duration::from_millis(200)).await;
        assert_eq!(dir.flusher_counts().commits, 2, "one more proves it");
        sim.pause(Duration::from_mins(1)).await;
        assert_eq!(dir.flusher_counts().commits, 2);
        let counts = dir.flusher_counts();
        assert_eq!((counts.direct_syncs, counts.ledgers), (0, 0));
    });
}

#[test]
fn c1_large_ranges_are_synced_directly_and_small_ones_share_commits() {
    let sim = Sim::new(10);
    let host = sim.node("n");
    sim.block_on(async {
        let (dir, _) = open(&host).await;
        let mut parts = Vec::new();
        for index in 0..PARTS {
            parts.push(Part::open(&host, &dir, index).await);
        }
        for round in 0..10 {
            for (index, part) in (0..).zip(&mut parts) {
                part.append(round * 10 + index, 500, true);
            }
            while parts.iter().any(|part| part.acked() < part.records.len()) {
                sim.pause(Duration::from_micros(100)).await;
            }
        }
        let counts = dir.flusher_counts();
        assert!(counts.commits <= 21, "the commits are shared: {counts:?}");
        assert_eq!(counts.direct_syncs, 0);
        appended(&mut parts[0], &sim, 999, 200_000).await;
        let direct = dir.flusher_counts();
        assert_eq!(direct.direct_syncs, 1);
        assert!(
            direct.journal_bytes - counts.journal_bytes < 50_000,
            "not written twice"
        );
        assert_eq!(dir.unflushed_bytes(), 0);
    });
}

#[test]
fn l3_unreadable_is_not_empty() {
    let sim = Sim::new(11);
    let host = sim.node("n");
    sim.block_on(async {
        let (dir, _) = open(&host).await;
        let mut part = Part::open(&host, &dir, 0).await;
        appended(&mut part, &sim, 1, 100).await;
    });
    sim.kill("n");
    let flip = |name: &str| {
        let path = Path::new("/data").join(name);
        assert!(sim.flip_bit("n", &path, 60, 1, millrace_sim::FlipAt::Everywhere));
    };
    flip("ledger.0");
    let host = sim.node("n");
    sim.block_on(async {
        // Either file is enough.
        let (dir, _) = open(&host).await;
        assert!(dir.entry(&incarnation(0)).is_some());
        // By then both are written anew.
        sim.pause(Duration::from_millis(100)).await;
    });
    sim.kill("n");
    let host = sim.node("n");
    flip("ledger.0");
    flip("ledger.1");
    sim.block_on(async {
        let opened = LogDir::open(host, &model::path(), options()).await;
        assert!(matches!(opened, Err(Error::Corrupt { .. })), "{opened:?}");
    });
}

#[test]
fn r1_damage_before_the_last_commit_takes_its_partition_offline_and_no_other() {
    let sim = Sim::new(12);
    let host = sim.node("n");
    sim.block_on(async {
        let (dir, _) = open(&host).await;
        let mut parts = [
            Part::open(&host, &dir, 0).await,
            Part::open(&host, &dir, 1).await,
        ];
        for id in 0..6 {
            appended(&mut parts[(id % 2) as usize], &sim, id, 3000).await;
        }
    });
    sim.kill("n");
    // Commits begin at every second block; this is in the middle of the third one's payload.
    let journal = Path::new("/data").join(crate::journal::file::name(1, 0));
    assert!(sim.flip_bit(
        "n",
        &journal,
        4096 * 2 + 1000,
        3,
        millrace_sim::FlipAt::Everywhere
    ));
    let host = sim.node("n");
    sim.block_on(async {
        let (dir, report) = open(&host).await;
        let hurt: Vec<_> = report.damaged.iter().map(|(whose, _)| *whose).collect();
        assert_eq!(hurt, vec![incarnation(0)]);
        assert!(dir.entry(&incarnation(0)).unwrap().damaged);
        let part = Part::open(&host, &dir, 1).await;
        assert_eq!(part.records, vec![1, 3, 5]);
    });
    sim.kill("n");
    let host = sim.node("n");
    sim.block_on(async {
        let (dir, _) = open(&host).await;
        assert!(
            dir.entry(&incarnation(0)).unwrap().damaged,
            "it is remembered"
        );
    });
}

/// A machine whose process was killed when five records were acknowledged from the journal.
fn killed_behind_five() -> Sim {
    let sim = Sim::new(13);
    let host = sim.node("n");
    sim.block_on(async {
        let (dir, _) = open(&host).await;
        let mut part = Part::open(&host, &dir, 0).await;
        for id in 0..5 {
            appended(&mut part, &sim, id, 3000).await;
        }
    });
    sim.kill("n");
    sim
}

#[test]
fn r1_a_missing_commit_with_a_later_one_stops_the_start() {
    let sim = killed_behind_five();
    let journal = Path::new("/data").join(crate::journal::file::name(1, 0));
    assert!(sim.flip_bit("n", &journal, 4096 + 9, 3, millrace_sim::FlipAt::Everywhere));
    let host = sim.node("n");
    sim.block_on(async {
        let opened = LogDir::open(host, &model::path(), options()).await;
        assert!(matches!(opened, Err(Error::Corrupt { .. })), "{opened:?}");
    });
}

#[test]
fn r1_a_missing_journal_file_stops_the_start_until_an_operator_gives_it_up() {
    let sim = killed_behind_five();
    let host = sim.node("n");
    let journal = Path::new("/data").join(crate::journal::file::name(1, 0));
    let away = Path::new("/away");
    let word = Path::new("/data").join(crate::error::ACCEPT_JOURNAL_LOSS);
    sim.block_on(async {
        host.disk.rename(&journal, away).await.unwrap();
        for _ in 0..2 {
            let opened = LogDir::open(host.clone(), &model::path(), options()).await;
            let refused = opened.err().unwrap().to_string();
            assert!(
                refused.contains("journal.0000000001.0: somebody"),
                "{refused}"
            );
            assert!(refused.contains("/data/.accept-journal-loss"), "{refused}");
        }
        // Nothing was changed: put back, everything is there.
        host.disk.rename(away, &journal).await.unwrap();
        let (dir, _) = open(&host).await;
        let part = Part::open(&host, &dir, 0).await;
        assert_eq!(part.records, [0, 1, 2, 3, 4]);
    });
    sim.kill("n");
    let host = sim.node("n");
    sim.block_on(async {
        let gone = Path::new("/data").join(crate::journal::file::name(2, 1));
        host.disk.remove(&gone).await.unwrap();
        let made = host.disk.open(&word, millrace_host::OpenMode::Create);
        drop(made.unwrap());
        let (dir, _) = open(&host).await;
        dir.close().await.unwrap();
        drop(dir);
        sim.pause(Duration::from_millis(1)).await;
        let left = host.disk.open(&word, millrace_host::OpenMode::Read);
        assert!(left.is_err(), "its word counts once");
        open(&host).await;
    });
}

#[test]
fn a1_a_directory_of_others_is_refused_with_a_reason() {
    let sim = Sim::new(14);
    let host = sim.node("n");
    sim.block_on(async {
        let (dir, report) = open(&host).await;
        assert!(report.formatted);
        let twice = LogDir::open(host.clone(), &model::path(), options()).await;
        assert!(matches!(twice, Err(Error::InUse { .. })), "{twice:?}");
        dir.close().await.unwrap();
        drop(dir);
        sim.pause(Duration::from_millis(1)).await;
        let cluster = DirOptions {
            cluster_id: Some("other".into()),
            ..options()
        };
        let node = DirOptions {
            node_id: 2,
            ..options()
        };
        for options in [cluster, node] {
            let opened = LogDir::open(host.clone(), &model::path(), options).await;
            assert!(matches!(opened, Err(Error::Foreign { .. })), "{opened:?}");
        }
        let other = Path::new("/other");
        host.disk.create_dir(other).unwrap();
        host.disk.create_dir(&other.join("photos")).unwrap();
        let opened = LogDir::open(host.clone(), other, options()).await;
        assert!(matches!(opened, Err(Error::Foreign { .. })), "{opened:?}");
        let names = host.disk.list(other).await.unwrap();
        assert_eq!(names.len(), 1, "and nothing was left in it");
    });
}

#[test]
fn f4_a_full_disk_stops_no_commit() {
    let sim = Sim::new(15);
    let host = sim.node("n");
    sim.block_on(async {
        let (dir, _) = open(&host).await;
        let mut part = Part::open(&host, &dir, 0).await;
        appended(&mut part, &sim, 1, 100).await;
        sim.pause(Duration::from_millis(50)).await;
        sim.set_capacity("n", 0);
        sim.pause(Duration::from_secs(2)).await;
        assert!(!dir.has_room(1000, false));
        part.handle.mark_now(Mark::DeleteIntent).await.unwrap();
        part.handle.mark_now(Mark::DeleteDone).await.unwrap();
        assert!(dir.entry(&incarnation(0)).is_none() && dir.offline().is_none());
        sim.set_capacity("n", 1 << 40);
        sim.pause(Duration::from_secs(2)).await;
        assert!(dir.has_room(1000, false), "it resumes by itself");
        assert_eq!(at(0, 0).offset, 0);
    });
}

fn on_journal_sync(effect: DiskEffect) -> DiskFault {
    DiskFault {
        op: DiskOp::Sync,
        path_contains: "journal".into(),
        when: When::Always,
        effect,
    }
}

#[test]
fn c4_a_direct_sync_counts_only_with_its_segments_existence() {
    let sim = Sim::new(16);
    let host = sim.node("n");
    sim.block_on(async {
        let (dir, _) = open(&host).await;
        let mut part = Part::open(&host, &dir, 0).await;
        let slow = DiskEffect::Slow(Duration::from_millis(300));
        sim.inject("n", on_journal_sync(slow));
        part.append(1, 100_000, true);
        sim.pause(Duration::from_millis(100)).await;
        assert_eq!(dir.flusher_counts().direct_syncs, 1);
        assert_eq!(part.acked(), 0, "its existence isn't durable yet");
        sim.pause(Duration::from_millis(300)).await;
        assert_eq!(part.acked(), 1);
    });
}

#[test]
fn c2_nothing_of_a_partition_overtakes_its_direct_sync() {
    let sim = Sim::new(17);
    let host = sim.node("n");
    sim.block_on(async {
        let (dir, _) = open(&host).await;
        let mut parts = [
            Part::open(&host, &dir, 0).await,
            Part::open(&host, &dir, 1).await,
        ];
        for part in &mut parts {
            appended(part, &sim, 1, 10).await;
        }
        let slow = DiskFault {
            op: DiskOp::Sync,
            path_contains: "t0-0".into(),
            when: When::Always,
            effect: DiskEffect::Slow(Duration::from_millis(300)),
        };
        sim.inject("n", slow);
        parts[0].append(2, 100_000, true);
        sim.pause(Duration::from_millis(20)).await;
        parts[0].append(3, 10, true);
        parts[1].append(2, 10, true);
        sim.pause(Duration::from_millis(100)).await;
        assert_eq!(
            (parts[0].acked(), parts[1].acked()),
            (1, 2),
            "others commit meanwhile"
        );
        sim.pause(Duration::from_secs(1)).await;
        assert_eq!(parts[0].acked(), 3);
        // Back to the journal once the large range is through.
        let direct = dir.flusher_counts().direct_syncs;
        appended(&mut parts[0], &sim, 4, 10).await;
        assert_eq!(dir.flusher_counts().direct_syncs, direct);
    });
}

#[test]
fn j4_a_commit_that_counted_after_a_kill_still_counts_after_a_power_cut() {
    for seed in 0..20 {
        let sim = Sim::new(seed);
        let host = sim.node("n");
        sim.block_on(async {
            let (dir, _) = open(&host).await;
            let mut part = Part::open(&host, &dir, 0).await;
            appended(&mut part, &sim, 1, 100).await;
            // The second one's commit reaches the page cache only.
            sim.inject("n", on_journal_sync(DiskEffect::Hang));
            part.append(2, 5000, true);
            sim.pause(Duration::from_millis(10)).await;
            assert_eq!(part.acked(), 1);
        });
        sim.kill("n");
        sim.heal_disk("n", None);
        let flushed = |dir: &LogDir| dir.entry(&incarnation(0)).unwrap().flushed.unwrap().offset;
        let host = sim.node("n");
        sim.block_on(async {
            let (dir, _) = open(&host).await;
            dir.proven().await.unwrap();
            assert_eq!(flushed(&dir), 2);
        });
        sim.crash("n");
        let host = sim.node("n");
        sim.block_on(async {
            let (dir, _) = open(&host).await;
            assert_eq!(flushed(&dir), 2, "seed {seed}");
            assert_eq!(Part::open(&host, &dir, 0).await.records, vec![1, 2]);
        });
    }
}

#[test]
fn j4_whoever_opens_while_the_last_commit_cant_be_made_again_is_told_each_time() {
    let sim = Sim::new(19);
    let host = sim.node("n");
    sim.block_on(async {
        let (dir, _) = open(&host).await;
        let mut part = Part::open(&host, &dir, 0).await;
        sim.inject("n", on_journal_sync(DiskEffect::Hang));
        part.append(1, 5000, true);
        sim.pause(Duration::from_millis(10)).await;
    });
    sim.kill("n");
    sim.heal_disk("n", None);
    let host = sim.node("n");
    sim.block_on(async {
        let (dir, _) = open(&host).await;
        sim.inject("n", on_journal_sync(DiskEffect::Error));
        for _ in 0..3 {
            assert!(matches!(dir.proven().await, Err(Error::Offline { .. })));
        }
    });
}

#[test]
fn j4_two_unsettled_generations_are_settled_before_anyone_is_served() {
    let sim = Sim::new(18);
    for id in 1..4_u64 {
        let host = sim.node("n");
        // Nothing is settled by the starts themselves: the syncs of segments hang.
        sim.heal_disk("n", None);
        let hang = DiskFault {
            op: DiskOp::Sync,
            path_contains: ".log".into(),
            when: When::Always,
            effect: DiskEffect::Slow(Duration::from_millis(500)),
        };
        sim.inject("n", hang);
        sim.block_on(async {
            let (dir, _) = open(&host).await;
            let names = host.disk.list(Path::new("/data")).await.unwrap();
            let journals = names.iter().filter(|one| one.name.starts_with("journal."));
            assert!(
                journals.count() <= 4,
                "at most one generation beside its own"
            );
            if id == 1 {
                let mut part = Part::open(&host, &dir, 0).await;
                appended(&mut part, &sim, id, 100).await;
            } else {
                let entry = dir.entry(&incarnation(0)).unwrap();
                assert_eq!(entry.flushed.unwrap().offset, 1);
            }
        });
        sim.kill("n");
    }
    sim.heal_disk("n", None);
    let host = sim.node("n");
    sim.block_on(async {
        let (dir, _) = open(&host).await;
        assert_eq!(Part::open(&host, &dir, 0).await.records, vec![1]);
    });
}

#[test]
fn c6_a_completion_from_before_a_cut_counts_for_nothing() {
    let sim = Sim::new(19);
    let host = sim.node("n");
    sim.block_on(async {
        let (dir, _) = open(&host).await;
        let mut part = Part::open(&host, &dir, 0).await;
        for id in 1..4 {
            appended(&mut part, &sim, id, 100).await;
        }
        let slow = DiskEffect::Slow(Duration::from_millis(200));
        sim.inject("n", on_journal_sync(slow));
        part.append(4, 100, true);
        sim.pause(Duration::from_millis(10)).await;
        part.cut(2).await;
        assert_eq!(part.acked(), 2);
        assert_eq!(part.handle.flushed().offset, 2);
        part.append(5, 100, true);
        sim.pause(Duration::from_secs(2)).await;
        assert_eq!((part.acked(), part.records.clone()), (3, vec![1, 2, 5]));
        assert_eq!(dir.unflushed_bytes(), 0);
    });
}

#[test]
fn c6_a_direct_sync_from_before_a_cut_counts_for_nothing() {
    let sim = Sim::new(20);
    let host = sim.node("n");
    sim.block_on(async {
        let (dir, _) = open(&host).await;
        let mut part = Part::open(&host, &dir, 0).await;
        for id in 1..4 {
            appended(&mut part, &sim, id, 100).await;
        }
        let slow = DiskFault {
            op: DiskOp::Sync,
            path_contains: "t0-0".into(),
            when: When::Always,
            effect: DiskEffect::Slow(Duration::from_millis(200)),
        };
        sim.inject("n", slow);
        part.append(4, 100_000, true);
        sim.pause(Duration::from_millis(10)).await;
        part.handle.cut(at(part.ends[1], 2));
        sim.pause(Duration::from_secs(1)).await;
        assert_eq!(part.handle.flushed().offset, 2);
        assert_eq!(dir.unflushed_bytes(), 0);
    });
}

#[test]
fn past_the_unflushed_limit_senders_wait_until_bytes_are_durable() {
    let sim = Sim::new(21);
    let host = sim.node("n");
    sim.block_on(async {
        let limited = DirOptions {
            unflushed_bytes_max: 10_000,
            ..options()
        };
        let (dir, _) = LogDir::open(host.clone(), &model::path(), limited)
            .await
            .unwrap();
        let mut part = Part::open(&host, &dir, 0).await;
        dir.below_unflushed_limit().await;
        let slow = DiskEffect::Slow(Duration::from_millis(300));
        let id = sim.inject("n", on_journal_sync(slow));
        part.append(1, 20_000, true);
        let until = sim.elapsed() + Duration::from_millis(300);
        dir.below_unflushed_limit().await;
        assert!(sim.elapsed() >= until);
        assert_eq!((dir.unflushed_bytes(), part.acked()), (0, 1));
        // A directory that has ended holds nobody back.
        sim.heal_disk("n", Some(id));
        sim.inject("n", on_journal_sync(DiskEffect::Hang));
        part.append(2, 20_000, true);
        let settled = part.handle.mark_now(Mark::HighWatermark(1));
        dir.fail("for this test");
        dir.below_unflushed_limit().await;
        assert!(settled.await.is_err());
    });
}

#[test]
fn bytes_nobody_waits_for_are_durable_after_the_lag() {
    let sim = Sim::new(22);
    let host = sim.node("n");
    sim.block_on(async {
        let (dir, _) = open(&host).await;
        let mut parts = [
            Part::open(&host, &dir, 0).await,
            Part::open(&host, &dir, 1).await,
        ];
        parts[0].append(1, 100, false);
        for id in 1..5 {
            parts[1].append(id, 100_000, false);
        }
        sim.pause(Duration::from_millis(10)).await;
        assert_eq!((parts[0].acked(), parts[1].acked()), (0, 0));
        sim.pause(Duration::from_millis(60)).await;
        assert_eq!((parts[0].acked(), parts[1].acked()), (1, 4));
        assert_eq!(dir.flusher_counts().direct_syncs, 1, "together");
        // Unless somebody comes to wait.
        parts[0].append(2, 100, false);
        parts[0].handle.flush_now();
        sim.pause(Duration::from_millis(10)).await;
        assert_eq!(parts[0].acked(), 2);
    });
}
