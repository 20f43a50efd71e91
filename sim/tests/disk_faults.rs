//! Each fault of the simulated disk does what its documentation says, and is counted.
#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::io::{ErrorKind, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use millrace_host::{File, Host, OpenMode};
use millrace_sim::{
    DiskEffect, DiskFault, DiskLimits, DiskOp, FlipAt, Sim, SimOptions, When, faults,
};

const PATH: &str = "/f";

fn fault(op: DiskOp, when: When, effect: DiskEffect) -> DiskFault {
    DiskFault {
        op,
        path_contains: String::new(),
        when,
        effect,
    }
}

fn create(host: &Host) -> Arc<dyn File> {
    host.disk.open(Path::new(PATH), OpenMode::Create).unwrap()
}

fn put(file: &Arc<dyn File>, offset: u64, bytes: &[u8]) -> std::io::Result<usize> {
    file.write_vectored_at(&[IoSlice::new(bytes)], offset)
}

/// What the next boot finds.
fn after_power_cut(sim: &Sim) -> Vec<u8> {
    sim.crash("n");
    let host = sim.node("n");
    let file = host.disk.open(Path::new(PATH), OpenMode::Read).unwrap();
    sim.block_on(file.read_at(0, usize::MAX)).unwrap().to_vec()
}

fn durable(sim: &Sim, bytes: &[u8]) -> Arc<dyn File> {
    let host = sim.node("n");
    let file = create(&host);
    put(&file, 0, bytes).unwrap();
    sim.block_on(file.sync()).unwrap();
    sim.block_on(host.disk.sync_dir(Path::new("/"))).unwrap();
    file
}

#[test]
fn un_synced_bytes_are_lost_by_some_seeds_and_kept_by_others() {
    let outcomes: Vec<bool> = (0..64)
        .map(|seed| {
            let sim = Sim::new(seed);
            let file = durable(&sim, &[1; 512]);
            put(&file, 0, &[2; 512]).unwrap();
            after_power_cut(&sim) == [2; 512]
        })
        .collect();
    assert!(outcomes.iter().filter(|kept| **kept).count() > 10);
    assert!(outcomes.iter().filter(|kept| !**kept).count() > 10);
}

#[test]
fn a_length_that_was_not_synced_may_leave_a_hole_of_zeros() {
    let mut holes = 0;
    for seed in 0..64 {
        let sim = Sim::new(seed);
        let file = durable(&sim, b"");
        put(&file, 0, &[1; 4096]).unwrap();
        let found = after_power_cut(&sim);
        assert!(found.iter().all(|byte| *byte <= 1));
        assert!(found.is_empty() || found.len() == 4096);
        holes += u32::from(found.contains(&0));
    }
    assert!(
        holes > 5,
        "the zeros at an end of log that recovery must judge: {holes}"
    );
}

#[test]
fn a_sync_covers_what_was_written_before_it_started_and_nothing_later() {
    let mut lost = 0;
    for seed in 0..64 {
        let sim = Sim::new(seed);
        let file = durable(&sim, &[1; 1024]);
        put(&file, 0, &[2; 512]).unwrap();
        let sync = file.sync();
        put(&file, 512, &[3; 512]).unwrap();
        sim.block_on(sync).unwrap();
        let found = after_power_cut(&sim);
        assert_eq!(found[..512], [2; 512]);
        lost += u32::from(found[512..] == [1; 512]);
    }
    assert!(lost > 10, "the later write was not covered: {lost}");
}

#[test]
fn bytes_behind_a_lost_length_are_zeros_when_the_file_grows_again() {
    let mut shortened = 0;
    for seed in 0..64 {
        let sim = Sim::new(seed);
        let file = durable(&sim, b"");
        put(&file, 0, &[1; 4096]).unwrap();
        shortened += u32::from(after_power_cut(&sim).is_empty());
        let file = sim
            .node("n")
            .disk
            .open(Path::new(PATH), OpenMode::Write)
            .unwrap();
        if file.is_empty().unwrap() {
            file.set_len(4096).unwrap();
            assert_eq!(sim.block_on(file.read_at(0, 4096)).unwrap()[..], [0; 4096]);
        }
    }
    assert!(shortened > 10);
}

#[test]
fn a_failed_sync_covers_nothing_and_neither_does_the_next() {
    let (mut lost_after_success, mut dropped_from_cache) = (0, 0);
    for seed in 0..64 {
        let sim = Sim::new(seed);
        let file = durable(&sim, &[1; 2048]);
        sim.inject("n", fault(DiskOp::Sync, When::Nth(1), DiskEffect::Error));
        put(&file, 0, &[2; 2048]).unwrap();
        assert!(sim.block_on(file.sync()).is_err());
        sim.block_on(file.sync()).unwrap();
        let cached = sim.block_on(file.read_at(0, 2048)).unwrap();
        dropped_from_cache += u32::from(cached[..] != [2; 2048]);
        lost_after_success += u32::from(after_power_cut(&sim) != [2; 2048]);
        assert_eq!(sim.count(faults::SYNC_ERROR), 1);
    }
    assert!(
        lost_after_success > 20,
        "the second sync must prove nothing"
    );
    assert!(dropped_from_cache > 5 && dropped_from_cache < 60);
}

#[test]
fn a_full_disk_takes_what_fits_and_then_nothing() {
    let disk = DiskLimits {
        capacity: 8 * 4096,
        ..DiskLimits::default()
    };
    let sim = Sim::with_options(SimOptions {
        disk,
        ..SimOptions::default()
    });
    let host = sim.node("n");
    let file = create(&host);
    assert_eq!(
        put(&file, 100, &vec![1; 10 * 4096]).unwrap(),
        8 * 4096 - 100
    );
    assert_eq!(host.disk.space(Path::new("/")).unwrap().available, 0);
    assert_eq!(
        put(&file, 8 * 4096, b"x").unwrap_err().kind(),
        ErrorKind::StorageFull
    );
    assert_eq!(put(&file, 0, b"over what is there").unwrap(), 18);
    assert_eq!(
        file.allocate(0, 9 * 4096).unwrap_err().kind(),
        ErrorKind::StorageFull
    );
    file.set_len(4096).unwrap();
    assert_eq!(host.disk.space(Path::new("/")).unwrap().available, 7 * 4096);
    let other = host.disk.open(Path::new("/g"), OpenMode::Create).unwrap();
    other.allocate(0, 7 * 4096).unwrap();
    assert_eq!(
        put(&other, 0, &vec![2; 7 * 4096]).unwrap(),
        7 * 4096,
        "room taken is room to write"
    );
    drop(file);
    sim.block_on(host.disk.remove(Path::new(PATH))).unwrap();
    assert_eq!(host.disk.space(Path::new("/")).unwrap().available, 4096);
    sim.set_capacity("n", 1 << 30);
    assert!(host.disk.space(Path::new("/")).unwrap().available > 1 << 29);
}

#[test]
fn a_hung_sync_ends_when_it_is_healed() {
    let sim = Sim::new(1);
    let file = durable(&sim, b"bytes");
    let hang = sim.inject("n", fault(DiskOp::Sync, When::Always, DiskEffect::Hang));
    let world = sim.world();
    let host = sim.node("n");
    sim.block_on(async move {
        let sync = file.sync();
        host.spawn.spawn(
            millrace_host::Pool::Data,
            "healer",
            Box::pin(async move {
                world.pause(Duration::from_mins(1)).await;
                world.heal_disk("n", Some(hang));
            }),
        );
        sync.await.unwrap();
    });
    assert!(sim.elapsed() >= Duration::from_mins(1));
    assert_eq!(sim.count(faults::HUNG), 1);
}

#[test]
fn a_slow_sync_is_slow_and_right() {
    let sim = Sim::new(1);
    let slow = DiskEffect::Slow(Duration::from_secs(3));
    sim.inject("n", fault(DiskOp::Sync, When::Always, slow));
    durable(&sim, &[4; 700]);
    assert!(sim.elapsed() >= Duration::from_secs(3));
    assert_eq!(after_power_cut(&sim), [4; 700]);
}

#[test]
fn errors_and_short_writes_strike_the_operation_they_are_planted_on() {
    let sim = Sim::new(3);
    let file = durable(&sim, b"bytes");
    sim.inject("n", fault(DiskOp::Write, When::Nth(2), DiskEffect::Error));
    sim.inject("n", fault(DiskOp::Write, When::Nth(3), DiskEffect::NoSpace));
    assert_eq!(put(&file, 0, b"1").unwrap(), 1);
    assert!(put(&file, 0, b"2").is_err());
    assert_eq!(
        put(&file, 0, b"3").unwrap_err().kind(),
        ErrorKind::StorageFull
    );
    sim.heal_disk("n", None);
    sim.inject("n", fault(DiskOp::Write, When::Always, DiskEffect::Short));
    assert!(put(&file, 0, &[9; 1000]).map_or(true, |taken| taken < 1000));
    sim.heal_disk("n", None);
    sim.inject("n", fault(DiskOp::Read, When::Nth(1), DiskEffect::Error));
    assert!(sim.block_on(file.read_at(0, 1)).is_err());
    assert_eq!(&sim.block_on(file.read_at(0, 1)).unwrap()[..1].len(), &1);
    let mut only = fault(DiskOp::Read, When::Always, DiskEffect::Error);
    only.path_contains = "elsewhere".to_owned();
    sim.inject("n", only);
    assert!(sim.block_on(file.read_at(0, 1)).is_ok());
}

#[test]
fn rot_shows_at_once_or_after_a_power_cut() {
    let sim = Sim::new(5);
    let file = durable(&sim, &[0; 100]);
    assert!(sim.flip_bit("n", Path::new(PATH), 7, 3, FlipAt::Device));
    assert_eq!(sim.block_on(file.read_at(7, 1)).unwrap()[..], [0]);
    assert!(sim.flip_bit("n", Path::new(PATH), 8, 0, FlipAt::Everywhere));
    assert_eq!(sim.block_on(file.read_at(8, 1)).unwrap()[..], [1]);
    assert!(!sim.flip_bit("n", Path::new(PATH), 100, 0, FlipAt::Everywhere));
    let found = after_power_cut(&sim);
    assert_eq!((found[7], found[8]), (8, 1));
    assert_eq!(sim.count(faults::BIT_FLIP), 2);
}

#[test]
fn a_write_can_go_astray_or_be_flipped_behind_the_cache() {
    let mut strayed = 0;
    for seed in 0..20 {
        for effect in [DiskEffect::Misdirect, DiskEffect::FlipBit] {
            let sim = Sim::new(seed);
            let file = durable(&sim, &[0; 8192]);
            sim.inject("n", fault(DiskOp::Write, When::Nth(1), effect));
            put(&file, 512, &[0xff; 512]).unwrap();
            sim.block_on(file.sync()).unwrap();
            assert_eq!(
                sim.block_on(file.read_at(512, 512)).unwrap()[..],
                [0xff; 512]
            );
            let found = after_power_cut(&sim);
            let right = found[512..1024] == [0xff; 512];
            let ones: u32 = found.iter().map(|byte| byte.count_ones()).sum();
            let flipped = u32::from(effect == DiskEffect::FlipBit);
            assert_eq!(ones, 512 * 8 - flipped);
            strayed += u32::from(!right && effect == DiskEffect::Misdirect);
        }
    }
    assert!(strayed > 10);
}

#[test]
fn a_dead_process_changes_nothing() {
    let sim = Sim::new(9);
    let file = durable(&sim, b"before");
    let old = sim.node("n");
    let lock = old.disk.lock(Path::new("/lock")).unwrap();
    let sync = file.sync();
    sim.kill("n");
    let new = sim.node("n");
    assert!(put(&file, 0, b"after!").is_err());
    assert!(old.disk.open(Path::new("/x"), OpenMode::Create).is_err());
    assert!(sim.block_on(sync).is_err());
    let again = new.disk.lock(Path::new("/lock")).unwrap();
    drop(lock);
    let third = new.disk.lock(Path::new("/lock"));
    assert_eq!(
        third.unwrap_err().kind(),
        ErrorKind::WouldBlock,
        "a dead guard frees nothing"
    );
    drop(again);
    let found = new.disk.open(Path::new(PATH), OpenMode::Read).unwrap();
    assert_eq!(sim.block_on(found.read_at(0, 6)).unwrap()[..], *b"before");
}

#[test]
fn a_power_cut_flips_only_what_nobody_was_promised() {
    let mut flipped = 0;
    for seed in 0..64 {
        let sim = Sim::new(seed);
        let disk = sim.node("n").disk;
        let path = Path::new("/f.log");
        let file = disk.open(path, OpenMode::CreateNew).unwrap();
        put(&file, 0, &[255; 1024]).unwrap();
        sim.block_on(file.sync()).unwrap();
        sim.block_on(disk.sync_dir(Path::new("/"))).unwrap();
        put(&file, 512, &[255; 1024]).unwrap();
        put(&file, 1536, &[255; 1024]).unwrap();
        sim.crash_with_flips("n");
        let file = sim.node("n").disk.open(path, OpenMode::Read).unwrap();
        let found = sim.block_on(file.read_at(0, 4096)).unwrap();
        assert_eq!(found[..1024], [255; 1024], "written again in place");
        let one_bit = |byte: &&u8| byte.count_ones() == 7;
        assert_eq!(
            found.iter().filter(one_bit).count() as u64,
            sim.count(faults::CUT_FLIP)
        );
        flipped += sim.count(faults::CUT_FLIP);
    }
    assert!(flipped > 5, "{flipped}");
}

#[test]
fn a_directory_that_is_away_comes_back_as_it_was() {
    for leaves_empty in [false, true] {
        let sim = Sim::new(1);
        let (root, dir, path) = (Path::new("/"), Path::new("/d"), Path::new("/d/f"));
        let disk = sim.node("n").disk;
        disk.create_dir(dir).unwrap();
        assert!(!sim.take_away("n", "/d", leaves_empty), "not durable yet");
        sim.block_on(disk.sync_dir(root)).unwrap();
        let file = disk.open(path, OpenMode::CreateNew).unwrap();
        put(&file, 0, &[3; 10]).unwrap();
        sim.kill("n");
        assert!(sim.take_away("n", "/d", leaves_empty));
        let disk = sim.node("n").disk;
        assert_eq!(
            disk.open(path, OpenMode::Read).unwrap_err().kind(),
            ErrorKind::NotFound
        );
        assert!(sim.count(faults::ABSENT) > 0);
        assert_eq!(disk.create_dir(dir).is_ok(), !leaves_empty);
        disk.open(path, OpenMode::CreateNew).unwrap();
        sim.kill("n");
        sim.bring_back("n", "/d");
        let file = sim.node("n").disk.open(path, OpenMode::Read).unwrap();
        assert_eq!(sim.block_on(file.read_at(0, 99)).unwrap()[..], [3; 10]);
        assert!(
            sim.files("n")
                .iter()
                .any(|(found, len)| found == path && *len == 10)
        );
    }
}

/// The next write's pages are not written back.
fn fail_write_back(sim: &Sim, file: &Arc<dyn File>, bytes: &[u8]) {
    sim.inject(
        "n",
        fault(DiskOp::WriteBack, When::Nth(1), DiskEffect::Error),
    );
    put(file, 0, bytes).unwrap();
    sim.heal_disk("n", None);
    assert_eq!(sim.count(faults::WRITE_BACK_ERROR), 1);
}

#[test]
fn a_failed_write_back_is_heard_of_once_by_each_descriptor_of_then() {
    let mut lost = 0;
    for seed in 0..32 {
        let sim = Sim::new(seed);
        let file = durable(&sim, &[1; 512]);
        let beside = create(&sim.node("n"));
        fail_write_back(&sim, &file, &[2; 512]);
        let shown = sim.block_on(file.read_at(0, 512)).unwrap();
        assert_eq!(&shown[..], [2; 512], "the cache keeps it");
        let later = create(&sim.node("n"));
        assert!(sim.block_on(later.sync()).is_ok(), "it was not there yet");
        assert!(sim.block_on(file.sync()).is_err());
        assert!(sim.block_on(file.sync()).is_ok(), "once");
        assert!(sim.block_on(beside.sync()).is_err());
        lost += u32::from(after_power_cut(&sim) == [1; 512]);
    }
    assert!((4..28).contains(&lost), "no sync covered it: {lost}");
}

#[test]
fn a_failed_write_back_that_nobody_heard_of_is_made_again() {
    for seed in 0..16 {
        let sim = Sim::new(seed);
        let file = durable(&sim, &[1; 512]);
        fail_write_back(&sim, &file, &[2; 512]);
        sim.kill("n");
        let file = create(&sim.node("n"));
        sim.block_on(file.sync()).unwrap();
        assert_eq!(after_power_cut(&sim), [2; 512]);
    }
}
