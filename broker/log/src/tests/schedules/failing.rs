//! The device fails while partitions append and wait: everyone who waits is told, nothing that
//! isn't durable is claimed, and the directory takes nothing more.

use millrace_probe::{Bug, arm};
use millrace_sim::schedules::shuttle::future::{block_on, spawn};
use millrace_sim::schedules::{Length, caught, explore};

use super::node::{DIRECT_BYTES, Node};

fn a_device_that_fails() {
    block_on(async {
        let node = Node::start().await;
        let one = node.open(0, 1 << 20).await;
        let other = node.open(1, 1 << 20).await;
        let mut tasks = Vec::new();
        for (partition, marks, payload) in [
            (&one, [1, 2], 10),
            (&other, [11, 12], DIRECT_BYTES as usize),
        ] {
            let partition = partition.clone();
            tasks.push(spawn(async move {
                for mark in marks {
                    // Refused once the directory is offline.
                    partition.append(mark, payload).ok();
                }
                partition.witness.all_flushed().await;
            }));
        }
        let (disk, dir) = (node.disk.clone(), node.dir.clone());
        tasks.push(spawn(async move {
            disk.fail_syncs();
            // Whatever was settled before, from here on a sync has to fail.
            one.append(3, 10).ok();
            dir.until_offline().await;
            // Everyone is told, also who has all that it wrote; if not, the model waits for ever.
            one.witness.failed().await;
            assert!(
                one.append(4, 10).is_err(),
                "a failed directory takes nothing"
            );
        }));
        for task in tasks {
            task.await.expect("no task is ended");
        }
        assert!(node.stop().await.is_err(), "a failed directory isn't clean");
    });
}

#[test]
fn everyone_is_told_of_a_directory_that_failed() {
    explore("log.failing", Length::Long, a_device_that_fails);
}

#[test]
fn a_page_cache_trusted_after_an_error_is_found() {
    let _armed = arm(Bug::PageCacheTrustedAfterError);
    caught(
        "log.failing",
        "PageCacheTrustedAfterError",
        a_device_that_fails,
    );
}
