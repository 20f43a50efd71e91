//! A log directory that was swapped for an older copy of itself (`docs/durability.md` A1): it is
//! told, refused by name, left as it is, and used only if the operator says so.

use std::path::{Path, PathBuf};
use std::time::Duration;

use millrace_host::{Disk, EntryKind, OpenMode};
use millrace_sim::{Sim, SimOptions};

use crate::node::{Node, batch, with};

const STORAGE: i16 = 56;
const PARTITIONS: i32 = 4;

/// The first holds the metadata log.
const BOTH: [(&str, &str); 1] = [("log.dirs", "/a,/b")];

/// Copies a directory with everything in it, as it stands now, durably.
async fn copy(disk: &dyn Disk, from: &str, to: &str) {
    let mut left = vec![(PathBuf::from(from), PathBuf::from(to))];
    while let Some((from, to)) = left.pop() {
        disk.create_dir(&to).unwrap();
        for entry in disk.list(&from).await.unwrap() {
            let (from, to) = (from.join(&entry.name), to.join(&entry.name));
            if entry.kind == EntryKind::Dir {
                left.push((from, to));
                continue;
            }
            let file = disk.open(&from, OpenMode::Read).unwrap();
            let len = usize::try_from(file.len().unwrap()).unwrap();
            let bytes = file.read_at(0, len).await.unwrap();
            let copied = disk.open(&to, OpenMode::CreateNew).unwrap();
            let slices = [std::io::IoSlice::new(&bytes)];
            assert_eq!(copied.write_vectored_at(&slices, 0).unwrap(), len);
            copied.sync().await.unwrap();
        }
        disk.sync_dir(&to).await.unwrap();
    }
}

async fn rename(node: &Node, from: &str, to: &str) {
    let disk = node.world.node("broker").disk;
    disk.rename(Path::new(from), Path::new(to)).await.unwrap();
    disk.sync_dir(Path::new("/")).await.unwrap();
}

/// Stops the node and copies a directory as it stands then.
async fn stop_and_copy(node: &mut Node, from: &str, to: &str) {
    node.broker.take().unwrap().stop().await;
    copy(node.world.node("broker").disk.as_ref(), from, to).await;
}

/// How many partitions are refused because their directory is.
fn refused(found: &[Result<Vec<String>, i16>]) -> usize {
    let refused = found.iter().filter(|found| **found == Err(STORAGE));
    refused.count()
}

#[test]
fn an_old_copy_of_a_directory_is_offline_until_the_newer_one_is_back() {
    with(&BOTH, async |mut node| {
        let topic = node.topic_of("t", PARTITIONS, &[]).await;
        assert_eq!(
            node.produce_to_each(&topic, PARTITIONS, "one").await,
            [0; 4]
        );
        stop_and_copy(&mut node, "/b", "/old").await;
        node.start_again().await;
        assert_eq!(
            node.produce_to_each(&topic, PARTITIONS, "two").await,
            [0; 4]
        );
        node.broker.take().unwrap().stop().await;
        rename(&node, "/b", "/newer").await;
        rename(&node, "/old", "/b").await;
        // However often it is tried: a start that refuses it doesn't make it younger.
        for _ in 0..4 {
            node.start_again().await;
            let found = node.read_each(&topic, PARTITIONS).await;
            assert_eq!(refused(&found), 2, "{found:?}");
            for served in found.into_iter().flatten() {
                assert_eq!(served, ["one", "two"]);
            }
            assert_eq!(node.metric("millrace_log_directories_offline"), 1);
            node.broker.take().unwrap().stop().await;
        }
        rename(&node, "/b", "/old").await;
        rename(&node, "/newer", "/b").await;
        node.start_again().await;
        for served in node.read_each(&topic, PARTITIONS).await {
            assert_eq!(served.unwrap(), ["one", "two"]);
        }
        assert_eq!(
            node.produce_to_each(&topic, PARTITIONS, "three").await,
            [0; 4]
        );
    });
}

#[test]
fn an_old_copy_is_used_once_the_operator_says_so() {
    with(&BOTH, async |mut node| {
        let topic = node.topic_of("t", PARTITIONS, &[]).await;
        assert_eq!(
            node.produce_to_each(&topic, PARTITIONS, "one").await,
            [0; 4]
        );
        stop_and_copy(&mut node, "/b", "/old").await;
        for _ in 0..3 {
            node.start_again().await;
            assert_eq!(
                node.produce_to_each(&topic, PARTITIONS, "two").await,
                [0; 4]
            );
            node.broker.take().unwrap().stop().await;
        }
        rename(&node, "/b", "/newer").await;
        rename(&node, "/old", "/b").await;
        let disk = node.world.node("broker").disk;
        let accept = Path::new("/b/.accept-old-copy");
        drop(disk.open(accept, OpenMode::CreateNew).unwrap());
        node.start_again().await;
        let found = node.read_each(&topic, PARTITIONS).await;
        assert_eq!(refused(&found), 0);
        let short = found
            .iter()
            .filter(|found| **found == Ok(vec!["one".into()]));
        assert_eq!(short.count(), 2);
        assert_eq!(
            node.produce_to_each(&topic, PARTITIONS, "three").await,
            [0; 4]
        );
        // From now on it is the directory.
        node.crash().await;
        assert_eq!(refused(&node.read_each(&topic, PARTITIONS).await), 0);
        // The word was for one swap.
        let disk = node.world.node("broker").disk;
        let left = disk.open(accept, OpenMode::Read);
        assert!(left.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound));
    });
}

#[test]
fn an_old_copy_of_the_metadatas_directory_is_told_by_any_other() {
    with(&BOTH, async |mut node| {
        let topic = node.topic_of("t", PARTITIONS, &[]).await;
        assert_eq!(
            node.produce_to_each(&topic, PARTITIONS, "one").await,
            [0; 4]
        );
        stop_and_copy(&mut node, "/a", "/old").await;
        node.start_again().await;
        let later = node.topic_of("later", PARTITIONS, &[]).await;
        assert_eq!(
            node.produce_to_each(&later, PARTITIONS, "one").await,
            [0; 4]
        );
        node.broker.take().unwrap().stop().await;
        rename(&node, "/a", "/newer").await;
        rename(&node, "/old", "/a").await;
        for _ in 0..4 {
            let words = node.refusal().await;
            for part in [
                "/a is an old copy",
                "ends with generation 1",
                "generation 2 of it has served",
                "/a/.accept-old-copy",
            ] {
                assert!(words.contains(part), "{words}");
            }
        }
        rename(&node, "/a", "/old").await;
        rename(&node, "/newer", "/a").await;
        node.start_again().await;
        assert_eq!(
            node.produce_to_each(&later, PARTITIONS, "two").await,
            [0; 4]
        );
        assert_eq!(
            node.produce_to_each(&topic, PARTITIONS, "two").await,
            [0; 4]
        );
    });
}

#[test]
fn a_directory_beside_its_own_copy_is_refused() {
    with(&BOTH, async |mut node| {
        node.topic_of("t", PARTITIONS, &[]).await;
        stop_and_copy(&mut node, "/b", "/c").await;
        node.set("log.dirs", "/a,/b,/c");
        let words = node.refusal().await;
        assert!(words.contains("/b and /c are one and the same"), "{words}");
        node.set("log.dirs", "/a,/b");
        node.start_again().await;
        let topic = node.topic("u", &[]).await;
        assert_eq!(node.produce(&topic, batch(&["x"])).await.error_code, 0);
    });
}

#[test]
fn no_crash_at_a_start_makes_a_directory_look_old() {
    for seed in 0..15 {
        let sim = Sim::with_options(SimOptions {
            seed,
            ..SimOptions::default()
        });
        let world = sim.world();
        sim.block_on(async {
            let mut node = Node::start(world, &BOTH).await.unwrap();
            let topic = node.topic_of("t", PARTITIONS, &[]).await;
            assert_eq!(
                node.produce_to_each(&topic, PARTITIONS, "one").await,
                [0; 4]
            );
            for round in 0..6 {
                let power_cut = node.world.draw(2) == 0;
                if power_cut {
                    node.world.crash("broker");
                } else {
                    node.world.kill("broker");
                }
                drop(node.broker.take());
                let span = Duration::from_micros(node.world.draw(20_000));
                let world = node.world.clone();
                // A start that ends somewhere on its way.
                tokio::select! {
                    biased;
                    () = world.pause(span) => {}
                    () = node.start_again() => {}
                }
                world.crash("broker");
                drop(node.broker.take());
                node.start_again().await;
                let found = node.read_each(&topic, PARTITIONS).await;
                assert_eq!(refused(&found), 0, "seed {seed} round {round}: {found:?}");
            }
        });
    }
}
