//! Somebody who deletes records from the front of the topic's partitions now and then.
//!
//! What always holds: it is known how far they were to be deleted before it is asked for; an answer
//! of success is a log start that was seen, which never moves back (A14).

use std::time::Duration;

use millrace_client::{Client, Error};
use millrace_protocol::error_code::ErrorCode;

use crate::anomaly::Anomaly;
use crate::ledger::Progress;
use crate::pulse::Pulse;
use crate::workload::{Incarnation, Reach};

/// One who deletes records.
#[derive(Debug)]
pub struct Trimmer {
    topic: Incarnation,
    pause: Duration,
}

impl Trimmer {
    /// Of a topic that is never removed, about once each `pause`.
    pub fn new(pause: Duration, topic: Incarnation) -> Self {
        Self { topic, pause }
    }

    /// Deletes until the workload stops.
    pub async fn run(
        self,
        reach: &Reach,
        progress: &Progress,
        pulse: &Pulse,
    ) -> Result<(), String> {
        let clock = &reach.host.clock;
        let mut since = clock.now().mono;
        while !progress.is_stopping() {
            clock.sleep_until(clock.now().mono + self.pause).await;
            let connected = reach.connect().await;
            let ended = match connected {
                Ok(client) => self.trim(&client, reach, progress).await,
                Err(error) => Err(error),
            };
            match ended {
                Ok(()) => {
                    pulse.beat();
                    since = clock.now().mono;
                }
                Err(error) => reach.bear(&error, &mut since).await?,
            }
        }
        Ok(())
    }

    /// Deletes from one partition: mostly a part of what is there, now and then all of it.
    async fn trim(&self, client: &Client, reach: &Reach, progress: &Progress) -> Result<(), Error> {
        let draw = reach.host.rng.next_u64();
        let partitions = u64::from(self.topic.topic.partitions.unsigned_abs()).max(1);
        let partition = i32::try_from(draw % partitions).unwrap_or(0);
        let place = (self.topic.number, partition);
        let floors = progress.ledger().floors(place);
        let span = u64::try_from(floors.end - floors.start).unwrap_or(0);
        let part = i64::try_from(draw / 64 % (span / 2 + 1)).unwrap_or(0);
        let before = (!(draw / 8).is_multiple_of(16)).then_some(floors.start + part);
        // Whatever is asked for may happen, answered or not; all of it is not known yet.
        let furthest = before.unwrap_or(i64::MAX);
        let trimmed = progress.ledger().trimmed(place);
        progress.ledger().trims(place, trimmed.max(furthest));
        let deleted = client.delete_records(&self.topic.topic, partition, before);
        let low = match deleted.await {
            Ok(low) => low,
            // What was known to be there went with a lossy end.
            Err(Error::Broker {
                code: ErrorCode::OffsetOutOfRange,
                ..
            }) if progress.terms().page_cache => return Ok(()),
            Err(error) => return Err(error),
        };
        progress.operation();
        progress.ledger().trims(place, trimmed.max(low));
        progress.saw_start(place, low, floors, reach.host.clock.now().wall_ms);
        let least = before.unwrap_or(floors.end);
        if low < least {
            progress.convict(Anomaly::StartMovedBack {
                partition,
                seen: least,
                found: low,
            });
        }
        Ok(())
    }
}
