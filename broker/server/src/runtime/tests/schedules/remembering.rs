//! Fetch sessions that are made, grow and go, and producers that are remembered, on many
//! connections at the same time: the limits hold at every moment, and nothing is left behind.

use std::sync::Arc;

use millrace_config::FetchConfig;
use millrace_host::Mono;
use millrace_host::sync::atomic::{AtomicU64, Ordering};
use millrace_host::sync::{Mutex, PoisonError};
use millrace_probe::{Bug, arm};
use millrace_protocol::ids::TopicId;
use millrace_sim::schedules::shuttle::future::yield_now;
use millrace_sim::schedules::shuttle::thread;
use millrace_sim::schedules::{Length, caught, explore, shuttle};

use crate::metrics::Metrics;
use crate::runtime::producer_count::{self, ProducerCount};
use crate::runtime::sessions::{Ask, Partitions, SessionCache, Share, TopicKey};

/// What all sessions may remember.
const PARTITIONS_MAX: u32 = 5;

fn partitions(count: i32) -> Partitions {
    let ask = Ask {
        fetch_offset: 0,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        partition_max_bytes: 1,
    };
    let mut partitions = Partitions::default();
    for partition in 0..count {
        partitions.put(&TopicKey::Id(TopicId::ZERO), partition, ask);
    }
    partitions
}

fn sessions_come_and_go() {
    let metrics = Metrics::new().fetch;
    let config = FetchConfig {
        response_bytes_max: 1,
        sessions_max: 2,
        session_partitions_max: PARTITIONS_MAX,
    };
    let cache = Arc::new(Mutex::new(SessionCache::<u8>::new(&config, &metrics)));
    let remembered = metrics.session_partitions.clone();
    let within = move || {
        let now = remembered.get();
        assert!(
            (0..=i64::from(PARTITIONS_MAX)).contains(&now),
            "{now} are remembered"
        );
    };
    let clients: Vec<_> = (1..=3)
        .map(|client| {
            let (cache, within) = (Arc::clone(&cache), within.clone());
            thread::spawn(move || {
                let now = Mono(0);
                let lock = || cache.lock().unwrap_or_else(PoisonError::into_inner);
                let owner = (Arc::from("User:a"), true);
                let mut share: Share = {
                    let mut cache = lock();
                    let Some(share) = cache.take_room(&partitions(client), now) else {
                        return;
                    };
                    let made = cache.create(0, client as usize, owner, now, || client);
                    if made.is_none() {
                        // Its share goes with it, once the cache is let go.
                        return;
                    }
                    share
                };
                within();
                lock().resized(client, &mut share, &partitions(client + 1), now);
                within();
                // As a session that is closed while a fetch works on it.
                lock().close(client);
                within();
                drop(share);
            })
        })
        .collect();
    for client in clients {
        client.join().expect("no client fails");
    }
    assert_eq!(
        metrics.session_partitions.get(),
        0,
        "every share was given back"
    );
    assert_eq!(metrics.sessions.get(), 0);
}

fn producers_come_and_go() {
    let count = Arc::new(ProducerCount::new(4));
    let partitions: Vec<_> = (1..=3)
        .map(|own| {
            let count = Arc::clone(&count);
            thread::spawn(move || {
                let mut share = producer_count::Share::new(count, own);
                share.set(own + 1);
                share.set(1);
            })
        })
        .collect();
    for partition in partitions {
        partition.join().expect("no partition fails");
    }
    assert_eq!(count.room(), 4, "every share was given back");
}

/// A count that is looked at and then changed, in two steps: what the room must never do.
fn shares_in_two_steps() {
    let remembered = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let remembered = Arc::clone(&remembered);
            shuttle::future::spawn(async move {
                let before = remembered.load(Ordering::Relaxed);
                if before + 2 <= u64::from(PARTITIONS_MAX) {
                    yield_now().await;
                    remembered.fetch_add(2, Ordering::Relaxed);
                }
                let now = remembered.load(Ordering::Relaxed);
                assert!(now <= u64::from(PARTITIONS_MAX), "{now} are remembered");
            })
        })
        .collect();
    shuttle::future::block_on(async {
        for client in clients {
            client.await.expect("no client fails");
        }
    });
}

#[test]
fn sessions_stay_within_their_room_and_leave_nothing() {
    explore("server.sessions", Length::Short, sessions_come_and_go);
}

#[test]
fn producers_leave_nothing_behind() {
    explore("server.producers", Length::Short, producers_come_and_go);
}

#[test]
fn a_limit_kept_in_two_steps_is_found() {
    caught(
        "server.sessions",
        "a limit in two steps",
        shares_in_two_steps,
    );
}

#[test]
fn a_count_of_producers_kept_in_two_steps_is_found() {
    let _armed = arm(Bug::ProducersInTwoSteps);
    caught(
        "server.producers",
        "ProducersInTwoSteps",
        producers_come_and_go,
    );
}
