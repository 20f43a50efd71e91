//! A whole node on the simulated machine: what takes minutes passes at once, and what depends on
//! chance is drawn from a seed.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod wire;

use std::net::SocketAddr;
use std::time::Duration;

use millrace_config::BrokerConfig;
use millrace_host::Host;
use millrace_server::Broker;
use millrace_sim::{Drip, Sim};
use wire::Client;

const PORT: u16 = 9092;

fn config() -> BrokerConfig {
    let listeners = format!("PLAINTEXT://127.0.0.1:{PORT}");
    let pairs = [
        ("listeners", listeners.as_str()),
        ("log.dirs", "/data"),
        ("admin.listener", ""),
    ];
    BrokerConfig::from_pairs(pairs).unwrap()
}

fn address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], PORT))
}

/// Starts a node named `broker`, and gives it to `test` with the host of a client.
fn with_node<F: Future>(sim: &Sim, test: impl FnOnce(Broker, Host) -> F) -> F::Output {
    sim.block_on(async {
        let broker = Broker::start(config(), sim.node("broker")).await.unwrap();
        test(broker, sim.node("client")).await
    })
}

fn waited(host: &Host, since: millrace_host::Mono) -> Duration {
    host.clock.now().mono.since(since)
}

#[test]
fn an_idle_connection_is_closed_after_its_time() {
    let sim = Sim::new(1);
    with_node(&sim, async |broker, host| {
        let mut client = Client::connect(&host, address()).await;
        assert!(client.is_served().await);
        let start = host.clock.now().mono;
        assert_eq!(client.reply().await, None);
        let idle = waited(&host, start);
        assert!((599..602).contains(&idle.as_secs()), "{idle:?}");
        broker.stop().await;
    });
}

#[test]
fn clients_that_send_a_byte_a_second_do_not_stop_others_and_are_closed() {
    let sim = Sim::new(2);
    with_node(&sim, async |broker, host| {
        let slow_host = sim.node("slow");
        sim.drip(
            "slow",
            "broker",
            Drip {
                bytes: 1,
                every: Duration::from_secs(1),
            },
        );
        let mut slow = Vec::new();
        for _ in 0..50 {
            let mut client = Client::connect(&slow_host, address()).await;
            client.send_request(18, 0, false, &[0; 100]).await;
            slow.push(client);
        }
        let start = host.clock.now().mono;
        let mut client = Client::connect(&host, address()).await;
        assert!(client.is_served().await);
        assert!(waited(&host, start) < Duration::from_secs(1));
        for client in &mut slow {
            assert_eq!(client.reply().await, None);
        }
        let took = waited(&host, start);
        assert!((25..60).contains(&took.as_secs()), "{took:?}");
        broker.stop().await;
    });
}

#[test]
fn a_killed_node_ends_its_connections_and_starts_again() {
    let sim = Sim::new(3);
    with_node(&sim, async |broker, host| {
        let mut client = Client::connect(&host, address()).await;
        assert!(client.is_served().await);
        sim.kill("broker");
        assert_eq!(client.reply().await, None);
        drop(broker);
        let again = Broker::start(config(), sim.node("broker")).await.unwrap();
        let mut client = Client::connect(&host, address()).await;
        assert!(client.is_served().await);
        again.stop().await;
    });
}

#[test]
fn a_seed_runs_the_same_way_twice() {
    let run = || {
        let sim = Sim::new(4);
        with_node(&sim, async |broker, host| {
            let mut clients = Vec::new();
            for _ in 0..20 {
                clients.push(Client::connect(&host, address()).await);
            }
            for client in &mut clients {
                assert!(client.is_served().await);
            }
            broker.stop().await;
        });
        sim.trace()
    };
    assert_eq!(run(), run());
}
