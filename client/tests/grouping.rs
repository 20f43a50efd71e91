//! Consumer groups against a whole broker on the simulated machine: members join, leave, die, are held
//! up beyond their session, while the broker is killed and loses power. Every record is given to the
//! group at least once, nobody skips one, and what is committed was given out before.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod node;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millrace_client::{
    Assignor, Cluster, ClusterOptions, Consumer, ConsumerOptions, Error, GroupOptions,
    OffsetAndMetadata, OffsetOf, Producer, ProducerOptions, Rebalance, RebalanceListener, Record,
    Records, Reset, TopicPartition,
};
use millrace_host::{BoxFuture, Host, Pool, TaskHandle};
use millrace_protocol::error_code::ErrorCode;
use millrace_sim::World;
use node::{PARTITIONS, cluster, run, topic, trouble};

/// Members in the long test.
const MEMBERS: u64 = 3;
/// Records in the long test.
const RECORDS: i64 = 900;

/// What was given to whom.
#[derive(Debug, Default)]
struct Journal {
    /// Of each partition, the offsets that somebody was given.
    given: BTreeMap<i32, BTreeSet<i64>>,
    /// What each life of a member owns, with the offset that comes next once that is known.
    owned: BTreeMap<(u64, i32), Option<i64>>,
    /// Who owned what in each generation.
    owners: BTreeMap<(i32, i32), String>,
    lives: u64,
}

impl Journal {
    fn give(&mut self, life: u64, records: &Records) {
        let partition = records.partition();
        let given = self.given.entry(partition).or_default();
        let next = self
            .owned
            .get_mut(&(life, partition))
            .expect("it owns what it is given");
        let each = |record: &millrace_protocol::records::Record<'_>| {
            match *next {
                Some(next) => assert_eq!(record.offset, next, "{partition}: skipped"),
                // It begins where the group committed.
                None => assert!(
                    (0..record.offset).all(|before| given.contains(&before)),
                    "{partition}: begins at {}, committed ahead of what was given",
                    record.offset
                ),
            }
            *next = Some(record.offset + 1);
            given.insert(record.offset);
        };
        records.read_records(&mut Records::scratch(), each).unwrap();
    }

    fn assigned(&mut self, life: u64, owner: &str, assigned: &Rebalance) {
        for new in &assigned.partitions {
            let was = self.owned.insert((life, new.partition), None);
            assert_eq!(was, None, "assigned twice");
        }
        let lives = (life, i32::MIN)..=(life, i32::MAX);
        for ((_, partition), _) in self.owned.range(lives) {
            let in_generation = (assigned.generation, *partition);
            let before = self.owners.insert(in_generation, owner.to_owned());
            assert!(
                before.is_none_or(|before| before == owner),
                "two own {in_generation:?}"
            );
        }
    }

    fn gone(&mut self, life: u64, gone: &Rebalance) {
        for one in &gone.partitions {
            self.owned
                .remove(&(life, one.partition))
                .expect("it was owned");
        }
    }

    fn count(&self) -> i64 {
        self.given.values().map(|given| given.len() as i64).sum()
    }
}

/// One life of a member, as its listener.
#[derive(Debug)]
struct Life {
    journal: Arc<Mutex<Journal>>,
    number: u64,
    /// A static member keeps its place in a generation from life to life.
    instance_id: Option<String>,
}

impl RebalanceListener for Life {
    fn assigned<'a>(&'a self, assigned: &'a Rebalance) -> BoxFuture<'a, ()> {
        let owner = self.instance_id.as_ref().unwrap_or(&assigned.member_id);
        self.journal
            .lock()
            .unwrap()
            .assigned(self.number, owner, assigned);
        Box::pin(std::future::ready(()))
    }

    fn revoked<'a>(
        &'a self,
        revoked: &'a Rebalance,
    ) -> BoxFuture<'a, Vec<(TopicPartition, OffsetAndMetadata)>> {
        self.journal.lock().unwrap().gone(self.number, revoked);
        Box::pin(std::future::ready(Vec::new()))
    }

    fn lost<'a>(&'a self, lost: &'a Rebalance) -> BoxFuture<'a, ()> {
        self.journal.lock().unwrap().gone(self.number, lost);
        Box::pin(std::future::ready(()))
    }
}

fn from_the_start() -> ConsumerOptions {
    ConsumerOptions {
        reset: Reset::Earliest,
        prefetch_bytes_max: 2000,
        partition_bytes_max: 1000,
        ..ConsumerOptions::default()
    }
}

fn quick(group: &str) -> GroupOptions {
    GroupOptions {
        session_timeout: Duration::from_secs(6),
        heartbeat_interval: Duration::from_secs(1),
        poll_interval_max: Duration::from_secs(20),
        commit_interval: Some(Duration::from_millis(500)),
        ..GroupOptions::new(group, ["t"])
    }
}

/// The cluster, once it can be found.
async fn find(world: &World, host: &Host) -> Cluster {
    loop {
        let options = ClusterOptions::new(["127.0.0.1:9092"]);
        if let Ok(cluster) = Cluster::connect(host, options).await {
            return cluster;
        }
        world.pause(Duration::from_millis(500)).await;
    }
}

async fn produce(cluster: &Cluster, topic: &str, numbers: std::ops::Range<i64>) {
    let options = ProducerOptions {
        batch_bytes: 300,
        ..ProducerOptions::default()
    };
    let producer = Producer::new(cluster, &options).unwrap();
    let mut deliveries = Vec::new();
    for number in numbers {
        let value = number.to_be_bytes();
        let record = Record::to(topic).partition(number as i32 % PARTITIONS);
        deliveries.push(producer.send(&record.value(&value)).await.unwrap());
        if number % 30 == 0 {
            let clock = &cluster.host().clock;
            let later = clock.now().mono + Duration::from_millis(500);
            clock.sleep_until(later).await;
        }
    }
    producer.flush().await;
    for delivery in deliveries {
        delivery.wait().await.unwrap();
    }
}

fn options_of(seed: u64, member: u64) -> GroupOptions {
    let assignors = match seed % 4 {
        0 => vec![Assignor::CooperativeSticky],
        1 => vec![Assignor::Range, Assignor::CooperativeSticky],
        2 => vec![Assignor::Sticky],
        _ => vec![Assignor::RoundRobin],
    };
    let is_static = seed.is_multiple_of(3);
    GroupOptions {
        assignors,
        instance_id: is_static.then(|| format!("member {member}")),
        ..quick("g")
    }
}

/// Lives of one member, one after the other, until all was given.
async fn live(world: World, host: Host, seed: u64, member: u64, journal: Arc<Mutex<Journal>>) {
    loop {
        let cluster = find(&world, &host).await;
        let number = {
            let mut journal = journal.lock().unwrap();
            journal.lives += 1;
            journal.lives
        };
        let options = options_of(seed, member);
        let group = GroupOptions {
            listener: Some(Arc::new(Life {
                journal: Arc::clone(&journal),
                number,
                instance_id: options.instance_id.clone(),
            })),
            ..options
        };
        let consumer = Consumer::subscribe(&cluster, from_the_start(), group).unwrap();
        let rounds = 5 + world.draw(40);
        for _ in 0..rounds {
            let records = match consumer.next().await {
                Ok(records) => records,
                // What its last life still sent may come after what this one did.
                Err(error) if is_fenced(&error) => break,
                Err(error) => panic!("{error}"),
            };
            journal.lock().unwrap().give(number, &records);
            let busy = match world.draw(60) {
                0 => 25_000,
                busy => busy,
            };
            world.pause(Duration::from_millis(busy)).await;
        }
        if world.draw(2) == 0 {
            let closed = consumer.close().await;
            assert!(closed.as_ref().is_ok() || closed.is_err_and(|error| is_fenced(&error)));
        }
    }
}

fn is_fenced(error: &Error) -> bool {
    let fenced = ErrorCode::FencedInstanceId;
    matches!(error, Error::Broker { code, .. } if *code == fenced)
}

#[test]
fn every_record_is_given_to_the_group_whatever_happens() {
    for seed in 300..312 {
        run(seed, async |world, host, broker| {
            let cluster = cluster(&host).await;
            topic(&cluster, "t", &[]).await;
            let journal = Arc::new(Mutex::new(Journal::default()));
            let start = |member: u64| {
                let host = world.node(&format!("member{member}"));
                let life = live(
                    world.clone(),
                    host.clone(),
                    seed,
                    member,
                    Arc::clone(&journal),
                );
                host.spawn.spawn(Pool::Data, "member", Box::pin(life))
            };
            let mut members: Vec<Box<dyn TaskHandle>> = (0..MEMBERS).map(start).collect();
            let producing = {
                let cluster = cluster.clone();
                let produce = async move { produce(&cluster, "t", 0..RECORDS).await };
                host.spawn.spawn(Pool::Data, "producing", Box::pin(produce))
            };
            let troubled = {
                let trouble = trouble(world.clone(), broker, 4);
                let hold = async move {
                    let _broker = trouble.await;
                    std::future::pending::<()>().await;
                };
                host.spawn.spawn(Pool::Data, "trouble", Box::pin(hold))
            };
            let mut seconds = 0;
            while journal.lock().unwrap().count() < RECORDS {
                world.pause(Duration::from_secs(1)).await;
                seconds += 1;
                assert!(seconds < 1000, "seed {seed}: {:?}", journal.lock().unwrap());
                if seconds < 100 && world.draw(15) == 0 {
                    let member = world.draw(MEMBERS);
                    world.kill(&format!("member{member}"));
                    members[member as usize] = start(member);
                }
            }
            assert!(producing.join().await, "producing failed");
            for member in members {
                member.abort();
            }
            troubled.abort();
            assert_eq!(world.panics(), Vec::<String>::new(), "seed {seed}");
        });
    }
}

/// Takes records until that many came; how many of each partition.
async fn take(consumer: &Consumer, count: usize) -> BTreeMap<i32, usize> {
    let mut taken = BTreeMap::new();
    let mut left = count;
    while left > 0 {
        let records = consumer.next().await.unwrap();
        let mut here = 0;
        let each = |_: &millrace_protocol::records::Record<'_>| here += 1;
        records.read_records(&mut Records::scratch(), each).unwrap();
        left = left.checked_sub(here).expect("no more than there are");
        *taken.entry(records.partition()).or_default() += here;
    }
    taken
}

fn all() -> impl Iterator<Item = TopicPartition> {
    (0..PARTITIONS).map(|partition| TopicPartition::new("t", partition))
}

#[test]
fn who_comes_back_goes_on_behind_what_was_committed() {
    run(1, async |_world, host, _broker| {
        let cluster = cluster(&host).await;
        topic(&cluster, "t", &[]).await;
        produce(&cluster, "t", 0..30).await;
        let first = Consumer::subscribe(&cluster, from_the_start(), quick("g")).unwrap();
        assert_eq!(
            take(&first, 30).await,
            BTreeMap::from([(0, 10), (1, 10), (2, 10)])
        );
        assert_eq!(first.assignment(), all().collect::<Vec<_>>());
        assert_eq!(first.lag("t", 1).unwrap(), Some(0));
        assert_eq!(first.membership().unwrap().generation, 1);
        first.close().await.unwrap();
        let error = first.next().await.unwrap_err();
        assert!(matches!(error, Error::Closed), "{error}");
        produce(&cluster, "t", 30..33).await;
        let second = Consumer::subscribe(&cluster, from_the_start(), quick("g")).unwrap();
        assert_eq!(
            take(&second, 3).await,
            BTreeMap::from([(0, 1), (1, 1), (2, 1)])
        );
        let of_start = second.offset_of("t", 0, OffsetOf::Start).await.unwrap();
        let of_end = second.offset_of("t", 0, OffsetOf::End).await.unwrap();
        assert_eq!((of_start, of_end), (Some(0), Some(11)));
        let committed = second.committed(all()).await.unwrap();
        let offsets: Vec<_> = committed
            .values()
            .map(|committed| committed.offset)
            .collect();
        assert_eq!(offsets, [10, 10, 10], "what was just given isn't done with");
        second.commit().await.unwrap();
        let committed = second.committed(all()).await.unwrap();
        assert!(committed.values().all(|committed| committed.offset == 11));
        assert!(
            committed
                .values()
                .all(|committed| committed.leader_epoch == Some(0))
        );
        second.close().await.unwrap();
    });
}

#[test]
fn offsets_are_committed_by_hand_with_what_stands_beside_them() {
    run(2, async |world, host, _broker| {
        let cluster = cluster(&host).await;
        topic(&cluster, "t", &[]).await;
        produce(&cluster, "t", 0..30).await;
        let group = GroupOptions {
            commit_interval: None,
            ..quick("g")
        };
        let consumer = Consumer::subscribe(&cluster, from_the_start(), group.clone()).unwrap();
        take(&consumer, 30).await;
        world.pause(Duration::from_secs(10)).await;
        assert_eq!(consumer.committed(all()).await.unwrap(), BTreeMap::new());
        let beside = OffsetAndMetadata {
            offset: 4,
            leader_epoch: Some(0),
            metadata: "up to the fourth".to_owned(),
        };
        let one = TopicPartition::new("t", 1);
        let offsets = [(one.clone(), beside.clone())];
        consumer.commit_offsets(offsets.clone()).await.unwrap();
        let committed = consumer.committed(all()).await.unwrap();
        assert_eq!(committed, BTreeMap::from(offsets));
        let foreign = (
            TopicPartition::new("t", PARTITIONS),
            OffsetAndMetadata::at(1),
        );
        let error = consumer.commit_offsets([foreign]).await.unwrap_err();
        let text = "the broker refused the offset of t-3, which isn't this member's (any more): ";
        assert!(error.to_string().starts_with(text), "{error}");
        consumer.close().await.unwrap();
        let again = Consumer::subscribe(&cluster, from_the_start(), group).unwrap();
        assert_eq!(
            take(&again, 26).await,
            BTreeMap::from([(0, 10), (1, 6), (2, 10)])
        );
        again.commit_soon().unwrap();
        while again
            .committed(all())
            .await
            .unwrap()
            .values()
            .any(|kept| kept.offset < 10)
        {
            world.pause(Duration::from_millis(10)).await;
        }
        again.close().await.unwrap();
    });
}

#[test]
fn a_cooperative_member_keeps_what_stays_its_own() {
    run(3, async |world, host, _broker| {
        let cluster = cluster(&host).await;
        topic(&cluster, "t", &[]).await;
        let journal = Arc::new(Mutex::new(Journal::default()));
        let group = |number| GroupOptions {
            assignors: vec![Assignor::CooperativeSticky],
            listener: Some(Arc::new(Life {
                journal: Arc::clone(&journal),
                number,
                instance_id: None,
            })),
            ..quick("g")
        };
        let subscribe = |number| {
            let consumer = Consumer::subscribe(&cluster, from_the_start(), group(number)).unwrap();
            let asking = consumer.clone();
            let ask = async move { while asking.next().await.is_ok() {} };
            host.spawn.spawn(Pool::Data, "asking", Box::pin(ask));
            consumer
        };
        let first = subscribe(1);
        while first.assignment().len() < 3 {
            world.pause(Duration::from_millis(10)).await;
        }
        let second = subscribe(2);
        while first.assignment().len() + second.assignment().len() < 3
            || second.assignment().is_empty()
        {
            assert!(
                first.assignment().len() >= 2,
                "it gave up what stays its own"
            );
            world.pause(Duration::from_millis(10)).await;
        }
        assert_eq!(
            (first.assignment().len(), second.assignment().len()),
            (2, 1)
        );
        second.close().await.unwrap();
        while first.assignment().len() < 3 {
            world.pause(Duration::from_millis(10)).await;
        }
        first.close().await.unwrap();
    });
}

#[test]
fn a_static_member_comes_back_without_a_rebalance_and_fences_its_double() {
    run(4, async |world, host, _broker| {
        let cluster = cluster(&host).await;
        topic(&cluster, "t", &[]).await;
        produce(&cluster, "t", 0..30).await;
        let group = || GroupOptions {
            instance_id: Some("one".to_owned()),
            ..quick("g")
        };
        let first = Consumer::subscribe(&cluster, from_the_start(), group()).unwrap();
        take(&first, 30).await;
        first.commit().await.unwrap();
        let double = Consumer::subscribe(&cluster, from_the_start(), group()).unwrap();
        produce(&cluster, "t", 30..33).await;
        take(&double, 3).await;
        assert_eq!(double.membership().unwrap().generation, 1);
        let error = loop {
            match first.next().await {
                Ok(_) => world.pause(Duration::from_millis(10)).await,
                Err(error) => break error,
            }
        };
        assert!(is_fenced(&error), "{error}");
        assert!(!error.is_retriable());
        let again = first.next().await.unwrap_err();
        assert_eq!(again.to_string(), error.to_string());
        assert_eq!(
            first.close().await.unwrap_err().to_string(),
            error.to_string()
        );
        double.close().await.unwrap();
    });
}

#[test]
fn topics_that_match_are_read_also_when_they_come_later() {
    run(5, async |world, host, _broker| {
        let cluster = {
            let mut options = ClusterOptions::new(["127.0.0.1:9092"]);
            options.metadata_age_max = Duration::from_secs(2);
            Cluster::connect(&host, options).await.unwrap()
        };
        topic(&cluster, "logs-a", &[]).await;
        topic(&cluster, "other", &[]).await;
        produce(&cluster, "logs-a", 0..3).await;
        produce(&cluster, "other", 0..3).await;
        let group = GroupOptions {
            heartbeat_interval: Duration::from_secs(1),
            ..GroupOptions::matching("g", |name| name.starts_with("logs-"))
        };
        let consumer = Consumer::subscribe(&cluster, from_the_start(), group).unwrap();
        take(&consumer, 3).await;
        topic(&cluster, "logs-b", &[]).await;
        produce(&cluster, "logs-b", 0..6).await;
        assert_eq!(
            take(&consumer, 6).await,
            BTreeMap::from([(0, 2), (1, 2), (2, 2)])
        );
        let topics: BTreeSet<_> = consumer
            .assignment()
            .into_iter()
            .map(|one| one.topic)
            .collect();
        assert_eq!(topics, BTreeSet::from(["logs-a".into(), "logs-b".into()]));
        world.pause(Duration::from_secs(1)).await;
        consumer.close().await.unwrap();
    });
}

#[test]
fn without_an_offset_the_reset_policy_decides() {
    run(6, async |_world, host, _broker| {
        let cluster = cluster(&host).await;
        topic(&cluster, "t", &[]).await;
        produce(&cluster, "t", 0..30).await;
        let failing = ConsumerOptions {
            reset: Reset::Fail,
            ..ConsumerOptions::default()
        };
        let consumer = Consumer::subscribe(&cluster, failing, quick("g")).unwrap();
        let error = consumer.next().await.unwrap_err();
        let text = "the broker refused to say where to begin with t-0: group g has no offset of it";
        assert!(error.to_string().starts_with(text), "{error}");
        consumer.close().await.unwrap();
        let error = consumer
            .assign([("t", 0, millrace_client::OffsetOrFind::Offset(0))])
            .await;
        assert!(error.unwrap_err().to_string().contains("member of a group"));
    });
}
