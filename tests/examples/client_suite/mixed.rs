//! One classic group of our consumer, Apache Kafka's Java client and librdkafka: members join and leave,
//! ours lead the group and follow in it.
//!
//! What always holds: once a group has settled each partition has one member, by what the members say and
//! by what the coordinator says; what is produced then is given to its owner, once; and in the end
//! everything was given to somebody.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millrace_client::{Admin, Assignor, Cluster, Consumer, GroupOptions, Records};
use millrace_host::{Pool, TaskHandle};
use tokio::sync::Notify;

use crate::foreign::Foreign;
use crate::groups::{owned, quick};
use crate::load::lock;
use crate::stage::{Others, Stage, from_the_start, one, text};

const PARTITIONS: i32 = 12;
/// Records of a step: the same number for each partition.
const STEP: i32 = 240;

/// A way to assign, by the names that each kind of member has for it.
struct Way {
    ours: Assignor,
    java: &'static str,
    rdkafka: &'static str,
}

pub(crate) async fn range(stage: &Stage) -> crate::Told {
    let way = Way {
        ours: Assignor::Range,
        java: "RangeAssignor",
        rdkafka: "range",
    };
    Mixed::run(stage, way).await
}

pub(crate) async fn round_robin(stage: &Stage) -> crate::Told {
    let way = Way {
        ours: Assignor::RoundRobin,
        java: "RoundRobinAssignor",
        rdkafka: "roundrobin",
    };
    Mixed::run(stage, way).await
}

pub(crate) async fn cooperative(stage: &Stage) -> crate::Told {
    let way = Way {
        ours: Assignor::CooperativeSticky,
        java: "CooperativeStickyAssignor",
        rdkafka: "cooperative-sticky",
    };
    Mixed::run(stage, way).await
}

/// What our members were given, and how often.
type Given = BTreeMap<(i32, i64), usize>;

/// Our member, which takes what it is given in a task of its own.
struct Ours {
    consumer: Consumer,
    failed: Arc<Mutex<Option<String>>>,
    leaves: Arc<Notify>,
    task: Box<dyn TaskHandle>,
}

struct Mixed<'a> {
    stage: &'a Stage,
    others: &'a Others,
    way: Way,
    topic: String,
    cluster: Cluster,
    given: Arc<Mutex<Given>>,
    ours: Option<Ours>,
    java: Option<Foreign>,
    rdkafka: Option<Foreign>,
    /// What members were given that have left.
    before: Given,
    sent: i32,
    settled: usize,
}

impl<'a> Mixed<'a> {
    async fn run(stage: &'a Stage, way: Way) -> crate::Told {
        let others = stage.others.as_ref().ok_or("there are no others")?;
        let topic = format!("mixed-{}", way.rdkafka);
        let mut mixed = Self {
            stage,
            others,
            cluster: stage.topic(&topic, PARTITIONS).await?,
            way,
            topic,
            given: Arc::default(),
            ours: None,
            java: None,
            rdkafka: None,
            before: Given::new(),
            sent: 0,
            settled: 0,
        };
        mixed.steps().await
    }

    async fn steps(&mut self) -> crate::Told {
        self.join_ours()?;
        self.step("ours alone").await?;
        self.join_java()?;
        self.step("ours and Java").await?;
        self.join_rdkafka()?;
        self.step("all three, led by ours").await?;
        self.leave_ours().await?;
        self.step("Java and librdkafka").await?;
        self.join_ours()?;
        self.step("all three, led by another").await?;
        self.leave_java().await?;
        self.step("ours and librdkafka").await?;
        self.join_java()?;
        self.leave_rdkafka().await?;
        self.step("ours and Java, who came as another left").await?;
        self.leave_java().await?;
        self.step("ours alone again").await?;
        self.leave_ours().await?;
        let all = self.all();
        let wanted = usize::try_from(self.sent).unwrap_or(0);
        if all.len() != wanted {
            return Err(format!("{} of {wanted} records were given", all.len()));
        }
        let again: usize = all.values().map(|times| times - 1).sum();
        Ok(format!(
            "{wanted} records, {again} given again; {} rebalances settled",
            self.settled
        ))
    }

    fn group(&self) -> String {
        format!("{}-group", self.topic)
    }

    fn join_ours(&mut self) -> Result<(), String> {
        let options = GroupOptions {
            assignors: vec![self.way.ours],
            commit_interval: Some(Duration::from_secs(1)),
            ..quick(&self.group(), &self.topic)
        };
        let consumer =
            Consumer::subscribe(&self.cluster, from_the_start(), options).map_err(text)?;
        let (failed, leaves) = (
            Arc::<Mutex<Option<String>>>::default(),
            Arc::<Notify>::default(),
        );
        let taken = take(
            consumer.clone(),
            Arc::clone(&self.given),
            Arc::clone(&failed),
            Arc::clone(&leaves),
        );
        let spawn = &self.stage.host.spawn;
        let task = spawn.spawn(Pool::Data, "member", Box::pin(taken));
        self.ours = Some(Ours {
            consumer,
            failed,
            leaves,
            task,
        });
        Ok(())
    }

    async fn leave_ours(&mut self) -> Result<(), String> {
        let ours = self.ours.take().ok_or("none of ours is in the group")?;
        ours.leaves.notify_one();
        let left = self.stage.within("our member to leave", ours.task.join());
        left.await?;
        match lock(&ours.failed).take() {
            None => Ok(()),
            Some(reason) => Err(format!("our member: {reason}")),
        }
    }

    fn join_java(&mut self) -> Result<(), String> {
        let assignor = format!("org.apache.kafka.clients.consumer.{}", self.way.java);
        let words = [
            self.others.java.as_str(),
            "run",
            "verifiable-consumer",
            "--bootstrap-server",
            &self.stage.bootstrap,
            "--topic",
            &self.topic,
            "--group-id",
            &self.group(),
            "--assignment-strategy",
            &assignor,
            "--session-timeout",
            "20000",
            "--verbose",
        ]
        .map(str::to_owned);
        self.java = Some(Foreign::start("Java", &words, false)?);
        Ok(())
    }

    async fn leave_java(&mut self) -> Result<(), String> {
        let java = self.java.take().ok_or("no Java is in the group")?;
        self.part(java).await
    }

    fn join_rdkafka(&mut self) -> Result<(), String> {
        let words = [
            self.others.rdkafka.as_str(),
            &self.stage.bootstrap,
            &self.topic,
            &self.group(),
            self.way.rdkafka,
        ]
        .map(str::to_owned);
        self.rdkafka = Some(Foreign::start("librdkafka", &words, true)?);
        Ok(())
    }

    async fn leave_rdkafka(&mut self) -> Result<(), String> {
        let rdkafka = self.rdkafka.take().ok_or("no librdkafka is in the group")?;
        self.part(rdkafka).await
    }

    async fn part(&mut self, mut member: Foreign) -> Result<(), String> {
        member.leave()?;
        self.stage
            .until("a member to leave", async || {
                Ok((!member.is_gone()).then(|| "it is still there".to_owned()))
            })
            .await?;
        add(&mut self.before, member.given());
        Ok(())
    }

    /// How often each record was given to somebody.
    fn all(&self) -> Given {
        let mut all = self.before.clone();
        add(&mut all, lock(&self.given).clone());
        for member in self.java.iter().chain(&self.rdkafka) {
            add(&mut all, member.given());
        }
        all
    }

    /// The group settles; then each record that is produced is given once.
    async fn step(&mut self, who: &str) -> Result<(), String> {
        let stage = self.stage;
        let what = format!("{who}: a group that settles");
        stage.until(&what, async || self.is_settled().await).await?;
        self.settled += 1;
        let before = self.all();
        let numbers = self.sent..self.sent + STEP;
        self.sent += STEP;
        let produced = stage.produce(&self.cluster, &self.topic, PARTITIONS, numbers);
        let places = produced.await?;
        let what = format!("{who}: records that are given");
        stage
            .until(&what, async || {
                self.is_settled().await?;
                let all = self.all();
                let missing = places.iter().filter(|place| !all.contains_key(place));
                let missing = missing.count();
                Ok((missing > 0).then(|| format!("{missing} of {} are not", places.len())))
            })
            .await?;
        let after = self.all();
        if let Some(place) = places.iter().find(|place| after.get(place) != Some(&1)) {
            let times = after.get(place).copied().unwrap_or(0);
            return Err(format!("{who}: {place:?} was given {times} times"));
        }
        let old = before
            .iter()
            .find(|(place, times)| after.get(place) != Some(times));
        match old {
            None => Ok(()),
            Some((place, _)) => Err(format!("{who}: {place:?} was given again while all rested")),
        }
    }

    /// What there is instead of a settled group; an error once a member failed.
    async fn is_settled(&mut self) -> Result<Option<String>, String> {
        let mut told = BTreeMap::new();
        if let Some(ours) = &self.ours {
            if let Some(reason) = &*lock(&ours.failed) {
                return Err(format!("our member: {reason}"));
            }
            let all: BTreeSet<i32> = owned(&ours.consumer).into_iter().collect();
            told.insert("ours", all);
        }
        for (name, member) in [("Java", &mut self.java), ("librdkafka", &mut self.rdkafka)] {
            if let Some(member) = member {
                told.insert(name, member.owned()?);
            }
        }
        let group = self.group();
        let described = one(Admin::new(&self.cluster).describe_groups(&[&group]).await);
        let described = match described {
            Ok(described) => described,
            Err(error) => return Ok(Some(error.to_string())),
        };
        let mut shares: Vec<BTreeSet<i32>> = told.values().cloned().collect();
        shares.sort();
        let of = |member: &millrace_client::GroupMember| {
            let partitions = member.partitions.iter();
            partitions.map(|one| one.partition).collect::<BTreeSet<_>>()
        };
        let mut by_coordinator: Vec<_> = described.members.iter().map(of).collect();
        by_coordinator.sort();
        let mut all: Vec<i32> = shares.iter().flatten().copied().collect();
        all.sort_unstable();
        let each_has_some = shares.iter().all(|share| !share.is_empty());
        let is_settled = described.state == "Stable"
            && described.protocol == self.way.ours.name()
            && shares == by_coordinator
            && each_has_some
            && all.into_iter().eq(0..PARTITIONS);
        Ok((!is_settled).then(|| {
            format!(
                "members have {told:?}; the coordinator says {} by {:?}: {by_coordinator:?}",
                described.state, described.protocol
            )
        }))
    }
}

fn add(all: &mut Given, more: Given) {
    for (place, times) in more {
        *all.entry(place).or_default() += times;
    }
}

/// Takes what it is given until it is to leave, and closes.
async fn take(
    consumer: Consumer,
    given: Arc<Mutex<Given>>,
    failed: Arc<Mutex<Option<String>>>,
    leaves: Arc<Notify>,
) {
    let mut scratch = Records::scratch();
    let taken = loop {
        let records = tokio::select! {
            biased;
            () = leaves.notified() => break Ok(()),
            records = consumer.next() => records,
        };
        let records = match records {
            Ok(records) => records,
            Err(error) => break Err(error),
        };
        let partition = records.partition();
        let read = records.read_records(&mut scratch, |record| {
            *lock(&given).entry((partition, record.offset)).or_default() += 1;
        });
        if let Err(error) = read {
            break Err(error);
        }
    };
    if let Err(error) = taken.and(consumer.close().await) {
        *lock(&failed) = Some(error.to_string());
    }
}
