//! Producer ids for clients: taken from the cluster in blocks, given out one by one, never twice.

use std::ops::Range;

use millrace_core::cluster::allocate_producer_ids;
use tokio::sync::Mutex;

use super::{Cluster, MetadataError};

/// The block that this node gives out from. What is left of it is lost at a stop.
#[derive(Debug)]
pub(crate) struct ProducerIds {
    block: Mutex<Range<i64>>,
}

impl ProducerIds {
    /// No block yet: the first request takes one.
    pub(crate) fn new() -> Self {
        Self {
            block: Mutex::new(0..0),
        }
    }

    /// The next id. `None` when the cluster has used all ids.
    pub(crate) async fn next(
        &self,
        cluster: &Cluster,
        broker_id: i32,
    ) -> Result<Option<i64>, MetadataError> {
        let mut block = self.block.lock().await;
        if let Some(id) = block.next() {
            return Ok(Some(id));
        }
        let taken = cluster
            .propose(|image, _| {
                let epoch = image.broker(broker_id).map_or(-1, |broker| broker.epoch);
                match allocate_producer_ids(image, broker_id, epoch) {
                    Some((range, record)) => (Some(range), vec![record]),
                    None => (None, Vec::new()),
                }
            })
            .await?;
        let Some(range) = taken else { return Ok(None) };
        *block = range;
        Ok(block.next())
    }
}
