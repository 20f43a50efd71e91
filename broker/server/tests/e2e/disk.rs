//! Disks that are full or slow: what is refused, what goes on, and what comes back by itself.

use std::time::Duration;

use millrace_host::OpenMode;
use millrace_protocol::api::Api;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::{MetadataRequest, MetadataResponse, ProduceResponse};
use millrace_sim::{DiskEffect, DiskFault, DiskOp, When};

use crate::node::{Node, Topic, batch, with};

const STORAGE: i16 = 56;

/// Produces until it is refused, and says how many batches were acknowledged.
pub(crate) async fn fill(node: &mut Node, topic: &Topic) -> usize {
    let value = "v".repeat(500_000);
    for count in 0..1000 {
        let row = node.produce(topic, batch(&[&value])).await;
        if row.error_code != 0 {
            assert_eq!(row.error_code, STORAGE, "{:?}", row.error_message);
            assert!(ErrorCode::KafkaStorageError.is_retriable());
            return count;
        }
    }
    panic!("the disk is never full");
}

#[test]
fn a_full_disk_refuses_produces_and_nothing_else_and_resumes() {
    with(&[("log.dir.reserve.bytes", "4194304")], async |mut node| {
        let topic = node.topic("t", &[]).await;
        assert_eq!(node.produce(&topic, batch(&["first"])).await.error_code, 0);
        node.world.set_capacity("broker", 32 << 20);
        let acknowledged = fill(&mut node, &topic).await + 1;
        assert!(acknowledged > 3, "{acknowledged}");
        // Reads, metadata, new topics and deletions go on.
        assert_eq!(node.values(&topic, 0).await[0], "first");
        let mut all = MetadataRequest::default();
        all.topics = None;
        let response: MetadataResponse = node.client.ask(Api::Metadata, 13, &all).await;
        assert_eq!(response.topics.len(), 1);
        let other = node.topic("other", &[]).await;
        assert_eq!(fill(&mut node, &other).await, 0);
        crate::topics::delete(&mut node, 6, &["other"], &[]).await;
        // Room comes back.
        node.world.set_capacity("broker", 64 << 20);
        node.world.pause(Duration::from_secs(5)).await;
        assert_eq!(node.produce(&topic, batch(&["again"])).await.error_code, 0);
        node.crash().await;
        let row = node.fetch(&topic, 0).await;
        assert_eq!(row.high_watermark, acknowledged as i64 + 1);
    });
}

#[test]
fn a_node_starts_on_a_full_disk_and_can_be_told_what_to_delete() {
    with(&[("log.dir.reserve.bytes", "4194304")], async |mut node| {
        let topic = node.topic("t", &[("file.delete.delay.ms", "0")]).await;
        assert_eq!(node.produce(&topic, batch(&["first"])).await.error_code, 0);
        node.world.set_capacity("broker", 32 << 20);
        fill(&mut node, &topic).await;
        // Somebody else takes the rest, but for what the broker has.
        let host = node.world.node("broker");
        let other = host.disk.open("/other".as_ref(), OpenMode::Create).unwrap();
        let free = host.disk.space("/".as_ref()).unwrap().available;
        other.allocate(0, free).unwrap();
        other.sync().await.unwrap();
        host.disk.sync_dir("/".as_ref()).await.unwrap();
        node.world.kill("broker");
        drop(node.broker.take());
        node.start_again().await;
        assert_eq!(node.values(&topic, 0).await[0], "first");
        let row = node.produce(&topic, batch(&["more"])).await;
        assert_eq!(row.error_code, STORAGE);
        crate::topics::delete(&mut node, 6, &["t"], &[]).await;
        node.world.pause(Duration::from_secs(5)).await;
        let again = node.topic("again", &[]).await;
        assert_eq!(node.produce(&again, batch(&["new"])).await.error_code, 0);
    });
}

#[test]
fn a_deletion_makes_room() {
    with(&[("log.dir.reserve.bytes", "4194304")], async |mut node| {
        let configs = [("file.delete.delay.ms", "0")];
        let large = node.topic("large", &configs).await;
        let topic = node.topic("t", &[]).await;
        assert_eq!(node.produce(&topic, batch(&["first"])).await.error_code, 0);
        node.world.set_capacity("broker", 32 << 20);
        fill(&mut node, &large).await;
        assert_eq!(fill(&mut node, &topic).await, 0);
        crate::topics::delete(&mut node, 6, &["large"], &[]).await;
        node.world.pause(Duration::from_secs(65)).await;
        let value = "v".repeat(500_000);
        assert_eq!(node.produce(&topic, batch(&[&value])).await.error_code, 0);
    });
}

#[test]
fn connections_wait_while_too_much_is_unflushed() {
    let pairs = [("log.unflushed.bytes.max", "1048576")];
    with(&pairs, async |mut node| {
        let topic = node.topic("t", &[]).await;
        assert_eq!(node.produce(&topic, batch(&["x"])).await.error_code, 0);
        let hanging = DiskFault {
            op: DiskOp::Sync,
            path_contains: String::new(),
            when: When::Always,
            effect: DiskEffect::Hang,
        };
        let fault = node.world.inject("broker", hanging);
        let value = "v".repeat(400_000);
        for expected in 1..=3 {
            let records = Some(batch(&[&value]));
            let row = node.produce_in(13, &topic, 1, records).await;
            assert_eq!((row.error_code, row.base_offset), (0, expected));
        }
        let start = node.now();
        let healing = async {
            node.world.pause(Duration::from_secs(20)).await;
            node.world.heal_disk("broker", Some(fault));
        };
        let mut other = node.connect().await;
        let request = crate::node::produce_request(&topic, 0, 1, Some(batch(&["late"])));
        let asking = other.ask::<_, ProduceResponse>(Api::Produce, 13, &request);
        let (response, ()) = tokio::join!(asking, healing);
        assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
        assert!(node.since(start) >= Duration::from_secs(20), "it waited");
        node.world.pause(Duration::from_secs(1)).await;
        assert_eq!(node.fetch(&topic, 5).await.high_watermark, 5);
    });
}

#[test]
fn what_is_never_flushed_does_not_count_as_unflushed() {
    let pairs = [("log.unflushed.bytes.max", "1048576")];
    with(&pairs, async |mut node| {
        let topic = node.topic("t", &[("durability", "page-cache")]).await;
        let value = "v".repeat(400_000);
        for expected in 0..10 {
            let row = node.produce(&topic, batch(&[&value])).await;
            assert_eq!((row.error_code, row.base_offset), (0, expected));
        }
    });
}

#[test]
fn a_topic_made_again_while_its_past_is_being_removed_takes_records_soon() {
    with(&[], async |mut node| {
        let topic = node.topic("t", &[]).await;
        assert_eq!(node.produce(&topic, batch(&["old"])).await.error_code, 0);
        // The old directory is renamed only after its file is synced.
        let slow = DiskFault {
            op: DiskOp::Sync,
            path_contains: "t-0/".into(),
            when: When::Nth(1),
            effect: DiskEffect::Slow(Duration::from_secs(2)),
        };
        node.world.inject("broker", slow);
        let deleted = crate::topics::delete(&mut node, 6, &["t"], &[]).await;
        assert_eq!(deleted[0].error_code, 0);
        let again = node.topic("t", &[]).await;
        let row = node.produce(&again, batch(&["new"])).await;
        if row.error_code != 0 {
            assert_eq!(row.error_code, STORAGE, "{:?}", row.error_message);
        }
        node.world.pause(Duration::from_secs(5)).await;
        let row = node.produce(&again, batch(&["new"])).await;
        assert_eq!(
            (row.error_code, row.base_offset),
            (0, 0),
            "{:?}",
            row.error_message
        );
    });
}

#[test]
fn flush_messages_and_flush_ms_of_a_page_cache_topic_sync_its_file() {
    for pair in [("flush.messages", "1"), ("flush.messages", "2")] {
        with(&[], async |mut node| {
            let topic = node.topic("t", &[("durability", "page-cache"), pair]).await;
            for offset in 0..4 {
                let row = node.produce(&topic, batch(&["one"])).await;
                assert_eq!(
                    (row.error_code, row.base_offset),
                    (0, offset),
                    "{:?}",
                    row.error_message
                );
            }
        });
    }
}

#[test]
fn a_partition_that_could_not_be_opened_for_a_while_is_tried_again() {
    with(&[], async |mut node| {
        let topic = node.topic("t", &[]).await;
        assert_eq!(node.produce(&topic, batch(&["kept"])).await.error_code, 0);
        node.crash().await;
        let faults = [DiskOp::Open, DiskOp::Read].map(|op| {
            let failing = DiskFault {
                op,
                path_contains: "t-0/".into(),
                when: When::Always,
                effect: DiskEffect::Error,
            };
            node.world.inject("broker", failing)
        });
        for _ in 0..2 {
            let row = node.fetch(&topic, 0).await;
            assert_eq!(row.error_code, STORAGE);
        }
        for fault in faults {
            node.world.heal_disk("broker", Some(fault));
        }
        assert_eq!(
            node.fetch(&topic, 0).await.error_code,
            STORAGE,
            "not at once"
        );
        node.world.pause(Duration::from_millis(200)).await;
        assert_eq!(node.values(&topic, 0).await, ["kept"]);
        assert_eq!(node.produce(&topic, batch(&["new"])).await.error_code, 0);
    });
}
