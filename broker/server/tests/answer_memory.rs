//! How much memory handling the densest requests takes, counted by the allocator: at most what they
//! reserved for their answers, beside their own bytes.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod dense;
mod wire;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use dense::{dense, densest, put_name};
use millrace_config::BrokerConfig;
use millrace_host::allocation::{Counting, begin_process, process_peak};
use millrace_protocol::api::Api;
use millrace_server::Broker;
use millrace_sim::{NetOptions, Sim, SimOptions};
use wire::Client;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9092))
}

fn config() -> BrokerConfig {
    let pairs = [
        ("listeners", "PLAINTEXT://127.0.0.1:9092"),
        ("log.dirs", "/data"),
        ("admin.listener", ""),
    ];
    BrokerConfig::from_pairs(pairs).unwrap()
}

/// Bytes reserved now for answers.
fn reserved(broker: &Broker) -> usize {
    let text = broker.metrics_text();
    let line = "millrace_response_budget_bytes ";
    let value = text.lines().find_map(|found| found.strip_prefix(line));
    value.unwrap().parse().unwrap()
}

/// A request to a node: which, in what version, and its body.
type Asked = (Api, i16, BytesMut);

async fn send(client: &mut Client, (api, version, body): &Asked) {
    let flexible = api.row().request_header_version(*version) == 2;
    let key = api.key();
    client.send_request(key, *version, flexible, body).await;
}

/// What one request reserves for its answer, and what handling it takes until it is encoded, in a
/// node that was asked something `before`.
async fn handled(sim: &Sim, before: Option<&Asked>, asked: &Asked) -> (usize, usize) {
    let broker = Broker::start(config(), sim.node("broker")).await.unwrap();
    let mut client = Client::connect(&sim.node("client"), address()).await;
    if let Some(before) = before {
        send(&mut client, before).await;
        assert!(client.reply().await.is_some());
    }
    assert!(client.is_served().await);
    // All of it arrives at once.
    sim.partition("client", "broker");
    send(&mut client, asked).await;
    sim.pause(Duration::from_secs(1)).await;
    let begin = begin_process();
    sim.heal_net();
    let mut most = 0;
    // Once the answer is encoded, only its bytes stay reserved. Virtual time goes by only where the
    // node waits for its disk.
    for turn in 1.. {
        if turn % 1000 == 0 {
            sim.pause(Duration::from_millis(1)).await;
        } else {
            tokio::task::yield_now().await;
        }
        let now = reserved(&broker);
        most = most.max(now);
        if now < most {
            break;
        }
    }
    let taken = process_peak() - begin;
    (most, taken)
}

fn within_what_is_reserved(before: Option<&Asked>, asked: &Asked) {
    let sim = Sim::with_options(SimOptions {
        net: NetOptions {
            buffer_bytes: 4 << 20,
            ..NetOptions::default()
        },
        ..SimOptions::default()
    });
    let (reserved, taken) = sim.block_on(handled(&sim, before, asked));
    let (api, ..) = asked;
    assert!(taken <= reserved, "{api:?}: {taken} of {reserved} bytes");
    // Nor is so much reserved that others wait for nothing.
    assert!(
        reserved <= 4 * taken,
        "{api:?}: {taken} of {reserved} bytes"
    );
}

/// Requests of many topics with one partition each.
fn of_topics() -> Vec<Asked> {
    let topic = |bytes: usize| {
        move |at: u32, body: &mut BytesMut| {
            put_name(at, body);
            body.put_u8(2);
            body.put_bytes(0, 4 + bytes + 1);
        }
    };
    let fetch = b"\xff\xff\xff\xff\0\0\0\0\0\0\0\x01\0\x10\0\0\0\0\0\0\0\0\0\0\0";
    vec![
        (
            Api::ListOffsets,
            6,
            dense(b"\xff\xff\xff\xff\0", 30_000, topic(13), b"\0"),
        ),
        (
            Api::OffsetForLeaderEpoch,
            4,
            dense(b"\xff\xff\xff\xff", 30_000, topic(9), b"\0"),
        ),
        (
            Api::DeleteRecords,
            2,
            dense(b"", 30_000, topic(9), b"\0\0\0\x01\0"),
        ),
        (
            Api::Produce,
            9,
            dense(b"\0\0\x01\0\0\0\x01", 30_000, topic(2), b"\0"),
        ),
        (
            Api::ElectLeaders,
            2,
            dense(b"\0", 30_000, topic(0), b"\0\0\0\x01\0"),
        ),
        (
            Api::AlterPartitionReassignments,
            0,
            dense(b"\0\0\0\x01", 30_000, topic(2), b"\0"),
        ),
        (
            Api::AlterReplicaLogDirs,
            2,
            dense(b"\x02\x02x", 30_000, topic(0), b"\0\0"),
        ),
        (
            Api::DescribeProducers,
            0,
            dense(b"", 30_000, topic(0), b"\0"),
        ),
        (Api::DescribeQuorum, 0, dense(b"", 30_000, topic(1), b"\0")),
        // It makes a session.
        (
            Api::Fetch,
            12,
            dense(fetch, 20_000, topic(29), b"\x01\x01\0"),
        ),
    ]
}

/// Makes topics of fifty partitions each.
fn making() -> Asked {
    let topic = |at: u32, body: &mut BytesMut| {
        put_name(at, body);
        body.put_slice(b"\0\0\0\x32\0\x01\x01\x01\0");
    };
    let tail = b"\0\0\xff\xff\0\0";
    (Api::CreateTopics, 5, dense(b"", 150, topic, tail))
}

/// In one test, as there is one allocator.
/// Dense requests of groups' members, which are answered in a few bytes.
fn of_members() -> Vec<Asked> {
    let named = |at: u32, body: &mut BytesMut| {
        put_name(at, body);
        body.put_slice(b"\x01\0");
    };
    let number = |at: u32, body: &mut BytesMut| body.put_u32(at);
    let left = |_: u32, body: &mut BytesMut| body.put_slice(b"\x01\0\0");
    let joins = b"\x02g\0\0\x27\x10\0\0\x27\x10\x01\0\x02c";
    vec![
        (Api::JoinGroup, 7, dense(joins, 50_000, named, b"\0")),
        (
            Api::SyncGroup,
            4,
            dense(b"\x02g\0\0\0\0\x02m\0", 50_000, named, b"\0"),
        ),
        (Api::LeaveGroup, 4, dense(b"\x02g", 100_000, left, b"\0")),
        (
            Api::OffsetFetch,
            8,
            dense(b"\x02\x02g\x02\x02x", 100_000, number, b"\0\0\0\0"),
        ),
    ]
}

#[test]
fn the_densest_requests_take_no_more_memory_than_they_reserve() {
    let more = of_topics().into_iter().chain(of_members());
    for asked in densest().into_iter().chain(more) {
        within_what_is_reserved(None, &asked);
    }
    within_what_is_reserved(None, &making());
    // Of all topics.
    let all = (Api::Metadata, 9, BytesMut::from(&b"\0\0\0\0\0"[..]));
    within_what_is_reserved(Some(&making()), &all);
}
