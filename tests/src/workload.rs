//! Producers and a reader at work on one topic while somebody pulls the broker's plug, and the
//! check afterwards.
//!
//! What always holds: a batch keeps its bytes and its place until it is acknowledged; nothing is
//! forgotten that was acknowledged or shown to the reader; a workload that makes no progress for
//! [`Plan::patience`] ends with an error instead of waiting for ever.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millrace_client::{Client, ClientOptions, Error, NewTopic, Topic};
use millrace_host::{Host, Mono, Pool};
use millrace_protocol::error_code::ErrorCode;
use tokio::sync::{oneshot, watch};

use crate::oracle::{Anomaly, Found, Promises, Value};
use crate::producer::Producer;
use crate::reader::{Tail, Whole};

/// Between two tries to reach a broker that is away.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(10);

/// The shape of a workload.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The topic; made when missing.
    pub topic: NewTopic,
    /// Idempotent producers, each with a connection of its own.
    pub producers: u32,
    /// Requests of a producer without an answer; at most five, or retries are not recognised.
    pub in_flight: usize,
    /// Records of each batch.
    pub batch_records: u32,
    /// Bytes of each record's value.
    pub record_bytes: usize,
    /// A producer's pause after each acknowledged batch.
    pub pause: Duration,
    /// How long the broker may be away, or answer with errors that ask for patience.
    pub patience: Duration,
    /// How long one request may take.
    pub request_timeout: Duration,
}

impl Plan {
    /// A few producers and partitions, small batches.
    pub fn new(topic: impl Into<String>, partitions: i32) -> Self {
        Self {
            topic: NewTopic::new(topic, partitions),
            producers: 3,
            in_flight: 5,
            batch_records: 7,
            record_bytes: 200,
            pause: Duration::ZERO,
            patience: Duration::from_mins(1),
            request_timeout: Duration::from_secs(10),
        }
    }
}

/// What producers were promised and what the reader was shown, and what was wrong at once.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Acknowledged or shown: owed from then on.
    pub promises: Promises,
    /// What contradicted an earlier promise the moment it was said.
    pub anomalies: Vec<Anomaly>,
}

/// Shared by all tasks of a workload.
#[derive(Debug)]
pub struct Progress {
    ledger: Mutex<Ledger>,
    acknowledged: AtomicU64,
    shown: AtomicU64,
    stopping: AtomicBool,
}

impl Progress {
    /// The ledger; held briefly, never across an await.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Records shown to the reader so far.
    pub fn shown(&self) -> u64 {
        self.shown.load(Ordering::Relaxed)
    }

    /// Whether producers should end once all they sent is acknowledged.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Notes an acknowledged batch: `values` in the order of their offsets.
    pub fn acknowledge(&self, base_offset: i64, values: impl Iterator<Item = Value>) {
        let mut ledger = self.ledger();
        for (offset, value) in (base_offset..).zip(values) {
            let anomaly = ledger.promises.acknowledge(offset, value);
            ledger.anomalies.extend(anomaly);
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes a record that a consumer was shown: it is owed like an acknowledged one.
    pub fn show(&self, partition: i32, found: &Found) {
        let mut ledger = self.ledger();
        let anomaly = match Value::decode(&found.value) {
            Some(value) if value.partition == partition => {
                ledger.promises.acknowledge(found.offset, value)
            }
            _ => Some(Anomaly::Altered {
                partition,
                offset: found.offset,
            }),
        };
        ledger.anomalies.extend(anomaly);
        self.shown.fetch_add(1, Ordering::Relaxed);
    }
}

/// Where the broker is now, and how long to look for it there.
#[derive(Clone, Debug)]
pub struct Reach {
    /// The machine of the clients.
    pub host: Host,
    /// The broker's address; a restarted broker may have another.
    pub address: watch::Receiver<SocketAddr>,
    /// How requests are sent.
    pub options: ClientOptions,
    /// How long the broker may be away.
    pub patience: Duration,
}

impl Reach {
    /// Calls `attempt` with a fresh connection until it succeeds, fails for good, or patience ends.
    pub async fn retry<T>(
        &self,
        mut attempt: impl AsyncFnMut(Client) -> Result<T, Error>,
    ) -> Result<T, String> {
        let mut since = self.host.clock.now().mono;
        loop {
            let address = *self.address.borrow();
            let connected = Client::connect(&self.host, address, self.options.clone()).await;
            let outcome = match connected {
                Ok(client) => attempt(client).await,
                Err(error) => Err(error),
            };
            match outcome {
                Ok(done) => return Ok(done),
                Err(error) => self.bear(&error, &mut since).await?,
            }
        }
    }

    /// Waits a little after an error that may pass; fails when it won't, or when nothing got better
    /// since `since`.
    pub async fn bear(&self, error: &Error, since: &mut Mono) -> Result<(), String> {
        let now = self.host.clock.now().mono;
        if !error.is_retriable() {
            return Err(error.to_string());
        }
        if now.since(*since) > self.patience {
            return Err(format!(
                "no progress for {:?}; last: {error}",
                self.patience
            ));
        }
        self.host.clock.sleep_until(now + TRY_AGAIN_AFTER).await;
        Ok(())
    }
}

/// A workload under way.
#[derive(Debug)]
pub struct Workload {
    /// What it has achieved so far.
    pub progress: Arc<Progress>,
    reach: Reach,
    topic: Topic,
    tasks: Vec<oneshot::Receiver<Result<(), String>>>,
}

impl Workload {
    /// Makes the topic and starts the producers and the reader on `host`.
    pub async fn start(
        host: &Host,
        address: watch::Receiver<SocketAddr>,
        plan: &Plan,
    ) -> Result<Self, String> {
        let options = ClientOptions {
            client_id: "workload".to_owned(),
            connect_timeout: plan.request_timeout,
            request_timeout: plan.request_timeout,
            ..ClientOptions::default()
        };
        let reach = Reach {
            host: host.clone(),
            address,
            options,
            patience: plan.patience,
        };
        let topic = reach
            .retry(async |client| make_topic(&client, &plan.topic).await)
            .await?;
        let progress = Arc::new(Progress {
            ledger: Mutex::default(),
            acknowledged: AtomicU64::new(0),
            shown: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
        });
        let mut workload = Self {
            progress,
            reach,
            topic,
            tasks: Vec::new(),
        };
        for number in 0..plan.producers {
            let (reach, progress) = (workload.reach.clone(), Arc::clone(&workload.progress));
            let (plan, topic) = (plan.clone(), workload.topic.clone());
            workload.spawn("producer", async move {
                let identity = reach
                    .retry(async |client| client.init_producer_id().await)
                    .await?;
                Producer::new(number, identity, topic, &plan)
                    .run(&reach, &progress)
                    .await
            });
        }
        let tail = Tail::new(workload.topic.clone());
        let (reach, progress) = (workload.reach.clone(), Arc::clone(&workload.progress));
        workload.spawn("reader", async move { tail.run(&reach, &progress).await });
        Ok(workload)
    }

    fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), String>> + Send + 'static,
    ) {
        let (done, end) = oneshot::channel();
        let task = self.reach.host.spawn.spawn(
            Pool::Data,
            name,
            Box::pin(async move {
                // Nobody listens when the workload was given up.
                drop(done.send(task.await.map_err(|reason| format!("{name}: {reason}"))));
            }),
        );
        drop(task);
        self.tasks.push(end);
    }

    /// Fails when a producer or the reader has given up.
    pub fn is_alive(&mut self) -> Result<(), String> {
        for task in &mut self.tasks {
            match task.try_recv() {
                Ok(ended) => return ended.and(Err("a task ended by itself".to_owned())),
                Err(oneshot::error::TryRecvError::Closed) => {
                    return Err("a task of the workload died".to_owned());
                }
                Err(oneshot::error::TryRecvError::Empty) => {}
            }
        }
        Ok(())
    }

    /// Waits until `acknowledged` records are acknowledged in total.
    pub async fn reach_acknowledged(&mut self, acknowledged: u64) -> Result<(), String> {
        let clock = Arc::clone(&self.reach.host.clock);
        while self.progress.acknowledged() < acknowledged {
            self.is_alive()?;
            clock.sleep_until(clock.now().mono + TRY_AGAIN_AFTER).await;
        }
        Ok(())
    }

    /// Ends the producers once all they sent is acknowledged, then the reader; gives the final
    /// check of every partition.
    pub async fn finish(mut self) -> Result<Report, String> {
        self.progress.stopping.store(true, Ordering::Relaxed);
        for task in std::mem::take(&mut self.tasks) {
            task.await
                .map_err(|_| "a task of the workload died".to_owned())??;
        }
        self.check().await
    }

    /// Reads all partitions back and holds them against what was promised up to now.
    pub async fn check(&self) -> Result<Report, String> {
        // Taken before reading: what is promised meanwhile need not be in what is read.
        let (promises, mut anomalies) = {
            let ledger = self.progress.ledger();
            (ledger.promises.clone(), ledger.anomalies.clone())
        };
        let mut records = BTreeMap::new();
        for partition in 0..self.topic.partitions {
            let (log_start, log) = Whole::read(&self.reach, &self.topic, partition).await?;
            anomalies.extend(promises.check(partition, log_start, &log));
            records.insert(partition, log.len());
        }
        Ok(Report {
            owed: promises.len(),
            records,
            anomalies,
        })
    }
}

/// What a check found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Records that were acknowledged or shown.
    pub owed: usize,
    /// Records read from each partition.
    pub records: BTreeMap<i32, usize>,
    /// What must not be; empty is the only good outcome.
    pub anomalies: Vec<Anomaly>,
}

impl Report {
    /// Fails unless something was promised and all promises are kept.
    pub fn kept(&self) -> Result<(), String> {
        if self.owed == 0 {
            return Err("nothing was acknowledged: the run proves nothing".to_owned());
        }
        if self.anomalies.is_empty() {
            return Ok(());
        }
        let first: Vec<String> = self
            .anomalies
            .iter()
            .take(10)
            .map(|anomaly| format!("{anomaly:?}"))
            .collect();
        Err(format!(
            "{} of {} promises are broken:\n  {}",
            self.anomalies.len(),
            self.owed,
            first.join("\n  ")
        ))
    }
}

async fn make_topic(client: &Client, new: &NewTopic) -> Result<Topic, Error> {
    match client.create_topic(new).await {
        Err(Error::Broker {
            code: ErrorCode::TopicAlreadyExists,
            ..
        }) => client.topic(&new.name).await,
        made => made,
    }
}
