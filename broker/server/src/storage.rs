//! The node's log directories and its place in the cluster, as a start finds or makes them.
//!
//! What always holds: nothing is served before the metadata are folded and the node is registered
//! in them under its present listeners and with the directories that it could open.

use std::sync::Arc;

use millrace_config::BrokerConfig;
use millrace_core::cluster::{Directory, Registration};
use millrace_host::Host;
use millrace_protocol::ids::TopicId;
use millrace_protocol::metadata::BrokerEndpoint;

use crate::cluster::{Cluster, Quorum};
use crate::directories::{Directories, StorageError};
use crate::runtime::registry::Registry;

/// What a start has of storage.
#[derive(Debug)]
pub(crate) struct Storage {
    pub(crate) cluster_id: Arc<str>,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) partitions: Arc<Registry>,
    /// The directory that holds the metadata log.
    pub(crate) metadata_directory: Directory,
}

/// Opens the log directories and the metadata log, and registers the node.
pub(crate) async fn open(
    host: &Host,
    config: &Arc<BrokerConfig>,
    end_points: Vec<BrokerEndpoint>,
) -> Result<Storage, StorageError> {
    let mut directories = Directories::look(host, config).await;
    let (metadata_directory, first) = directories.open_metadata().await?;
    let quorum = Quorum {
        node_id: config.node.id,
        snapshot_record_bytes: config.metadata.snapshot_record_bytes,
        snapshot_interval: config.metadata.snapshot_interval,
    };
    let cluster = Cluster::open(&first, host, quorum).await?;
    directories.open_others(&cluster.image()).await?;
    let mut incarnation_id = [0; 16];
    host.rng.fill(&mut incarnation_id);
    let registration = Registration {
        broker_id: config.node.id,
        incarnation_id: TopicId::from_bytes(incarnation_id),
        end_points,
        rack: config.node.rack.clone(),
        log_dirs: directories.generations(),
    };
    let registered_at = cluster.register(registration).await?;
    tracing::info!(
        term = cluster.term(),
        offset = cluster.image().offset(),
        entries = cluster.committed().index,
        "metadata are read"
    );
    let partitions = Registry::new(
        host.clone(),
        Arc::clone(config),
        Arc::clone(&cluster),
        directories.opened,
        (metadata_directory, registered_at),
    );
    Ok(Storage {
        cluster_id: directories.cluster_id,
        cluster,
        partitions: Arc::new(partitions),
        metadata_directory,
    })
}
