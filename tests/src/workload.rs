//! Producers and consumers at work on one topic while somebody pulls the broker's plug, and the
//! check afterwards.
//!
//! What always holds: a batch keeps its bytes and its place until it is acknowledged; nothing is
//! forgotten that was acknowledged or shown to a consumer; a workload that makes no progress for
//! [`Plan::patience`] ends with an error instead of waiting for ever.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use millrace_client::{Acks, Client, ClientOptions, Error, NewTopic, Topic};
use millrace_host::{Host, Mono, Pool};
use millrace_protocol::error_code::ErrorCode;
use tokio::sync::{oneshot, watch};

use crate::admin::Admin;
use crate::anomaly::Anomaly;
use crate::asker::Asker;
use crate::churn::Churn;
use crate::consumer::{Consumer, Reading};
use crate::groups::{self, Crowd};
use crate::ledger::{Progress, Terms};
use crate::mover::Mover;
use crate::oracle;
use crate::producer::{Producer, Sending};
use crate::pulse::Pulse;
use crate::reader::Whole;
use crate::side::Sides;
use crate::table;
use crate::times::Timed;
use crate::trimmer::Trimmer;

/// Between two tries to reach a broker that is away.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(10);

/// The shape of a workload.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The topic; made when missing.
    pub topic: NewTopic,
    /// What its configuration promises.
    pub terms: Terms,
    /// Producers, each with a connection of its own.
    pub producers: u32,
    /// How they send, in turn.
    pub sendings: Vec<Sending>,
    /// Consumers, each with a connection of its own.
    pub consumers: Vec<Reading>,
    /// Requests of a producer without an answer; at most five, or retries are not recognised.
    pub in_flight: usize,
    /// Most records of a batch.
    pub batch_records: u32,
    /// Bytes of each record's value.
    pub record_bytes: usize,
    /// A producer's pause after each acknowledged batch.
    pub pause: Duration,
    /// How far back a record's timestamp may lie, in milliseconds.
    pub time_spread_ms: u64,
    /// The pause of somebody who asks for offsets, times, epochs, topics and brokers.
    pub asks: Option<Duration>,
    /// The pause of somebody who makes and deletes topics beside.
    pub sides: Option<Duration>,
    /// The pause of somebody who administers: partitions, configurations, questions.
    pub admin: Option<Duration>,
    /// The pause of somebody who moves replicas between log directories.
    pub moves: Option<Duration>,
    /// Consumer groups beside.
    pub groups: Option<Crowd>,
    /// Somebody who keeps a table in a compacted topic.
    pub table: Option<table::Keeper>,
    /// The pause of somebody who deletes records; not of a topic that is removed.
    pub trims: Option<Duration>,
    /// How long the topic lives before it is removed and made again; `None` for ever.
    pub churn: Option<Duration>,
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
            terms: Terms::default(),
            producers: 3,
            sendings: vec![Sending::new(Acks::All)],
            consumers: vec![Reading::default()],
            in_flight: 5,
            batch_records: 7,
            record_bytes: 200,
            pause: Duration::ZERO,
            time_spread_ms: 0,
            asks: None,
            sides: None,
            admin: None,
            moves: None,
            groups: None,
            table: None,
            trims: None,
            churn: None,
            patience: Duration::from_mins(1),
            request_timeout: Duration::from_secs(10),
        }
    }
}

/// The topic as it is between two removals.
#[derive(Clone, Debug)]
pub struct Incarnation {
    /// How often it had been made before.
    pub number: u32,
    /// What the broker calls it.
    pub topic: Topic,
}

impl Incarnation {
    /// A position of 0 for each partition.
    pub fn fresh<N: Default + Clone>(&self) -> Vec<N> {
        vec![N::default(); usize::try_from(self.topic.partitions).unwrap_or(0)]
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
    /// A connection to the broker where it is now.
    pub(crate) async fn connect(&self) -> Result<Client, Error> {
        let address = *self.address.borrow();
        Client::connect(&self.host, address, self.options.clone()).await
    }

    /// The same with more time for requests that may wait for so long.
    #[must_use]
    pub fn waiting(&self, span: Duration) -> Self {
        let mut reach = self.clone();
        reach.options.request_timeout += span;
        reach
    }

    /// Calls `attempt` with a fresh connection until it succeeds, fails for good, or patience ends.
    pub async fn retry<T, F: Future<Output = Result<T, Error>>>(
        &self,
        mut attempt: impl FnMut(Client) -> F,
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
        // The simulated net alters nothing: whoever sends half an answer, or a wrong one, is broken.
        if !error.is_retriable() || matches!(error, Error::Garbled { .. }) {
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
    topics: watch::Receiver<Incarnation>,
    pulses: Vec<Arc<Pulse>>,
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
            .retry(|client| make_topic(client, plan.topic.clone()))
            .await?;
        let (tell, topics) = watch::channel(Incarnation { number: 0, topic });
        let mut workload = Self {
            progress: Arc::new(Progress::new(plan.terms)),
            reach,
            topics,
            pulses: Vec::new(),
            tasks: Vec::new(),
        };
        workload.start_tasks(plan, tell);
        Ok(workload)
    }

    fn start_tasks(&mut self, plan: &Plan, tell: watch::Sender<Incarnation>) {
        for number in 0..plan.producers {
            let (reach, progress) = (self.reach.clone(), Arc::clone(&self.progress));
            let producer = Producer::new(number, self.topics.clone(), plan);
            let pulse = self.pulse(format!("producer {number}"));
            let run = async move { producer.run(&reach, &progress, &pulse).await };
            self.spawn("producer", run);
        }
        for (number, reading) in plan.consumers.iter().enumerate() {
            let (reach, progress) = (self.reach.clone(), Arc::clone(&self.progress));
            let consumer = Consumer::new(*reading, self.topics.clone());
            let pulse = self.pulse(format!("consumer {number}"));
            let run = async move { consumer.run(&reach, &progress, &pulse).await };
            self.spawn("consumer", run);
        }
        if let Some(pause) = plan.asks {
            let (reach, progress) = (self.reach.clone(), Arc::clone(&self.progress));
            let asker = Asker::new(pause, self.topics.clone());
            let pulse = self.pulse("asker".to_owned());
            let run = async move { asker.run(&reach, &progress, &pulse).await };
            self.spawn("asker", run);
        }
        if let Some(pause) = plan.sides {
            let (reach, progress) = (self.reach.clone(), Arc::clone(&self.progress));
            let sides = Sides::new(pause);
            let pulse = self.pulse("topics beside".to_owned());
            let run = async move { sides.run(&reach, &progress, &pulse).await };
            self.spawn("topics beside", run);
        }
        if let Some(pause) = plan.admin {
            let (reach, progress) = (self.reach.clone(), Arc::clone(&self.progress));
            let admin = Admin::new(pause, plan, &self.topic());
            let pulse = self.pulse("administrator".to_owned());
            let run = async move { admin.run(&reach, &progress, &pulse).await };
            self.spawn("administrator", run);
        }
        if let Some(pause) = plan.moves {
            let (reach, progress) = (self.reach.clone(), Arc::clone(&self.progress));
            let mover = Mover::new(pause, crate::liveness::TOPIC);
            let pulse = self.pulse("mover".to_owned());
            let run = async move { mover.run(&reach, &progress, &pulse).await };
            self.spawn("mover", run);
        }
        for (name, role) in plan.groups.iter().flat_map(groups::tasks) {
            let (reach, progress) = (self.reach.clone(), Arc::clone(&self.progress));
            let pulse = self.pulse(name);
            let run = async move { role.run(&reach, &progress, &pulse).await };
            self.spawn("groups", run);
        }
        if let Some(keeper) = plan.table.clone() {
            let (reach, progress) = (self.reach.clone(), Arc::clone(&self.progress));
            let pulse = self.pulse("table".to_owned());
            let run = async move { keeper.run(&reach, &progress, &pulse).await };
            self.spawn("table", run);
        }
        if let Some(pause) = plan.trims {
            let (reach, progress) = (self.reach.clone(), Arc::clone(&self.progress));
            let trimmer = Trimmer::new(pause, self.topic());
            let pulse = self.pulse("trimmer".to_owned());
            let run = async move { trimmer.run(&reach, &progress, &pulse).await };
            self.spawn("trimmer", run);
        }
        if let Some(span) = plan.churn {
            let churn = Churn {
                reach: self.reach.clone(),
                progress: Arc::clone(&self.progress),
                plan: plan.clone(),
                topics: tell,
            };
            self.spawn("churn", churn.run(span));
        }
    }

    fn pulse(&mut self, name: String) -> Arc<Pulse> {
        let pulse = Arc::new(Pulse::new(name));
        self.pulses.push(Arc::clone(&pulse));
        pulse
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

    /// The topic as it is now.
    pub fn topic(&self) -> Incarnation {
        self.topics.borrow().clone()
    }

    /// The same, also of later.
    pub fn topics(&self) -> watch::Receiver<Incarnation> {
        self.topics.clone()
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

    /// Waits until everybody got on since now; who did not within `span` is stalled. Meant for when
    /// nothing is wrong any more.
    pub async fn gets_on(&mut self, span: Duration) -> Result<(), Anomaly> {
        let clock = Arc::clone(&self.reach.host.clock);
        let until = clock.now().mono + span;
        let before: Vec<u64> = self.pulses.iter().map(|pulse| pulse.count()).collect();
        loop {
            let stand = self.pulses.iter().zip(&before);
            let mut stand = stand.filter(|(pulse, before)| pulse.count() <= **before);
            let Some((first, _)) = stand.next() else {
                return Ok(());
            };
            if clock.now().mono >= until {
                let why = format!("{} and {} more, for {span:?}", first.name, stand.count());
                return Err(Anomaly::Stalled(why));
            }
            clock.sleep_until(clock.now().mono + TRY_AGAIN_AFTER).await;
        }
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
        self.progress.stop();
        for task in std::mem::take(&mut self.tasks) {
            task.await
                .map_err(|_| "a task of the workload died".to_owned())??;
        }
        let mut report = self.check().await?;
        let topic = self.topic().topic;
        let described = self
            .reach
            .retry(|client| describe(client, topic.name.clone()))
            .await?;
        if described != topic {
            let why = format!("{topic:?} was made, {described:?} is there");
            report.anomalies.push(Anomaly::Topic(why));
        }
        Ok(report)
    }

    /// Reads all partitions back and holds them against what was promised up to now.
    pub async fn check(&self) -> Result<Report, String> {
        let mut report = check(&self.reach, &self.progress, &self.topic()).await?;
        let ledger = self.progress.ledger();
        report.owed = ledger.claimed();
        report.anomalies.extend(ledger.anomalies.iter().cloned());
        Ok(report)
    }
}

/// Reads all partitions of one incarnation back and holds them against what was promised of it up
/// to now.
pub(crate) async fn check(
    reach: &Reach,
    progress: &Progress,
    topic: &Incarnation,
) -> Result<Report, String> {
    // Taken before reading: what is promised meanwhile need not be in what is read.
    let mut promises = progress.ledger().promises(topic.number).clone();
    let mut report = Report {
        owed: promises.len(),
        records: BTreeMap::new(),
        taken: 0,
        anomalies: Vec::new(),
    };
    for partition in 0..topic.topic.partitions {
        let whole = Whole::read(reach, progress, topic, partition).await?;
        let place = (topic.number, partition);
        let timed: Vec<Timed> = whole.log.iter().filter_map(Timed::of).collect();
        progress.ledger().judge_times(place, whole.life, &timed);
        let lives = progress.ledger().lives.until(whole.life);
        promises.repeat_as(progress.ledger().promises(topic.number));
        let found = promises.check(partition, whole.log_start, &whole.log, &lives);
        report.taken += found.taken;
        let gaps = oracle::gaps(partition, whole.log_start, &whole.log);
        report.anomalies.extend(gaps);
        report.anomalies.extend(found.anomalies);
        if let Some(least) = progress.terms().retention_bytes
            && whole.log_start > progress.ledger().trimmed(place)
            && whole.bytes < least
        {
            report.anomalies.push(Anomaly::StartTooFar {
                partition,
                start: whole.log_start,
                why: format!("{} bytes are left, {least} are kept", whole.bytes),
            });
        }
        report.records.insert(partition, whole.log.len());
    }
    Ok(report)
}

/// What a check found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Records that were acknowledged or shown.
    pub owed: usize,
    /// Records read from each partition.
    pub records: BTreeMap<i32, usize>,
    /// Claims of now's topic that lossy ends took, as they may.
    pub taken: usize,
    /// What must not be; empty is the only good outcome.
    pub anomalies: Vec<Anomaly>,
}

impl Report {
    /// The rules that were broken, each once.
    pub fn rules(&self) -> Vec<&'static str> {
        let mut rules: Vec<_> = self.anomalies.iter().map(Anomaly::rule).collect();
        rules.sort_unstable();
        rules.dedup();
        rules
    }

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

/// Makes the topic, or finds it made.
pub(crate) async fn make_topic(client: Client, new: NewTopic) -> Result<Topic, Error> {
    match client.create_topic(&new).await {
        Err(Error::Broker {
            code: ErrorCode::TopicAlreadyExists,
            ..
        }) => client.topic(&new.name).await,
        made => made,
    }
}

async fn describe(client: Client, name: String) -> Result<Topic, Error> {
    client.topic(&name).await
}
