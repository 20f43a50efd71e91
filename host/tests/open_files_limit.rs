//! More files open than the process may have (`RLIMIT_NOFILE`). The limit is the whole process's, so
//! this test has one of its own.

use std::fs::File;

use millrace_host::real::{self, Options};
use millrace_host::{Host, OpenMode, is_out_of_descriptors};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[tokio::test]
async fn a_directory_is_synced_once_a_descriptor_is_free_and_an_opening_says_what_it_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let host: Host = real::host(&Options::default()).unwrap();
    // The thread that syncs is there before descriptors are not.
    host.disk.sync_dir(dir.path()).await.unwrap();
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
    let syncing = host.disk.sync_dir(dir.path());
    drop(held);
    syncing.await.unwrap();
}
