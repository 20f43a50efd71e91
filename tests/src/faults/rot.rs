//! What rot may do: make records unavailable, with an error. Never show a wrong one, never miss one
//! in silence.
//!
//! Logs are read before the rot can show, and again after a start on top of it. What always holds: a
//! record that is shown again is the one that stood there; a log that shows less says so, by an error
//! to whoever reads it or by refusing what is sent to it.

use bytes::Bytes;
use millrace_client::{Acks, Error, PartitionReader, Topic};
use millrace_protocol::records::{Batch, BatchBuilder, Options, RecordError, Scratch, record_iter};

use crate::liveness::Witness;

/// Most bytes that one batch may open to.
const INFLATED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Tries to read one partition.
const TRIES: u32 = 100;

/// A partition as a consumer saw it.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Offsets and values, in the order in which they came.
    pub records: Vec<(i64, Bytes)>,
    /// The log start.
    pub start: i64,
    /// Why it was not read to its end.
    pub broken: Option<String>,
}

/// What a power cut or retention may have done to the log besides.
#[derive(Clone, Copy, Debug)]
pub struct Excused {
    /// The end may be gone: it was in the page cache only.
    pub end: bool,
    /// The front may be gone.
    pub front: bool,
}

/// What became of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// All there.
    Whole,
    /// Something was refused with an error.
    Unavailable,
    /// It shows less, and refuses what is sent to it.
    Shorter,
}

/// Reads a partition as far as it goes.
pub async fn read(witness: &Witness, topic: &Topic, partition: i32) -> Reading {
    let mut reading = Reading::default();
    for _ in 0..TRIES {
        reading = Reading::default();
        match read_once(witness, topic, partition, &mut reading).await {
            Ok(()) => return reading,
            Err(error) => {
                let passes = matches!(
                    error,
                    Error::Connect { .. } | Error::Disconnected { .. } | Error::Timeout { .. }
                );
                reading.broken = Some(error.to_string());
                if !passes {
                    return reading;
                }
            }
        }
    }
    reading
}

async fn read_once(
    witness: &Witness,
    topic: &Topic,
    partition: i32,
    reading: &mut Reading,
) -> Result<(), Error> {
    let client = witness.connect().await?;
    let mut reader = PartitionReader::new(&client, topic, partition).await?;
    reading.start = reader.start();
    let mut scratch = Scratch::new(INFLATED_BYTES_MAX);
    loop {
        let batches = reader.next().await?;
        if batches.is_empty() {
            return Ok(());
        }
        for batch in &batches {
            records_of(batch, &mut scratch, &mut reading.records).map_err(|error| {
                Error::Malformed {
                    address: client.connection().address().to_owned(),
                    reason: error.to_string(),
                }
            })?;
        }
    }
}

fn records_of(
    batch: &Batch,
    scratch: &mut Scratch,
    into: &mut Vec<(i64, Bytes)>,
) -> Result<(), RecordError> {
    for record in record_iter(batch, scratch)? {
        let record = record?;
        let value = Bytes::copy_from_slice(record.value.unwrap_or_default());
        into.push((record.offset, value));
    }
    Ok(())
}

/// Whether the partition refuses a record.
pub async fn refuses(witness: &Witness, topic: &Topic, partition: i32) -> bool {
    let Ok(client) = witness.connect().await else {
        return true;
    };
    let mut builder = BatchBuilder::new(Options::default());
    if builder.push(0, None, Some(b"after the rot"), &[]).is_err() {
        return false;
    }
    let sent = client.produce(topic, partition, Acks::All, builder.build());
    sent.await.is_err()
}

/// Holds what is shown now against what was shown before. `Ok(None)` when it shows less and nobody
/// said so yet.
pub fn judge(before: &Reading, after: &Reading, excused: Excused) -> Result<Option<Fate>, String> {
    let mut known = before.records.iter().peekable();
    let mut missing = None;
    for (offset, value) in &after.records {
        while let Some((skipped, _)) = known.next_if(|(at, _)| at < offset) {
            if !(excused.front && *skipped < after.start) {
                missing.get_or_insert(*skipped);
            }
        }
        match known.next() {
            Some((at, was)) if at == offset && was == value => {}
            Some((at, _)) if at == offset => {
                return Err(format!("offset {offset} shows another record than before"));
            }
            _ => return Err(format!("offset {offset} shows a record that was not there")),
        }
    }
    if let Some(offset) = missing {
        return Err(format!(
            "offset {offset} is left out and later ones are shown"
        ));
    }
    if after.broken.is_some() {
        return Ok(Some(Fate::Unavailable));
    }
    let gone = known.any(|(at, _)| !(excused.front && *at < after.start));
    Ok((!gone || excused.end).then_some(Fate::Whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(offsets: &[i64]) -> Reading {
        let record = |offset: &i64| (*offset, Bytes::from(offset.to_string()));
        Reading {
            records: offsets.iter().map(record).collect(),
            ..Reading::default()
        }
    }

    const STRICT: Excused = Excused {
        end: false,
        front: false,
    };

    #[test]
    fn less_is_not_whole_and_wrong_is_an_error() {
        let before = reading(&[0, 1, 2]);
        assert_eq!(judge(&before, &before, STRICT), Ok(Some(Fate::Whole)));
        assert_eq!(judge(&before, &reading(&[0, 1]), STRICT), Ok(None));
        assert!(judge(&before, &reading(&[0, 2]), STRICT).is_err());
        assert!(judge(&before, &reading(&[0, 1, 2, 3]), STRICT).is_err());
        let mut other = reading(&[0, 1, 2]);
        other.records[1].1 = Bytes::from_static(b"x");
        assert!(judge(&before, &other, STRICT).is_err());
        let mut broken = reading(&[0]);
        broken.broken = Some("damaged".to_owned());
        assert_eq!(judge(&before, &broken, STRICT), Ok(Some(Fate::Unavailable)));
    }

    #[test]
    fn a_power_cut_excuses_the_end_and_retention_the_front() {
        let before = reading(&[0, 1, 2]);
        let end = Excused {
            end: true,
            ..STRICT
        };
        assert_eq!(judge(&before, &reading(&[0]), end), Ok(Some(Fate::Whole)));
        let front = Excused {
            front: true,
            ..STRICT
        };
        let mut later = reading(&[1, 2]);
        assert!(judge(&before, &later, front).is_err());
        later.start = 1;
        assert_eq!(judge(&before, &later, front), Ok(Some(Fate::Whole)));
    }
}
