//! `DeleteRecords` (versions 0–2): what is left, what is refused, and what comes back after a crash.

use std::path::Path;
use std::time::Duration;

use millrace_protocol::api::Api;
use millrace_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use millrace_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use millrace_sim::{DiskEffect, DiskFault, DiskOp, When};

use crate::node::{Node, Topic, batch, batch_from, with};

fn request(asked: &[(&str, i32, i64)]) -> DeleteRecordsRequest {
    let mut request = DeleteRecordsRequest::default();
    request.timeout_ms = 30_000;
    for (topic, index, offset) in asked {
        let mut partition = DeleteRecordsPartition::default();
        partition.partition_index = *index;
        partition.offset = *offset;
        let mut of_topic = DeleteRecordsTopic::default();
        of_topic.name = (*topic).into();
        of_topic.partitions = vec![partition];
        request.topics.push(of_topic);
    }
    request
}

/// Error and low watermark of each row.
async fn ask(node: &mut Node, version: i16, request: &DeleteRecordsRequest) -> Vec<(i16, i64)> {
    let response: DeleteRecordsResponse =
        node.client.ask(Api::DeleteRecords, version, request).await;
    let rows = response
        .topics
        .iter()
        .zip(&request.topics)
        .flat_map(|(told, asked)| {
            assert_eq!(told.name, asked.name);
            assert_eq!(told.partitions.len(), asked.partitions.len());
            told.partitions.iter().zip(&asked.partitions)
        });
    rows.map(|(told, asked)| {
        assert_eq!(told.partition_index, asked.partition_index);
        (told.error_code, told.low_watermark)
    })
    .collect()
}

async fn delete(node: &mut Node, offset: i64) -> (i16, i64) {
    ask_for(node, "t", offset).await
}

/// Deletes from partition 0 of a topic; error and low watermark.
pub(crate) async fn ask_for(node: &mut Node, name: &str, offset: i64) -> (i16, i64) {
    ask(node, 2, &request(&[(name, 0, offset)])).await[0]
}

/// A topic with one record in each of `count` batches.
async fn filled(node: &mut Node, count: usize) -> Topic {
    let topic = node.topic("t", &[]).await;
    for at in 0..count {
        let row = node.produce(&topic, batch(&[&format!("v{at}")])).await;
        assert_eq!(row.error_code, 0);
    }
    topic
}

/// Log start and high watermark, as a fetch from `offset` tells them with its error.
async fn bounds(node: &mut Node, topic: &Topic, offset: i64) -> (i16, i64, i64) {
    let row = node.fetch(topic, offset).await;
    (row.error_code, row.log_start_offset, row.high_watermark)
}

#[test]
fn what_lies_before_the_offset_is_gone_in_every_version() {
    with(&[], async |mut node| {
        let topic = filled(&mut node, 9).await;
        for (version, offset) in [(0, 2), (1, 3), (2, 5)] {
            let rows = ask(&mut node, version, &request(&[("t", 0, offset)])).await;
            assert_eq!(rows, [(0, offset)], "version {version}");
            assert_eq!(bounds(&mut node, &topic, offset).await, (0, offset, 9));
            assert_eq!(node.fetch(&topic, offset - 1).await.error_code, 1);
        }
        assert_eq!(node.values(&topic, 5).await, ["v5", "v6", "v7", "v8"]);
        // What is gone already can be asked for again.
        for at_or_before in [5, 4, 0] {
            assert_eq!(delete(&mut node, at_or_before).await, (0, 5));
        }
        // -1 is the high watermark; the log goes on there.
        assert_eq!(delete(&mut node, -1).await, (0, 9));
        assert_eq!(bounds(&mut node, &topic, 9).await, (0, 9, 9));
        let row = node.produce(&topic, batch(&["v9"])).await;
        assert_eq!((row.base_offset, row.log_start_offset), (9, 9));
        assert_eq!(node.values(&topic, 9).await, ["v9"]);
    });
}

#[test]
fn what_cannot_be_deleted_says_why() {
    with(&[], async |mut node| {
        filled(&mut node, 3).await;
        node.topic("compact", &[("cleanup.policy", "compact")])
            .await;
        let both = [("cleanup.policy", "compact,delete")];
        node.topic("both", &both).await;
        let asked = [
            ("t", 0, 4),
            ("t", 0, -2),
            ("t", 0, i64::MAX),
            ("t", 1, 0),
            ("t", -1, 0),
            ("absent", 0, 0),
            ("compact", 0, 0),
            ("both", 0, 0),
            ("t", 0, 2),
            ("t", 0, 3),
            ("t", 0, 1),
        ];
        let expected = [
            (1, -1),
            (1, -1),
            (1, -1),
            (3, -1),
            (3, -1),
            (3, -1),
            (44, -1),
            (0, 0),
            (0, 2),
            (0, 3),
            (0, 3),
        ];
        for version in 0..=2 {
            if version == 0 {
                assert_eq!(ask(&mut node, version, &request(&asked)).await, expected);
            } else {
                let refused = ask(&mut node, version, &request(&asked)).await;
                assert_eq!(refused[..7], expected[..7]);
            }
        }
        let errors =
            "millrace_request_errors_total{api=\"DeleteRecords\",error=\"POLICY_VIOLATION\"}";
        assert_eq!(node.metric(errors), 3);
    });
}

#[test]
fn a_start_that_was_told_stays_through_crash_and_restart() {
    with(&[], async |mut node| {
        let topic = filled(&mut node, 6).await;
        assert_eq!(delete(&mut node, 4).await, (0, 4));
        node.crash().await;
        assert_eq!(bounds(&mut node, &topic, 4).await, (0, 4, 6));
        assert_eq!(delete(&mut node, -1).await, (0, 6));
        node.restart().await;
        assert_eq!(bounds(&mut node, &topic, 6).await, (0, 6, 6));
        let row = node.produce(&topic, batch(&["v6"])).await;
        assert_eq!((row.base_offset, row.log_start_offset), (6, 6));
    });
}

#[test]
fn a_retry_is_known_although_its_record_was_deleted() {
    with(&[], async |mut node| {
        let topic = node.topic("t", &[]).await;
        for at in 0..3 {
            let row = node
                .produce(&topic, batch_from((1000, 0, at), &["v"]))
                .await;
            assert_eq!((row.error_code, row.base_offset), (0, i64::from(at)));
        }
        assert_eq!(delete(&mut node, -1).await, (0, 3));
        node.crash().await;
        let again = node.produce(&topic, batch_from((1000, 0, 2), &["v"])).await;
        assert_eq!((again.error_code, again.base_offset), (0, 2));
        let next = node.produce(&topic, batch_from((1000, 0, 3), &["v"])).await;
        assert_eq!((next.error_code, next.base_offset), (0, 3));
    });
}

/// The segments of partition 0 that are on disk, in order.
async fn logs(node: &Node) -> Vec<String> {
    let host = node.world.node("broker");
    let files = host.disk.list("/data/t-0".as_ref()).await.unwrap();
    let names = files.into_iter().map(|file| file.name);
    let is_log = |name: &String| Path::new(name).extension() == Some("log".as_ref());
    let mut logs: Vec<_> = names.filter(is_log).collect();
    logs.sort();
    logs
}

#[test]
fn whole_segments_before_the_start_are_removed() {
    with(&[], async |mut node| {
        let configs = [
            ("segment.bytes", "1048576"),
            ("file.delete.delay.ms", "1000"),
        ];
        let topic = node.topic("t", &configs).await;
        let value = "v".repeat(400_000);
        for _ in 0..8 {
            let row = node.produce(&topic, batch(&[&value])).await;
            assert_eq!(row.error_code, 0);
        }
        let name = |base: i64| format!("{base:020}.log");
        assert_eq!(logs(&node).await, [0, 2, 4, 6].map(name));
        assert_eq!(delete(&mut node, 5).await, (0, 5));
        assert_eq!(logs(&node).await.len(), 4);
        node.world.pause(Duration::from_secs(2)).await;
        assert_eq!(logs(&node).await, [4, 6].map(name));
        assert_eq!(bounds(&mut node, &topic, 5).await, (0, 5, 8));
    });
}

#[test]
fn nothing_is_shown_before_it_is_durable_and_the_wait_is_bounded() {
    with(&[], async |mut node| {
        let topic = filled(&mut node, 4).await;
        let hanging = DiskFault {
            op: DiskOp::Sync,
            path_contains: String::new(),
            when: When::Always,
            effect: DiskEffect::Hang,
        };
        let fault = node.world.inject("broker", hanging);
        let mut asked = request(&[("t", 0, 2), ("t", 0, 3), ("absent", 0, 0)]);
        asked.timeout_ms = 2_000;
        let start = node.now();
        let rows = ask(&mut node, 2, &asked).await;
        assert_eq!(rows, [(7, -1), (7, -1), (3, -1)]);
        let waited = node.since(start);
        assert!((2_000..2_500).contains(&waited.as_millis()), "{waited:?}");
        assert_eq!(bounds(&mut node, &topic, 0).await, (0, 0, 4));
        // A timeout of zero is no reason to give up what this broker does by itself.
        node.world.heal_disk("broker", Some(fault));
        node.world.pause(Duration::from_secs(1)).await;
        assert_eq!(bounds(&mut node, &topic, 2).await, (0, 2, 4));
        for (timeout_ms, offset) in [(0, 3), (-1, 4)] {
            let mut asked = request(&[("t", 0, offset)]);
            asked.timeout_ms = timeout_ms;
            assert_eq!(ask(&mut node, 2, &asked).await, [(0, offset)]);
        }
    });
}

#[test]
fn a_directory_that_fails_deletes_nothing() {
    with(&[("log.dirs", "/data,/other")], async |mut node| {
        let topic = node.topic_of("t", 2, &[]).await;
        for partition in 0..2 {
            let records = Some(batch(&["a", "b"]));
            let request = crate::node::produce_request(&topic, partition, -1, records);
            assert_eq!(node.produce_row(13, &request).await.error_code, 0);
        }
        let failing = DiskFault {
            op: DiskOp::Sync,
            path_contains: "/other/".to_owned(),
            when: When::Always,
            effect: DiskEffect::Error,
        };
        node.world.inject("broker", failing);
        let rows = ask(&mut node, 2, &request(&[("t", 0, 1), ("t", 1, 1)])).await;
        let mut sorted = rows.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, [(0, 1), (56, -1)], "{rows:?}");
    });
}

#[test]
fn many_partitions_at_once_share_their_commits() {
    with(&[], async |mut node| {
        let topic = node.topic_of("t", 600, &[]).await;
        let asked: Vec<_> = (0..600).map(|partition| ("t", partition, 1)).collect();
        for partition in 0..600 {
            let records = Some(batch(&["a", "b"]));
            let request = crate::node::produce_request(&topic, partition, 1, records);
            assert_eq!(node.produce_row(13, &request).await.error_code, 0);
        }
        let start = node.now();
        let rows = ask(&mut node, 2, &request(&asked)).await;
        assert!(rows.iter().all(|row| *row == (0, 1)));
        let spent = node.since(start);
        assert!(spent < Duration::from_secs(1), "{spent:?}");
    });
}
