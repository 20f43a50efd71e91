//! The tasks of a consumer: one for each broker that leads something it reads, one that keeps the
//! leaders known.
//!
//! What always holds: one request at a time to a broker for records, so that a partition's answers
//! come in order; every question that was planned is told of as answered, whatever happens to it.

use std::sync::{Arc, Mutex, MutexGuard};

use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::FetchRequest;
use millrace_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use millrace_protocol::responses::fetch::PartitionData;
use tokio::sync::Notify;

use super::core::{Core, Part, Plan};
use super::options::{ConsumerOptions, Isolation};
use super::reading::{Key, Outcome};
use super::records::{Aborted, Raw, Records};
use crate::cluster::{Cluster, Follower, Metadata, Use, Workers, follow, is_of_leadership, lock};
use crate::group::{self, Group};
use crate::topics::milliseconds;
use crate::{Answer, Client, Error, OffsetOf, Topic};

/// The session epoch of a fetch that neither has nor wants a session (KIP-227).
const NO_SESSION: i32 = -1;

/// What a consumer's handle and its tasks share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) cluster: Cluster,
    pub(crate) options: ConsumerOptions,
    /// The group that it is a member of, if it is.
    pub(crate) group: Option<Group>,
    core: Mutex<Core>,
    workers: Workers,
    /// What is known of the leaders may be out of date.
    pub(crate) stale: Notify,
    /// The application has news.
    pub(crate) news: Notify,
}

impl Shared {
    pub(super) fn start(
        cluster: Cluster,
        options: ConsumerOptions,
        group: Option<Group>,
    ) -> Arc<Self> {
        let core = Core::new(cluster.host().clock.now().mono);
        let shared = Arc::new(Self {
            cluster,
            options,
            group,
            core: Mutex::new(core),
            workers: Workers::default(),
            stale: Notify::new(),
            news: Notify::new(),
        });
        let following = follow(shared.cluster.clone(), Arc::clone(&shared));
        let host = shared.cluster.host();
        shared.workers.spawn(host, "consumer's leaders", following);
        if shared.group.is_some() {
            let membership = group::attend(Arc::clone(&shared));
            shared.workers.spawn(host, "consumer's group", membership);
        }
        shared
    }

    pub(super) fn end(&self) {
        self.workers.end();
    }

    pub(crate) fn core(&self) -> MutexGuard<'_, Core> {
        lock(&self.core)
    }

    /// Brokers may be asked for more.
    pub(super) fn wake(&self) {
        self.workers.wake_all();
    }

    /// Tells the readings what became of their questions.
    fn told(&self, outcomes: Vec<(Key, u64, Outcome)>) {
        let now = self.cluster.host().clock.now().mono;
        let (mut news, mut doubtful) = (false, false);
        {
            let mut core = self.core();
            for (key, turn, outcome) in outcomes {
                if let Outcome::Again(error) = &outcome {
                    doubtful |= error.asks_for_metadata();
                }
                let failures = core.failures(&key).saturating_add(1);
                let wait = self
                    .cluster
                    .backoff()
                    .after(failures, &*self.cluster.host().rng);
                news |= core.answered(&key, turn, outcome, now + wait);
            }
        }
        if doubtful {
            self.stale.notify_one();
        }
        if news {
            self.news.notify_one();
        }
    }
}

impl Follower for Shared {
    fn lead(self: &Arc<Self>, image: &Metadata) {
        self.core().learn(image);
        let serving = |id, wake| serve_broker(Arc::clone(self), id, wake);
        let (host, ids) = (self.cluster.host(), image.brokers.keys().copied());
        self.workers.serve(host, "consumer's broker", ids, serving);
    }

    fn lacks_leaders(&self) -> bool {
        self.core().lacks_leaders()
    }

    fn topics(&self) -> Vec<Arc<str>> {
        let mut topics = self.core().topics();
        topics.extend(self.group.iter().flat_map(Group::topics));
        topics
    }

    fn doubt(&self) -> &Notify {
        &self.stale
    }
}

/// Asks one broker what is read of it, for as long as the consumer lives.
async fn serve_broker(shared: Arc<Shared>, id: i32, wake: Arc<Notify>) {
    let mut failures = 0_u32;
    loop {
        if !shared.core().has_work(id) {
            wake.notified().await;
            continue;
        }
        let client = match shared.cluster.broker(id, Use::Fetch).await {
            Ok(client) => client,
            Err(error) => {
                tracing::debug!(%error, "a broker can't be asked");
                failures = failures.saturating_add(1);
                shared.stale.notify_one();
                shared.cluster.pause(failures).await;
                continue;
            }
        };
        failures = 0;
        let now = shared.cluster.host().clock.now().mono;
        let plan = shared.core().plan(now, id, &shared.options);
        if plan.fetch.is_empty() && plan.find.is_empty() {
            tokio::select! {
                () = wake.notified() => {}
                () = shared.cluster.sleep_until(plan.next_at) => {}
            }
            continue;
        }
        carry_out(&shared, &client, plan).await;
    }
}

async fn carry_out(shared: &Shared, client: &Client, plan: Plan) {
    for part in plan.find {
        let outcome = find(client, &part).await;
        shared.told(vec![(part.key, part.turn, outcome)]);
    }
    if plan.fetch.is_empty() {
        return;
    }
    let request = request(shared, &plan.fetch, plan.bytes_max);
    let outcomes = match client.call(&request).await {
        Ok(answer) => outcomes(shared, &answer, &plan.fetch),
        Err(error) => all(&plan.fetch, &error),
    };
    shared.core().fetch_ended(plan.bytes_max);
    shared.told(outcomes);
}

async fn find(client: &Client, part: &Part<OffsetOf>) -> Outcome {
    let topic = Topic {
        name: part.key.0.to_string(),
        id: part.topic_id,
        partitions: part.key.1 + 1,
    };
    match client.list_offset(&topic, part.key.1, part.want).await {
        Ok(found) => Outcome::Found(found),
        Err(error) => again_or_failed(error),
    }
}

fn again_or_failed(error: Error) -> Outcome {
    if error.is_retriable() {
        Outcome::Again(error)
    } else {
        Outcome::Failed(error)
    }
}

fn request(shared: &Shared, parts: &[Part<i64>], bytes_max: usize) -> FetchRequest {
    let options = &shared.options;
    let bytes = |bytes: usize| i32::try_from(bytes).unwrap_or(i32::MAX);
    let of_partition = |part: &Part<i64>| {
        let mut partition = FetchPartition::default();
        partition.partition = part.key.1;
        partition.current_leader_epoch = part.leader_epoch;
        partition.fetch_offset = part.want;
        partition.partition_max_bytes = bytes(options.partition_bytes_max);
        partition
    };
    let of_topic = |parts: &[Part<i64>]| {
        let mut topic = FetchTopic::default();
        topic.topic = parts[0].key.0.as_ref().into();
        topic.topic_id = parts[0].topic_id.into();
        topic.partitions = parts.iter().map(of_partition).collect();
        topic
    };
    let mut request = FetchRequest::default();
    request.max_wait_ms = milliseconds(options.fetch_wait_max);
    request.min_bytes = options.fetch_bytes_min;
    request.max_bytes = bytes(bytes_max);
    request.isolation_level = i8::from(options.isolation == Isolation::ReadCommitted);
    request.session_epoch = NO_SESSION;
    let topics = parts.chunk_by(|one, other| one.key.0 == other.key.0);
    request.topics = topics.map(of_topic).collect();
    request
}

/// What an answer says of each question.
fn outcomes(
    shared: &Shared,
    answer: &Answer<FetchRequest>,
    parts: &[Part<i64>],
) -> Vec<(Key, u64, Outcome)> {
    let view = match answer.read() {
        Ok(view) => view,
        Err(error) => return all(parts, &error),
    };
    if let Err(error) = crate::client::refuse(view.error_code, || "a fetch".to_owned()) {
        return all(parts, &error);
    }
    let mut open: Vec<_> = parts.iter().collect();
    let mut outcomes = Vec::with_capacity(parts.len());
    for topic in view.responses {
        for data in topic.partitions {
            let named = |part: &&Part<i64>| {
                let topics_match = if topic.topic_id.is_zero() {
                    *part.key.0 == *topic.topic
                } else {
                    part.topic_id == topic.topic_id
                };
                topics_match && part.key.1 == data.partition_index
            };
            // What nobody asked for, or was told already, is of no use.
            let Some(at) = open.iter().position(named) else {
                continue;
            };
            let part = open.swap_remove(at);
            let outcome = outcome(shared, answer, part, &data);
            outcomes.push((part.key.clone(), part.turn, outcome));
        }
    }
    let silent = open
        .into_iter()
        .map(|part| (part.key.clone(), part.turn, Outcome::Nothing(None)));
    outcomes.extend(silent);
    outcomes
}

fn outcome(
    shared: &Shared,
    answer: &Answer<FetchRequest>,
    part: &Part<i64>,
    data: &PartitionData<'_>,
) -> Outcome {
    let (topic, partition) = (&part.key.0, part.key.1);
    let code = ErrorCode::from_code(data.error_code).unwrap_or(ErrorCode::UnknownServerError);
    if code != ErrorCode::None {
        let error = Error::Broker {
            what: format!("to fetch {topic}-{partition} from offset {}", part.want),
            code,
        };
        return if code == ErrorCode::OffsetOutOfRange {
            Outcome::OutOfRange(error)
        } else if is_of_leadership(code) {
            Outcome::Again(error)
        } else {
            again_or_failed(error)
        };
    }
    let aborted = || {
        let listed = data.aborted_transactions.into_iter().flatten();
        let aborted = listed.map(|aborted| Aborted {
            producer_id: aborted.producer_id,
            first_offset: aborted.first_offset,
        });
        aborted.collect()
    };
    let committed_only = shared.options.isolation == Isolation::ReadCommitted;
    let end = if committed_only && data.last_stable_offset >= 0 {
        data.last_stable_offset
    } else {
        data.high_watermark
    };
    let raw = Raw {
        topic: Arc::clone(topic),
        partition,
        from: part.want,
        high_watermark: end,
        records: answer.share(data.records.unwrap_or_default()),
        aborted: committed_only.then(aborted),
        check_crcs: shared.options.check_crcs,
    };
    match Records::read(raw) {
        Ok(Some(fetched)) => Outcome::Fetched(fetched),
        Ok(None) => Outcome::Nothing(Some(end)),
        Err(error) => Outcome::Failed(Error::Malformed {
            address: answer.address().to_owned(),
            reason: format!("{topic}-{partition} from offset {}: {error}", part.want),
        }),
    }
}

/// The same became of all questions.
fn all(parts: &[Part<i64>], error: &Error) -> Vec<(Key, u64, Outcome)> {
    let told = |part: &Part<i64>| (part.key.clone(), part.turn, again_or_failed(error.clone()));
    parts.iter().map(told).collect()
}
