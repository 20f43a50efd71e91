//! Several log directories: which of them a start uses, and what is left when one is lost
//! (`docs/durability.md` F1, A1).

use std::time::Duration;

use millrace_protocol::api::Api;
use millrace_protocol::messages::metadata_request::MetadataRequestTopic;
use millrace_protocol::messages::metadata_response::MetadataResponsePartition;
use millrace_protocol::messages::{self, CreateTopicsRequest, MetadataRequest, MetadataResponse};
use millrace_sim::{DiskEffect, DiskFault, DiskOp, FaultId, Sim, When};

use crate::node::{Node, PRODUCE, Topic, batch, new_topic, produce_request, with};

const STORAGE: i16 = 56;
const LEADER_NOT_AVAILABLE: i16 = 5;

/// The first holds the metadata log.
pub(crate) const BOTH: [(&str, &str); 1] = [("log.dirs", "/a,/b")];

pub(crate) const PARTITIONS: i32 = 4;

/// Strikes every such operation below a path.
pub(crate) fn strike(node: &Node, op: DiskOp, path: &str) -> FaultId {
    let fault = DiskFault {
        op,
        path_contains: path.into(),
        when: When::Always,
        effect: DiskEffect::Error,
    };
    node.world.inject("broker", fault)
}

async fn described(node: &mut Node, topic: &Topic) -> Vec<MetadataResponsePartition> {
    let mut asked = MetadataRequestTopic::default();
    asked.name = Some(topic.name.clone());
    let mut request = MetadataRequest::default();
    request.topics = Some(vec![asked]);
    let mut answer: MetadataResponse = node.client.ask(Api::Metadata, 12, &request).await;
    answer.topics.remove(0).partitions
}

/// A topic with a record in each partition, half of them in each directory; and which lie in `/b`.
pub(crate) async fn spread(node: &mut Node) -> (Topic, Vec<bool>) {
    let topic = node.topic_of("t", PARTITIONS, &[]).await;
    assert_eq!(
        node.produce_to_each(&topic, PARTITIONS, "kept").await,
        [0; 4]
    );
    let names = node.world.node("broker").disk.list("/b".as_ref()).await;
    let names: Vec<String> = names.unwrap().into_iter().map(|e| e.name).collect();
    let in_b: Vec<bool> = (0..PARTITIONS)
        .map(|partition| names.contains(&format!("t-{partition}")))
        .collect();
    assert_eq!(in_b.iter().filter(|lies_in| **lies_in).count(), 2);
    (topic, in_b)
}

/// Codes by whether a partition lies in `/b`.
fn split(in_b: &[bool], code: i16) -> Vec<i16> {
    in_b.iter().map(|b| if *b { code } else { 0 }).collect()
}

pub(crate) async fn assert_b_is_lost_and_a_is_served(
    node: &mut Node,
    topic: &Topic,
    in_b: &[bool],
) {
    assert_eq!(
        node.produce_to_each(topic, PARTITIONS, "more").await,
        split(in_b, STORAGE)
    );
    let found = node.read_each(topic, PARTITIONS).await;
    let rows = described(node, topic).await;
    for (partition, lost) in in_b.iter().enumerate() {
        let row = rows
            .iter()
            .find(|row| row.partition_index == partition as i32);
        let row = row.unwrap();
        if *lost {
            assert_eq!(found[partition], Err(STORAGE));
            assert_eq!((row.leader_id, row.error_code), (-1, LEADER_NOT_AVAILABLE));
            assert_eq!(row.offline_replicas, [1]);
        } else {
            assert_eq!(found[partition].as_ref().unwrap()[0], "kept");
            assert_eq!((row.leader_id, row.error_code), (1, 0));
            assert!(row.offline_replicas.is_empty());
        }
        assert_eq!((&row.replica_nodes, &row.isr_nodes), (&vec![1], &vec![1]));
    }
    assert_eq!(node.metric("millrace_log_directories_offline"), 1);
}

#[test]
fn a_directory_that_fails_is_offline_at_once_and_the_others_are_served() {
    for op in [DiskOp::Sync, DiskOp::Write] {
        with(&BOTH, async |mut node| {
            let (topic, in_b) = spread(&mut node).await;
            let fault = strike(&node, op, "/b/");
            let first = in_b.iter().position(|b| *b).unwrap();
            let request = produce_request(&topic, first as i32, -1, Some(batch(&["lost"])));
            let row = node.produce_row(PRODUCE, &request).await;
            assert_eq!(row.error_code, STORAGE, "{op:?}");
            // Nothing that comes later is believed.
            node.world.heal_disk("broker", Some(fault));
            node.world.pause(Duration::from_millis(100)).await;
            assert_b_is_lost_and_a_is_served(&mut node, &topic, &in_b).await;
            // New partitions go where they can be written.
            let other = node.topic_of("other", PARTITIONS, &[]).await;
            assert_eq!(node.produce_to_each(&other, PARTITIONS, "x").await, [0; 4]);
            node.crash().await;
            assert_eq!(
                node.produce_to_each(&topic, PARTITIONS, "again").await,
                [0; 4]
            );
            for found in node.read_each(&topic, PARTITIONS).await {
                let found = found.unwrap();
                assert_eq!(found[0], "kept");
                assert_eq!(found.last().unwrap(), "again");
            }
            for row in described(&mut node, &topic).await {
                assert_eq!((row.leader_id, row.error_code), (1, 0));
                assert!(row.offline_replicas.is_empty());
            }
        });
    }
}

#[test]
fn the_loss_of_the_metadatas_directory_ends_the_node() {
    with(&BOTH, async |mut node| {
        let (topic, _) = spread(&mut node).await;
        let fault = strike(&node, DiskOp::Sync, "/a/");
        let mut request = CreateTopicsRequest::default();
        request.topics = vec![new_topic("u", 1, &[])];
        let body = messages::encode(&request, 7).unwrap();
        let key = Api::CreateTopics.key();
        node.client.send_request(key, 7, true, &body).await;
        let broker = node.broker.take().unwrap();
        let failure = broker.failed().await;
        assert_eq!(failure.path.to_str(), Some("/a"));
        let words = failure.to_string();
        for part in ["/a", "metadata", "repair or replace"] {
            assert!(words.contains(part), "{words}");
        }
        // Whatever is sent next is not served: the connection ends.
        while node.client.reply().await.is_some() {}
        node.world.crash("broker");
        drop(broker);
        node.world.heal_disk("broker", Some(fault));
        node.start_again().await;
        for found in node.read_each(&topic, PARTITIONS).await {
            assert_eq!(found.unwrap(), ["kept"]);
        }
        assert_eq!(
            node.produce_to_each(&topic, PARTITIONS, "again").await,
            [0; 4]
        );
    });
}

#[test]
fn a_directory_that_cannot_be_read_at_a_start_is_left_out_and_comes_back() {
    with(&BOTH, async |mut node| {
        let (topic, in_b) = spread(&mut node).await;
        let fault = strike(&node, DiskOp::Name, "/b");
        node.restart().await;
        assert_b_is_lost_and_a_is_served(&mut node, &topic, &in_b).await;
        node.world.heal_disk("broker", Some(fault));
        node.restart().await;
        assert_eq!(
            node.produce_to_each(&topic, PARTITIONS, "again").await,
            [0; 4]
        );
        assert_eq!(node.metric("millrace_log_directories_offline"), 0);
    });
}

#[test]
fn the_metadata_are_found_wherever_they_stand_in_the_list() {
    with(&BOTH, async |mut node| {
        let (topic, _) = spread(&mut node).await;
        node.set("log.dirs", "/new,/b,/a");
        node.restart().await;
        for found in node.read_each(&topic, PARTITIONS).await {
            assert_eq!(found.unwrap(), ["kept"]);
        }
        assert_eq!(node.metric("millrace_log_directories_offline"), 0);
        node.set("log.dirs", "/b,/new,/a");
        node.restart().await;
        assert_eq!(
            node.produce_to_each(&topic, PARTITIONS, "again").await,
            [0; 4]
        );
    });
}

#[test]
fn data_without_their_metadata_are_never_begun_anew() {
    with(&BOTH, async |mut node| {
        let (topic, _) = spread(&mut node).await;
        for dirs in ["/b", "/empty,/b", "/b,/empty"] {
            node.set("log.dirs", dirs);
            let words = node.refusal().await;
            for part in ["/b", "__cluster_metadata-0", "log.dirs"] {
                assert!(words.contains(part), "{words}");
            }
            let host = node.world.node("broker");
            assert!(host.disk.list("/empty".as_ref()).await.is_err(), "{dirs}");
        }
        let fault = strike(&node, DiskOp::Name, "/a");
        node.set("log.dirs", "/a,/b");
        assert!(node.refusal().await.contains("/a"));
        node.world.heal_disk("broker", Some(fault));
        node.start_again().await;
        assert_eq!(
            node.produce_to_each(&topic, PARTITIONS, "again").await,
            [0; 4]
        );
    });
}

#[test]
fn metadata_are_never_begun_anew_in_a_directory_that_held_no_partition_yet() {
    with(&BOTH, async |mut node| {
        let topic = node.topic("t", &[]).await;
        // As when the disk of /a is not mounted, and its place is empty.
        for dirs in ["/b", "/empty,/b", "/b,/empty"] {
            node.set("log.dirs", dirs);
            let words = node.refusal().await;
            assert!(words.contains("__cluster_metadata-0"), "{words}");
        }
        node.set("log.dirs", "/a,/b");
        node.start_again().await;
        let outcome = node.produce(&topic, batch(&["one"])).await;
        assert_eq!((outcome.error_code, outcome.base_offset), (0, 0));
    });
}

#[test]
fn an_empty_directory_does_not_take_the_place_of_a_missing_one() {
    with(&BOTH, async |mut node| {
        let (topic, in_b) = spread(&mut node).await;
        // As when the disk of /b is not mounted, and its place is empty.
        node.set("log.dirs", "/a,/c");
        node.restart().await;
        assert_b_is_lost_and_a_is_served(&mut node, &topic, &in_b).await;
        let host = node.world.node("broker");
        assert!(host.disk.list("/c".as_ref()).await.is_err());
        // With the topic goes what was missing.
        crate::topics::delete(&mut node, 6, &["t"], &[]).await;
        node.restart().await;
        assert_eq!(node.metric("millrace_log_directories_offline"), 0);
        let host = node.world.node("broker");
        assert!(!host.disk.list("/c".as_ref()).await.unwrap().is_empty());
    });
}

#[test]
fn a_first_start_wants_every_directory() {
    let sim = Sim::new(3);
    sim.block_on(async {
        let fault = DiskFault {
            op: DiskOp::Open,
            path_contains: "/b".into(),
            when: When::Always,
            effect: DiskEffect::Error,
        };
        let fault = sim.inject("broker", fault);
        let refused = Node::start(sim.world(), &BOTH).await.err().unwrap();
        assert!(refused.to_string().contains("/b"), "{refused}");
        sim.heal_disk("broker", Some(fault));
        let mut node = Node::start(sim.world(), &BOTH).await.unwrap();
        spread(&mut node).await;
    });
}
