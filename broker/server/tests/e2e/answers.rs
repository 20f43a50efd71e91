//! What answers take: dense requests share one budget, each is answered, and a short request beside
//! them is served meanwhile.

use std::time::Duration;

use millrace_protocol::api::Api;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::header;
use millrace_protocol::messages::{self, DecodeLimits, FindCoordinatorResponse};
use millrace_sim::{NetOptions, Sim, SimOptions};

use crate::dense::densest;
use crate::node::{Node, with};
use crate::wire::Client;

const RESERVED: &str = "millrace_response_budget_bytes";
const WAITS: &str = "millrace_response_budget_waits_total";

const BUDGET_BYTES: u64 = 4 << 20;

async fn send(node: &Node, api: Api, version: i16, body: &[u8]) -> Client {
    let mut client = node.connect().await;
    let flexible = api.row().request_header_version(version) == 2;
    client
        .send_request(api.key(), version, flexible, body)
        .await;
    client
}

#[test]
fn dense_requests_of_every_api_share_one_budget_and_hold_up_no_short_one() {
    let budget = BUDGET_BYTES.to_string();
    with(
        &[("queued.response.bytes.max", &budget)],
        async |mut node| {
            for (api, version, body) in densest() {
                let waits = node.metric(WAITS);
                let mut senders = Vec::new();
                for _ in 0..4 {
                    senders.push(send(&node, api, version, &body).await);
                    assert!(node.client.is_served().await, "{api:?}");
                    assert!(node.metric(RESERVED) <= BUDGET_BYTES, "{api:?}");
                }
                for mut sender in senders {
                    let reply = sender.reply().await;
                    assert!(reply.is_some_and(|reply| reply.len() > 10_000), "{api:?}");
                    assert!(node.metric(RESERVED) <= BUDGET_BYTES, "{api:?}");
                    assert!(node.client.is_served().await, "{api:?}");
                }
                assert!(node.metric(WAITS) > waits, "{api:?}: all of them had room");
                assert_eq!(node.metric(RESERVED), 0, "{api:?}");
            }
        },
    );
}

#[test]
fn a_long_answer_tells_its_text_for_the_first_rows_and_the_code_for_all() {
    with(&[], async |node| {
        let (api, version, body) = densest().remove(0);
        let mut sender = send(&node, api, version, &body).await;
        let mut reply = sender.reply().await.unwrap();
        header::decode_response(&mut reply, true).unwrap();
        let limits = DecodeLimits {
            array_elements_max: 250_000,
            ..DecodeLimits::default()
        };
        let response: FindCoordinatorResponse = messages::decode(version, reply, &limits).unwrap();
        let rows = &response.coordinators;
        assert_eq!(rows.len(), 240_000);
        let refused = ErrorCode::TransactionalIdAuthorizationFailed.code();
        assert!(rows.iter().all(|row| row.error_code == refused));
        let texts = rows.iter().map(|row| row.error_message.is_some());
        assert!(texts.enumerate().all(|(at, told)| told == (at < 1000)));
    });
}

#[test]
fn a_request_without_room_for_its_answer_in_time_is_closed_and_counted() {
    let pairs = [
        ("queued.response.bytes.max", "1048576"),
        ("request.wait.max.ms", "1000"),
    ];
    with(&pairs, async |mut node| {
        let (api, version, body) = densest().remove(0);
        // Reads no reply.
        let mut holder = send(&node, api, version, &body).await;
        assert!(node.client.is_served().await);
        let mut waiter = send(&node, api, version, &body).await;
        assert_eq!(waiter.reply().await, None);
        let closes = "millrace_connection_closes_total{reason=\"no_answer_room\"}";
        assert_eq!(node.metric(closes), 1);
        assert!(node.client.is_served().await);
        assert!(holder.reply().await.is_some());
        assert_eq!(node.metric(RESERVED), 0);
    });
}

/// How often others run between the beginning of a request's effect and its end.
async fn runs_beside(mut node: Node, api: Api, version: i16, body: &[u8]) -> usize {
    let name = api.row().name;
    let requests = format!("millrace_requests_total{{api=\"{name}\"}}");
    let errors = format!("millrace_request_errors_total{{api=\"{name}\"");
    // All of it arrives at once, and no virtual time goes by from then on.
    node.world.partition("client", "broker");
    let flexible = api.row().request_header_version(version) == 2;
    node.client
        .send_request(api.key(), version, flexible, body)
        .await;
    node.world.pause(Duration::from_secs(1)).await;
    node.world.heal_net();
    let mut runs = 0;
    for _ in 0..100_000 {
        tokio::task::yield_now().await;
        let text = node.broker.as_ref().unwrap().metrics_text();
        if text.contains(&errors) {
            break;
        }
        runs += usize::from(node.metric(&requests) == 1);
    }
    runs
}

#[test]
fn a_dense_request_of_any_api_lets_others_run_before_it_ends() {
    for (api, version, body) in densest() {
        let sim = Sim::with_options(SimOptions {
            net: NetOptions {
                buffer_bytes: 4 << 20,
                ..NetOptions::default()
            },
            ..SimOptions::default()
        });
        let world = sim.world();
        let runs = sim.block_on(async {
            let node = Node::start(world, &[]).await.unwrap();
            runs_beside(node, api, version, &body).await
        });
        assert!((10..1000).contains(&runs), "{api:?}: {runs}");
    }
}
