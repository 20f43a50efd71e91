//! What every scenario stands on: the brokers, clusters of the crate's, topics, records in and out, and
//! waits that end.
//!
//! What always holds: a wait ends when its condition holds, or with an error after [`LIMIT`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millrace_client::{
    Admin, Cluster, ClusterOptions, ConsumedRecord, Consumer, ConsumerOptions, Error, NewTopic,
    OffsetOf, OffsetOrFind, Producer, ProducerOptions, Record, Reset, Use,
};
use millrace_host::{Host, Mono};
use millrace_protocol::error_code::ErrorCode;

use crate::nodes::Nodes;
use crate::wires::Wires;

/// Longer than anything takes that doesn't hang: three Java machines on a busy one start in less.
pub(crate) const LIMIT: Duration = Duration::from_mins(2);
/// Longer than any scenario takes.
const SCENARIO_LIMIT: Duration = Duration::from_mins(15);
/// Between two looks at what is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A request's time in all scenarios: short, so that pauses are longer.
pub(crate) const REQUEST: Duration = Duration::from_secs(4);
/// Where a partition is read from its beginning.
pub(crate) const BEGIN: OffsetOrFind = OffsetOrFind::Find(OffsetOf::Start);

/// Members that others wrote.
#[derive(Clone, Debug)]
pub(crate) struct Others {
    /// Apache Kafka's script, for its verifiable consumer.
    pub(crate) java: String,
    /// The rdkafka crate's member.
    pub(crate) rdkafka: String,
}

/// Brokers, and the machine that clients run on.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) host: Host,
    pub(crate) nodes: Nodes,
    pub(crate) wires: Wires,
    pub(crate) others: Option<Others>,
    pub(crate) bootstrap: String,
    pub(crate) smoke: bool,
    /// The time of a scenario's first record.
    first_ms: i64,
}

impl Stage {
    pub(crate) fn new(host: &Host, words: &BTreeMap<String, Vec<String>>) -> Result<Self, String> {
        let word = |name: &str| words.get(name).and_then(|all| all.last()).cloned();
        let needed = |name: &str| word(name).ok_or_else(|| format!("{name}= is missing"));
        let nodes = needed("nodes")?;
        let nodes = nodes
            .parse()
            .map_err(|_| format!("nodes={nodes} is no number"))?;
        let wires = Wires::new(Arc::clone(&host.net));
        Ok(Self {
            host: Host {
                net: Arc::new(wires.clone()),
                ..host.clone()
            },
            nodes: Nodes::new(nodes),
            wires,
            others: word("java")
                .zip(word("rdkafka"))
                .map(|(java, rdkafka)| Others { java, rdkafka }),
            bootstrap: needed("bootstrap")?,
            smoke: word("smoke").is_some(),
            first_ms: host.clock.now().wall_ms - 4_000_000,
        })
    }

    /// A time for a record, a second apart from its neighbours'. Of today: Apache Kafka forgets at its
    /// start an idempotent producer whose last record is a day old by its timestamp.
    pub(crate) fn time_of(&self, number: i32) -> i64 {
        self.first_ms + i64::from(number) * 1000
    }

    /// That many in a whole run, fewer in a smoke.
    pub(crate) fn rounds(&self, whole: usize, smoke: usize) -> usize {
        if self.smoke { smoke } else { whole }
    }

    pub(crate) fn now(&self) -> Mono {
        self.host.clock.now().mono
    }

    /// Lets that much time pass: what a fault takes, and the pace of whoever sends.
    pub(crate) async fn pass(&self, time: Duration) {
        self.host.clock.sleep_until(self.now() + time).await;
    }

    /// A whole scenario, which must not hang.
    pub(crate) async fn limited<T>(
        &self,
        scenario: impl Future<Output = Result<T, String>>,
    ) -> Result<T, String> {
        self.for_at_most("the scenario", SCENARIO_LIMIT, scenario)
            .await?
    }

    /// Something that must not hang.
    pub(crate) async fn within<T>(
        &self,
        what: &str,
        work: impl Future<Output = T>,
    ) -> Result<T, String> {
        self.for_at_most(what, LIMIT, work).await
    }

    async fn for_at_most<T>(
        &self,
        what: &str,
        limit: Duration,
        work: impl Future<Output = T>,
    ) -> Result<T, String> {
        let deadline = self.now() + limit;
        tokio::select! {
            done = work => Ok(done),
            () = self.host.clock.sleep_until(deadline) => Err(format!("{what}: not within {limit:?}")),
        }
    }

    /// Waits until it is so; `look` gives what there is instead while it isn't.
    pub(crate) async fn until(
        &self,
        what: &str,
        mut look: impl AsyncFnMut() -> Result<Option<String>, String>,
    ) -> Result<(), String> {
        let deadline = self.now() + LIMIT;
        loop {
            let Some(instead) = look().await? else {
                return Ok(());
            };
            if self.now() >= deadline {
                return Err(format!("{what}: not within {LIMIT:?}; {instead}"));
            }
            self.pass(LOOK_EVERY).await;
        }
    }

    /// The cluster, with connections of its own.
    pub(crate) async fn connect(&self) -> Result<Cluster, String> {
        let mut options = ClusterOptions::new(self.bootstrap.split(','));
        options.connection.request_timeout = REQUEST;
        options.connection.connect_timeout = REQUEST;
        options.auto_create_topics = false;
        self.within("to find the cluster", Cluster::connect(&self.host, options))
            .await?
            .map_err(text)
    }

    /// Makes a topic with a replica on each node.
    pub(crate) async fn topic(&self, name: &str, partitions: i32) -> Result<Cluster, String> {
        let cluster = self.connect().await?;
        let mut topic = NewTopic::new(name, partitions);
        topic.replication_factor = i16::try_from(self.nodes.count()).unwrap_or(1);
        if self.nodes.count() > 1 {
            topic = topic.with("min.insync.replicas", "2");
        }
        let made = Admin::new(&cluster).create_topics(&[topic]).await;
        for outcome in made.map_err(text)?.into_values() {
            outcome.map_err(text)?;
        }
        Ok(cluster)
    }

    /// Waits until every broker knows a topic, for what any of them may be asked about it.
    pub(crate) async fn known_by_all(&self, cluster: &Cluster, topic: &str) -> Result<(), String> {
        let known = self.until("a topic that all brokers know", async || {
            for id in cluster.metadata().brokers.keys() {
                let broker = cluster.broker(*id, Use::Ask).await.map_err(text)?;
                if let Err(error) = broker.topic(topic).await {
                    return Ok(Some(error.to_string()));
                }
            }
            Ok(None)
        });
        known.await
    }

    /// Sends values `from..to`, from partition to partition; each must be acknowledged. Gives the
    /// offset of each.
    pub(crate) async fn produce(
        &self,
        cluster: &Cluster,
        topic: &str,
        partitions: i32,
        numbers: std::ops::Range<i32>,
    ) -> Result<Vec<(i32, i64)>, String> {
        let producer = Producer::new(cluster, &ProducerOptions::default()).map_err(text)?;
        let mut deliveries = Vec::new();
        for number in numbers {
            let value = number.to_string();
            let record = Record::to(topic).partition(number % partitions);
            let record = record.value(&value).timestamp_ms(self.time_of(number));
            deliveries.push(producer.send(&record).await.map_err(text)?);
        }
        let mut places = Vec::new();
        for delivery in deliveries {
            let stored = self.within("a delivery", delivery.wait()).await?;
            let stored = stored.map_err(text)?;
            let offset = stored.offset.ok_or("a delivery without an offset")?;
            places.push((stored.partition, offset));
        }
        Ok(places)
    }

    /// Takes that many records.
    pub(crate) async fn take(
        &self,
        consumer: &Consumer,
        count: usize,
    ) -> Result<Vec<ConsumedRecord>, String> {
        let mut stream = consumer.record_stream();
        let mut taken = Vec::new();
        let taking = async {
            while taken.len() < count {
                let next = stream.next().await.ok_or("the consumer is closed")?;
                taken.push(next.map_err(text)?);
            }
            Ok::<(), String>(())
        };
        self.within("records to read", taking).await??;
        Ok(taken)
    }

    /// A consumer of all partitions of a topic, from their beginning.
    pub(crate) async fn reader(
        &self,
        cluster: &Cluster,
        topic: &str,
        partitions: i32,
        options: ConsumerOptions,
    ) -> Result<Consumer, String> {
        let consumer = Consumer::new(cluster, options);
        let all = (0..partitions).map(|partition| (topic, partition, BEGIN));
        consumer.assign(all).await.map_err(text)?;
        Ok(consumer)
    }
}

/// Reads from the first record on where nothing is committed.
pub(crate) fn from_the_start() -> ConsumerOptions {
    ConsumerOptions {
        reset: Reset::Earliest,
        ..ConsumerOptions::default()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(crate) fn text(error: Error) -> String {
    error.to_string()
}

/// Whether a broker refused with this code.
pub(crate) fn is_code(error: &Error, wanted: ErrorCode) -> bool {
    matches!(error, Error::Broker { code, .. } if *code == wanted)
}

/// Fails unless they are equal.
#[expect(
    clippy::needless_pass_by_value,
    reason = "what is compared is made for it"
)]
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(
    what: &str,
    found: T,
    wanted: T,
) -> Result<(), String> {
    if found == wanted {
        return Ok(());
    }
    Err(format!("{what}: found {found:?}, wanted {wanted:?}"))
}

/// The one outcome of something asked for one thing.
pub(crate) fn one<K: Ord, V>(
    outcomes: Result<BTreeMap<K, Result<V, Error>>, Error>,
) -> Result<V, Error> {
    let mut outcomes = outcomes?.into_values();
    outcomes.next().unwrap_or_else(|| {
        Err(Error::NoBroker {
            reasons: "an answer about nothing".to_owned(),
        })
    })
}
