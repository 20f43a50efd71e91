//! More files open than the process may have (`RLIMIT_NOFILE`). The limit is the whole process's, so
//! this test has one of its own.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::fs::File;

use millrace_host::real::{self, Options};
use millrace_host::{Host, OpenMode, is_out_of_descriptors};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that no connection takes.
const RESERVE: u64 = 24;

#[tokio::test]
async fn a_directory_is_synced_without_a_descriptor_and_an_opening_says_what_it_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let host: Host = real::host(&Options {
        descriptor_reserve: RESERVE,
        ..Options::default()
    })
    .unwrap();
    let few = Rlimit {
        current: Some(64),
        ..getrlimit(Resource::Nofile)
    };
    setrlimit(Resource::Nofile, few).unwrap();
    let mut held = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        held.push(file);
    }
    let path = dir.path().join("f");
    let refused = host.disk.open(&path, OpenMode::Create).unwrap_err();
    assert!(is_out_of_descriptors(&refused), "{refused}");
    // Nothing is given back meanwhile. Several at once, and again.
    for _ in 0..2 {
        let syncing: Vec<_> = (0..40).map(|_| host.disk.sync_dir(dir.path())).collect();
        for synced in syncing {
            synced.await.unwrap();
        }
    }
    let missing = host.disk.sync_dir(&dir.path().join("missing")).await;
    assert_eq!(missing.unwrap_err().kind(), std::io::ErrorKind::NotFound);
    // What the thread closed of its own table stays open in the others'.
    for file in &held {
        file.metadata().unwrap();
    }
    drop(held);
    host.disk.open(&path, OpenMode::Create).unwrap();
    no_connection_takes_the_last(&host).await;
}

/// With fewer descriptors free than are kept for files a connection is closed, and files open.
async fn no_connection_takes_the_last(host: &Host) {
    let mut listener = host
        .net
        .listen(([127, 0, 0, 1], 0).into(), 16)
        .await
        .unwrap();
    let address = listener.local_addr();
    let _first = host.net.connect(address).await.unwrap();
    listener.accept().await.unwrap();
    let held: Vec<_> = (0..64 - RESERVE)
        .map(|_| File::open("/dev/null").unwrap())
        .collect();
    let _second = host.net.connect(address).await.unwrap();
    let refused = listener.accept().await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::QuotaExceeded);
    File::open("/dev/null").unwrap();
    drop(held);
    let _third = host.net.connect(address).await.unwrap();
    listener.accept().await.unwrap();
}
