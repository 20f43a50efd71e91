//! The real host under the conformance suite, and what only it has.

use std::time::Duration;

use super::{Options, RealHost, open_files, raise_open_files};
use crate::conformance;

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
fn killing_one_node_leaves_the_other() {
    let machine = RealHost::start(&options()).unwrap();
    let (one, other) = (machine.host(), machine.another_node());
    one.spawn.kill();
    let task = other
        .spawn
        .spawn(crate::Pool::Data, "lives", Box::pin(async {}));
    assert!(machine.block_on(task.join()));
}

#[test]
fn the_limit_on_open_files_is_raised_and_never_lowered() {
    let had = open_files();
    let has = raise_open_files(had.soft + 1).unwrap();
    assert!(has.soft >= had.soft && has.soft <= has.hard.max(had.soft));
    assert_eq!(raise_open_files(1).unwrap(), has);
}
