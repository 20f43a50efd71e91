//! A broker in simulation, the client's machine, and what happens to both.

use std::time::Duration;

use millrace_client::{Cluster, ClusterOptions, NewTopic};
use millrace_config::BrokerConfig;
use millrace_host::Host;
use millrace_server::Broker;
use millrace_sim::{Sim, World};

const BOOTSTRAP: &str = "127.0.0.1:9092";
/// Partitions of each topic.
pub(crate) const PARTITIONS: i32 = 3;

fn config() -> BrokerConfig {
    let pairs = [
        ("listeners", "PLAINTEXT://127.0.0.1:9092"),
        ("log.dirs", "/data"),
        ("admin.listener", ""),
    ];
    BrokerConfig::from_pairs(pairs).unwrap()
}

/// A broker on the machine of this name, on what its disk holds.
async fn broker(world: &World) -> Broker {
    Broker::start(config(), world.node("broker")).await.unwrap()
}

/// The cluster as a client on `host` knows it.
pub(crate) async fn cluster(host: &Host) -> Cluster {
    let cluster = Cluster::connect(host, ClusterOptions::new([BOOTSTRAP]));
    cluster.await.unwrap()
}

/// Makes a topic.
pub(crate) async fn topic(cluster: &Cluster, name: &str, configs: &[(&str, &str)]) {
    let mut topic = NewTopic::new(name, PARTITIONS);
    for (key, value) in configs {
        topic = topic.with(*key, *value);
    }
    let client = cluster.any_broker().await.unwrap();
    client.create_topic(&topic).await.unwrap();
}

/// A run with a broker and a client's machine.
pub(crate) fn run<F: Future>(seed: u64, test: impl FnOnce(World, Host, Broker) -> F) -> F::Output {
    let sim = Sim::new(seed);
    let world = sim.world();
    sim.block_on(async {
        let broker = broker(&world).await;
        let host = world.node("client");
        test(world, host, broker).await
    })
}

/// Ends the broker in one of several ways, and starts it again; or only its connections.
pub(crate) async fn trouble(world: World, mut broker: Broker, rounds: u32) -> Broker {
    for _ in 0..rounds {
        world.pause(Duration::from_millis(world.draw(400))).await;
        match world.draw(4) {
            0 => world.cut_connections("client", "broker"),
            1 => {
                world.partition("broker", "client");
                world.pause(Duration::from_millis(world.draw(40_000))).await;
                world.heal_net();
            }
            way => {
                if way == 2 {
                    world.kill("broker");
                } else {
                    world.crash("broker");
                }
                drop(broker);
                world.pause(Duration::from_millis(world.draw(2000))).await;
                broker = self::broker(&world).await;
            }
        }
    }
    broker
}
