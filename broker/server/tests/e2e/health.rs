//! What `/health/ready` and `/health/live` say in each state of a node, over its HTTP server.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use millrace_host::{Host, Piece};
use millrace_protocol::messages;
use millrace_sim::{DiskEffect, DiskFault, DiskOp, FaultId, When};

use crate::directories::{PARTITIONS, spread, strike};
use crate::disk::fill;
use crate::node::{Node, PRODUCE, Topic, batch, produce_request, with};

const ADMIN: &str = "127.0.0.1:9644";
/// The first directory holds the metadata log.
const BOTH: [(&str, &str); 3] = [
    ("log.dirs", "/a,/b"),
    ("admin.listener", ADMIN),
    ("log.dir.reserve.bytes", "4194304"),
];
const SECOND: Duration = Duration::from_secs(1);

/// Status and body of one GET.
async fn get(host: &Host, path: &str) -> (u16, String) {
    let address: SocketAddr = ADMIN.parse().unwrap();
    let mut connection = host.net.connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\n\r\n");
    let piece = Piece::Bytes(request.into());
    connection.write.send(vec![piece]).await.unwrap();
    let mut answer = BytesMut::new();
    while connection.read.read(&mut answer, 1 << 16).await.unwrap() > 0 {}
    let answer = String::from_utf8(answer.to_vec()).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

/// What the node says of its readiness; it lives in any case.
async fn ready(host: &Host) -> (u16, String) {
    assert_eq!(get(host, "/health/live").await, (200, "live\n".to_owned()));
    get(host, "/health/ready").await
}

fn hang(node: &Node, path: &str) -> FaultId {
    let fault = DiskFault {
        op: DiskOp::Sync,
        path_contains: path.into(),
        when: When::Always,
        effect: DiskEffect::Hang,
    };
    node.world.inject("broker", fault)
}

/// Sends a produce to a partition of the first or the second directory, and doesn't wait for it.
async fn produce(node: &mut Node, topic: &Topic, in_b: &[bool], to_b: bool) {
    let partition = in_b.iter().position(|in_b| *in_b == to_b).unwrap();
    let request = produce_request(topic, partition as i32, -1, Some(batch(&["x"])));
    let body = messages::encode(&request, PRODUCE).unwrap();
    node.client.send_request(0, PRODUCE, true, &body).await;
}

#[test]
fn a_node_is_ready_from_the_end_of_its_start_to_the_begin_of_its_end() {
    with(&BOTH, async |mut node| {
        let whole = (200, "ready\n".to_owned());
        assert_eq!(ready(&node.host).await, whole);
        let (topic, in_b) = spread(&mut node).await;
        // While it stops, it lets what was begun end.
        let fault = hang(&node, "/a");
        produce(&mut node, &topic, &in_b, false).await;
        node.world.pause(Duration::from_millis(100)).await;
        let (host, world) = (node.host.clone(), node.world.clone());
        let asking = async {
            world.pause(SECOND).await;
            let said = ready(&host).await;
            world.heal_disk("broker", Some(fault));
            said
        };
        let (said, ()) = tokio::join!(asking, node.broker.take().unwrap().stop());
        assert_eq!(said, (503, "not ready: the node is stopping\n".to_owned()));
        // A start that takes its time.
        let fault = DiskFault {
            op: DiskOp::Sync,
            path_contains: "/a".into(),
            when: When::Always,
            effect: DiskEffect::Slow(2 * SECOND),
        };
        let fault = node.world.inject("broker", fault);
        let asking = async {
            world.pause(SECOND).await;
            let said = ready(&host).await;
            world.heal_disk("broker", Some(fault));
            said
        };
        let (said, ()) = tokio::join!(asking, node.start_again());
        assert_eq!(said, (503, "not ready: the node is starting\n".to_owned()));
        assert_eq!(ready(&node.host).await, whole);
    });
}

#[test]
fn one_directory_of_several_is_missed_and_the_rest_is_served() {
    with(&BOTH, async |mut node| {
        let (topic, in_b) = spread(&mut node).await;
        // While its sync hangs.
        let fault = hang(&node, "/b/");
        produce(&mut node, &topic, &in_b, true).await;
        node.world.pause(2 * SECOND).await;
        let (status, text) = ready(&node.host).await;
        assert_eq!(status, 200);
        assert!(text.contains("have not returned"), "{text}");
        node.world.heal_disk("broker", Some(fault));
        node.client = node.connect().await;
        strike(&node, DiskOp::Sync, "/b/");
        produce(&mut node, &topic, &in_b, true).await;
        node.world.pause(SECOND).await;
        let (status, text) = ready(&node.host).await;
        assert_eq!(status, 200);
        assert!(
            text.starts_with("ready\nbut log directory /b is offline: "),
            "{text}"
        );
        // Left out by a start.
        node.world.heal_disk("broker", None);
        let fault = strike(&node, DiskOp::Name, "/b");
        node.restart().await;
        let expected = "ready\nbut log directory /b could not be used at the start\n";
        assert_eq!(ready(&node.host).await, (200, expected.to_owned()));
        node.world.heal_disk("broker", Some(fault));
        node.restart().await;
        assert_eq!(ready(&node.host).await.1, "ready\n");
        let codes = node.produce_to_each(&topic, PARTITIONS, "again").await;
        assert_eq!(codes, [0; 4]);
    });
}

#[test]
fn a_full_disk_is_told_as_long_as_it_is_full() {
    with(&[BOTH[1], BOTH[2]], async |mut node| {
        let topic = node.topic("t", &[]).await;
        assert_eq!(node.produce(&topic, batch(&["first"])).await.error_code, 0);
        node.world.set_capacity("broker", 32 << 20);
        fill(&mut node, &topic).await;
        let expected = "ready\nbut log directory /data is full: produces to it are refused\n";
        assert_eq!(ready(&node.host).await, (200, expected.to_owned()));
        let line = "millrace_log_directory_full{dir=\"/data\"}";
        assert_eq!(node.metric(line), 1);
        // Also when nobody tries to produce.
        node.world.set_capacity("broker", 64 << 20);
        assert_eq!(ready(&node.host).await.1, "ready\n");
        assert_eq!(node.metric(line), 0);
    });
}

#[test]
fn a_node_without_its_metadata_is_not_ready() {
    with(&BOTH, async |mut node| {
        let (topic, in_b) = spread(&mut node).await;
        strike(&node, DiskOp::Sync, "/a/");
        produce(&mut node, &topic, &in_b, false).await;
        let failure = node.broker.as_ref().unwrap().failed().await;
        let (status, text) = ready(&node.host).await;
        assert_eq!((status, text), (503, format!("not ready: {failure}\n")));
    });
}
