//! A broker in this process, with the properties that Apache Kafka was recorded with.

use std::net::SocketAddr;
use std::sync::Arc;

use millrace_config::{BrokerConfig, Sources};
use millrace_host::real::{Options, RealHost};
use millrace_protocol::api::Api;
use millrace_server::{Broker, LoggerChange, LoggerError, Loggers, ROOT_LOGGER};
use tempfile::TempDir;

/// As in xtask's command.
const PROPERTIES: [&str; 5] = [
    "listeners=PLAINTEXT://127.0.0.1:0",
    "admin.listener=",
    "node.id=1",
    "broker.rack=RACK1",
    "offsets.topic.replication.factor=1",
];
/// Nobody waits for members of groups that don't come.
const SOON: &str = "group.initial.rebalance.delay.ms=0";

/// The logger above all others, at its level, as the shipped binary has it.
#[derive(Debug)]
struct RootLogger;

impl Loggers for RootLogger {
    fn levels(&self) -> Vec<(String, &'static str)> {
        vec![(ROOT_LOGGER.to_owned(), "INFO")]
    }

    fn exists(&self, name: &str) -> bool {
        name == ROOT_LOGGER
    }

    fn change(&self, _: &[LoggerChange<'_>]) -> Result<(), LoggerError> {
        let reason = "no case changes a level".to_owned();
        Err(LoggerError::Failed { reason })
    }
}

/// A broker that serves until this is dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    _broker: Broker,
    _machine: RealHost,
    _directory: TempDir,
}

impl Running {
    /// For the cases of an API. Those that are told the configuration have it as it was recorded.
    pub(crate) fn start(api: Api) -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut set: Vec<String> = PROPERTIES.iter().map(|&key| key.to_owned()).collect();
        set.push(format!(
            "log.dirs={}",
            directory.path().join("data").display()
        ));
        if api != Api::DescribeConfigs {
            set.push(SOON.to_owned());
        }
        let sources = Sources {
            file: None,
            environment: Vec::new(),
            set,
        };
        let config = BrokerConfig::load(&sources).map_err(|error| error.to_string())?;
        let machine = RealHost::start(&Options::default()).map_err(|error| error.to_string())?;
        let broker = machine.block_on(Broker::start_with(
            config,
            machine.host(),
            Arc::new(RootLogger),
        ));
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
