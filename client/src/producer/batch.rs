//! One batch of a lane: its records, how far it came, and what is known of its fate.

use std::sync::Arc;

use bytes::Bytes;
use millrace_host::Mono;
use millrace_protocol::records::{Batch, BatchBuilder};

use super::delivery::Fate;
use crate::ProducerIdentity;

/// Who sends a batch, and the sequence number of its first record (KIP-98).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) identity: ProducerIdentity,
    pub(super) sequence: i32,
}

/// The records.
#[derive(Debug)]
pub(super) enum Content {
    /// As they were collected.
    Collected(Box<BatchBuilder>),
    /// As they were last sent.
    Encoded { batch: Bytes, stamp: Option<Stamp> },
}

impl Content {
    /// Bytes, before compression if it wasn't sent yet.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Collected(builder) => builder.len(),
            Self::Encoded { batch, .. } => batch.len(),
        }
    }

    /// The batch as it was last sent, if it was.
    pub(super) fn bytes(&self) -> Option<Bytes> {
        match self {
            Self::Collected(_) => None,
            Self::Encoded { batch, .. } => Some(batch.clone()),
        }
    }

    /// The bytes to send under a stamp. Compresses the first time.
    pub(super) fn encoded(self, stamp: Option<Stamp>) -> Bytes {
        let triple = stamp.map(|stamp| {
            let ProducerIdentity { id, epoch } = stamp.identity;
            (id.0, epoch.0, stamp.sequence)
        });
        match self {
            Self::Collected(mut builder) => {
                builder.set_producer(triple);
                builder.build()
            }
            Self::Encoded { batch, stamp: of } if of == stamp => batch,
            Self::Encoded { batch, .. } => match (Batch::parse(batch.clone()), triple) {
                (Ok(parsed), Some(triple)) => parsed.sent_by(triple),
                // Without idempotence there is no stamp, and what we encoded is one batch.
                (_, None) | (Err(_), _) => batch,
            },
        }
    }
}

/// A batch that waits for its delivery.
#[derive(Debug)]
pub(super) struct Queued {
    /// Names it within its lane.
    pub(super) ticket: u64,
    /// How many records.
    pub(super) records: i32,
    /// What it holds of the producer's buffer.
    pub(super) bytes: usize,
    /// When its first record came.
    pub(super) since: Mono,
    pub(super) fate: Arc<Fate>,
    /// What its records were tagged with, if that is reported.
    pub(super) tags: Vec<u64>,
    /// Given at the first sending, kept for every further one within the epoch.
    pub(super) stamp: Option<Stamp>,
    /// The records; absent while they are in flight.
    pub(super) content: Option<Content>,
    /// An attempt was lost: it may be stored, or be stored yet.
    pub(super) uncertain: bool,
}

impl Queued {
    /// Whether an attempt is under way.
    pub(super) fn in_flight(&self) -> bool {
        self.content.is_none()
    }
}
