//! What the client's connections did: counts that anybody may read at any time, for whatever collects
//! them. No library of metrics comes with them.
//!
//! What always holds: counting takes no lock and allocates once for each API; a count never goes back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use millrace_protocol::api::Api;

/// API keys that are counted each for itself; Kafka's highest is below.
const APIS_MAX: usize = 128;
/// Latencies are told in powers of two of a microsecond, the last of them more than two minutes.
const LATENCY_BUCKETS: usize = 28;

/// Counts of all connections that were opened with it. Cheap to clone; the clones count at the same place.
///
/// ```
/// # use millrace_client::ClusterOptions;
/// let options = ClusterOptions::new(["localhost:9092"]);
/// let metrics = options.connection.metrics.clone();
/// // Connected with the options, all connections count here.
/// assert_eq!(metrics.figures().connections, 0);
/// ```
#[derive(Clone, Default)]
pub struct Metrics(Arc<Counters>);

struct Counters {
    connections: AtomicU64,
    connects_failed: AtomicU64,
    disconnects: AtomicU64,
    authentications: AtomicU64,
    authentications_failed: AtomicU64,
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
    timeouts: AtomicU64,
    garbled: AtomicU64,
    throttled: AtomicU64,
    throttled_ms: AtomicU64,
    apis: [OnceLock<Box<OfApi>>; APIS_MAX],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            connections: AtomicU64::default(),
            connects_failed: AtomicU64::default(),
            disconnects: AtomicU64::default(),
            authentications: AtomicU64::default(),
            authentications_failed: AtomicU64::default(),
            sent_bytes: AtomicU64::default(),
            received_bytes: AtomicU64::default(),
            timeouts: AtomicU64::default(),
            garbled: AtomicU64::default(),
            throttled: AtomicU64::default(),
            throttled_ms: AtomicU64::default(),
            apis: [const { OnceLock::new() }; APIS_MAX],
        }
    }
}

#[derive(Default)]
struct OfApi {
    requests: AtomicU64,
    answers: AtomicU64,
    latency_us: AtomicU64,
    buckets: [AtomicU64; LATENCY_BUCKETS],
}

/// The counts at one time. Everything counts from when the [`Metrics`] were made.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # world::run(async |cluster| {
/// let client = cluster.any_broker().await?;
/// let figures = client.connection().options().metrics.figures();
/// assert!(figures.connections > 0 && figures.received_bytes > 0);
/// # Ok(()) });
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Figures {
    /// Connections that were made, TLS agreed on if it was asked for. Those beyond the first to a broker
    /// are reconnects, or for another use.
    pub connections: u64,
    /// Attempts that came to nothing.
    pub connects_failed: u64,
    /// Connections that ended otherwise than by being dropped.
    pub disconnects: u64,
    /// Times that a broker accepted who the client is, renewals included.
    pub authentications: u64,
    /// Times that it did not.
    pub authentications_failed: u64,
    /// Bytes of requests, before encryption.
    pub sent_bytes: u64,
    /// Bytes of answers, after decryption.
    pub received_bytes: u64,
    /// Requests that took too long; each ends its connection.
    pub timeouts: u64,
    /// Connections that were ended for what came on them.
    pub garbled: u64,
    /// Answers that a broker's quota had delayed, as far as they say so.
    pub throttled: u64,
    /// For how many milliseconds, all together.
    pub throttled_ms: u64,
    /// Each API that was asked, by its name.
    pub apis: BTreeMap<&'static str, ApiFigures>,
}

/// The counts of one API.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # world::run(async |cluster| {
/// let client = cluster.any_broker().await?;
/// let figures = client.connection().options().metrics.figures();
/// for (api, of_api) in &figures.apis {
///     println!("{api}: {} requests, half within {:?}", of_api.requests, of_api.latency.quantile(0.5));
/// }
/// # Ok(()) });
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApiFigures {
    /// Requests that were sent.
    pub requests: u64,
    /// How long answers took, from sending the request.
    pub latency: Latency,
}

/// How long something took, each time.
///
/// ```
/// # use millrace_client::Latency;
/// let none = Latency::default();
/// assert_eq!((none.count, none.quantile(0.99)), (0, None));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// How often.
    pub count: u64,
    /// All together, in microseconds.
    pub sum_us: u64,
    buckets: [u64; LATENCY_BUCKETS],
}

impl Latency {
    /// How often it took less than a power of two of microseconds: each bound with its count, which
    /// includes those below, as Prometheus has it. What took longer than the last is in `count` only.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let bounds = (0..LATENCY_BUCKETS).map(|at| Duration::from_micros(1 << at));
        let counts = self.buckets.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        // The last has no bound.
        bounds.zip(counts).take(LATENCY_BUCKETS - 1)
    }

    /// A bound that this share of times (0 to 1) stayed below, at most twice as high as need be; `None`
    /// when nothing was counted, or it took longer than any bound.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let wanted = (share.clamp(0.0, 1.0) * self.count as f64).ceil().max(1.0);
        self.buckets()
            .find(|(_, count)| *count as f64 >= wanted)
            .map(|(bound, _)| bound)
    }
}

/// The bucket that a time is counted in: the first whose bound is above it.
fn bucket_of(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let bits = (u64::BITS - micros.leading_zeros()) as usize;
    bits.min(LATENCY_BUCKETS - 1)
}

fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

impl Metrics {
    /// What was counted so far.
    pub fn figures(&self) -> Figures {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let all = &*self.0;
        let mut apis = BTreeMap::new();
        for (key, counted) in (0..).zip(&all.apis) {
            let (Some(counted), Some(api)) = (counted.get(), Api::from_key(key)) else {
                continue;
            };
            let figures = ApiFigures {
                requests: of(&counted.requests),
                latency: Latency {
                    count: of(&counted.answers),
                    sum_us: of(&counted.latency_us),
                    buckets: std::array::from_fn(|at| of(&counted.buckets[at])),
                },
            };
            apis.insert(api.row().name, figures);
        }
        Figures {
            connections: of(&all.connections),
            connects_failed: of(&all.connects_failed),
            disconnects: of(&all.disconnects),
            authentications: of(&all.authentications),
            authentications_failed: of(&all.authentications_failed),
            sent_bytes: of(&all.sent_bytes),
            received_bytes: of(&all.received_bytes),
            timeouts: of(&all.timeouts),
            garbled: of(&all.garbled),
            throttled: of(&all.throttled),
            throttled_ms: of(&all.throttled_ms),
            apis,
        }
    }

    fn api(&self, key: i16) -> Option<&OfApi> {
        let counted = self.0.apis.get(usize::try_from(key).ok()?)?;
        Some(counted.get_or_init(Box::default))
    }

    pub(crate) fn connected(&self) {
        add(&self.0.connections, 1);
    }

    pub(crate) fn connect_failed(&self) {
        add(&self.0.connects_failed, 1);
    }

    pub(crate) fn lost(&self) {
        add(&self.0.disconnects, 1);
    }

    pub(crate) fn authenticated(&self, accepted: bool) {
        if accepted {
            add(&self.0.authentications, 1);
        } else {
            add(&self.0.authentications_failed, 1);
        }
    }

    pub(crate) fn timed_out(&self) {
        add(&self.0.timeouts, 1);
    }

    pub(crate) fn garbled(&self) {
        add(&self.0.garbled, 1);
    }

    pub(crate) fn sent(&self, api_key: i16, bytes: usize) {
        add(&self.0.sent_bytes, bytes as u64);
        if let Some(api) = self.api(api_key) {
            add(&api.requests, 1);
        }
    }

    pub(crate) fn received(&self, bytes: usize) {
        add(&self.0.received_bytes, bytes as u64);
    }

    pub(crate) fn answered(&self, api_key: i16, took: Duration) {
        if let Some(api) = self.api(api_key) {
            add(&api.answers, 1);
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            add(&api.latency_us, micros);
            add(&api.buckets[bucket_of(took)], 1);
        }
    }

    pub(crate) fn throttled(&self, millis: u32) {
        if millis > 0 {
            add(&self.0.throttled, 1);
            add(&self.0.throttled_ms, u64::from(millis));
        }
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Metrics").field(&self.figures()).finish()
    }
}

/// For how many milliseconds a broker says that its quota delayed this answer (KIP-219): the first field
/// of most answers, the last of those to produce; 0 where it can't be told without reading all of it.
pub(crate) fn throttle_ms(api_key: i16, version: i16, flexible: bool, body: &[u8]) -> u32 {
    let at = match Api::from_key(api_key) {
        Some(Api::Produce) => {
            // Behind it a flexible answer has its tags, which are seldom any.
            let tags = usize::from(flexible);
            let no_tags = body.ends_with(&[0]);
            if flexible && !no_tags {
                return 0;
            }
            body.len().checked_sub(4 + tags)
        }
        Some(api) => {
            let first = FIRST_FIELD.iter().find(|(listed, _)| *listed == api);
            first.filter(|(_, from)| version >= *from).map(|_| 0)
        }
        None => None,
    };
    let field = at.and_then(|at| body.get(at..)?.first_chunk::<4>());
    let millis = field.map_or(0, |bytes| i32::from_be_bytes(*bytes));
    u32::try_from(millis).unwrap_or(0)
}

/// APIs whose answers begin with it, each from a version on.
const FIRST_FIELD: [(Api, i16); 30] = [
    (Api::AlterPartitionReassignments, 0),
    (Api::AlterReplicaLogDirs, 0),
    (Api::CreatePartitions, 0),
    (Api::CreateTopics, 2),
    (Api::DeleteGroups, 0),
    (Api::DeleteRecords, 0),
    (Api::DeleteTopics, 1),
    (Api::DescribeCluster, 0),
    (Api::DescribeConfigs, 0),
    (Api::DescribeGroups, 1),
    (Api::DescribeLogDirs, 0),
    (Api::DescribeProducers, 0),
    (Api::DescribeTopicPartitions, 0),
    (Api::ElectLeaders, 0),
    (Api::Fetch, 1),
    (Api::FindCoordinator, 1),
    (Api::Heartbeat, 1),
    (Api::IncrementalAlterConfigs, 0),
    (Api::InitProducerId, 0),
    (Api::JoinGroup, 2),
    (Api::LeaveGroup, 1),
    (Api::ListGroups, 1),
    (Api::ListOffsets, 2),
    (Api::ListPartitionReassignments, 0),
    (Api::Metadata, 3),
    (Api::OffsetCommit, 3),
    (Api::OffsetFetch, 3),
    (Api::OffsetForLeaderEpoch, 2),
    (Api::SyncGroup, 1),
    (Api::UpdateFeatures, 0),
];

#[cfg(test)]
mod tests {
    use millrace_protocol::messages::{
        CreateTopicsResponse, FetchResponse, HeartbeatResponse, InitProducerIdResponse, Message,
        MetadataResponse, ProduceResponse, encode,
    };

    use super::*;

    #[test]
    fn latencies_are_told_by_bounds_above_them() {
        let metrics = Metrics::default();
        let key = Api::Fetch.key();
        for micros in [0, 1, 3, 1000, 1023, 1024] {
            metrics.answered(key, Duration::from_micros(micros));
        }
        metrics.answered(key, Duration::from_secs(1000));
        let figures = metrics.figures();
        let latency = &figures.apis["Fetch"].latency;
        assert_eq!(latency.count, 7);
        let buckets: BTreeMap<_, _> = latency.buckets().collect();
        let below = |micros| buckets[&Duration::from_micros(micros)];
        assert_eq!([below(1), below(2), below(4)], [1, 2, 3]);
        assert_eq!([below(1024), below(2048)], [5, 6]);
        assert_eq!(latency.quantile(0.5), Some(Duration::from_micros(1024)));
        assert_eq!(latency.quantile(0.0), Some(Duration::from_micros(1)));
        assert_eq!(latency.quantile(1.0), None);
        assert_eq!(Latency::default().quantile(0.5), None);
    }

    #[test]
    fn clones_count_at_one_place() {
        let metrics = Metrics::default();
        let clone = metrics.clone();
        clone.connected();
        clone.sent(Api::Metadata.key(), 10);
        clone.sent(-1, 5);
        clone.sent(i16::MAX, 5);
        let figures = metrics.figures();
        assert_eq!(figures.connections, 1);
        assert_eq!(figures.sent_bytes, 20);
        assert_eq!(figures.apis["Metadata"].requests, 1);
        assert_eq!(figures.apis.len(), 1);
    }

    /// What is told of a response that was written in each version that we speak.
    fn told<M: Message>(api: Api, response: &M) -> Vec<(i16, u32)> {
        let row = api.row();
        let told = (row.served.min..=row.served.max).map(|version| {
            let body = encode(response, version).unwrap();
            let flexible = row.is_flexible(version);
            (version, throttle_ms(api.key(), version, flexible, &body))
        });
        told.collect()
    }

    #[test]
    fn a_throttled_answer_is_known_in_each_version_that_says_so() {
        macro_rules! from {
            ($api:ident, $response:ident, $first:expr) => {
                let mut response = $response::default();
                response.throttle_time_ms = 77;
                for (version, told) in told(Api::$api, &response) {
                    let expected = if version >= $first { 77 } else { 0 };
                    assert_eq!(told, expected, "{} {version}", stringify!($api));
                }
            };
        }
        from!(Fetch, FetchResponse, 1);
        from!(Produce, ProduceResponse, 1);
        from!(Metadata, MetadataResponse, 3);
        from!(CreateTopics, CreateTopicsResponse, 2);
        from!(Heartbeat, HeartbeatResponse, 1);
        from!(InitProducerId, InitProducerIdResponse, 0);
        assert_eq!(throttle_ms(Api::Fetch.key(), 12, true, &[]), 0);
        assert_eq!(throttle_ms(Api::Produce.key(), 9, true, &[0]), 0);
        assert_eq!(throttle_ms(Api::Fetch.key(), 12, true, &[0xff; 8]), 0);
    }
}
