//! `__consumer_offsets` under a week of commits: compaction bounds what it takes on disk.

use std::time::Duration;

use millrace_protocol::api::Api;
use millrace_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use millrace_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};

use crate::groups::{coordinator, fetch};
use crate::node::{Node, Topic, with};

const GROUPS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
/// Partitions that each group commits, a third of them at a time.
const PARTITIONS: i32 = 900;
const THIRDS: i32 = 3;
const BETWEEN: Duration = Duration::from_hours(2);
const WEEK: Duration = Duration::from_hours(7 * 24);
/// The last of them to be kept, behind whatever was committed before.
const SIZE: &str = "millrace_topic_log_bytes{topic=\"__consumer_offsets\"}";

async fn commit(node: &mut Node, group: &str, topic: &Topic, third: i32, offset: i64) {
    let mut of = OffsetCommitRequestTopic::default();
    of.name = topic.name.clone();
    let partitions = (0..PARTITIONS).filter(|index| index % THIRDS == third);
    of.partitions = partitions
        .map(|index| {
            let mut partition = OffsetCommitRequestPartition::default();
            partition.partition_index = index;
            partition.committed_offset = offset;
            partition
        })
        .collect();
    let mut request = OffsetCommitRequest::default();
    request.group_id = group.to_owned().into();
    request.topics = vec![of];
    let response: OffsetCommitResponse = node.client.ask(Api::OffsetCommit, 8, &request).await;
    let rows = &response.topics[0].partitions;
    assert!(rows.iter().all(|row| row.error_code == 0));
}

#[test]
fn a_week_of_commits_takes_no_more_than_three_times_what_is_kept() {
    let pairs = [
        ("offsets.topic.num.partitions", "1"),
        // Small against what is kept, as the default is on a node that needs the bound.
        ("offsets.topic.segment.bytes", "1048576"),
        ("connections.max.idle.ms", "2147483647"),
    ];
    with(&pairs, async |mut node| {
        coordinator(&mut node).await;
        // Records are as long as they get: fewer of them come to the same.
        let topic = node.topic_of(&"x".repeat(249), PARTITIONS, &[]).await;
        for third in 0..THIRDS {
            for group in GROUPS {
                commit(&mut node, group, &topic, third, 0).await;
            }
        }
        let kept = node.metric(SIZE);
        assert!(kept > 1 << 20, "{kept}");
        let start = node.now();
        let (mut round, mut most, mut written) = (0, 0, kept);
        while node.since(start) < WEEK {
            round += 1;
            node.world.pause(BETWEEN).await;
            node.client = node.connect().await;
            for group in GROUPS {
                commit(&mut node, group, &topic, round % THIRDS, round.into()).await;
            }
            written += kept / u64::from(THIRDS.unsigned_abs());
            most = most.max(node.metric(SIZE));
            assert!(most <= 3 * kept, "{most} of {kept} in round {round}");
        }
        assert!(written > 10 * most, "{written} came to {most}");
        for group in GROUPS {
            let offsets = fetch(&mut node, 8, group, None).await;
            let offsets: Vec<i64> = offsets.iter().map(|row| row.0).collect();
            let last = |index: i32| {
                let since = (round - index).rem_euclid(THIRDS);
                i64::from(round - since)
            };
            assert!(offsets.into_iter().eq((0..PARTITIONS).map(last)), "{group}");
        }
    });
}
