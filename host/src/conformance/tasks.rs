//! What clocks, randomness and tasks mean.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::{Bench, Check};
use crate::{Mono, Pool};

pub(super) const CHECKS: &[Check] = &[
    ("sleep-ends-at-its-deadline", |b| {
        Box::pin(sleep_ends_at_its_deadline(b))
    }),
    ("random-numbers-differ", |b| {
        Box::pin(async move { random_numbers_differ(&b) })
    }),
    ("a-task-runs-to-its-end", |b| {
        Box::pin(a_task_runs_to_its_end(b))
    }),
    ("an-aborted-task-is-dropped", |b| {
        Box::pin(an_aborted_task_is_dropped(b))
    }),
    ("a-panic-ends-one-task", |b| {
        Box::pin(a_panic_ends_one_task(b))
    }),
    // The last of all: nothing runs on this host afterwards.
    ("a-kill-drops-all-tasks-for-good", |b| {
        Box::pin(a_kill_drops_all_tasks_for_good(b))
    }),
];

async fn sleep_ends_at_its_deadline(bench: Bench) {
    let clock = &bench.host.clock;
    clock.sleep_until(Mono(0)).await;
    let before = clock.now();
    let deadline = before.mono + Duration::from_millis(30);
    clock.sleep_until(deadline).await;
    let after = clock.now();
    assert!(after.mono >= deadline);
    assert!(after.mono.since(before.mono) < Duration::from_secs(20));
    assert!(after.wall_ms > before.wall_ms, "the wall clock runs too");
}

fn random_numbers_differ(bench: &Bench) {
    let drawn = [0; 8].map(|_: u8| bench.host.rng.next_u64());
    assert!(drawn.windows(2).all(|pair| pair[0] != pair[1]));
    let mut bytes = [0; 64];
    bench.host.rng.fill(&mut bytes);
    assert!(bytes.iter().any(|byte| *byte != 0));
}

/// Counts its drops.
struct Dropped(Arc<AtomicU32>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

async fn a_task_runs_to_its_end(bench: Bench) {
    for pool in [Pool::Data, Pool::Control, Pool::Background] {
        let ended = Arc::new(AtomicU32::new(0));
        let counted = Dropped(Arc::clone(&ended));
        let clock = Arc::clone(&bench.host.clock);
        let task = bench.host.spawn.spawn(
            pool,
            "short",
            Box::pin(async move {
                clock
                    .sleep_until(clock.now().mono + Duration::from_millis(2))
                    .await;
                drop(counted);
            }),
        );
        assert!(task.join().await, "it ended by itself");
        assert_eq!(ended.load(Ordering::SeqCst), 1);
    }
}

async fn an_aborted_task_is_dropped(bench: Bench) {
    let dropped = Arc::new(AtomicU32::new(0));
    let held = Dropped(Arc::clone(&dropped));
    let task = bench.host.spawn.spawn(
        Pool::Data,
        "endless",
        Box::pin(async move {
            std::future::pending::<()>().await;
            drop(held);
        }),
    );
    task.abort();
    task.abort();
    assert!(!task.join().await);
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}

async fn a_panic_ends_one_task(bench: Bench) {
    let bad = Box::pin(async { panic!("planted by the conformance suite") });
    let bad = bench.host.spawn.spawn(Pool::Data, "bad", bad);
    assert!(!bad.join().await);
    let good = bench
        .host
        .spawn
        .spawn(Pool::Data, "good", Box::pin(async {}));
    assert!(good.join().await);
}

async fn a_kill_drops_all_tasks_for_good(bench: Bench) {
    let host = &bench.host;
    let dropped = Arc::new(AtomicU32::new(0));
    let spawn = |pool| {
        let held = Dropped(Arc::clone(&dropped));
        host.spawn.spawn(
            pool,
            "held",
            Box::pin(async move {
                std::future::pending::<()>().await;
                drop(held);
            }),
        )
    };
    let tasks: Vec<_> = (0..20)
        .map(|n| [Pool::Data, Pool::Control, Pool::Background][n % 3])
        .map(spawn)
        .collect();
    host.spawn.kill();
    for task in tasks {
        assert!(!task.join().await);
    }
    assert_eq!(dropped.load(Ordering::SeqCst), 20);
    assert!(
        !spawn(Pool::Data).join().await,
        "a killed node starts nothing"
    );
    assert_eq!(dropped.load(Ordering::SeqCst), 21);
}
