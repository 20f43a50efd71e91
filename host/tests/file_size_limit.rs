//! A full disk, as near as a process without rights can come to it: the limit on the size of a
//! file (`RLIMIT_FSIZE`), which the kernel meets with the same short write. The limit is the
//! whole process's, so this test has one of its own.

use std::io::IoSlice;

use millrace_host::real::{self, Options};
use millrace_host::{Host, OpenMode};
use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

const LIMIT: u64 = 100_000;

/// `SIGXFSZ`, which would end the process.
const SIZE_EXCEEDED: i32 = 25;

#[tokio::test]
async fn a_write_past_the_limit_is_short_and_then_refused() {
    let _caught = signal(SignalKind::from_raw(SIZE_EXCEEDED)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let host: Host = real::host(&Options::default()).unwrap();
    let file = host
        .disk
        .open(&dir.path().join("f"), OpenMode::CreateNew)
        .unwrap();
    setrlimit(
        Resource::Fsize,
        Rlimit {
            current: Some(LIMIT),
            maximum: None,
        },
    )
    .unwrap();
    let parts = vec![7; 30_000];
    let slices = [IoSlice::new(&parts); 4];
    let taken = file.write_vectored_at(&slices, 0).unwrap();
    assert_eq!(
        taken as u64, LIMIT,
        "what there was room for, across slices"
    );
    assert!(
        file.write_vectored_at(&slices, LIMIT).is_err(),
        "nothing taken is an error"
    );
    assert!(file.allocate(0, LIMIT + 1).is_err());
    file.set_len(10).unwrap();
    assert_eq!(file.write_vectored_at(&slices[..1], 10).unwrap(), 30_000);
}
