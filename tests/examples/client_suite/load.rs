//! A load: producers and a group that go on while brokers are in trouble, and the judgement at the end.
//!
//! What always holds: what was told to producers and given to members is noted as it comes; a member or
//! producer that fails ends whatever waits for the load, with its reason.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millrace_client::{
    Admin, Assignor, Cluster, Isolation, OffsetOf, ProducerOptions, TopicPartition,
};
use millrace_host::{BoxFuture, Pool, TaskHandle};
use millrace_protocol::records::Codec;
use millrace_tests::group_journal::Journal;
use millrace_tests::promises::{Id, Log, Promises};
use tokio::sync::Notify;

use crate::sending;
use crate::stage::{Stage, from_the_start, one, text};

/// Partitions of a load's topic.
pub(crate) const PARTITIONS: i32 = 6;
/// Producers that give nothing up, with the codecs that they send in.
const PATIENT: [Codec; 2] = [Codec::None, Codec::Lz4];
/// How long the impatient one tries.
const IMPATIENT: Duration = Duration::from_millis(1500);
/// Members of the group.
const MEMBERS: usize = 3;

/// What producers, members and whoever waits for them share.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) topic: String,
    pub(crate) partitions: i32,
    pub(crate) promises: Mutex<Promises>,
    pub(crate) journal: Mutex<Journal>,
    /// Why somebody can't go on.
    failed: Mutex<Option<String>>,
    producers_end: AtomicBool,
    members_end: AtomicBool,
    /// Lives that are to end, by member.
    ends: [Notify; MEMBERS],
    /// Members and producers that came to their end.
    ended: AtomicUsize,
}

impl Loaded {
    pub(crate) fn has_ended(&self) -> bool {
        self.producers_end.load(Ordering::Acquire)
    }

    pub(crate) fn members_end(&self) -> bool {
        self.members_end.load(Ordering::Acquire)
    }

    pub(crate) async fn life_ends(&self, member: usize) {
        self.ends[member].notified().await;
    }

    pub(crate) fn group(&self) -> String {
        format!("{}-group", self.topic)
    }

    /// An error once somebody failed, or was given what is wrong.
    fn is_sound(&self) -> Result<(), String> {
        if let Some(reason) = &*lock(&self.failed) {
            return Err(reason.clone());
        }
        match lock(&self.journal).broken().first() {
            Some(broken) => Err(broken.clone()),
            None => Ok(()),
        }
    }

    fn counts(&self) -> (usize, usize) {
        (lock(&self.promises).stored(), lock(&self.journal).count())
    }
}

/// A load at work.
pub(crate) struct Load<'a> {
    stage: &'a Stage,
    loaded: Arc<Loaded>,
    pub(crate) cluster: Cluster,
    /// Producers and members; they end with this value.
    tasks: Vec<Box<dyn TaskHandle>>,
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl<'a> Load<'a> {
    /// Starts it on a topic of its own; comes back once records flow.
    pub(crate) async fn start(
        stage: &'a Stage,
        topic: &str,
        assignors: &[Assignor],
    ) -> Result<Self, String> {
        let cluster = stage.topic(topic, PARTITIONS).await?;
        let loaded = Arc::new(Loaded {
            topic: topic.to_owned(),
            partitions: PARTITIONS,
            promises: Mutex::default(),
            journal: Mutex::default(),
            failed: Mutex::default(),
            producers_end: AtomicBool::default(),
            members_end: AtomicBool::default(),
            ends: Default::default(),
            ended: AtomicUsize::default(),
        });
        let mut load = Self {
            stage,
            loaded,
            cluster,
            tasks: Vec::new(),
        };
        for (producer, options) in (0..).zip(producers()) {
            let cluster = stage.connect().await?;
            let sent = sending::send(Arc::clone(&load.loaded), cluster, producer, options);
            load.spawn(format!("producer {producer}"), Box::pin(sent));
        }
        for member in 0..MEMBERS {
            let (cluster, assignors) = (stage.connect().await?, assignors.to_vec());
            let loaded = Arc::clone(&load.loaded);
            let attended = crate::member::attend(loaded, cluster, member, assignors);
            load.spawn(format!("member {member}"), Box::pin(attended));
        }
        load.advance("before any trouble").await?;
        Ok(load)
    }

    fn spawn(&mut self, name: String, work: BoxFuture<'static, Result<(), String>>) {
        let loaded = Arc::clone(&self.loaded);
        let noted = async move {
            if let Err(reason) = work.await {
                lock(&loaded.failed).get_or_insert(format!("{name}: {reason}"));
            }
            loaded.ended.fetch_add(1, Ordering::AcqRel);
        };
        let spawn = &self.stage.host.spawn;
        self.tasks
            .push(spawn.spawn(Pool::Data, "load", Box::pin(noted)));
    }

    /// Waits until a few hundred more records are acknowledged, and given to the group.
    pub(crate) async fn advance(&self, when: &str) -> Result<(), String> {
        const MORE: usize = 400;
        let (stored, given) = self.loaded.counts();
        let what = format!("records that flow {when}");
        let advanced = self.stage.until(&what, async || {
            self.loaded.is_sound()?;
            let (now_stored, now_given) = self.loaded.counts();
            let enough = now_stored >= stored + MORE && now_given >= given + MORE;
            Ok((!enough).then(|| {
                let (stored, given) = (now_stored - stored, now_given - given);
                format!("{stored} of {MORE} were acknowledged and {given} given to the group")
            }))
        });
        advanced.await
    }

    /// Has the next life of a member begin.
    pub(crate) fn next_life(&self, round: usize) {
        self.loaded.ends[round % MEMBERS].notify_one();
    }

    /// Ends it, reads what is stored and judges; what was counted.
    pub(crate) async fn judge(self) -> Result<String, String> {
        let loaded = &self.loaded;
        loaded.producers_end.store(true, Ordering::Release);
        let producers = producers().len();
        self.ends("the last delivery", producers).await?;
        let log = self.log().await?;
        let mut ends = BTreeMap::new();
        for (partition, offset) in log.keys() {
            ends.insert(*partition, offset + 1);
        }
        self.group_has_all(log.len(), &ends).await?;
        loaded.members_end.store(true, Ordering::Release);
        loaded.ends.iter().for_each(Notify::notify_one);
        self.ends("the members' end", producers + MEMBERS).await?;
        loaded.is_sound()?;
        self.judge_log(&log, &ends).await
    }

    /// Waits until the group was given all, and each partition's last records were given to its owner
    /// or are committed: a life that vanished takes what it hadn't committed with it, and the group
    /// begins there again once it is missed.
    async fn group_has_all(&self, records: usize, ends: &BTreeMap<i32, i64>) -> Result<(), String> {
        let loaded = &self.loaded;
        let given = self.stage.until("the group to have all", async || {
            loaded.is_sound()?;
            let (count, mut behind) = {
                let journal = lock(&loaded.journal);
                (journal.count(), journal.not_at_end(ends))
            };
            if count < records {
                return Ok(Some(format!("it has {count} of {records}")));
            }
            if !behind.is_empty() {
                let committed = self.committed().await?;
                behind.retain(|partition, end| committed.get(partition) != Some(end));
            }
            let first = behind.first_key_value();
            Ok(first.map(|(partition, end)| {
                format!("partition {partition} ends at {end}, and its owner isn't there")
            }))
        });
        given.await
    }

    /// What the group has committed.
    async fn committed(&self) -> Result<BTreeMap<i32, i64>, String> {
        let group = self.loaded.group();
        let admin = Admin::new(&self.cluster);
        let committed = one(admin.committed_offsets(&[&group]).await).map_err(text)?;
        let of_topic = committed.into_iter();
        let of_topic = of_topic.filter(|(item, _)| *item.topic == *self.loaded.topic);
        Ok(of_topic
            .map(|(item, committed)| (item.partition, committed.offset))
            .collect())
    }

    async fn ends(&self, what: &str, count: usize) -> Result<(), String> {
        let ended = self.stage.until(what, async || {
            self.loaded.is_sound()?;
            let ended = self.loaded.ended.load(Ordering::Acquire);
            Ok((ended < count).then(|| format!("{ended} of {count} came to their end")))
        });
        ended.await
    }

    async fn judge_log(&self, log: &Log, ends: &BTreeMap<i32, i64>) -> Result<String, String> {
        let (broken, stored, given_up) = {
            let promises = lock(&self.loaded.promises);
            let mut broken = promises.judge(log);
            broken.extend(promises.first_given_up(0..patient()));
            (broken, promises.stored(), promises.given_up())
        };
        let (of_group, again) = {
            let journal = lock(&self.loaded.journal);
            (journal.judge(ends), journal.again())
        };
        let broken: Vec<_> = broken.into_iter().chain(of_group).collect();
        if let Some(first) = broken.first() {
            return Err(format!("{} promises broken; first: {first}", broken.len()));
        }
        let committed = self.committed().await?;
        for (partition, end) in ends {
            let at = committed.get(partition);
            if at != Some(end) {
                return Err(format!(
                    "partition {partition} ends at {end}; the group closed and had committed {at:?}"
                ));
            }
        }
        Ok(format!(
            "{stored} records acknowledged, {} in the logs, {given_up} given up; all given to the \
             group, {again} again",
            log.len()
        ))
    }

    /// All that is stored, once, by its place.
    async fn log(&self) -> Result<Log, String> {
        let topic = self.loaded.topic.as_str();
        let admin = Admin::new(&self.cluster);
        let all = (0..PARTITIONS).map(|at| (TopicPartition::new(topic, at), OffsetOf::End));
        let ends = admin.list_offsets(all, Isolation::ReadUncommitted).await;
        let mut count = 0;
        for listed in ends.map_err(text)?.into_values() {
            count += listed.map_err(text)?.offset.unwrap_or(0);
        }
        let count = usize::try_from(count).map_err(|error| error.to_string())?;
        let reader = self
            .stage
            .reader(&self.cluster, topic, PARTITIONS, from_the_start())
            .await?;
        let mut log = Log::new();
        for record in self.stage.take(&reader, count).await? {
            let place = (record.partition, record.offset);
            let id = record.value.as_deref().and_then(Id::of);
            let id = id.ok_or_else(|| format!("what lies at {place:?} was sent by nobody"))?;
            if log.insert(place, id).is_some() {
                return Err(format!("{place:?} was read twice"));
            }
        }
        Ok(log)
    }
}

/// Each producer's options: patient ones first, then one that gives up early.
fn producers() -> Vec<ProducerOptions> {
    let patient = PATIENT.map(|codec| ProducerOptions {
        codec,
        // Many batches under way.
        batch_bytes: 2000,
        delivery_timeout: Duration::from_mins(5),
        ..ProducerOptions::default()
    });
    let impatient = ProducerOptions {
        delivery_timeout: IMPATIENT,
        ..ProducerOptions::default()
    };
    patient.into_iter().chain([impatient]).collect()
}

/// How many of them give nothing up.
fn patient() -> u32 {
    u32::try_from(PATIENT.len()).unwrap_or(u32::MAX)
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
