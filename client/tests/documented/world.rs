// A simulated broker for the examples of the documentation, each of which includes this as a module.
//
// What always holds: each example has a world of its own, so none sees what another left.

use millrace_client::{Cluster, ClusterOptions, Error, NewTopic};

/// Runs an example against a broker of its own, on which there is a topic `orders` of three partitions.
pub fn run(example: impl AsyncFnOnce(Cluster) -> Result<(), Error>) {
    let sim = millrace_sim::Sim::new(1);
    let world = sim.world();
    let ran = sim.block_on(async {
        let config = [
            ("listeners", "PLAINTEXT://127.0.0.1:9092"),
            ("log.dirs", "/data"),
            ("admin.listener", ""),
        ];
        let config = millrace_config::BrokerConfig::from_pairs(config).expect("they fit together");
        let broker = millrace_server::Broker::start(config, world.node("broker")).await;
        let _broker = broker.expect("it starts");
        let host = world.node("client");
        let cluster = Cluster::connect(&host, ClusterOptions::new(["127.0.0.1:9092"])).await?;
        let client = cluster.any_broker().await?;
        client.create_topic(&NewTopic::new("orders", 3)).await?;
        example(cluster).await
    });
    ran.expect("the example runs");
}
