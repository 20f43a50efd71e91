//! Listeners that come and go while a node runs, and limits of single addresses.

use std::net::SocketAddr;
use std::time::Duration;

use millrace_protocol::api::Api;
use millrace_protocol::messages::{self, MetadataRequest, MetadataResponse};

use crate::configs::{BROKER, alter, describe, set};
use crate::node::{FETCH, Node, PORT, fetch_request, with};
use crate::wire::Client;

const SET: i8 = 0;
const DELETE: i8 = 1;
const MAP: &str = "listener.security.protocol.map";
const NAMES: &str = "PLAINTEXT:PLAINTEXT,IN:PLAINTEXT,OUT:PLAINTEXT";

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn lists(others: &str) -> String {
    format!("PLAINTEXT://127.0.0.1:{PORT}{others}")
}

/// The first listener stays, and `others` are all there is besides.
async fn listen_also(node: &mut Node, others: &str) {
    set(node, BROKER, "1", "listeners", &lists(others)).await;
}

/// The address that a client is told of the node.
async fn told(client: &mut Client) -> (String, i32) {
    let request = MetadataRequest::default();
    let response: MetadataResponse = client.ask(Api::Metadata, 12, &request).await;
    let broker = &response.brokers[0];
    (broker.host.to_string(), broker.port)
}

async fn listens(node: &Node, port: u16) -> bool {
    node.host.net.connect(at(port)).await.is_ok()
}

async fn refused(node: &mut Node, key: &str, value: &str, reason: &str) {
    let (code, words) = alter(node, BROKER, "1", &[(key, SET, Some(value))]).await;
    assert_eq!(code, 42, "{key}={value}: {words}");
    assert!(words.contains(reason), "{key}={value}: {words}");
}

#[test]
fn a_listener_comes_and_goes_and_connections_of_others_stay() {
    with(&[(MAP, NAMES)], async |mut node| {
        listen_also(&mut node, ",OUT://127.0.0.1:7001,IN://127.0.0.1:0").await;
        let open = node.broker.as_ref().unwrap().listeners();
        let names: Vec<_> = open.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["PLAINTEXT", "OUT", "IN"]);
        let (port, known) = (open[2].address.port(), open[2].advertised.1);
        assert!(port != 0 && port == known);
        let mut out = Client::connect(&node.host, at(7001)).await;
        assert_eq!(told(&mut out).await, ("127.0.0.1".to_owned(), 7001));
        let mut within = Client::connect(&node.host, at(port)).await;
        assert!(within.is_served().await);

        listen_also(&mut node, ",IN://127.0.0.1:0").await;
        assert_eq!(out.reply().await, None, "its listener is closed");
        assert!(!listens(&node, 7001).await);
        assert!(within.is_served().await, "the same connection as before");
        assert!(node.client.is_served().await);

        let nothing = [("listeners", DELETE, None)];
        assert_eq!(alter(&mut node, BROKER, "1", &nothing).await.0, 0);
        assert_eq!(within.reply().await, None);
        assert_eq!(node.broker.as_ref().unwrap().listeners().len(), 1);
        assert!(node.client.is_served().await);
    });
}

#[test]
fn listeners_that_were_set_while_the_node_ran_are_there_after_a_restart() {
    with(&[(MAP, NAMES)], async |mut node| {
        listen_also(&mut node, ",OUT://127.0.0.1:7001").await;
        node.restart().await;
        assert!(listens(&node, 7001).await);
        node.crash().await;
        assert!(listens(&node, 7001).await);
        let told = describe(&mut node, 4, (BROKER, "1"), Some(&["listeners"])).await;
        let row = &told.configs[0];
        assert_eq!((row.config_source, row.read_only), (2, false));
        // Whom it is taken from meanwhile is told, and the node serves by what it has.
        node.broker.take().unwrap().stop().await;
        let other = node.world.node("broker");
        let taken = other.net.listen(at(7001), 1).await.unwrap();
        let config = node.broker_config();
        let broker = millrace_server::Broker::start(config, other).await.unwrap();
        assert_eq!(broker.listeners().len(), 1);
        drop(taken);
    });
}

#[test]
fn a_request_that_closes_its_own_listener_is_answered() {
    with(&[(MAP, NAMES)], async |mut node| {
        listen_also(&mut node, ",OUT://127.0.0.1:7001").await;
        let first = std::mem::replace(
            &mut node.client,
            Client::connect(&node.host, at(7001)).await,
        );
        listen_also(&mut node, "").await;
        assert_eq!(node.client.reply().await, None);
        node.client = first;
        assert!(node.client.is_served().await);
    });
}

#[test]
fn whoever_hangs_on_a_listener_that_is_closed_is_cut_after_a_while() {
    with(&[(MAP, NAMES)], async |mut node| {
        listen_also(&mut node, ",OUT://127.0.0.1:7001").await;
        let before = node.metric("millrace_connections");
        let hanging = Client::connect(&node.host, at(7001)).await;
        let mut waiting = Client::connect(&node.host, at(7001)).await;
        let topic = node.topic("t", &[]).await;
        let mut request = fetch_request(&topic, &[(0, 0)]);
        request.max_wait_ms = 240_000;
        let body = messages::encode(&request, FETCH).unwrap();
        waiting
            .send_request(Api::Fetch.key(), FETCH, true, &body)
            .await;
        node.world.pause(Duration::from_secs(1)).await;
        assert_eq!(node.metric("millrace_connections"), before + 2);
        listen_also(&mut node, "").await;
        node.world.pause(Duration::from_secs(1)).await;
        assert_eq!(
            node.metric("millrace_connections"),
            before + 1,
            "the fetch may end"
        );
        node.world.pause(Duration::from_mins(1)).await;
        assert_eq!(node.metric("millrace_connections"), before);
        drop(hanging);
    });
}

#[test]
fn a_change_that_a_running_node_cannot_make_is_refused_with_the_reason() {
    with(&[(MAP, NAMES)], async |mut node| {
        listen_also(&mut node, ",OUT://127.0.0.1:7001").await;
        let taken = node.world.node("broker");
        let taken = taken.net.listen(at(7002), 1).await.unwrap();
        for (value, reason) in [
            (
                lists(",IN://127.0.0.1:7002"),
                "port 7002 of listener IN is taken",
            ),
            (
                lists(",IN://no.such.host:7003"),
                "no.such.host cannot be looked up",
            ),
            (lists(",OUT://127.0.0.1:7003"), "OUT keeps its address"),
            ("OUT://127.0.0.1:7001".to_owned(), "lists with PLAINTEXT"),
            (
                lists(",OTHER://127.0.0.1:7003"),
                "listener.security.protocol.map knows",
            ),
            (lists(",IN://0.0.0.0:7003"), "advertised.listeners says"),
            (
                lists(",IN://127.0.0.1:7001,OUT://127.0.0.1:7001"),
                "each address once",
            ),
        ] {
            refused(&mut node, "listeners", &value, reason).await;
        }
        let map = "PLAINTEXT:PLAINTEXT,OUT:SASL_PLAINTEXT";
        refused(&mut node, MAP, map, "TLS and SASL have no effect").await;
        let advertised = format!("PLAINTEXT://localhost:{PORT}");
        refused(
            &mut node,
            "advertised.listeners",
            &advertised,
            "can't be changed",
        )
        .await;
        let all = lists("");
        let ops = [("listeners", SET, Some(all.as_str()))];
        let (code, words) = alter(&mut node, BROKER, "", &ops).await;
        assert_eq!(code, 42);
        assert!(words.contains("name one broker"), "{words}");
        drop(taken);
        assert!(listens(&node, 7001).await);
        assert_eq!(node.broker.as_ref().unwrap().listeners().len(), 2);
        // Names and listeners together, in one change.
        let map = format!("{NAMES},OTHER:PLAINTEXT");
        let all = lists(",OTHER://127.0.0.1:7003");
        let ops = [
            ("listeners", SET, Some(all.as_str())),
            (MAP, SET, Some(map.as_str())),
        ];
        assert_eq!(
            alter(&mut node, BROKER, "1", &ops).await,
            (0, String::new())
        );
        assert!(listens(&node, 7003).await);
    });
}

#[test]
fn an_address_with_a_limit_of_its_own_is_held_to_it() {
    const KEY: &str = "max.connections.per.ip.overrides";
    with(
        &[("max.connections.per.ip", "1"), (KEY, "localhost:2")],
        async |mut node| {
            let mut second = node.connect().await;
            assert!(second.is_served().await);
            assert_eq!(node.connect().await.reply().await, None);
            set(&mut node, BROKER, "", KEY, "10.0.0.1:0, 127.0.0.1:3").await;
            let mut third = node.connect().await;
            assert!(third.is_served().await);
            assert_eq!(node.connect().await.reply().await, None);
            node.restart().await;
            let _more = [node.connect().await, node.connect().await];
            assert_eq!(
                node.connect().await.reply().await,
                None,
                "it holds from the start on"
            );
            for (value, reason) in [
                ("127.0.0.1", "HOST:COUNT"),
                ("127.0.0.1:-1", "HOST:COUNT"),
                ("a:1,a:2", "each host once"),
                ("no.such.host:4", "no.such.host cannot be looked up"),
            ] {
                refused(&mut node, KEY, value, reason).await;
            }
            set(&mut node, BROKER, "1", KEY, "").await;
            refused(&mut node, "max.connections.per.ip", "0", "lets somebody in").await;
        },
    );
}
