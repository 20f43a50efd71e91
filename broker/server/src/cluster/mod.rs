//! The cluster's metadata on this node: one writer, one published image.
//!
//! What always holds: a change is decided on the newest image, written as one batch, and becomes
//! visible by a pointer swap once it is durable; whoever proposed it is answered only after the
//! swap, so a client that was told of success never meets the time before it on this node.

mod log;
mod producer_ids;
mod topics;

use std::sync::Arc;

use arc_swap::ArcSwap;
use millrace_core::cluster::{Image, ReplayError};
use millrace_host::Host;
use millrace_log::partition::Partitions;
use millrace_protocol::metadata::MetadataRecord;
use millrace_protocol::records::RecordError;
use tokio::sync::Mutex;

use log::MetadataLog;
pub(crate) use producer_ids::ProducerIds;

/// Why the metadata log can't be read or a proposal has no certain outcome.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// The log can't be opened.
    #[error(transparent)]
    Log(#[from] millrace_log::error::Error),
    /// What the log holds can't be read.
    #[error("the metadata log is damaged: {0}; nothing was changed, ask for help before you do")]
    Damaged(String),
    /// A record doesn't fit what stands before it.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// A batch can't be read or written.
    #[error("metadata batch: {0}")]
    Record(RecordError),
    /// Nothing was written.
    #[error("metadata can't be written: {0}")]
    Refused(String),
    /// It was written, and nobody knows whether it will be found after a restart.
    #[error("whether the change took effect is unknown: {0}")]
    Unknown(Arc<str>),
}

/// The metadata of the cluster, as this node knows and writes them.
#[derive(Debug)]
pub(crate) struct Cluster {
    image: ArcSwap<Image>,
    log: MetadataLog,
    /// Held from decision to publication: decisions are made one after the other, each on the image
    /// of the one before.
    deciding: Mutex<()>,
}

impl Cluster {
    /// Opens the metadata log in the directory of `partitions` and folds it.
    pub(crate) async fn open(partitions: &Partitions, host: &Host) -> Result<Self, MetadataError> {
        let mut image = Image::default();
        let log = MetadataLog::open(partitions, host, |offset, record| {
            image = image.replay(offset, &record)?;
            Ok(())
        })
        .await?;
        Ok(Self {
            image: ArcSwap::from_pointee(image),
            log,
            deciding: Mutex::new(()),
        })
    }

    /// The image as published last.
    pub(crate) fn image(&self) -> Arc<Image> {
        self.image.load_full()
    }

    /// The term of this node as the writer.
    pub(crate) fn term(&self) -> i32 {
        self.log.term()
    }

    /// Decides on the newest image and, when the decision has records, commits and publishes them
    /// before giving the decision's reply. `decide` is told the offset of the first record.
    ///
    /// On [`MetadataError::Refused`] nothing happened; on [`MetadataError::Unknown`] nobody knows,
    /// and the node takes no further proposals: its directory is lost.
    pub(crate) async fn propose<R>(
        &self,
        decide: impl FnOnce(&Image, i64) -> (R, Vec<MetadataRecord>),
    ) -> Result<R, MetadataError> {
        let _deciding = self.deciding.lock().await;
        let image = self.image.load_full();
        let (reply, records) = decide(&image, self.log.end());
        if records.is_empty() {
            return Ok(reply);
        }
        // Folded before it is written: what doesn't fit is never made durable.
        let first = self.log.end();
        let mut next = (*image).clone();
        for (offset, record) in (first..).zip(&records) {
            next = next.replay(offset, record)?;
        }
        let written = self.log.append(&records).await?;
        assert_eq!(written, first, "nobody else writes the metadata log");
        self.image.store(Arc::new(next));
        Ok(reply)
    }

    /// Forgets a removed topic whose data are gone from this node's directories.
    pub(crate) async fn forget_removed(&self, id: millrace_protocol::ids::TopicId) {
        let _deciding = self.deciding.lock().await;
        let next = self.image.load().forget_removed(id);
        self.image.store(Arc::new(next));
    }

    /// Closes the metadata log cleanly.
    pub(crate) async fn close(&self) -> Result<(), MetadataError> {
        let _deciding = self.deciding.lock().await;
        self.log.close().await
    }
}
