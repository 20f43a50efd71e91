//! What a node does when one of its log directories fails while it runs.
//!
//! What always holds: the partitions in it were told by the log already and answer with a storage
//! error; the metadata say soon after that they have no leader; the others are served. Without the
//! directory of the metadata log nothing can be decided, so losing it ends the node.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use millrace_core::cluster::{Directory, directories_failed};
use millrace_host::Pool;
use millrace_log::dir::LogDir;
use millrace_probe::{Branch, reached};

use crate::cluster::MetadataError;
use crate::context::Node;

/// How long to wait before the metadata are told again.
const RETRY: Duration = Duration::from_secs(1);

/// How often a directory that writes nothing is looked for: its reads, and what is acknowledged
/// without a sync, don't outlive it for longer.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why a node can't go on: the process should end, so that it is started again on a sound disk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "log directory {}, which holds the cluster's metadata, failed: {reason}; the broker ends, \
     because it can't decide anything without them: repair or replace the disk, then start again",
    path.display()
)]
pub struct NodeFailure {
    /// The log directory.
    pub path: PathBuf,
    /// Its first failure.
    pub reason: Arc<str>,
}

/// Follows every directory until the node stops.
pub(crate) fn watch(node: &Arc<Node>) {
    let opened = node.partitions.opened_directories();
    let left_out = node.config.log.dirs.len().saturating_sub(opened.len());
    let left_out = i64::try_from(left_out).unwrap_or(i64::MAX);
    node.metrics.offline_directories.set(left_out);
    for (directory, dir) in opened {
        let following = follow(Arc::clone(node), directory, dir);
        let name = "log directory watch";
        drop(
            node.host
                .spawn
                .spawn(Pool::Control, name, Box::pin(following)),
        );
    }
}

async fn follow(node: Arc<Node>, directory: Directory, dir: Arc<LogDir>) {
    let reason = loop {
        let look = node.host.clock.now().mono + LOOK_EVERY;
        tokio::select! {
            biased;
            () = node.stopping.cancelled() => return,
            reason = dir.until_offline() => break reason,
            () = node.host.clock.sleep_until(look) => dir.look(),
        }
    };
    node.metrics.offline_directories.inc();
    if directory == node.metadata_directory {
        let path = dir.path().clone();
        reached(Branch::MetadataDirectoryFailed);
        node.fail(NodeFailure { path, reason });
        return;
    }
    reached(Branch::DirectoryFailed);
    let mut offline = node.partitions.open_partitions();
    offline.retain(|open| open.is_in(&dir));
    tracing::error!(
        path = %dir.path().display(), %directory, open_partitions = offline.len(),
        "the partitions of a log directory are offline until a start that can use it"
    );
    while let Err(error) = tell(&node, directory).await {
        tracing::warn!(%directory, %error, "the metadata can't be told of a failed directory");
        if !matches!(error, MetadataError::Refused(_)) {
            return;
        }
        let again = node.host.clock.now().mono + RETRY;
        tokio::select! {
            biased;
            () = node.stopping.cancelled() => return,
            () = node.host.clock.sleep_until(again) => {}
        }
    }
}

/// Takes the lead of the directory's partitions from this node.
async fn tell(node: &Node, directory: Directory) -> Result<(), MetadataError> {
    let own_id = node.config.node.id;
    node.cluster
        .propose(|image, _| ((), directories_failed(image, own_id, &[directory])))
        .await
}
