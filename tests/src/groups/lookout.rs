//! Somebody who watches how far groups came, as whoever shows their lag does: asks for the offsets of
//! a group as soon as a change of them is on its way, on a connection of its own, and for those of
//! all groups when the broker is there again.
//!
//! What always holds: what it was shown is in the book: an offset that anybody saw is there until
//! somebody writes another one.

use std::sync::Arc;
use std::time::Duration;

use millrace_client::{Client, Error};
use tokio::sync::watch;

use super::book::Book;
use super::{Crowd, asks, loner};
use crate::ledger::Progress;
use crate::pulse::Pulse;
use crate::workload::Reach;

/// Without any change it looks so often.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// It looks so many microseconds behind a change's beginning, at most.
const LATE_US_MAX: u64 = 4000;

/// One who watches.
#[derive(Debug)]
pub(super) struct Lookout {
    groups: Vec<String>,
    book: Arc<Book>,
}

impl Lookout {
    pub(super) fn new(crowd: &Crowd, book: &Arc<Book>) -> Self {
        let groups = crowd.groups.iter().map(|group| group.name.clone());
        let groups = groups.chain([loner::GROUP.to_owned()]);
        Self {
            groups: groups.collect(),
            book: Arc::clone(book),
        }
    }

    /// Watches until the workload stops.
    pub(super) async fn run(
        self,
        reach: &Reach,
        progress: &Progress,
        pulse: &Pulse,
    ) -> Result<(), String> {
        let clock = &reach.host.clock;
        let mut changes = self.book.changes();
        let mut since = clock.now().mono;
        while !progress.is_stopping() {
            let looks = pulse.count();
            let ended = match reach.connect().await {
                Ok(client) => {
                    let of = (progress.life(), progress, pulse);
                    self.watch(&client, reach, &mut changes, of).await
                }
                Err(error) => Err(error),
            };
            if pulse.count() > looks {
                since = clock.now().mono;
            }
            if let Err(error) = ended {
                reach.bear(&error, &mut since).await?;
            }
        }
        Ok(())
    }

    /// Watches on one connection.
    async fn watch(
        &self,
        client: &Client,
        reach: &Reach,
        changes: &mut watch::Receiver<String>,
        (life, progress, pulse): (usize, &Progress, &Pulse),
    ) -> Result<(), Error> {
        let clock = &reach.host.clock;
        for group in &self.groups {
            self.look(client, group, (reach, life, progress)).await?;
            pulse.beat();
        }
        while !progress.is_stopping() {
            let again = clock.sleep_until(clock.now().mono + LOOK_AGAIN);
            tokio::select! {
                biased;
                _ = changes.changed() => {}
                () = again => {}
            }
            let group = changes.borrow_and_update().clone();
            let late = Duration::from_micros(reach.host.rng.next_u64() % LATE_US_MAX);
            clock.sleep_until(clock.now().mono + late).await;
            self.look(client, &group, (reach, life, progress)).await?;
            pulse.beat();
        }
        Ok(())
    }

    /// Looks at a group's offsets; before there was any change, at none.
    async fn look(
        &self,
        client: &Client,
        group: &str,
        (reach, life, progress): (&Reach, usize, &Progress),
    ) -> Result<(), Error> {
        let topics = self.book.topics();
        if topics.is_empty() || group.is_empty() {
            return Ok(());
        }
        let begin = self.book.tick(life);
        let kept = asks::fetch(client, group, &topics, reach.host.rng.next_u64()).await?;
        self.book.fetched(group, begin, &kept, (life, progress));
        progress.operation();
        Ok(())
    }
}
