//! The real host under the conformance suite, and what only it has.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rustix::fs::{Advice, fadvise};

use super::{Options, RealHost, open_files, raise_open_files};
use crate::{File, FileSlice, OpenMode, Piece, Pool, Vouched, conformance};

fn options() -> Options {
    Options {
        data_workers: 2,
        ..Options::default()
    }
}

#[test]
fn the_real_host_keeps_the_words_of_the_seams() {
    let dir = tempfile::tempdir().unwrap();
    let machine = RealHost::start(&options()).unwrap();
    machine.block_on(conformance::run_all(&machine.host(), dir.path()));
    assert_eq!(
        machine.counts().task_panics,
        1,
        "the one that the suite plants"
    );
    machine.stop(Duration::from_secs(5));
}

#[tokio::test]
async fn a_host_on_the_current_runtime_keeps_them_too() {
    let dir = tempfile::tempdir().unwrap();
    let host = super::host(&options()).unwrap();
    conformance::run_all(&host, dir.path()).await;
}

#[test]
fn what_runs_in_the_background_stands_back_behind_all_else() {
    let machine = RealHost::start(&options()).unwrap();
    let place = |pool| {
        let (told, heard) = std::sync::mpsc::sync_channel(1);
        let task = async move {
            let place = rustix::process::getpriority_process(None);
            told.send(place.unwrap()).expect("the test listens");
        };
        drop(machine.host().spawn.spawn(pool, "look", Box::pin(task)));
        heard.recv_timeout(Duration::from_secs(30)).unwrap()
    };
    let usual = place(Pool::Data);
    assert_eq!(place(Pool::Control), usual);
    assert!(place(Pool::Background) > usual);

    // But not what others use too: the threads that it is the first to need.
    let pools = Arc::clone(&machine.pools);
    let (told, heard) = std::sync::mpsc::sync_channel(1);
    let task = async move {
        let look = || Ok(rustix::process::getpriority_process(None)?);
        let place = pools.directory.start(look).await;
        told.send(place.unwrap()).expect("the test listens");
    };
    let spawn = machine.host().spawn;
    drop(spawn.spawn(Pool::Background, "look", Box::pin(task)));
    assert_eq!(heard.recv_timeout(Duration::from_secs(30)).unwrap(), usual);
    machine.stop(Duration::from_secs(5));
}

/// Asks the kernel to drop the file's clean pages. Only advice: where it isn't followed the warm
/// way is tested once more, and the bytes must be right either way.
fn evict(file: &Arc<dyn File>) {
    let descriptor = file.descriptor().unwrap();
    fadvise(descriptor, 0, None, Advice::DontNeed).unwrap();
}

#[tokio::test]
async fn file_bytes_that_are_not_resident_are_sent_whole_by_the_cold_pool() {
    let dir = tempfile::tempdir().unwrap();
    let host = super::host(&options()).unwrap();
    let file = host
        .disk
        .open(&dir.path().join("f"), OpenMode::CreateNew)
        .unwrap();
    let stored = conformance::pattern(1, 3 << 20);
    assert_eq!(
        file.write_vectored_at(&[IoSlice::new(&stored)], 0).unwrap(),
        stored.len()
    );
    file.sync().await.unwrap();
    evict(&file);
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut listener = host.net.listen(any, 1).await.unwrap();
    let mut client = host.net.connect(listener.local_addr()).await.unwrap();
    let mut server = listener.accept().await.unwrap();
    let slice = FileSlice {
        file: Arc::clone(&file),
        offset: 5,
        len: (3 << 20) - 5,
        vouched: Vouched::default(),
    };
    let sender = async { server.write.send(vec![Piece::File(slice)]).await.unwrap() };
    let receiver = async {
        let mut got = BytesMut::new();
        while got.len() < stored.len() - 5 {
            assert_ne!(client.read.read(&mut got, 1 << 20).await.unwrap(), 0);
        }
        got
    };
    let ((), got) = tokio::join!(sender, receiver);
    assert!(got[..] == stored[5..], "the bytes changed on the way");
    evict(&file);
    assert_eq!(file.read_at(7, 100).await.unwrap()[..], stored[7..107]);
}

#[test]
fn killing_one_node_leaves_the_other() {
    let machine = RealHost::start(&options()).unwrap();
    let (one, other) = (machine.host(), machine.another_node());
    one.spawn.kill();
    let task = other.spawn.spawn(Pool::Data, "lives", Box::pin(async {}));
    assert!(machine.block_on(task.join()));
}

#[test]
fn the_limit_on_open_files_is_raised_and_never_lowered() {
    let had = open_files();
    let has = raise_open_files(had.soft + 1).unwrap();
    assert!(has.soft >= had.soft && has.soft <= has.hard.max(had.soft));
    assert_eq!(raise_open_files(1).unwrap(), has);
}
