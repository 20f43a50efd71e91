//! The client matrix in Rust: the records, the waits, and what a driver says of its crate.
//!
//! A driver gives a [`Client`] to [`main`]. What always holds: contents are compared byte for byte,
//! and every wait ends on a condition or fails after [`PATIENCE`].

mod member;
mod scenarios;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use scenarios::main;

/// How long a wait may take.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The time of a scenario's first record, in ms. Of today: Apache Kafka, when it starts, forgets an
/// idempotent producer whose last record is a day old by its timestamp; what that sends again is then
/// there twice.
static FIRST_TIMESTAMP_MS: LazyLock<i64> = LazyLock::new(|| {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_s = now.expect("it is later than 1970").as_secs();
    (i64::try_from(now_s).expect("it is before the year 292 billion") - 2000) * 1000
});
/// No retention beside what a scenario asks for.
const FOREVER: (&str, &str) = ("retention.ms", "-1");

/// Why something is not as a scenario asks.
#[derive(Debug)]
pub enum Failure {
    /// The client has no such function: against no broker can it do that.
    Lacks(&'static str),
    /// A topic was refused because there is one of that name.
    Exists,
    /// A record was refused for its size, by the client's own error for that.
    TooLarge,
    /// A commit was refused because the group rebalances: what it held is read again.
    Rejoining,
    /// The crate leaves it to the application to ask again, since it has no connection.
    Unreachable,
    /// Anything else, in words.
    Wrong(String),
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Wrong(format!("{error}: {error:?}"))
    }
}

/// What most functions give.
pub type Outcome<T> = Result<T, Failure>;

/// A record, as it is sent and as it is read; before it is sent, its offset is -1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
}

/// What a member hears of its partitions: whether they are assigned (or revoked), and which.
pub type Changes = Arc<Mutex<Vec<(bool, Vec<i32>)>>>;

/// Where a partition is read from.
#[derive(Clone, Copy, Debug)]
pub enum Start {
    Beginning,
    End,
    At(i64),
}

/// How a consumer is made.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// None for a consumer by assignment.
    pub group: Option<String>,
    /// Begins at the end where nothing is committed.
    pub from_end: bool,
    pub is_cooperative: bool,
    pub instance: Option<String>,
}

/// How a producer is made.
#[derive(Clone, Copy, Debug)]
pub struct Writing {
    pub codec: &'static str,
    pub is_idempotent: bool,
    pub request_bytes_max: usize,
}

impl Default for Writing {
    fn default() -> Self {
        Self {
            codec: "none",
            is_idempotent: false,
            request_bytes_max: 1 << 20,
        }
    }
}

/// How a crate consumes one topic.
pub trait Consumer: Send {
    /// Joins the group.
    fn subscribe(&mut self, changes: Changes) -> Outcome<()>;
    fn assign(&mut self, places: &[(i32, Start)]) -> Outcome<()>;
    /// What there is, or came within a tenth of a second.
    fn poll(&mut self) -> Outcome<Vec<Record>>;
    fn assignment(&self) -> Outcome<Vec<i32>>;
    fn seek(&mut self, partition: i32, offset: i64) -> Outcome<()>;
    fn position(&self, partition: i32) -> Outcome<i64>;
    /// The first offset of that time or a later one; none behind the last.
    fn offset_for_time(&self, partition: i32, timestamp_ms: i64) -> Outcome<Option<i64>>;
    fn committed(&self, partition: i32) -> Outcome<Option<i64>>;
    fn commit(&self, offsets: &BTreeMap<i32, i64>) -> Outcome<()>;
    fn commit_async(&self, offsets: &BTreeMap<i32, i64>) -> Outcome<()>;
    fn pause(&self, partition: i32) -> Outcome<()>;
    fn resume(&self, partition: i32) -> Outcome<()>;
}

/// How a crate produces to one topic.
pub trait Producer: Send {
    /// Sends them together; the offsets that were acknowledged.
    fn send(&self, records: &[Record]) -> Outcome<Vec<i64>>;
}

/// How a crate does what the scenarios ask for.
pub trait Client: Sync {
    /// Whether headers may have one name twice.
    const HAS_REPEATED_HEADERS: bool;

    fn create(&self, topic: &str, partitions: i32, config: (&str, &str)) -> Outcome<()>;
    fn partitions(&self, topic: &str) -> Outcome<Vec<i32>>;
    fn config(&self, topic: &str, name: &str) -> Outcome<String>;
    fn alter(&self, topic: &str, name: &str, value: &str) -> Outcome<()>;
    fn grow(&self, topic: &str, partitions: usize) -> Outcome<()>;
    fn list_topics(&self) -> Outcome<Vec<String>>;
    fn delete_topics(&self, topics: &[&str]) -> Outcome<()>;
    fn delete_records(&self, topic: &str, partition: i32, before: i64) -> Outcome<()>;
    fn list_groups(&self) -> Outcome<Vec<String>>;
    /// Its state and how many members it has.
    fn describe_group(&self, group: &str) -> Outcome<(String, usize)>;
    fn delete_group(&self, group: &str) -> Outcome<()>;
    /// The ids of the brokers, and which is the controller.
    fn describe_cluster(&self) -> Outcome<(Vec<i32>, i32)>;
    /// The first offset of each partition, and the one behind the last.
    fn bounds(&self, topic: &str, partitions: i32) -> Outcome<Vec<(i64, i64)>>;
    fn producer(&self, topic: &str, how: Writing) -> Outcome<Box<dyn Producer>>;
    fn consumer(&self, topic: &str, how: Reading) -> Outcome<Box<dyn Consumer>>;
}

/// Record `i` of a scenario: all languages of the matrix have the same formula.
fn expected(scenario: &str, i: i32, partition: i32) -> Record {
    let letter = char::from(b"abcdefghijklmnopqrstuvwxyz"[i as usize % 26]);
    let filling = String::from(letter).repeat(i as usize * 37 % 500);
    Record {
        partition,
        offset: -1,
        timestamp: *FIRST_TIMESTAMP_MS + i64::from(i) * 1000,
        key: Some(format!("k{}", i % 7).into_bytes()),
        value: Some(format!("{scenario}-{i}-{filling}").into_bytes()),
        headers: vec![
            ("h".to_owned(), i.to_string().into_bytes()),
            ("empty".to_owned(), Vec::new()),
        ],
    }
}

/// These records, from partition to partition.
fn spread(scenario: &str, numbers: std::ops::Range<i32>, partitions: i32) -> Vec<Record> {
    numbers
        .map(|i| expected(scenario, i, i % partitions))
        .collect()
}

fn by_place(mut records: Vec<Record>) -> Vec<Record> {
    records.sort_by_key(|record| (record.partition, record.offset));
    records
}

/// The records of a whole topic with the offsets that they get, in the order of the log.
fn placed(records: &[Record]) -> Vec<Record> {
    let mut ends = BTreeMap::<i32, i64>::new();
    let place = |record: &Record| {
        let end = ends.entry(record.partition).or_default();
        *end += 1;
        Record {
            offset: *end - 1,
            ..record.clone()
        }
    };
    by_place(records.iter().map(place).collect())
}

/// Fails unless they are equal.
fn same<T: PartialEq + Debug>(what: &str, found: T, wanted: T) -> Outcome<()> {
    if found == wanted {
        return Ok(());
    }
    wrong(format!("{what}: found {found:?}, wanted {wanted:?}"))
}

/// Fails unless they are the same records; shows the first that differs.
fn alike(what: &str, found: &[Record], wanted: &[Record]) -> Outcome<()> {
    let pairs = found.iter().zip(wanted);
    if let Some((one, other)) = pairs.clone().find(|(one, other)| one != other) {
        return wrong(format!("{what}: found {one:?}, wanted {other:?}"));
    }
    same(what, found.len(), wanted.len())
}

fn wrong<T>(what: String) -> Outcome<T> {
    Err(Failure::Wrong(what))
}

/// Asks again and again until it is so; `state` is shown when it never is.
fn until(
    what: &str,
    mut condition: impl FnMut() -> Outcome<bool>,
    state: impl Fn() -> String,
) -> Outcome<()> {
    let deadline = Instant::now() + PATIENCE;
    while !condition()? {
        if Instant::now() > deadline {
            return wrong(format!("{what}: not within {PATIENCE:?}: {}", state()));
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    Ok(())
}

/// Asks until the answer is the wanted one: a broker may show a change after its answer.
fn eventually<T: PartialEq + Debug>(
    what: &str,
    mut ask: impl FnMut() -> Outcome<T>,
    wanted: T,
) -> Outcome<()> {
    until(what, || Ok(ask()? == wanted), || format!("not {wanted:?}"))
}

/// Sends them; each partition's must be acknowledged in order, without a gap.
fn produce<C: Client>(client: &C, topic: &str, records: &[Record], how: Writing) -> Outcome<()> {
    let offsets = client.producer(topic, how)?.send(records)?;
    let mut last = BTreeMap::new();
    for (record, offset) in records.iter().zip(offsets) {
        let next = last
            .insert(record.partition, offset)
            .map_or(offset, |at: i64| at + 1);
        same("acknowledged offset", offset, next)?;
    }
    Ok(())
}

/// Polls until so many came.
fn poll_until(consumer: &mut dyn Consumer, what: &str, count: usize) -> Outcome<Vec<Record>> {
    let mut found = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while found.len() < count {
        found.extend(consumer.poll()?);
        if Instant::now() > deadline {
            return wrong(format!(
                "{what}: {} of {count} records in time",
                found.len()
            ));
        }
    }
    Ok(found)
}

/// All that the topic holds, read by assignment from its beginning.
fn read_all<C: Client>(client: &C, topic: &str, partitions: i32) -> Outcome<Vec<Record>> {
    let bounds = client.bounds(topic, partitions)?;
    let held: i64 = bounds.iter().map(|(low, high)| high - low).sum();
    let mut consumer = client.consumer(topic, Reading::default())?;
    let places = (0..partitions).map(|partition| (partition, Start::Beginning));
    consumer.assign(&places.collect::<Vec<_>>())?;
    poll_until(&mut *consumer, topic, held as usize).map(by_place)
}

/// The topic must hold these records and no other.
fn read<C: Client>(client: &C, topic: &str, partitions: i32, wanted: &[Record]) -> Outcome<()> {
    alike(topic, &read_all(client, topic, partitions)?, wanted)
}
