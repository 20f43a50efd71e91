//! Fetch (key 1), versions 4–18: records of several partitions, waiting for them if need be.
//!
//! - Batches are sent as they stand in the file, from the one that holds the offset; the first
//!   partition with something gives at least one whole batch, whatever the limits say.
//! - Answers at once when there are `min_bytes`, an error, a diverging epoch or nothing to wait for;
//!   otherwise when one of these comes, or `max_wait_ms` are over.
//! - v7: sessions (KIP-227). v9: leader epochs are checked. v12: diverging epochs (KIP-595).
//!   v13: topics by id. v15: the replica's state is a tagged field.
//! - A fetch of many partitions, which holds room for its answer, doesn't wait while others want it.
//! - Records are empty bytes where there are none, never null (KAFKA-18646).
//! - Followers don't exist yet: whoever says to be one is refused with 31.

mod answer;
mod look;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_core::partition::Reader;
use millrace_host::Mono;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::fetch_body::{FetchPartitionPart, FetchTopicPart};
use millrace_protocol::requests::FetchRequest;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::answers::fetch_bytes;
use super::{Pace, read, take_room};
use crate::context::RequestContext;
use crate::outcome::{Close, Outcome, Reply};
use crate::runtime::fetch_waiter::FetchWaiter;
use crate::runtime::partition::FetchPlace;
use crate::runtime::sessions::{
    Ask, Partitions, Route, SessionAsk, SessionPartition, Share, TopicKey,
};
use answer::{Kind, answer, refusal};
use look::{Found, Looks};

/// First version with sessions.
pub(super) const SESSIONS_FROM: i16 = 7;
/// First version that names topics by id.
pub(super) const TOPIC_IDS_FROM: i16 = 13;
/// First version that tells the replica's state in a tagged field.
const REPLICA_STATE_FROM: i16 = 15;

/// What a fetch keeps of one partition: what is asked, what was found, the row that tells it, and
/// the space that growing lists of these leave free.
pub(super) const PARTITION_BYTES: usize = size_of::<SessionPartition>()
    + size_of::<(TopicKey, i32, u64)>()
    + 2 * size_of::<(TopicKey, Found)>()
    + 2 * size_of::<FetchPartitionPart>();
/// What a fetch keeps of one topic, a list of its first rows included.
pub(super) const TOPIC_BYTES: usize =
    size_of::<FetchTopicPart<'_>>() + 4 * size_of::<FetchPartitionPart>();

/// What one fetch, or all fetches of one session, look at.
#[derive(Debug, Default)]
pub(crate) struct Session {
    partitions: Partitions,
    /// The place at each partition where a fetch waits, by slot.
    places: std::collections::BTreeMap<u64, FetchPlace>,
    /// Slots that must be looked at in any case: something was left there, or they are new.
    ready: BTreeSet<u64>,
    waiter: Arc<FetchWaiter>,
    /// The room for what is remembered; a fetch without session remembers nothing. Goes last.
    share: Option<Share>,
}

/// A session as the cache keeps it; one request at a time works on it.
pub(crate) type SharedSession = Arc<Mutex<Session>>;

/// What holds for the whole request.
#[derive(Clone, Copy, Debug)]
struct Terms {
    reader: Reader,
    min_bytes: u64,
    max_bytes: u64,
    deadline: Mono,
}

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: FetchRequest<'_> = read(context, &body).await?;
    let replica = if context.api_version >= REPLICA_STATE_FROM {
        request.replica_state.replica_id
    } else {
        request.replica_id
    };
    if replica >= 0 {
        take_room(context, fetch_bytes(&request, 0)).await?;
        return refusal(context, &request, ErrorCode::ClusterAuthorizationFailed);
    }
    if !matches!(request.isolation_level, 0 | 1) {
        take_room(context, fetch_bytes(&request, 0)).await?;
        return answer::failed(context, &request, ErrorCode::UnknownServerError);
    }
    let uses_topic_ids = context.api_version >= TOPIC_IDS_FROM;
    let (id, epoch) = if context.api_version >= SESSIONS_FROM {
        (request.session_id, request.session_epoch)
    } else {
        (0, -1)
    };
    let ask = SessionAsk {
        id,
        epoch,
        principal: Arc::clone(&context.connection.principal.name),
        uses_topic_ids,
    };
    let now = context.node.host.clock.now().mono;
    let route = context.node.sessions().route(&ask, now);
    let (shared, mut kind) = match route {
        Err(code) => return answer::top_level(context, code),
        Ok(Route::Sessionless) => (SharedSession::default(), Kind::Sessionless),
        Ok(Route::Create) => (SharedSession::default(), Kind::Create),
        Ok(Route::Continue(id)) => match context.node.sessions().get(id) {
            Some(session) => (session, Kind::Continue(id)),
            None => return answer::top_level(context, ErrorCode::FetchSessionIdNotFound),
        },
    };
    // Held until the answer: nobody else's fetch comes between this one's effect and its wait.
    let mut session = shared.lock_owned().await;
    // Taken once the session is ours, so that nobody holds room while waiting for it.
    take_room(context, fetch_bytes(&request, session.ready.len())).await?;
    session.change(&request, uses_topic_ids).await;
    if let Kind::Continue(id) = kind {
        kind = match session.keep(context, id) {
            Ok(kind) => kind,
            Err(code) => return answer::top_level(context, code),
        };
    }
    let terms = terms(context, &request);
    let context = context.clone();
    Ok(Outcome::Wait(Box::pin(async move {
        serve(&context, terms, session, kind).await
    })))
}

fn terms(context: &RequestContext, request: &FetchRequest<'_>) -> Terms {
    let fetch = &context.node.config.fetch;
    let max_wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    Terms {
        reader: if request.isolation_level == 1 {
            Reader::Committed
        } else {
            Reader::Uncommitted
        },
        min_bytes: u64::try_from(request.min_bytes).unwrap_or(0),
        max_bytes: u64::try_from(request.max_bytes)
            .unwrap_or(0)
            .min(fetch.response_bytes_max),
        deadline: (context.received + max_wait).min(context.deadline),
    }
}

impl Session {
    /// Applies what a request adds, changes and forgets. What it names is looked at. Part of an
    /// effect, which is run to its end: [`Session::keep`] always follows.
    async fn change(&mut self, request: &FetchRequest<'_>, uses_topic_ids: bool) {
        let mut pace = Pace::default();
        let key = |name: &str, id| {
            if uses_topic_ids {
                TopicKey::Id(id)
            } else {
                TopicKey::Name(Arc::from(name))
            }
        };
        for topic in request.topics {
            let key = key(topic.topic, topic.topic_id);
            for partition in topic.partitions {
                let ask = Ask {
                    fetch_offset: partition.fetch_offset,
                    // Kafka's parser takes any epoch below 0 for none.
                    current_leader_epoch: partition.current_leader_epoch.max(-1),
                    last_fetched_epoch: partition.last_fetched_epoch,
                    partition_max_bytes: partition.partition_max_bytes,
                };
                let slot = self.partitions.put(&key, partition.partition, ask);
                self.ready.insert(slot);
                pace.step().await;
            }
        }
        for topic in request.forgotten_topics_data {
            let key = key(topic.topic, topic.topic_id);
            for partition in topic.partitions {
                if let Some(slot) = self.partitions.remove(&key, partition) {
                    self.ready.remove(&slot);
                    self.places.remove(&slot);
                }
                pace.step().await;
            }
        }
    }

    /// Tells the cache what session `id` remembers now. One that remembers nothing any more is
    /// closed, as in Kafka; so is one without room to grow, whose client then begins a new one.
    fn keep(&mut self, context: &RequestContext, id: i32) -> Result<Kind, ErrorCode> {
        let node = &context.node;
        if self.partitions.len() == 0 {
            node.sessions().close(id);
            return Ok(Kind::Sessionless);
        }
        let now = node.host.clock.now().mono;
        let partitions = &self.partitions;
        let fits = self
            .share
            .as_mut()
            .is_some_and(|share| node.sessions().resized(id, share, partitions, now));
        if fits {
            return Ok(Kind::Continue(id));
        }
        node.sessions().close(id);
        // Whoever still holds it holds nothing.
        *self = Self::default();
        Err(ErrorCode::FetchSessionIdNotFound)
    }
}

/// One request's work on a session. If it goes before its answer, what it looked at is looked at
/// again by the next one: nobody was told of it.
struct Looking {
    session: OwnedMutexGuard<Session>,
    looks: Looks,
    slots: BTreeSet<u64>,
    answered: bool,
}

impl Drop for Looking {
    fn drop(&mut self) {
        if !self.answered {
            self.session.ready.append(&mut self.slots);
            self.session.ready.extend(self.looks.found.keys());
        }
    }
}

/// Looks, waits and looks again until there is enough, the time is over or there is no place to
/// wait; then answers.
async fn serve(
    context: &RequestContext,
    terms: Terms,
    mut session: OwnedMutexGuard<Session>,
    kind: Kind,
) -> Reply {
    let node = &context.node;
    let waiter = Arc::clone(&session.waiter);
    let mut asked_wait = Duration::ZERO;
    waiter.take_refusal();
    let mut slots = std::mem::take(&mut session.ready);
    slots.append(&mut waiter.take());
    let mut looking = Looking {
        session,
        looks: Looks::new(terms),
        slots,
        answered: false,
    };
    loop {
        let Looking {
            session,
            looks,
            slots,
            ..
        } = &mut looking;
        looks.look(context, session, slots).await;
        let over = node.host.clock.now().mono >= terms.deadline
            || node.stopping.is_cancelled()
            || context.room.is_wanted();
        if over || waiter.take_refusal() || looks.are_enough() || session.partitions.len() == 0 {
            break;
        }
        looks.watch(session);
        node.metrics.fetch.waits.inc();
        let since = node.host.clock.now().mono;
        tokio::select! {
            biased;
            () = node.stopping.cancelled() => {}
            () = waiter.pushed() => {}
            // A fetch that waits doesn't hold up answers that could leave.
            () = context.room.wanted() => {}
            () = node.host.clock.sleep_until(terms.deadline) => {}
        }
        asked_wait += node.host.clock.now().mono.since(since);
        looking.slots = waiter.take();
    }
    looking.answered = true;
    let looks = std::mem::replace(&mut looking.looks, Looks::new(terms));
    Reply {
        asked_wait,
        ..answer(context, &mut looking.session, looks, kind)
    }
}
