//! What became of a record.
//!
//! What always holds: every record of a batch has the batch's fate, told once; whoever waits hears it,
//! before or after it was told. A record costs a count of references, nothing more.

use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

use crate::Error;

/// Where a record was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: i32,
    /// Its offset; `None` when nobody tells: with [`Acks::None`], or when a retry found the record
    /// stored by an attempt that the broker no longer knows the offset of.
    ///
    /// [`Acks::None`]: crate::Acks::None
    pub offset: Option<i64>,
}

/// A record on its way. Dropping it changes nothing for the record.
#[derive(Debug)]
pub struct Delivery {
    fate: Arc<Fate>,
    index: i64,
}

impl Delivery {
    pub(super) fn new(fate: &Arc<Fate>, index: usize) -> Self {
        Self {
            fate: Arc::clone(fate),
            index: i64::try_from(index).expect("a batch has at most 2^31 records"),
        }
    }

    /// Waits until the record was stored as safely as the producer's acks ask, or was given up.
    pub async fn wait(self) -> Result<Delivered, Error> {
        let base_offset = self.fate.wait().await.clone()?;
        Ok(Delivered {
            topic: Arc::clone(&self.fate.topic),
            partition: self.fate.partition,
            offset: base_offset.map(|base| base + self.index),
        })
    }
}

/// What becomes of the records of one batch.
#[derive(Debug)]
pub(super) struct Fate {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    result: OnceLock<Result<Option<i64>, Error>>,
    told: Notify,
}

impl Fate {
    pub(super) fn new(topic: &Arc<str>, partition: i32) -> Arc<Self> {
        Arc::new(Self {
            topic: Arc::clone(topic),
            partition,
            result: OnceLock::new(),
            told: Notify::new(),
        })
    }

    /// Waits until it is told.
    pub(super) async fn wait(&self) -> &Result<Option<i64>, Error> {
        loop {
            // Before the look, so that what is told between the two is heard.
            let told = self.told.notified();
            if let Some(result) = self.result.get() {
                return result;
            }
            told.await;
        }
    }

    /// Tells it: the first record's offset, if it is known, or why there is none.
    pub(super) fn tell(&self, result: Result<Option<i64>, Error>) {
        // A fate is told once; a second telling would be of a batch that is no longer known.
        drop(self.result.set(result));
        self.told.notify_waiters();
    }
}
