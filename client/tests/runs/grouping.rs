//! A group of the crate's consumers in simulation, whatever happens to the broker and to its members.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millrace_client::{
    Assignor, Cluster, ClusterOptions, Consumer, ConsumerOptions, Error, GroupOptions,
    OffsetAndMetadata, Producer, ProducerOptions, Rebalance, RebalanceListener, Record, Records,
    Reset, TopicPartition,
};
use millrace_host::{BoxFuture, Host, Pool, TaskHandle};
use millrace_protocol::error_code::ErrorCode;
use millrace_sim::World;

use crate::node::{PARTITIONS, cluster, run, topic, trouble};

/// Members in the long test.
const MEMBERS: u64 = 3;
/// Records in the long test.
const RECORDS: i64 = 900;

/// What was given to whom.
#[derive(Debug, Default)]
pub(crate) struct Journal {
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
pub(crate) struct Life {
    pub(crate) journal: Arc<Mutex<Journal>>,
    pub(crate) number: u64,
    /// A static member keeps its place in a generation from life to life.
    pub(crate) instance_id: Option<String>,
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

pub(crate) fn from_the_start() -> ConsumerOptions {
    ConsumerOptions {
        reset: Reset::Earliest,
        prefetch_bytes_max: 2000,
        partition_bytes_max: 1000,
        ..ConsumerOptions::default()
    }
}

pub(crate) fn quick(group: &str) -> GroupOptions {
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

pub(crate) async fn produce(cluster: &Cluster, topic: &str, numbers: std::ops::Range<i64>) {
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

pub(crate) fn is_fenced(error: &Error) -> bool {
    let fenced = ErrorCode::FencedInstanceId;
    matches!(error, Error::Broker { code, .. } if *code == fenced)
}

/// Members that come and go, and are held up, in a group that reads what somebody produces, while the
/// broker is in trouble: every record is given to the group, none is skipped.
pub(crate) fn group(seed: u64) {
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
