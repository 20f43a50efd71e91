//! The consumer against a cluster that follows the test's word: fetch sessions (KIP-227), logs that
//! were truncated and fenced epochs (KIP-320), and reading from followers (KIP-392).

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod scripted;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millrace_client::{
    Cluster, ClusterOptions, Consumer, ConsumerOptions, Error, OffsetOf, OffsetOrFind, Records,
    Reset,
};
use millrace_protocol::error_code::ErrorCode;
use millrace_sim::{Sim, World};
use scripted::{Asked, Part, Shared, TOPIC, port, start};

const BEGIN: OffsetOrFind = OffsetOrFind::Find(OffsetOf::Start);

/// A run with so many brokers and these partitions.
fn run<F: Future>(
    brokers: i32,
    parts: Vec<Part>,
    test: impl FnOnce(World, Cluster, Shared) -> F,
) -> F::Output {
    let sim = Sim::new(9);
    let world = sim.world();
    sim.block_on(async {
        let shared = start(&world.node("broker"), brokers, parts).await;
        let options = ClusterOptions::new([format!("127.0.0.1:{}", port(0))]);
        let client = world.node("client");
        let cluster = Cluster::connect(&client, options).await.unwrap();
        test(world, cluster, shared).await
    })
}

/// A partition of broker 0 with these records, all of epoch 0.
fn part(values: std::ops::Range<u64>) -> Part {
    Part {
        log: values.map(|value| (0, value)).collect(),
        ..Part::default()
    }
}

/// Five records on broker 0, which prefers that they are read from its follower, broker 1.
fn followed() -> Part {
    Part {
        preferred: Some(1),
        followers: BTreeMap::from([(1, 5)]),
        ..part(0..5)
    }
}

async fn consumer(cluster: &Cluster, parts: i32, options: ConsumerOptions) -> Consumer {
    let consumer = Consumer::new(cluster, options);
    let all = (0..parts).map(|partition| (TOPIC, partition, BEGIN));
    consumer.assign(all).await.unwrap();
    consumer
}

fn with(reset: Reset) -> ConsumerOptions {
    ConsumerOptions {
        reset,
        ..ConsumerOptions::default()
    }
}

fn in_a_rack() -> ConsumerOptions {
    ConsumerOptions {
        rack: Some("here".to_owned()),
        ..with(Reset::Fail)
    }
}

/// Reads that many records: of each partition, the offsets and values.
async fn read(consumer: &Consumer, mut count: usize) -> BTreeMap<i32, Vec<(i64, u64)>> {
    let mut read = BTreeMap::<_, Vec<_>>::new();
    while count > 0 {
        let records = consumer.next().await.unwrap();
        let of = read.entry(records.partition()).or_default();
        let each = |record: &millrace_protocol::records::Record<'_>| {
            let value = record.value.unwrap().try_into().unwrap();
            of.push((record.offset, u64::from_be_bytes(value)));
            count -= 1;
        };
        let mut scratch = Records::scratch();
        records.read_records(&mut scratch, each).unwrap();
    }
    read
}

/// The records of a range of offsets, each of which has its offset for a value.
fn straight(offsets: std::ops::Range<i64>) -> Vec<(i64, u64)> {
    offsets.map(|at| (at, u64::try_from(at).unwrap())).collect()
}

/// What was asked since the last look.
fn asked(shared: &Shared) -> Vec<Asked> {
    std::mem::take(&mut shared.lock().unwrap().asked)
}

/// The brokers that were asked for records since the last look.
fn fetched_from(shared: &Shared) -> BTreeSet<i32> {
    let of = |asked| match asked {
        Asked::Fetch(broker, ..) => Some(broker),
        Asked::End(..) | Asked::Offset(_) => None,
    };
    asked(shared).into_iter().filter_map(of).collect()
}

async fn until(world: &World, what: &str, holds: impl Fn() -> bool) {
    for _ in 0..60_000 {
        if holds() {
            return;
        }
        world.pause(Duration::from_millis(1)).await;
    }
    panic!("within a minute: {what}");
}

#[test]
fn brokers_with_nothing_new_do_not_hold_up_another() {
    for holder in 0..4 {
        let led = |leader| {
            let values = if leader == holder { 0..3 } else { 0..0 };
            Part {
                leader,
                ..part(values)
            }
        };
        run(4, (0..4).map(led).collect(), async |world, cluster, _| {
            // Two requests have room.
            let options = ConsumerOptions {
                fetch_bytes_max: 1 << 20,
                prefetch_bytes_max: 2 << 20,
                ..with(Reset::Fail)
            };
            let consumer = consumer(&cluster, 4, options).await;
            let minute = world.pause(Duration::from_mins(1));
            tokio::select! {
                taken = read(&consumer, 3) => assert_eq!(taken[&holder], straight(0..3)),
                () = minute => panic!("nothing of broker {holder} within a minute"),
            }
        });
    }
}

#[test]
fn a_session_names_only_what_changed() {
    let parts = vec![part(0..3), part(0..0), part(0..0)];
    run(1, parts, async |world, cluster, shared| {
        let consumer = consumer(&cluster, 3, with(Reset::Fail)).await;
        assert_eq!(read(&consumer, 3).await[&0], straight(0..3));
        let asked_now = || shared.lock().unwrap().asked.clone();
        until(&world, "a request names nothing", || {
            let nothing = |asked: &Asked| {
                matches!(asked, Asked::Fetch(0, (_, 1..), named, gone)
                    if named.is_empty() && gone.is_empty())
            };
            asked_now().iter().any(nothing)
        })
        .await;
        let mut full = 0;
        for asked in asked(&shared) {
            let Asked::Fetch(_, (session, epoch), named, _) = asked else {
                continue;
            };
            full += u32::from(epoch == 0);
            if epoch > 0 {
                assert_ne!(session, 0);
                assert!(named.iter().all(|(at, _)| *at == 0), "{named:?} in {epoch}");
            }
        }
        assert_eq!(full, 1, "one request names everything");
        // What is paused is forgotten.
        consumer.pause(TOPIC, 1).unwrap();
        until(&world, "partition 1 is forgotten", || {
            let forgets =
                |asked: &Asked| matches!(asked, Asked::Fetch(_, _, _, gone) if *gone == [1]);
            asked_now().iter().any(forgets)
        })
        .await;
        shared.lock().unwrap().parts[2].log.push((0, 0));
        assert_eq!(read(&consumer, 1).await[&2], straight(0..1));
        let sessions = shared.lock().unwrap().sessions.clone();
        let (_, known) = sessions.values().next().unwrap();
        assert!(!known.contains_key(&1) && sessions.len() == 1, "{known:?}");
    });
}

#[test]
fn a_session_that_is_lost_is_begun_again() {
    run(
        1,
        vec![part(0..2), part(0..2)],
        async |_, cluster, shared| {
            let consumer = consumer(&cluster, 2, with(Reset::Fail)).await;
            read(&consumer, 4).await;
            let codes = [
                ErrorCode::FetchSessionIdNotFound,
                ErrorCode::InvalidFetchSessionEpoch,
                ErrorCode::FetchSessionTopicIdError,
            ];
            for (round, code) in (0..).zip(codes) {
                shared.lock().unwrap().fetch_errors.push_back(code);
                let at = 2 + round;
                for part in &mut shared.lock().unwrap().parts {
                    part.log.push((0, u64::try_from(at).unwrap()));
                }
                let read = read(&consumer, 2).await;
                assert_eq!(read[&0], straight(at..at + 1), "{code:?}");
                assert_eq!(read[&1], straight(at..at + 1), "{code:?}");
            }
            // The broker forgets them by itself.
            shared.lock().unwrap().sessions.clear();
            shared.lock().unwrap().parts[1].log.push((0, 5));
            assert_eq!(read(&consumer, 1).await[&1], straight(5..6));
            let full = |asked: &Asked| matches!(asked, Asked::Fetch(_, (_, 0), _, _));
            let asked = asked(&shared);
            assert_eq!(asked.iter().filter(|asked| full(asked)).count(), 5);
        },
    );
}

/// The log loses what lies behind an offset, and goes on under another epoch.
fn truncate(shared: &Shared, at: usize, leader: i32, then: std::ops::Range<u64>) {
    let part = &mut shared.lock().unwrap().parts[0];
    part.log.truncate(at);
    part.epoch += 1;
    part.leader = leader;
    let epoch = part.epoch;
    part.log.extend(then.map(|value| (epoch, value)));
}

#[test]
fn a_truncated_log_is_read_on_where_it_became_another() {
    for (kept, reset, next) in [
        (3, Reset::Earliest, 3),
        (3, Reset::Latest, 3),
        // Nothing of epoch 0 is left: by policy.
        (0, Reset::Earliest, 0),
    ] {
        run(2, vec![part(0..5)], async |_, cluster, shared| {
            let consumer = consumer(&cluster, 1, with(Reset::Earliest)).await;
            let consumer = if reset == Reset::Latest {
                drop(consumer);
                let consumer = Consumer::new(&cluster, with(reset));
                consumer.assign([(TOPIC, 0, BEGIN)]).await.unwrap();
                consumer
            } else {
                consumer
            };
            assert_eq!(read(&consumer, 5).await[&0], straight(0..5));
            truncate(&shared, kept, 1, 100..110);
            let got = &read(&consumer, 10).await[&0];
            let expected: Vec<_> = (next..next + 10).zip(100..110).collect();
            assert_eq!(*got, expected, "{kept} {reset:?}");
            let checks = asked(&shared);
            assert!(checks.contains(&Asked::End(1, 0, 1)), "{checks:?}");
        });
    }
}

#[test]
fn without_a_policy_a_truncated_log_is_an_error() {
    for (kept, tells) in [(3, Some(3)), (0, None)] {
        run(2, vec![part(0..5)], async |_, cluster, shared| {
            let consumer = consumer(&cluster, 1, with(Reset::Fail)).await;
            read(&consumer, 5).await;
            truncate(&shared, kept, 1, 100..110);
            let error = consumer.next().await.unwrap_err();
            let told = matches!(
                &error,
                Error::Truncated { offset: 5, diverges_at, .. } if *diverges_at == tells
            );
            assert!(told && !error.is_retriable(), "{error:?}");
            consumer.seek(TOPIC, 0, OffsetOrFind::Offset(4)).unwrap();
            assert_eq!(read(&consumer, 1).await[&0][0].0, 4);
        });
    }
}

#[test]
fn a_new_leader_with_the_same_log_is_read_on_from() {
    run(2, vec![part(0..5)], async |_, cluster, shared| {
        let consumer = consumer(&cluster, 1, with(Reset::Fail)).await;
        read(&consumer, 5).await;
        truncate(&shared, 5, 1, 5..7);
        assert_eq!(read(&consumer, 2).await[&0], straight(5..7));
        // Fenced while the leader stays, then one that lags behind what the client knows.
        truncate(&shared, 7, 1, 7..8);
        assert_eq!(read(&consumer, 1).await[&0], straight(7..8));
        let lags = (1, ErrorCode::UnknownLeaderEpoch);
        shared.lock().unwrap().part_errors.push_back(lags);
        truncate(&shared, 8, 1, 8..9);
        assert_eq!(read(&consumer, 1).await[&0], straight(8..9));
        let checks = asked(&shared);
        for check in [
            Asked::End(1, 0, 1),
            Asked::End(1, 1, 2),
            Asked::End(1, 2, 3),
        ] {
            assert!(checks.contains(&check), "{check:?}: {checks:?}");
        }
    });
}

#[test]
fn a_broker_that_knows_no_epochs_is_read_without() {
    for version in [None, Some(2)] {
        run(2, vec![part(0..5)], async |_, cluster, shared| {
            shared.lock().unwrap().epochs_version = version;
            let consumer = consumer(&cluster, 1, with(Reset::Fail)).await;
            read(&consumer, 5).await;
            truncate(&shared, 5, 1, 5..7);
            assert_eq!(read(&consumer, 2).await[&0], straight(5..7));
            let checks = asked(&shared);
            let check = |asked: &Asked| matches!(asked, Asked::End(..));
            assert!(!checks.iter().any(check), "{version:?}: {checks:?}");
        });
    }
}

#[test]
fn records_come_from_the_follower_that_the_leader_prefers_for_a_time() {
    run(2, vec![followed()], async |world, cluster, shared| {
        let consumer = consumer(&cluster, 1, in_a_rack()).await;
        assert_eq!(read(&consumer, 5).await[&0], straight(0..5));
        assert_eq!(fetched_from(&shared), BTreeSet::from([0, 1]));
        world.pause(Duration::from_secs(10)).await;
        assert_eq!(fetched_from(&shared), BTreeSet::from([1]));
        // After a while the leader is asked again, and prefers it again.
        world.pause(Duration::from_mins(6)).await;
        assert_eq!(fetched_from(&shared), BTreeSet::from([0, 1]));
        shared.lock().unwrap().parts[0].log.push((0, 5));
        shared.lock().unwrap().parts[0].followers.insert(1, 6);
        assert_eq!(read(&consumer, 1).await[&0], straight(5..6));
    });
}

#[test]
fn what_a_follower_does_not_have_the_leader_is_asked_for() {
    run(2, vec![followed()], async |world, cluster, shared| {
        let consumer = consumer(&cluster, 1, in_a_rack()).await;
        read(&consumer, 5).await;
        // It lost some of it: out of range there is no reason to reset.
        {
            let part = &mut shared.lock().unwrap().parts[0];
            part.followers.insert(1, 3);
            part.log.push((0, 5));
        }
        world.pause(Duration::from_secs(20)).await;
        assert_eq!(consumer.position(TOPIC, 0).unwrap(), Some(5));
        // The leader goes on preferring it, and is asked no oftener than retries are made.
        let asked = asked(&shared).len();
        assert!((10..200).contains(&asked), "{asked} requests in 20 s");
        shared.lock().unwrap().parts[0].preferred = None;
        assert_eq!(read(&consumer, 1).await[&0], straight(5..6));
    });
}

#[test]
fn a_follower_that_refuses_or_is_not_there_is_left() {
    run(2, vec![followed()], async |world, cluster, shared| {
        let consumer = consumer(&cluster, 1, in_a_rack()).await;
        read(&consumer, 5).await;
        asked(&shared);
        {
            let mut state = shared.lock().unwrap();
            let refusal = (1, ErrorCode::ReplicaNotAvailable);
            state.part_errors.push_back(refusal);
            state.parts[0].preferred = None;
            state.parts[0].log.push((0, 5));
        }
        assert_eq!(read(&consumer, 1).await[&0], straight(5..6));
        assert!(fetched_from(&shared).contains(&0));
        // One that the cluster knows nothing of.
        {
            let part = &mut shared.lock().unwrap().parts[0];
            part.preferred = Some(9);
            part.log.push((0, 6));
        }
        world.pause(Duration::from_secs(10)).await;
        let asked = asked(&shared).len();
        assert!((3..100).contains(&asked), "{asked} requests in 10 s");
        shared.lock().unwrap().parts[0].preferred = None;
        assert_eq!(read(&consumer, 1).await[&0], straight(6..7));
    });
}
