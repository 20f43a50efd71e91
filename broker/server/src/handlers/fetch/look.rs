//! Looking at partitions for a fetch: what each has, within what is left of the limits.
//!
//! What always holds: the bytes of all looks together stay within the request's limit, but for the
//! one batch that makes progress sure; a partition without anything to read has the fetch's place,
//! taken under the same lock as the look, so that nothing is missed in between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millrace_core::partition::{Bounds, FetchDecision, FetchPosition};
use millrace_host::FileSlice;
use millrace_log::partition::Read;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::fetch_body::{EpochEnd, FetchPartitionPart};

use super::{Session, Terms};
use crate::context::{Operation, RequestContext, Resource};
use crate::handlers::Pace;
use crate::handlers::error::not_served;
use crate::runtime::partition::OpenPartition;
use crate::runtime::sessions::{SessionPartition, TopicKey};

/// What was found at one partition.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) part: FetchPartitionPart,
    pub(super) region: Option<FileSlice>,
    /// There is more to read than was taken.
    pub(super) left: bool,
    /// Where to watch for more, if more is wanted.
    more: Option<(Arc<OpenPartition>, FetchPosition, i64)>,
}

impl Found {
    fn error(code: ErrorCode) -> Self {
        let part = FetchPartitionPart {
            error_code: code.code(),
            high_watermark: -1,
            ..FetchPartitionPart::default()
        };
        Self {
            part,
            region: None,
            left: false,
            more: None,
        }
    }

    /// Counts what goes into a reply.
    pub(super) fn count(&self) {
        if let Some((open, ..)) = &self.more {
            open.traffic().sent(u64::from(self.part.records_len));
        }
    }

    fn bytes(&self) -> u64 {
        self.region.as_ref().map_or(0, |region| region.len)
    }

    /// Whether the answer must not wait for more.
    fn ends_the_wait(&self) -> bool {
        self.part.error_code != 0 || self.part.diverging_epoch.is_some()
    }

    /// Whether the partition must be looked at again by the next fetch of the session.
    pub(super) fn is_unfinished(&self) -> bool {
        self.region.is_some() || self.left || self.ends_the_wait()
    }
}

/// What was found so far, by slot.
#[derive(Debug)]
pub(super) struct Looks {
    terms: Terms,
    pub(super) found: BTreeMap<u64, Found>,
    bytes: u64,
}

impl Looks {
    pub(super) fn new(terms: Terms) -> Self {
        Self {
            terms,
            found: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Whether the answer may leave before its time is over.
    pub(super) fn are_enough(&self) -> bool {
        let enough = self.bytes >= self.terms.min_bytes && self.bytes > 0;
        enough || self.terms.min_bytes == 0 || self.found.values().any(Found::ends_the_wait)
    }

    /// Looks at `slots`, in their order.
    pub(super) async fn look(
        &mut self,
        context: &RequestContext,
        session: &mut Session,
        slots: &BTreeSet<u64>,
    ) {
        let mut pace = Pace::default();
        for slot in slots {
            pace.step().await;
            let Some(partition) = session.partitions.get(*slot).cloned() else {
                continue;
            };
            if let Some(before) = self.found.remove(slot) {
                self.bytes -= before.bytes();
            }
            let found = self.look_at(context, session, *slot, &partition).await;
            let found = found.unwrap_or_else(Found::error);
            self.bytes += found.bytes();
            self.found.insert(*slot, found);
        }
    }

    async fn look_at(
        &self,
        context: &RequestContext,
        session: &mut Session,
        slot: u64,
        partition: &SessionPartition,
    ) -> Result<Found, ErrorCode> {
        let open = match open(context, partition).await {
            Ok(open) => open,
            Err(code) => {
                let mut found = Found::error(code);
                // Kafka says so, whoever reads, of partitions that it doesn't come to read.
                found.part.aborted_transactions = Some(Vec::new());
                return Ok(found);
            }
        };
        let position = FetchPosition {
            reader: self.terms.reader,
            current_leader_epoch: partition.ask.current_leader_epoch,
            fetch_offset: partition.ask.fetch_offset,
            last_fetched_epoch: partition.ask.last_fetched_epoch,
        };
        let mut place = session.places.remove(&slot);
        let decision = open.check_fetch(&position, &session.waiter, slot, &mut place);
        if let Some(place) = place {
            session.places.insert(slot, place);
        }
        match decision.map_err(|reject| in_version(reject.code(), context.api_version))? {
            FetchDecision::Diverging { end, bounds } => {
                let mut part = self.part(partition.partition, &bounds);
                part.diverging_epoch = Some(EpochEnd {
                    epoch: end.epoch,
                    end_offset: end.end_offset,
                });
                Ok(Found {
                    part,
                    region: None,
                    left: false,
                    more: None,
                })
            }
            FetchDecision::Read { upto, bounds } => {
                let mut found = Found {
                    part: self.part(partition.partition, &bounds),
                    region: None,
                    left: false,
                    more: None,
                };
                if upto > position.fetch_offset {
                    self.read(context, &open, partition, upto, &mut found)
                        .await?;
                    found.more = Some((open, position, upto));
                }
                Ok(found)
            }
        }
    }

    fn part(&self, partition_index: i32, bounds: &Bounds) -> FetchPartitionPart {
        let committed = self.terms.reader == millrace_core::partition::Reader::Committed;
        FetchPartitionPart {
            partition_index,
            high_watermark: bounds.high_watermark,
            last_stable_offset: bounds.last_stable,
            log_start_offset: bounds.log_start,
            // There are no transactions yet, so none was aborted.
            aborted_transactions: committed.then(Vec::new),
            ..FetchPartitionPart::default()
        }
    }

    async fn read(
        &self,
        context: &RequestContext,
        open: &OpenPartition,
        partition: &SessionPartition,
        upto: i64,
        found: &mut Found,
    ) -> Result<(), ErrorCode> {
        let room = self.terms.max_bytes.saturating_sub(self.bytes);
        let wanted = u64::try_from(partition.ask.partition_max_bytes).unwrap_or(0);
        let max_bytes = usize::try_from(room.min(wanted)).unwrap_or(usize::MAX);
        let min_one = self.bytes == 0;
        let from = partition.ask.fetch_offset;
        match open.reader().read(from, upto, max_bytes, min_one).await {
            Ok(Read::Region(region)) => {
                found.part.records_len =
                    u32::try_from(region.slice.len).map_err(|_| ErrorCode::UnknownServerError)?;
                found.region = Some(region.slice);
                Ok(())
            }
            Ok(Read::Empty) => {
                found.left = true;
                Ok(())
            }
            Ok(Read::OutOfRange { .. }) => Err(ErrorCode::OffsetOutOfRange),
            Err(error) => {
                tracing::error!(incarnation = %open.incarnation(), %error, "a read failed");
                Err(in_version(
                    ErrorCode::KafkaStorageError,
                    context.api_version,
                ))
            }
        }
    }

    /// Takes places where there is something already, so that more of it ends the wait.
    pub(super) fn watch(&self, session: &mut Session) {
        for (slot, found) in &self.found {
            if let Some((open, position, upto)) = &found.more {
                let mut place = session.places.remove(slot);
                open.watch(position, *upto, &session.waiter, *slot, &mut place);
                if let Some(place) = place {
                    session.places.insert(*slot, place);
                }
            }
        }
    }
}

/// The partition that a request names, open.
async fn open(
    context: &RequestContext,
    partition: &SessionPartition,
) -> Result<Arc<OpenPartition>, ErrorCode> {
    let node = &context.node;
    let image = node.cluster.image();
    let topic = match &partition.topic {
        TopicKey::Name(name) => {
            if !context.authorize(Operation::Read, Resource::Topic(name)) {
                return Err(ErrorCode::TopicAuthorizationFailed);
            }
            image
                .topic_named(name)
                .ok_or(ErrorCode::UnknownTopicOrPartition)?
        }
        TopicKey::Id(id) => image.topic(*id).ok_or(ErrorCode::UnknownTopicId)?,
    };
    if !context.authorize(Operation::Read, Resource::Topic(&topic.name)) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    if !topic.partitions.contains_key(&partition.partition) {
        return Err(ErrorCode::UnknownTopicOrPartition);
    }
    node.partitions
        .get(topic, partition.partition)
        .await
        .map_err(|error| in_version(not_served(&error).0, context.api_version))
}

/// Storage errors are not known before version 6.
fn in_version(code: ErrorCode, api_version: i16) -> ErrorCode {
    if code == ErrorCode::KafkaStorageError && api_version <= 5 {
        ErrorCode::NotLeaderOrFollower
    } else {
        code
    }
}
