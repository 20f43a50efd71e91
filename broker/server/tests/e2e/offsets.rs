//! `ListOffsets` (versions 1–11) and `OffsetForLeaderEpoch` (versions 2–4).

use millrace_protocol::api::Api;
use millrace_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use millrace_protocol::messages::list_offsets_response::ListOffsetsPartitionResponse;
use millrace_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use millrace_protocol::messages::{
    ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
};
use millrace_protocol::records::{BatchBuilder, Codec, Options};

use crate::node::{Node, Topic, WALL_MS, batch, with};

fn request(topic: &str, asked: &[(i32, i64)]) -> ListOffsetsRequest {
    let mut of_topic = ListOffsetsTopic::default();
    of_topic.name = topic.into();
    for (index, timestamp) in asked {
        let mut partition = ListOffsetsPartition::default();
        partition.partition_index = *index;
        partition.current_leader_epoch = -1;
        partition.timestamp = *timestamp;
        of_topic.partitions.push(partition);
    }
    let mut request = ListOffsetsRequest::default();
    request.replica_id = -1;
    request.topics = vec![of_topic];
    request
}

async fn ask(
    node: &mut Node,
    version: i16,
    request: &ListOffsetsRequest,
) -> Vec<ListOffsetsPartitionResponse> {
    let mut response: ListOffsetsResponse =
        node.client.ask(Api::ListOffsets, version, request).await;
    response.topics.remove(0).partitions
}

/// Error, offset, timestamp and leader epoch of a time in partition 0 of `t`.
async fn of(node: &mut Node, version: i16, timestamp: i64) -> (i16, i64, i64, i32) {
    let rows = ask(node, version, &request("t", &[(0, timestamp)])).await;
    let row = &rows[0];
    (row.error_code, row.offset, row.timestamp, row.leader_epoch)
}

/// A topic with times 10, 30 | 20, 50, 40 | 45 after [`WALL_MS`], in batches of `codec`.
async fn timed(node: &mut Node, codec: Codec) -> Topic {
    let topic = node.topic("t", &[]).await;
    for times in [&[10, 30][..], &[20, 50, 40], &[45]] {
        let mut builder = BatchBuilder::new(Options {
            codec,
            ..Options::default()
        });
        for time in times {
            builder
                .push(WALL_MS + time, None, Some(b"value"), &[])
                .unwrap();
        }
        let row = node.produce(&topic, builder.build()).await;
        assert_eq!(row.error_code, 0);
    }
    topic
}

#[test]
fn every_version_finds_ends_and_times() {
    for codec in [
        Codec::None,
        Codec::Gzip,
        Codec::Snappy,
        Codec::Lz4,
        Codec::Zstd,
    ] {
        with(&[], async |mut node| {
            timed(&mut node, codec).await;
            for version in 1..=11 {
                let epoch = if version >= 4 { 0 } else { -1 };
                assert_eq!(of(&mut node, version, -1).await, (0, 6, -1, epoch));
                assert_eq!(of(&mut node, version, -2).await, (0, 0, -1, epoch));
                for (time, offset, found) in [
                    (-100, 0, 10),
                    (10, 0, 10),
                    (11, 1, 30),
                    (31, 3, 50),
                    (50, 3, 50),
                ] {
                    let expected = (0, offset, WALL_MS + found, epoch);
                    let answer = of(&mut node, version, WALL_MS + time).await;
                    assert_eq!(answer, expected, "{version} {time} {codec:?}");
                }
                let nothing = (0, -1, -1, -1);
                assert_eq!(of(&mut node, version, WALL_MS + 51).await, nothing);
            }
        });
    }
}

#[test]
fn special_times_are_known_from_their_versions_on() {
    with(&[], async |mut node| {
        timed(&mut node, Codec::Lz4).await;
        for version in 1..=11 {
            let known = |from: i16, answer| {
                if version >= from {
                    answer
                } else {
                    (35, -1, -1, -1)
                }
            };
            let latest = known(7, (0, 3, WALL_MS + 50, 0));
            assert_eq!(of(&mut node, version, -3).await, latest, "{version}");
            assert_eq!(of(&mut node, version, -4).await, known(8, (0, 0, -1, 0)));
            assert_eq!(of(&mut node, version, -5).await, known(9, (0, -1, -1, -1)));
            assert_eq!(of(&mut node, version, -6).await, known(11, (0, -1, -1, -1)));
            assert_eq!(of(&mut node, version, -7).await, (35, -1, -1, -1));
        }
    });
}

#[test]
fn an_empty_partition_has_ends_and_no_times() {
    with(&[], async |mut node| {
        node.topic("t", &[]).await;
        assert_eq!(of(&mut node, 11, -1).await.1, 0);
        assert_eq!(of(&mut node, 11, -2).await.1, 0);
        assert_eq!(of(&mut node, 11, -3).await, (0, -1, -1, -1));
        assert_eq!(of(&mut node, 11, 0).await, (0, -1, -1, -1));
    });
}

#[test]
fn what_cannot_be_answered_says_why() {
    with(&[], async |mut node| {
        node.topic("t", &[]).await;
        for version in 1..=11 {
            let rows = ask(&mut node, version, &request("absent", &[(0, -1)])).await;
            assert_eq!((rows[0].error_code, rows[0].offset), (3, -1));
            let rows = ask(&mut node, version, &request("t", &[(4, -1)])).await;
            assert_eq!(rows[0].error_code, 3);
            let twice = request("t", &[(0, -1), (0, -2)]);
            let rows = ask(&mut node, version, &twice).await;
            let codes: Vec<i16> = rows.iter().map(|row| row.error_code).collect();
            assert_eq!(codes, [42], "it is refused once");
            if version >= 4 {
                for (epoch, expected) in [(3, 75), (-2, 74)] {
                    let mut other = request("t", &[(0, -1)]);
                    other.topics[0].partitions[0].current_leader_epoch = epoch;
                    let rows = ask(&mut node, version, &other).await;
                    assert_eq!(rows[0].error_code, expected);
                }
            }
            if version >= 2 {
                let mut unknown = request("t", &[(0, -1)]);
                unknown.isolation_level = 2;
                assert_eq!(ask(&mut node, version, &unknown).await[0].error_code, -1);
                let mut committed = request("t", &[(0, -1)]);
                committed.isolation_level = 1;
                assert_eq!(ask(&mut node, version, &committed).await[0].offset, 0);
            }
        }
    });
}

#[test]
fn times_are_found_after_a_crash() {
    with(&[], async |mut node| {
        timed(&mut node, Codec::Zstd).await;
        node.crash().await;
        assert_eq!(of(&mut node, 11, -3).await.1, 3);
        assert_eq!(of(&mut node, 11, WALL_MS + 31).await.1, 3);
        assert_eq!(of(&mut node, 11, -1).await.1, 6);
    });
}

#[test]
fn the_end_of_a_leader_epoch_is_told() {
    with(&[], async |mut node| {
        let topic = node.topic("t", &[]).await;
        node.produce(&topic, batch(&["a", "b"])).await;
        for version in 2..=4 {
            for (name, partition, current, asked, expected) in [
                ("t", 0, -1, 0, (0, 0, 2)),
                ("t", 0, 0, 0, (0, 0, 2)),
                ("t", 0, -1, -1, (0, -1, -1)),
                ("t", 0, -1, 5, (0, -1, -1)),
                ("t", 0, 1, 0, (75, -1, -1)),
                ("t", 3, -1, 0, (3, -1, -1)),
                ("absent", 0, -1, 0, (3, -1, -1)),
            ] {
                let mut of_partition = OffsetForLeaderPartition::default();
                of_partition.partition = partition;
                of_partition.current_leader_epoch = current;
                of_partition.leader_epoch = asked;
                let mut of_topic = OffsetForLeaderTopic::default();
                of_topic.topic = name.into();
                of_topic.partitions = vec![of_partition];
                let mut request = OffsetForLeaderEpochRequest::default();
                if version >= 3 {
                    request.replica_id = -1;
                }
                request.topics = vec![of_topic];
                let response: OffsetForLeaderEpochResponse = node
                    .client
                    .ask(Api::OffsetForLeaderEpoch, version, &request)
                    .await;
                let row = &response.topics[0].partitions[0];
                let answer = (row.error_code, row.leader_epoch, row.end_offset);
                assert_eq!(
                    answer, expected,
                    "version {version}: {name} {current} {asked}"
                );
            }
        }
    });
}
