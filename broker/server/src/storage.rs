//! The node's log directories and its place in the cluster, as a start finds or makes them.
//!
//! What always holds: nothing is served before the metadata are folded and the node is registered
//! in them under its present listeners; the first directory holds the metadata log.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_config::BrokerConfig;
use millrace_core::cluster::{Registration, register};
use millrace_host::Host;
use millrace_log::dir::{DirOptions, LogDir};
use millrace_log::partition::{PartitionOptions, Partitions};
use millrace_protocol::ids::TopicId;
use millrace_protocol::metadata::BrokerEndpoint;

use crate::cluster::{Cluster, MetadataError, Quorum};
use crate::runtime::registry::Registry;

/// What a start has of storage.
#[derive(Debug)]
pub(crate) struct Storage {
    pub(crate) cluster_id: Arc<str>,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) partitions: Arc<Registry>,
}

/// Opens the log directories and the metadata log, and registers the node.
pub(crate) async fn open(
    host: &Host,
    config: &Arc<BrokerConfig>,
    end_points: Vec<BrokerEndpoint>,
) -> Result<Storage, MetadataError> {
    let mut cluster_id: Option<Arc<str>> = None;
    let mut directories = BTreeMap::new();
    let mut first = None;
    for path in &config.log.dirs {
        let (dir, report) =
            LogDir::open(host.clone(), path, options(config, cluster_id.as_deref())).await?;
        if report.replayed_bytes > 0 || report.dirty > 0 {
            tracing::info!(
                path = %path.display(), replayed_bytes = report.replayed_bytes, dirty = report.dirty,
                "the last run did not end cleanly; partitions recover at their first use"
            );
        }
        for (incarnation, reason) in &report.damaged {
            tracing::error!(%incarnation, reason, "a partition is damaged and stays offline");
        }
        cluster_id.get_or_insert_with(|| dir.cluster_id().into());
        let id = TopicId::from_bytes(dir.id());
        let partitions = Partitions::new(dir, host.clone(), partition_options(config));
        first.get_or_insert_with(|| partitions.clone());
        directories.insert(id, partitions);
    }
    let first =
        first.ok_or_else(|| MetadataError::Refused("log.dirs names no directory".into()))?;
    let quorum = Quorum {
        node_id: config.node.id,
        snapshot_record_bytes: config.metadata.snapshot_record_bytes,
        snapshot_interval: config.metadata.snapshot_interval,
    };
    let cluster = Cluster::open(&first, host, quorum).await?;
    let log_dirs = directories.keys().copied().collect();
    let mut incarnation_id = [0; 16];
    host.rng.fill(&mut incarnation_id);
    let registration = Registration {
        broker_id: config.node.id,
        incarnation_id: TopicId::from_bytes(incarnation_id),
        end_points,
        rack: config.node.rack.clone(),
        log_dirs,
    };
    cluster
        .propose(|image, offset| ((), register(image, registration, offset)))
        .await?;
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
        directories,
    );
    Ok(Storage {
        cluster_id: cluster_id.unwrap_or_else(|| Arc::from("")),
        cluster,
        partitions: Arc::new(partitions),
    })
}

fn options(config: &BrokerConfig, cluster_id: Option<&str>) -> DirOptions {
    let log = &config.log;
    DirOptions {
        cluster_id: cluster_id.map(ToOwned::to_owned),
        node_id: config.node.id,
        flush_lag: log.flush_lag,
        unflushed_bytes_max: log.unflushed_bytes_max,
        reserve_bytes: log.reserve_bytes,
        journal_initial_bytes: log.journal_initial_bytes,
        journal_file_bytes_max: log.journal_file_bytes_max,
        direct_sync_bytes: log.direct_sync_bytes,
        unsettled_files_max: log.open_files_max as usize / 2,
    }
}

fn partition_options(config: &BrokerConfig) -> PartitionOptions {
    PartitionOptions {
        open_segments_max: config.log.open_files_max as usize,
        cut_keep_bytes: config.log.cut_keep_bytes,
    }
}
