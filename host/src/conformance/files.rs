//! What files, directories, locks and maps mean while the machine is up.

use std::io::{ErrorKind, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{Bench, Check, pattern};
use crate::{EntryKind, File, Host, OpenMode};

pub(super) const CHECKS: &[Check] = &[
    ("written-bytes-are-read-at-once", |b| {
        Box::pin(written_bytes_are_read_at_once(b))
    }),
    ("any-number-of-slices-is-written", |b| {
        Box::pin(any_number_of_slices_is_written(b))
    }),
    ("reads-end-at-the-end", |b| {
        Box::pin(reads_end_at_the_end(b))
    }),
    ("open-modes-differ", |b| Box::pin(open_modes_differ(b))),
    ("cut-and-extended-bytes-are-zeros", |b| {
        Box::pin(cut_and_extended_bytes_are_zeros(b))
    }),
    ("allocating-keeps-bytes-and-grows", |b| {
        Box::pin(allocating_keeps_bytes_and_grows(b))
    }),
    ("rename-replaces", |b| Box::pin(rename_replaces(b))),
    ("removed-files-stay-readable-when-open", |b| {
        Box::pin(removed_files_stay_readable(b))
    }),
    ("directories-hold-what-was-put-there", |b| {
        Box::pin(directories_hold_what_was_put(b))
    }),
    ("a-lock-excludes-until-dropped", |b| {
        Box::pin(a_lock_excludes_until_dropped(b))
    }),
    ("a-map-shows-the-file", |b| {
        Box::pin(async move { a_map_shows_the_file(&b) })
    }),
    ("syncs-of-what-exists-succeed", |b| {
        Box::pin(syncs_of_what_exists_succeed(b))
    }),
    ("a-dropped-completion-still-happens", |b| {
        Box::pin(a_dropped_completion_still_happens(b))
    }),
    ("facts-about-the-machine-hold-still", |b| {
        Box::pin(async move { facts_hold_still(&b) })
    }),
];

/// Writes all of `bytes`.
pub(super) fn put(file: &Arc<dyn File>, offset: u64, bytes: &[u8]) {
    let taken = file
        .write_vectored_at(&[IoSlice::new(bytes)], offset)
        .expect("room for it");
    assert_eq!(taken, bytes.len(), "a write is short only on a full device");
}

/// Reads the whole file.
pub(super) async fn all(file: &Arc<dyn File>) -> Vec<u8> {
    let len = file.len().expect("an open file has a length");
    file.read_at(0, usize::try_from(len).expect("small"))
        .await
        .expect("readable")
        .to_vec()
}

pub(super) fn create(host: &Host, path: &Path, bytes: &[u8]) -> Arc<dyn File> {
    let file = host
        .disk
        .open(path, OpenMode::CreateNew)
        .expect("a new name in a directory");
    put(&file, 0, bytes);
    file
}

fn kind<T>(result: std::io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

async fn written_bytes_are_read_at_once(bench: Bench) {
    let file = create(&bench.host, &bench.at("f"), b"");
    assert!(file.is_empty().expect("open"));
    let slices = [
        IoSlice::new(b"one"),
        IoSlice::new(b""),
        IoSlice::new(b"two"),
    ];
    assert_eq!(file.write_vectored_at(&slices, 5).expect("room"), 6);
    assert_eq!(all(&file).await, b"\0\0\0\0\0onetwo");
    put(&file, 6, b"N");
    assert_eq!(&file.read_at(5, 3).await.expect("readable")[..], b"oNe");
    let other = bench
        .host
        .disk
        .open(&bench.at("f"), OpenMode::Read)
        .expect("exists");
    assert_eq!(all(&other).await, b"\0\0\0\0\0oNetwo");
    assert_eq!(file.path(), &bench.at("f"));
}

async fn any_number_of_slices_is_written(bench: Bench) {
    let bytes = pattern(1, 3000 * 7);
    let slices: Vec<IoSlice<'_>> = bytes.chunks(7).map(IoSlice::new).collect();
    let file = create(&bench.host, &bench.at("f"), b"");
    assert_eq!(
        file.write_vectored_at(&slices, 0).expect("room"),
        bytes.len()
    );
    assert_eq!(file.write_vectored_at(&[], 0).expect("nothing to do"), 0);
    assert_eq!(all(&file).await, bytes);
}

async fn reads_end_at_the_end(bench: Bench) {
    let file = create(&bench.host, &bench.at("f"), b"0123456789");
    assert_eq!(&file.read_at(7, 100).await.expect("readable")[..], b"789");
    assert!(file.read_at(10, 5).await.expect("readable").is_empty());
    assert!(
        file.read_at(1 << 40, usize::MAX)
            .await
            .expect("readable")
            .is_empty()
    );
    let mut buf = [0; 100];
    assert_eq!(
        file.read_resident_at(&mut buf, 10).expect("no error"),
        Some(0)
    );
    assert_eq!(
        file.read_resident_at(&mut buf, 1 << 40).expect("no error"),
        Some(0)
    );
    if let Some(read) = file.read_resident_at(&mut buf, 4).expect("no error") {
        assert!(read > 0 && read <= 6, "some, and never past the end");
        assert_eq!(&buf[..read], &b"456789"[..read]);
    }
}

async fn open_modes_differ(bench: Bench) {
    let (disk, path) = (&bench.host.disk, bench.at("f"));
    assert_eq!(
        kind(disk.open(&path, OpenMode::Read)),
        Some(ErrorKind::NotFound)
    );
    assert_eq!(
        kind(disk.open(&path, OpenMode::Write)),
        Some(ErrorKind::NotFound)
    );
    drop(create(&bench.host, &path, b"kept"));
    assert_eq!(
        kind(disk.open(&path, OpenMode::CreateNew)),
        Some(ErrorKind::AlreadyExists)
    );
    for mode in [OpenMode::Create, OpenMode::Write, OpenMode::Read] {
        let file = disk.open(&path, mode).expect("exists");
        assert_eq!(all(&file).await, b"kept");
        let written = file.write_vectored_at(&[IoSlice::new(b"K")], 0);
        assert_eq!(written.is_ok(), mode != OpenMode::Read);
        put(&disk.open(&path, OpenMode::Write).expect("exists"), 0, b"k");
    }
    let missing = bench.at("missing").join("f");
    assert_eq!(
        kind(disk.open(&missing, OpenMode::Create)),
        Some(ErrorKind::NotFound)
    );
}

async fn cut_and_extended_bytes_are_zeros(bench: Bench) {
    let file = create(&bench.host, &bench.at("f"), &pattern(2, 9000));
    file.set_len(5000).expect("cut");
    assert_eq!(file.len().expect("open"), 5000);
    file.set_len(9000).expect("extended");
    let mut expected = pattern(2, 9000);
    expected[5000..].fill(0);
    assert_eq!(all(&file).await, expected);
    put(&file, 20_000, b"x");
    assert_eq!(file.len().expect("open"), 20_001);
    assert!(
        file.read_at(9000, 11_000)
            .await
            .expect("readable")
            .iter()
            .all(|byte| *byte == 0)
    );
}

async fn allocating_keeps_bytes_and_grows(bench: Bench) {
    let file = create(&bench.host, &bench.at("f"), &pattern(3, 5000));
    file.allocate(1000, 100_000).expect("room");
    assert_eq!(file.len().expect("open"), 101_000);
    let mut expected = pattern(3, 5000);
    expected.resize(101_000, 0);
    assert_eq!(all(&file).await, expected);
    file.allocate(0, 10).expect("room");
    assert_eq!(
        file.len().expect("open"),
        101_000,
        "allocating never shortens"
    );
    file.start_write_back(0, 50_000).expect("advice");
}

async fn rename_replaces(bench: Bench) {
    let disk = &bench.host.disk;
    let old = create(&bench.host, &bench.at("a"), b"old");
    let new = create(&bench.host, &bench.at("b"), b"new");
    disk.rename(&bench.at("b"), &bench.at("a"))
        .await
        .expect("same file system");
    let found = disk
        .open(&bench.at("a"), OpenMode::Read)
        .expect("the new file");
    assert_eq!(all(&found).await, b"new");
    assert_eq!(
        all(&old).await,
        b"old",
        "the replaced file lives while it is open"
    );
    put(&new, 0, b"NEW");
    assert_eq!(all(&found).await, b"NEW", "a handle follows its file");
    assert_eq!(
        kind(disk.open(&bench.at("b"), OpenMode::Read)),
        Some(ErrorKind::NotFound)
    );
    let missing = disk.rename(&bench.at("b"), &bench.at("c")).await;
    assert_eq!(kind(missing), Some(ErrorKind::NotFound));
    disk.create_dir(&bench.at("d")).expect("new");
    disk.rename(&bench.at("a"), &bench.at("d").join("a"))
        .await
        .expect("same file system");
    disk.rename(&bench.at("d"), &bench.at("e"))
        .await
        .expect("directories too");
    let found = disk
        .open(&bench.at("e").join("a"), OpenMode::Read)
        .expect("moved");
    assert_eq!(all(&found).await, b"NEW");
    disk.create_dir(&bench.at("full")).expect("new");
    drop(create(&bench.host, &bench.at("full").join("f"), b""));
    assert!(
        disk.rename(&bench.at("e"), &bench.at("full"))
            .await
            .is_err()
    );
    disk.create_dir(&bench.at("empty")).expect("new");
    disk.rename(&bench.at("e"), &bench.at("empty"))
        .await
        .expect("an empty one is replaced");
}

async fn removed_files_stay_readable(bench: Bench) {
    let disk = &bench.host.disk;
    let bytes = pattern(4, 10_000);
    let file = create(&bench.host, &bench.at("f"), &bytes);
    let map = file.map().expect("a file can be mapped");
    disk.remove(&bench.at("f")).await.expect("exists");
    assert_eq!(all(&file).await, bytes);
    assert_eq!(map.bytes(), bytes);
    drop(file);
    assert_eq!(map.bytes(), bytes, "a map outlives its handle");
    assert_eq!(
        kind(disk.remove(&bench.at("f")).await),
        Some(ErrorKind::NotFound)
    );
    let again = create(&bench.host, &bench.at("f"), b"another");
    assert_eq!(all(&again).await, b"another");
}

async fn directories_hold_what_was_put(bench: Bench) {
    let disk = &bench.host.disk;
    disk.create_dir(&bench.at("dir")).expect("new");
    assert_eq!(
        kind(disk.create_dir(&bench.at("dir"))),
        Some(ErrorKind::AlreadyExists)
    );
    let deep = bench.at("no").join("where");
    assert_eq!(kind(disk.create_dir(&deep)), Some(ErrorKind::NotFound));
    for name in ["b", "a-2", "a", "B"] {
        drop(create(&bench.host, &bench.at(name), name.as_bytes()));
    }
    let entries = disk.list(&bench.dir).await.expect("exists");
    let found: Vec<_> = entries
        .iter()
        .map(|it| (it.name.as_str(), it.kind, it.len))
        .collect();
    let file = EntryKind::File;
    let dir = ("dir", EntryKind::Dir, 0);
    assert_eq!(
        found,
        [
            ("B", file, 1),
            ("a", file, 1),
            ("a-2", file, 3),
            ("b", file, 1),
            dir
        ]
    );
    drop(create(&bench.host, &bench.at("dir").join("f"), b""));
    assert!(
        disk.remove_dir(&bench.at("dir")).await.is_err(),
        "not empty"
    );
    assert!(
        disk.remove_dir(&bench.at("a")).await.is_err(),
        "not a directory"
    );
    assert!(disk.remove(&bench.at("dir")).await.is_err(), "not a file");
    disk.remove(&bench.at("dir").join("f"))
        .await
        .expect("exists");
    disk.remove_dir(&bench.at("dir")).await.expect("empty");
    assert_eq!(
        kind(disk.list(&bench.at("dir")).await),
        Some(ErrorKind::NotFound)
    );
}

async fn a_lock_excludes_until_dropped(bench: Bench) {
    let (disk, path) = (&bench.host.disk, bench.at("lock"));
    let guard = disk.lock(&path).expect("nobody holds it");
    assert_eq!(kind(disk.lock(&path)), Some(ErrorKind::WouldBlock));
    let file = guard.file();
    put(&file, 0, b"mine");
    drop(guard);
    let again = disk
        .lock(&path)
        .expect("released, though its file is still open");
    assert_eq!(all(&again.file()).await, b"mine");
    drop(file);
    assert_eq!(kind(disk.lock(&path)), Some(ErrorKind::WouldBlock));
}

fn a_map_shows_the_file(bench: &Bench) {
    let bytes = pattern(5, 70_000);
    let file = create(&bench.host, &bench.at("f"), &bytes);
    assert_eq!(file.map().expect("mapped").bytes(), bytes);
    let empty = create(&bench.host, &bench.at("empty"), b"");
    assert!(empty.map().expect("mapped").bytes().is_empty());
}

async fn syncs_of_what_exists_succeed(bench: Bench) {
    let disk = &bench.host.disk;
    let file = create(&bench.host, &bench.at("f"), b"bytes");
    let syncs = [file.sync(), file.sync(), disk.sync_dir(&bench.dir)];
    for sync in syncs {
        sync.await.expect("a healthy disk");
    }
    let missing = disk.sync_dir(&bench.at("missing")).await;
    assert_eq!(kind(missing), Some(ErrorKind::NotFound));
}

async fn a_dropped_completion_still_happens(bench: Bench) {
    let host = &bench.host;
    drop(create(host, &bench.at("a"), b"moved"));
    drop(host.disk.rename(&bench.at("a"), &bench.at("b")));
    for _ in 0..500 {
        if host.disk.open(&bench.at("b"), OpenMode::Read).is_ok() {
            return;
        }
        host.clock
            .sleep_until(host.clock.now().mono + Duration::from_millis(10))
            .await;
    }
    panic!("a rename whose future was dropped did not happen");
}

fn facts_hold_still(bench: &Bench) {
    let disk = &bench.host.disk;
    let space = disk.space(&bench.dir).expect("exists");
    assert!(space.available <= space.total && space.total > 0);
    assert_eq!(disk.boot_id(), disk.boot_id());
    assert_eq!(disk.mount_id(&bench.dir), disk.mount_id(&bench.dir));
    assert_eq!(disk.mount_id(&bench.at("missing")), None);
    assert_eq!(
        kind(disk.space(&bench.at("missing"))),
        Some(ErrorKind::NotFound)
    );
}
