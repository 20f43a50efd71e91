//! Requests that are slow (`request.slow.ms`): counted by API, but for what they asked to wait for.

use std::time::Duration;

use millrace_protocol::api::Api;
use millrace_protocol::messages::FetchResponse;
use millrace_sim::{DiskEffect, DiskFault, DiskOp, When};

use crate::configs::{BROKER, set};
use crate::groups::{coordinator, member};
use crate::node::{FETCH, Node, Topic, batch, fetch_request, with};

fn slow(node: &Node, api: &str) -> u64 {
    node.metric(&format!("millrace_slow_requests_total{{api=\"{api}\"}}"))
}

async fn long_poll(node: &mut Node, topic: &Topic) {
    let mut request = fetch_request(topic, &[(0, 1)]);
    request.max_wait_ms = 20_000;
    let start = node.now();
    let _: FetchResponse = node.client.ask(Api::Fetch, FETCH, &request).await;
    assert!(node.since(start) >= Duration::from_secs(20));
}

#[test]
fn a_slow_disk_makes_a_produce_slow_and_a_long_poll_no_fetch() {
    with(&[], async |mut node| {
        let topic = node.topic("t", &[]).await;
        assert_eq!(node.produce(&topic, batch(&["a"])).await.error_code, 0);
        long_poll(&mut node, &topic).await;
        assert_eq!((slow(&node, "Produce"), slow(&node, "Fetch")), (0, 0));
        let fault = DiskFault {
            op: DiskOp::Sync,
            path_contains: "journal".into(),
            when: When::Always,
            effect: DiskEffect::Slow(Duration::from_secs(3)),
        };
        let fault = node.world.inject("broker", fault);
        assert_eq!(node.produce(&topic, batch(&["b"])).await.error_code, 0);
        assert_eq!(slow(&node, "Produce"), 1);
        node.world.heal_disk("broker", Some(fault));
        assert_eq!(node.produce(&topic, batch(&["c"])).await.error_code, 0);
        assert_eq!(slow(&node, "Produce"), 1);
        // What is slow changes while it runs.
        node.world.inject(
            "broker",
            DiskFault {
                op: DiskOp::Sync,
                path_contains: "journal".into(),
                when: When::Always,
                effect: DiskEffect::Slow(Duration::from_secs(3)),
            },
        );
        set(&mut node, BROKER, "1", "request.slow.ms", "10000").await;
        let before = slow(&node, "Produce");
        assert_eq!(node.produce(&topic, batch(&["d"])).await.error_code, 0);
        assert_eq!(slow(&node, "Produce"), before);
        set(&mut node, BROKER, "1", "request.slow.ms", "100").await;
        assert_eq!(node.produce(&topic, batch(&["e"])).await.error_code, 0);
        assert_eq!(slow(&node, "Produce"), before + 1);
        set(&mut node, BROKER, "1", "request.slow.ms", "-1").await;
        assert_eq!(node.produce(&topic, batch(&["f"])).await.error_code, 0);
        assert_eq!(slow(&node, "Produce"), before + 1);
    });
}

#[test]
fn a_join_that_waits_for_its_group_is_not_slow() {
    let delay = [("group.initial.rebalance.delay.ms", "20000")];
    with(&delay, async |mut node| {
        coordinator(&mut node).await;
        let start = node.now();
        assert_eq!(member(&mut node, 3, "g").await.error_code, 0);
        assert!(node.since(start) >= Duration::from_secs(20));
        assert_eq!(slow(&node, "JoinGroup"), 0);
    });
}
