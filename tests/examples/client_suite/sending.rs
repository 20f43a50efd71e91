//! Producers of a load: each sends all the time until it is told to end, and notes what it was told of
//! every record.
//!
//! What always holds: a record is noted before it is sent, and its fate as the producer reports it.

use std::sync::Arc;
use std::time::Duration;

use millrace_client::{Cluster, Error, Producer, ProducerOptions, Record, Report, Reports};
use millrace_host::Pool;
use millrace_tests::promises::{Fate, Id};

use crate::load::{Loaded, lock};
use crate::stage::text;

/// Records that are sent at once, and how often.
const BURST: u64 = 5;
const PACE: Duration = Duration::from_millis(10);

/// Sends until the load ends; comes back once all is told.
pub(crate) async fn send(
    loaded: Arc<Loaded>,
    cluster: Cluster,
    producer: u32,
    options: ProducerOptions,
) -> Result<(), String> {
    let host = cluster.host().clone();
    let (sender, reports) = Producer::reporting(&cluster, &options).map_err(text)?;
    let noting = Box::pin(note(Arc::clone(&loaded), producer, reports));
    let noting = host.spawn.spawn(Pool::Data, "noting", noting);
    let partitions = u64::try_from(loaded.partitions).map_err(|error| error.to_string())?;
    let mut number = 0;
    while !loaded.has_ended() {
        for _ in 0..BURST {
            let id = Id { producer, number };
            let partition =
                i32::try_from(number % partitions).map_err(|error| error.to_string())?;
            let value = id.value();
            let record = Record::to(&loaded.topic).partition(partition);
            let record = record.value(&value).tag(number);
            lock(&loaded.promises).sent(id);
            if let Err(error) = sender.send(&record).await {
                // What wasn't taken in has no report.
                lock(&loaded.promises).told(id, fate_of(&error));
            }
            number += 1;
        }
        host.clock.sleep_until(host.clock.now().mono + PACE).await;
    }
    sender.flush().await;
    drop(sender);
    if noting.join().await {
        Ok(())
    } else {
        Err(format!(
            "what producer {producer} was told could not be noted"
        ))
    }
}

async fn note(loaded: Arc<Loaded>, producer: u32, mut reports: Reports) {
    while let Some(Report { tag, result }) = reports.next().await {
        let fate = match result {
            Ok(stored) => Fate::Stored(stored.partition, stored.offset),
            Err(error) => fate_of(&error),
        };
        let id = Id {
            producer,
            number: tag,
        };
        lock(&loaded.promises).told(id, fate);
    }
}

fn fate_of(error: &Error) -> Fate {
    let may_be_stored = matches!(
        error,
        Error::Undelivered {
            may_be_stored: true,
            ..
        }
    );
    if may_be_stored {
        Fate::Unclear(error.to_string())
    } else {
        Fate::Refused(error.to_string())
    }
}
