//! What groups write: records in one partition of `__consumer_offsets`, by the coordinator alone.

use millrace_protocol::api::Api;
use millrace_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use millrace_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse, Uuid};

use crate::groups::{commit, coordinator, delete, fetch, heartbeat, member, sync};
use crate::node::{Node, Topic, batch, produce_request, with};

/// All groups in one partition, so that it is known which.
const ONE: [(&str, &str); 2] = [
    ("group.initial.rebalance.delay.ms", "0"),
    ("offsets.topic.num.partitions", "1"),
];

const PARTITIONS: i32 = 4_000;

/// Writes to the partition that keeps all groups, as Kafka lets clients of this name do.
async fn write_beside(node: &mut Node) {
    let offsets = Topic {
        name: "__consumer_offsets".into(),
        id: Uuid::default(),
    };
    node.client.name = "__admin_client";
    let request = produce_request(&offsets, 0, -1, Some(batch(&["no record of a group"])));
    let row = node.produce_row(12, &request).await;
    assert_eq!(row.error_code, 0);
    node.client.name = "test";
}

#[test]
fn what_others_write_there_costs_a_load_and_no_group() {
    with(&ONE, async |mut node| {
        coordinator(&mut node).await;
        let topic = node.topic("t", &[]).await;
        let joined = member(&mut node, 3, "g").await;
        let id = joined.member_id.to_string();
        sync(&mut node, 3, "g", &id).await;
        for offset in 1..5 {
            write_beside(&mut node).await;
            // Written behind it, and known again from the records: only the client must ask again.
            let overtaken = commit(&mut node, 8, ("g", &id, 1), &topic, offset).await;
            assert_eq!(overtaken[0], 16);
            let again = commit(&mut node, 8, ("g", &id, 1), &topic, 10 + offset).await;
            assert_eq!(again, [0, 3]);
            assert_eq!(
                fetch(&mut node, 8, "g", Some(&topic)).await[0].0,
                10 + offset
            );
            assert_eq!(heartbeat(&mut node, 3, "g", &id).await, 0);
        }
    });
}

#[test]
fn what_is_too_much_for_one_batch_is_written_as_several() {
    with(&ONE, async |mut node| {
        coordinator(&mut node).await;
        let name = "x".repeat(249);
        let topic = node.topic_of(&name, PARTITIONS, &[]).await;
        let mut of = OffsetCommitRequestTopic::default();
        of.name = topic.name.clone();
        of.partitions = (0..PARTITIONS)
            .map(|index| {
                let mut partition = OffsetCommitRequestPartition::default();
                partition.partition_index = index;
                partition.committed_offset = i64::from(index);
                partition
            })
            .collect();
        let mut request = OffsetCommitRequest::default();
        request.group_id = "g".into();
        request.topics = vec![of];
        let response: OffsetCommitResponse = node.client.ask(Api::OffsetCommit, 8, &request).await;
        let rows = &response.topics[0].partitions;
        assert!(rows.iter().all(|row| row.error_code == 0));
        node.crash().await;
        let kept = fetch(&mut node, 8, "g", None).await;
        let offsets = kept.iter().map(|row| row.0);
        assert!(offsets.eq((0..PARTITIONS).map(i64::from)));
        assert_eq!(delete(&mut node, 2, "g").await, 0);
        node.restart().await;
        assert_eq!(fetch(&mut node, 8, "g", None).await, []);
    });
}
