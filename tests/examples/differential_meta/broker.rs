//! A broker in this process, with the properties that Apache Kafka was recorded with.

use std::net::SocketAddr;

use millrace_config::{BrokerConfig, Sources};
use millrace_host::real::{Options, RealHost};
use millrace_server::Broker;
use tempfile::TempDir;

/// As in xtask's command; but nobody waits for members of groups that don't come.
const PROPERTIES: [&str; 6] = [
    "listeners=PLAINTEXT://127.0.0.1:0",
    "admin.listener=",
    "node.id=1",
    "broker.rack=RACK1",
    "offsets.topic.replication.factor=1",
    "group.initial.rebalance.delay.ms=0",
];

/// A broker that serves until this is dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    _broker: Broker,
    _machine: RealHost,
    _directory: TempDir,
}

impl Running {
    pub(crate) fn start() -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut set: Vec<String> = PROPERTIES.iter().map(|&key| key.to_owned()).collect();
        set.push(format!(
            "log.dirs={}",
            directory.path().join("data").display()
        ));
        let sources = Sources {
            file: None,
            environment: Vec::new(),
            set,
        };
        let config = BrokerConfig::load(&sources).map_err(|error| error.to_string())?;
        let machine = RealHost::start(&Options::default()).map_err(|error| error.to_string())?;
        let broker = machine.block_on(Broker::start(config, machine.host()));
        let broker = broker.map_err(|error| error.to_string())?;
        let listener = broker.listeners().into_iter().next();
        let address = listener.ok_or("the broker has no listener")?.address;
        Ok(Self {
            address,
            _broker: broker,
            _machine: machine,
            _directory: directory,
        })
    }
}
