//! What rot may do: make records unavailable, with an error. Never show a wrong one, never miss one
//! in silence.
//!
//! Logs are read before the rot can show, and again after a start on top of it. What always holds: a
//! record that is shown again is the one that stood there; a log that shows less says so, by an error
//! to whoever reads it or by refusing what is sent to it.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use millrace_client::{Client, Error, FetchFrom, FetchOptions, OffsetOf, Topic};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::records::{Batch, RecordError, Scratch, batches, record_iter};

use crate::liveness::Witness;
use crate::reader::is_out_of_range;

/// Most bytes that one batch may open to.
const INFLATED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Tries to read one partition that is refused, those to reach the broker, and the time between them.
const TRIES: u32 = 10;
const REACHES: u32 = 100;
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// A record as it was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it stands.
    pub offset: i64,
    /// The leader epoch of its batch; `None` before anybody was shown it.
    pub epoch: Option<i32>,
    /// What it says.
    pub value: Bytes,
}

impl Record {
    fn is(&self, other: &Self, excused: Excused) -> bool {
        let mut epochs = self.epoch.zip(other.epoch);
        epochs.take_if(|_| excused.epochs);
        self.value == other.value && epochs.is_none_or(|(one, other)| one == other)
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = &self.value[..self.value.len().min(40)];
        write!(f, "{} of epoch {:?}", start.escape_ascii(), self.epoch)
    }
}

/// A partition as a consumer saw it.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// In the order in which they came.
    pub records: Vec<Record>,
    /// The log start.
    pub start: i64,
    /// Where the next record is looked for, once it is known where the first one is.
    next: Option<i64>,
    /// Why it was not read to its end.
    pub broken: Option<String>,
}

/// What may be otherwise than it was, for another reason.
#[derive(Clone, Copy, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an excuse of its own, and any may come with any"
)]
pub struct Excused {
    /// The end may be gone: it was in the page cache only.
    pub end: bool,
    /// The front may be gone: retention, or records that are deleted.
    pub front: bool,
    /// What had left at the front may be there again: the ledger was made anew from the files.
    pub returned: bool,
    /// Leader epochs are those that the batches name: nothing else is known, or not for sure.
    pub epochs: bool,
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

/// Reads a partition as far as it goes, so many bytes at a time.
pub async fn read(witness: &Witness, topic: &Topic, partition: i32, bytes: i32) -> Reading {
    let mut reading = Reading::default();
    let mut refusals = 0;
    for _ in 0..REACHES {
        reading.broken = None;
        let read = async {
            let client = witness.connect().await?;
            read_once(&client, (topic, partition), bytes, &mut reading).await
        };
        match read.await {
            Ok(()) => return reading,
            Err(error) => {
                if matches!(error, Error::Broker { .. }) {
                    // Else a connection ended, and the next one goes on.
                    reading = Reading::default();
                }
                reading.broken = Some(error.to_string());
                refusals += u32::from(matches!(error, Error::Broker { .. }));
                // Its front may leave while it is read.
                let passes = error.is_retriable() || is_out_of_range(&error);
                if !passes || refusals == TRIES {
                    return reading;
                }
                witness.pause(TRY_AGAIN_AFTER).await;
            }
        }
    }
    reading
}

async fn read_once(
    client: &Client,
    (topic, partition): (&Topic, i32),
    bytes: i32,
    reading: &mut Reading,
) -> Result<(), Error> {
    let bound = async |of| {
        let bound = client.list_offset(topic, partition, of).await?;
        bound.ok_or_else(|| malformed(client, "the partition has no bounds"))
    };
    let mut offset = if let Some(next) = reading.next {
        next
    } else {
        reading.start = bound(OffsetOf::Start).await?;
        reading.start
    };
    let end = bound(OffsetOf::End).await?;
    let options = FetchOptions {
        partition_max_bytes: bytes,
        ..FetchOptions::default()
    };
    let mut scratch = Scratch::new(INFLATED_BYTES_MAX);
    while offset < end {
        let from = FetchFrom { partition, offset };
        let fetched = client.fetch(topic, &[from], &options).await?;
        let fetched = fetched.into_iter().next();
        let fetched = fetched.ok_or_else(|| malformed(client, "nothing is said"))?;
        if fetched.error != ErrorCode::None {
            let what = format!("to show {}-{partition} from {offset}", topic.name);
            let code = fetched.error;
            return Err(Error::Broker { what, code });
        }
        let before = offset;
        for batch in batches(fetched.records) {
            let batch = match batch {
                Ok(batch) => batch,
                // A fetch may end inside a batch.
                Err(RecordError::Truncated { .. }) => break,
                Err(error) => return Err(malformed(client, &error.to_string())),
            };
            let taken = records_of(&batch, (before, &mut scratch), &mut reading.records);
            taken.map_err(|error| malformed(client, &error.to_string()))?;
            offset = batch.header.last_offset().saturating_add(1);
            reading.next = Some(offset);
        }
        if offset <= before {
            return Err(malformed(client, "nothing comes though there is more"));
        }
    }
    Ok(())
}

fn malformed(client: &Client, reason: &str) -> Error {
    Error::Malformed {
        address: client.connection().address().to_owned(),
        reason: reason.to_owned(),
    }
}

fn records_of(
    batch: &Batch,
    (from, scratch): (i64, &mut Scratch),
    into: &mut Vec<Record>,
) -> Result<(), RecordError> {
    batch.verify_crc()?;
    for record in record_iter(batch, scratch)? {
        let record = record?;
        if record.offset >= from {
            into.push(Record {
                offset: record.offset,
                epoch: Some(batch.header.partition_leader_epoch),
                value: Bytes::copy_from_slice(record.value.unwrap_or_default()),
            });
        }
    }
    Ok(())
}

/// Holds what is shown now against what was known before; `doubtful` may have come meanwhile.
/// `Ok(None)` when it shows less and nobody said so yet.
pub fn judge(
    before: &Reading,
    after: &Reading,
    doubtful: &[Bytes],
    excused: Excused,
) -> Result<Option<Fate>, String> {
    let mut known = before.records.iter().peekable();
    let mut missing = None;
    let mut last = None;
    for record in &after.records {
        let offset = record.offset;
        if last.replace(offset).is_some_and(|last| offset <= last) {
            return Err(format!("offset {offset} is shown behind {last:?}"));
        }
        while let Some(skipped) = known.next_if(|known| known.offset < offset) {
            if !(excused.front && skipped.offset < after.start) {
                missing.get_or_insert(skipped.offset);
            }
        }
        match known.next_if(|known| known.offset == offset) {
            Some(known) if known.is(record, excused) => {}
            Some(known) => {
                return Err(format!(
                    "offset {offset} shows another record than before: {record}, {known} was there"
                ));
            }
            None if excused.returned && offset < before.start => {}
            None if doubtful.contains(&record.value) => {}
            None => {
                return Err(format!(
                    "offset {offset} shows a record that was not there: {record}"
                ));
            }
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
    let gone = known.any(|known| !(excused.front && known.offset < after.start));
    Ok((!gone || excused.end).then_some(Fate::Whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(offsets: &[i64]) -> Reading {
        let record = |offset: &i64| Record {
            offset: *offset,
            epoch: Some(0),
            value: Bytes::from(offset.to_string()),
        };
        Reading {
            records: offsets.iter().map(record).collect(),
            ..Reading::default()
        }
    }

    fn strictly(before: &Reading, after: &Reading) -> Result<Option<Fate>, String> {
        judge(before, after, &[], Excused::default())
    }

    #[test]
    fn less_is_not_whole_and_wrong_is_an_error() {
        let before = reading(&[0, 1, 2]);
        assert_eq!(strictly(&before, &before), Ok(Some(Fate::Whole)));
        assert_eq!(strictly(&before, &reading(&[0, 1])), Ok(None));
        assert!(strictly(&before, &reading(&[0, 2])).is_err());
        assert!(strictly(&before, &reading(&[0, 1, 2, 3])).is_err());
        assert!(strictly(&before, &reading(&[0, 1, 1])).is_err());
        let mut other = reading(&[0, 1, 2]);
        other.records[1].value = Bytes::from_static(b"x");
        assert!(strictly(&before, &other).is_err());
        let mut other = reading(&[0, 1, 2]);
        other.records[1].epoch = Some(1);
        assert!(strictly(&before, &other).is_err());
        let mut broken = reading(&[0]);
        broken.broken = Some("damaged".to_owned());
        assert_eq!(strictly(&before, &broken), Ok(Some(Fate::Unavailable)));
    }

    #[test]
    fn what_is_in_doubt_may_be_there() {
        let before = reading(&[0, 1]);
        let doubtful = [Bytes::from_static(b"2")];
        let judged = judge(&before, &reading(&[0, 1, 2]), &doubtful, Excused::default());
        assert_eq!(judged, Ok(Some(Fate::Whole)));
        assert!(judge(&before, &reading(&[0, 1, 3]), &doubtful, Excused::default()).is_err());
    }

    #[test]
    fn a_power_cut_excuses_the_end_and_retention_the_front() {
        let before = reading(&[0, 1, 2]);
        let strict = Excused::default();
        let end = Excused {
            end: true,
            ..strict
        };
        let judged = judge(&before, &reading(&[0]), &[], end);
        assert_eq!(judged, Ok(Some(Fate::Whole)));
        let front = Excused {
            front: true,
            ..strict
        };
        let mut later = reading(&[1, 2]);
        assert!(judge(&before, &later, &[], front).is_err());
        later.start = 1;
        assert_eq!(judge(&before, &later, &[], front), Ok(Some(Fate::Whole)));
        let returned = Excused {
            returned: true,
            ..strict
        };
        assert!(judge(&later, &before, &[], strict).is_err());
        let judged = judge(&later, &before, &[], returned);
        assert_eq!(judged, Ok(Some(Fate::Whole)));
    }
}
