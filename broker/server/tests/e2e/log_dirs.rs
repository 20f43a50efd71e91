//! `DescribeLogDirs` and `AlterReplicaLogDirs` at every version.

use std::time::Duration;

use millrace_protocol::api::Api;
use millrace_protocol::messages::alter_replica_log_dirs_request::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic,
};
use millrace_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use millrace_protocol::messages::describe_log_dirs_response::DescribeLogDirsResult;
use millrace_protocol::messages::{
    AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse, DescribeLogDirsRequest,
    DescribeLogDirsResponse,
};
use millrace_sim::DiskOp;

use crate::directories::{BOTH, PARTITIONS, spread, strike};
use crate::node::{Node, with};

fn asked(topics: Option<&[(&str, &[i32])]>) -> DescribeLogDirsRequest {
    let mut request = DescribeLogDirsRequest::default();
    request.topics = topics.map(|topics| {
        let topic = |(name, partitions): &(&str, &[i32])| {
            let mut topic = DescribableLogDirTopic::default();
            topic.topic = (*name).into();
            topic.partitions = partitions.to_vec();
            topic
        };
        topics.iter().map(topic).collect()
    });
    request
}

async fn ask(
    node: &mut Node,
    version: i16,
    request: &DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    node.client
        .ask(Api::DescribeLogDirs, version, request)
        .await
}

/// Topic, partition and size of each row of a directory.
fn rows(result: &DescribeLogDirsResult) -> Vec<(String, i32, i64)> {
    let topics = result.topics.iter().flat_map(|topic| {
        let partitions = topic.partitions.iter();
        partitions.map(|row| {
            assert_eq!((row.offset_lag, row.is_future_key), (0, false));
            (
                topic.name.to_string(),
                row.partition_index,
                row.partition_size,
            )
        })
    });
    topics.collect()
}

#[test]
fn every_version_tells_each_directory_with_its_partitions_and_their_sizes() {
    with(&BOTH, async |mut node| {
        let (_, in_b) = spread(&mut node).await;
        node.topic("never-written", &[]).await;
        for version in 1..=5 {
            let response = ask(&mut node, version, &asked(None)).await;
            assert_eq!(response.error_code, 0);
            let [a, b] = &response.results[..] else {
                panic!("{response:?}");
            };
            assert_eq!((a.log_dir.as_str(), b.log_dir.as_str()), ("/a", "/b"));
            let mut found: Vec<_> = [rows(a), rows(b)].concat();
            found.sort();
            assert_eq!(found.len(), 5);
            assert_eq!(found[0], ("never-written".to_owned(), 0, 0));
            assert!(
                found[1..]
                    .iter()
                    .all(|(name, _, bytes)| name == "t" && *bytes > 60)
            );
            for (_, index, _) in rows(b).iter().filter(|row| row.0 == "t") {
                assert!(in_b[*index as usize], "{index}");
            }
            for dir in [a, b] {
                assert_eq!((dir.error_code, dir.is_cordoned), (0, false));
                assert_eq!(dir.total_bytes > 0, version >= 4);
                assert_eq!(dir.usable_bytes > 0, version >= 4);
                assert!(dir.usable_bytes <= dir.total_bytes);
            }
        }
    });
}

#[test]
fn only_what_is_asked_for_and_there_is_told_and_once() {
    with(&BOTH, async |mut node| {
        let (_, in_b) = spread(&mut node).await;
        let request = asked(Some(&[("none", &[0]), ("t", &[7, 0, 0, -1]), ("t", &[1])]));
        let response = ask(&mut node, 5, &request).await;
        for (dir, is_b) in response.results.iter().zip([false, true]) {
            let found: Vec<i32> = rows(dir).into_iter().map(|row| row.1).collect();
            let expected = (0..2).filter(|index| in_b[*index as usize] == is_b);
            assert_eq!(found, expected.collect::<Vec<_>>());
        }
        let none = ask(&mut node, 5, &asked(Some(&[]))).await;
        assert!(none.results.iter().all(|dir| dir.topics.is_empty()));
        assert_eq!(none.results.len(), 2);
    });
}

#[test]
fn a_directory_that_failed_says_so_until_a_start_can_use_it() {
    with(&BOTH, async |mut node| {
        let (topic, in_b) = spread(&mut node).await;
        let fault = strike(&node, DiskOp::Write, "/b/");
        node.produce_to_each(&topic, PARTITIONS, "lost").await;
        node.world.pause(Duration::from_millis(100)).await;
        for version in 1..=5 {
            let response = ask(&mut node, version, &asked(None)).await;
            let [a, b] = &response.results[..] else {
                panic!("{response:?}");
            };
            assert_eq!((a.error_code, rows(a).len()), (0, 2));
            assert_eq!((b.error_code, b.topics.len(), b.total_bytes), (56, 0, -1));
        }
        let first_in_b = in_b.iter().position(|b| *b).unwrap() as i32;
        assert_eq!(
            place(&mut node, 2, &[("/b", "t", &[first_in_b])]).await,
            [(first_in_b, 56)]
        );
        node.world.heal_disk("broker", Some(fault));
        node.crash().await;
        let response = ask(&mut node, 5, &asked(None)).await;
        assert!(response.results.iter().all(|dir| dir.error_code == 0));
    });
}

/// Wishes where partitions lie; gives partition and code of each row.
pub(crate) async fn place(
    node: &mut Node,
    version: i16,
    wishes: &[(&str, &str, &[i32])],
) -> Vec<(i32, i16)> {
    let mut request = AlterReplicaLogDirsRequest::default();
    for (path, name, partitions) in wishes {
        let mut topic = AlterReplicaLogDirTopic::default();
        topic.name = (*name).into();
        topic.partitions = partitions.to_vec();
        let mut dir = AlterReplicaLogDir::default();
        dir.path = (*path).into();
        dir.topics = vec![topic];
        request.dirs.push(dir);
    }
    let api = Api::AlterReplicaLogDirs;
    let response: AlterReplicaLogDirsResponse = node.client.ask(api, version, &request).await;
    let rows = response
        .results
        .into_iter()
        .flat_map(|topic| topic.partitions);
    rows.map(|row| (row.partition_index, row.error_code))
        .collect()
}

#[test]
fn a_wish_for_nowhere_is_refused_and_one_for_where_it_is_changes_nothing() {
    with(&BOTH, async |mut node| {
        let (_, in_b) = spread(&mut node).await;
        let home = |index: usize| if in_b[index] { "/b" } else { "/a" };
        for version in [1, 2] {
            for path in ["/nope", "", "a", "/a/", "/a/."] {
                assert_eq!(
                    place(&mut node, version, &[(path, "t", &[0])]).await,
                    [(0, 57)]
                );
            }
            assert_eq!(
                place(&mut node, version, &[("/a", "none", &[0])]).await,
                [(0, 3)]
            );
            assert_eq!(
                place(&mut node, version, &[("/a", "t", &[9])]).await,
                [(9, 3)]
            );
            assert_eq!(place(&mut node, version, &[]).await, []);
            let twice: [(&str, &str, &[i32]); 2] = [("/nope", "t", &[0]), (home(0), "t", &[0])];
            assert_eq!(place(&mut node, version, &twice).await, [(0, 0)]);
            assert_eq!(node.metric("millrace_replica_moves"), 0);
        }
    });
}
