//! The model of [`Changing`]: values that change while others wait for them, run by every schedule
//! that is asked for: `cargo xtask schedules`.

use std::sync::Arc;

use millrace_host::Changing;
use millrace_host::sync::{Mutex, Notify, PoisonError};
use millrace_sim::schedules::shuttle::future::{block_on, spawn};
use millrace_sim::schedules::{Length, caught, explore};

/// What the model needs of it.
trait Waits: Send + Sync + 'static {
    fn new(value: u32) -> Self;
    fn modify(&self, change: impl FnOnce(&mut u32));
    fn at_least(&self, value: u32) -> impl Future<Output = u32> + Send;
}

impl Waits for Changing<u32> {
    fn new(value: u32) -> Self {
        Self::new(value)
    }

    fn modify(&self, change: impl FnOnce(&mut u32)) {
        self.modify(change);
    }

    async fn at_least(&self, value: u32) -> u32 {
        self.wait_for(|now| (*now >= value).then_some(*now)).await
    }
}

/// Looks first and gets in line then: what `Changing` must not do.
struct LooksFirst {
    value: Mutex<u32>,
    changed: Notify,
}

impl Waits for LooksFirst {
    fn new(value: u32) -> Self {
        Self {
            value: Mutex::new(value),
            changed: Notify::new(),
        }
    }

    fn modify(&self, change: impl FnOnce(&mut u32)) {
        change(&mut self.value.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_waiters();
    }

    async fn at_least(&self, value: u32) -> u32 {
        loop {
            let now = *self.value.lock().unwrap_or_else(PoisonError::into_inner);
            if now >= value {
                return now;
            }
            self.changed.notified().await;
        }
    }
}

/// Three steps forward by two tasks; whoever waits for each of them gets there, and one gives up.
fn changes_and_waits<W: Waits>() {
    block_on(async {
        let value = Arc::new(W::new(0));
        let waits: Vec<_> = (1..=3)
            .map(|wanted| {
                let value = Arc::clone(&value);
                spawn(async move {
                    let seen = value.at_least(wanted).await;
                    assert!((wanted..=3).contains(&seen));
                })
            })
            .collect();
        let given_up = {
            let value = Arc::clone(&value);
            spawn(async move {
                value.at_least(4).await;
            })
        };
        let changes: Vec<_> = [1, 2]
            .into_iter()
            .map(|steps| {
                let value = Arc::clone(&value);
                spawn(async move {
                    for _ in 0..steps {
                        value.modify(|now| *now += 1);
                    }
                })
            })
            .collect();
        given_up.abort();
        for task in changes.into_iter().chain(waits) {
            task.await.expect("no task is ended");
        }
    });
}

#[test]
fn schedules_miss_no_change() {
    explore(
        "host.changing",
        Length::Short,
        changes_and_waits::<Changing<u32>>,
    );
}

#[test]
fn schedules_find_a_look_before_the_line() {
    caught(
        "host.changing",
        "a look before the line",
        changes_and_waits::<LooksFirst>,
    );
}
