//! What a kill and a power cut leave. For machines that can be crashed from a test.

use std::path::{Path, PathBuf};

use super::files::{all, create, put};
use super::pattern;
use crate::{Host, OpenMode};

/// A machine that a test may crash. Each call ends the running process and gives the next one.
pub trait Machine {
    /// Ends the process; the page cache lives.
    fn kill(&mut self) -> Host;

    /// Cuts the power: un-synced sectors and names survive in any subset.
    fn power_cut(&mut self) -> Host;
}

/// Runs every check that crashes the machine. `dir` must exist and be durable itself.
pub async fn crashes(machine: &mut dyn Machine, host: Host, dir: &Path) {
    let host = a_kill_keeps_the_page_cache(machine, host, dir).await;
    let host = synced_bytes_survive(machine, host, dir).await;
    let host = un_synced_sectors_are_old_or_new(machine, host, dir).await;
    let host = un_synced_names_are_there_or_not(machine, host, dir).await;
    let host = a_rename_never_loses_both(machine, host, dir).await;
    removed_and_synced_stays_removed(machine, host, dir).await;
}

async fn a_kill_keeps_the_page_cache(machine: &mut dyn Machine, host: Host, dir: &Path) -> Host {
    let path = dir.join("killed");
    let file = create(&host, &path, &pattern(1, 5000));
    let guard = host.disk.lock(&dir.join("lock")).expect("free");
    let (boot, mount) = (host.disk.boot_id(), host.disk.mount_id(dir));
    let next = machine.kill();
    let found = next
        .disk
        .open(&path, OpenMode::Read)
        .expect("the name survives a kill");
    assert_eq!(all(&found).await, pattern(1, 5000));
    assert_eq!(
        (next.disk.boot_id(), next.disk.mount_id(dir)),
        (boot, mount)
    );
    drop(
        next.disk
            .lock(&dir.join("lock"))
            .expect("a kill releases locks"),
    );
    drop((file, guard));
    next
}

async fn synced_bytes_survive(machine: &mut dyn Machine, host: Host, dir: &Path) -> Host {
    let path = dir.join("synced");
    let file = create(&host, &path, &pattern(2, 20_000));
    file.sync().await.expect("healthy");
    host.disk.sync_dir(dir).await.expect("healthy");
    put(&file, 19_000, &pattern(3, 3000));
    file.sync().await.expect("healthy");
    let boot = host.disk.boot_id();
    let next = machine.power_cut();
    assert_ne!(next.disk.boot_id(), boot, "a power cut is another boot");
    let found = next
        .disk
        .open(&path, OpenMode::Read)
        .expect("name and bytes were synced");
    let mut expected = pattern(2, 19_000);
    expected.extend(pattern(3, 3000));
    assert_eq!(all(&found).await, expected);
    next
}

async fn un_synced_sectors_are_old_or_new(
    machine: &mut dyn Machine,
    host: Host,
    dir: &Path,
) -> Host {
    const LEN: usize = 64 << 10;
    let path = dir.join("torn");
    let (old, new) = (pattern(4, LEN), pattern(5, LEN));
    let file = create(&host, &path, &old);
    file.sync().await.expect("healthy");
    host.disk.sync_dir(dir).await.expect("healthy");
    put(&file, 0, &new);
    let next = machine.power_cut();
    let found = next
        .disk
        .open(&path, OpenMode::Read)
        .expect("its name was synced");
    let found = all(&found).await;
    assert_eq!(found.len(), LEN, "the length did not change");
    for (at, sector) in found.chunks(512).enumerate() {
        let range = at * 512..(at + 1) * 512;
        let either = sector == &old[range.clone()] || sector == &new[range];
        assert!(either, "sector {at} is neither old nor new");
    }
    next
}

async fn un_synced_names_are_there_or_not(
    machine: &mut dyn Machine,
    host: Host,
    dir: &Path,
) -> Host {
    let names: Vec<PathBuf> = (0..8).map(|n| dir.join(format!("maybe-{n}"))).collect();
    for name in &names {
        create(&host, name, b"synced bytes")
            .sync()
            .await
            .expect("healthy");
    }
    let next = machine.power_cut();
    for name in &names {
        if let Ok(file) = next.disk.open(name, OpenMode::Read) {
            assert_eq!(all(&file).await, b"synced bytes", "the bytes were synced");
        }
    }
    next
}

async fn a_rename_never_loses_both(machine: &mut dyn Machine, host: Host, dir: &Path) -> Host {
    let (target, made) = (dir.join("target"), dir.join("target.new"));
    for (path, bytes) in [(&target, b"old"), (&made, b"new")] {
        create(&host, path, bytes).sync().await.expect("healthy");
    }
    host.disk.sync_dir(dir).await.expect("healthy");
    host.disk.rename(&made, &target).await.expect("both exist");
    let next = machine.power_cut();
    let found = next
        .disk
        .open(&target, OpenMode::Read)
        .expect("one of both");
    let replaced = next.disk.open(&made, OpenMode::Read).is_err();
    let expected: &[u8] = if replaced { b"new" } else { b"old" };
    assert_eq!(all(&found).await, expected);
    next
}

async fn removed_and_synced_stays_removed(machine: &mut dyn Machine, host: Host, dir: &Path) {
    let path = dir.join("removed");
    create(&host, &path, b"bytes")
        .sync()
        .await
        .expect("healthy");
    host.disk.sync_dir(dir).await.expect("healthy");
    host.disk.remove(&path).await.expect("exists");
    host.disk.sync_dir(dir).await.expect("healthy");
    let next = machine.power_cut();
    assert!(next.disk.open(&path, OpenMode::Read).is_err());
}
