//! Reading whole partitions, for the check.

use millrace_client::{Client, Error, OffsetOf, PartitionReader, Topic};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::records::{Batch, RecordError, Scratch, record_iter};

use crate::ledger::Progress;
use crate::oracle::Found;
use crate::workload::{Incarnation, Reach};

/// Most bytes that one batch may open to; the workload's batches are far smaller.
pub(crate) const INFLATED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A partition that is being read from its first offset on, within one life of the broker; goes on
/// where it was when a connection ends.
#[derive(Debug)]
pub struct Whole {
    place: (u32, i32),
    /// In which life of the broker.
    pub life: usize,
    /// Its first offset.
    pub log_start: i64,
    /// Its records.
    pub log: Vec<Found>,
    /// Its batches, in bytes.
    pub bytes: u64,
    next: i64,
}

impl Whole {
    fn begin(place: (u32, i32), life: usize) -> Self {
        Self {
            place,
            life,
            log_start: 0,
            log: Vec::new(),
            bytes: 0,
            next: 0,
        }
    }

    /// Reads everything a consumer may see of a partition now.
    pub async fn read(
        reach: &Reach,
        progress: &Progress,
        topic: &Incarnation,
        partition: i32,
    ) -> Result<Self, String> {
        let place = (topic.number, partition);
        let mut whole = Self::begin(place, progress.life());
        let mut since = reach.host.clock.now().mono;
        loop {
            let connected = reach.connect().await;
            if whole.life != progress.life() {
                // What was read may be gone.
                whole = Self::begin(place, progress.life());
            }
            let before = whole.next;
            let ended = match connected {
                Ok(client) => {
                    whole
                        .read_on(&client, &topic.topic, (reach, progress))
                        .await
                }
                Err(error) => Err(error),
            };
            if whole.next > before {
                since = reach.host.clock.now().mono;
            }
            match ended {
                Ok(()) => return Ok(whole),
                // Retention overtook it.
                Err(error) if is_out_of_range(&error) && whole.next < whole.log_start => {
                    whole = Self::begin(place, whole.life);
                }
                Err(error) => reach.bear(&error, &mut since).await?,
            }
        }
    }

    async fn read_on(
        &mut self,
        client: &Client,
        topic: &Topic,
        (reach, progress): (&Reach, &Progress),
    ) -> Result<(), Error> {
        let partition = self.place.1;
        let floors = progress.ledger().floors(self.place);
        let reader = PartitionReader::new(client, topic, partition).await?;
        self.log_start = reader.start();
        if self.next < self.log_start {
            // Retention overtook it between two connections: what was read is not all before the rest.
            *self = Self {
                log_start: self.log_start,
                ..Self::begin(self.place, self.life)
            };
        }
        let wall_ms = reach.host.clock.now().wall_ms;
        progress.saw_start(self.place, self.log_start, floors, wall_ms);
        progress.saw_end(self.place, reader.end(), floors, self.life);
        let mut reader = reader.skip_to(self.next);
        let mut scratch = Scratch::new(INFLATED_BYTES_MAX);
        loop {
            let batches = match reader.next().await {
                Err(error) if is_out_of_range(&error) => {
                    let start = client.list_offset(topic, partition, OffsetOf::Start);
                    self.log_start = start.await?.unwrap_or(self.log_start);
                    return Err(error);
                }
                batches => batches?,
            };
            if batches.is_empty() {
                return Ok(());
            }
            progress.operation();
            for batch in &batches {
                progress.saw_batch(self.place, &batch.header, floors, self.life);
                let from = self.next.max(self.log_start);
                records_of(batch, from, &mut scratch, &mut self.log)
                    .map_err(|error| malformed(client, &error))?;
                self.bytes += batch.header.size() as u64;
                self.next = batch.header.last_offset() + 1;
            }
        }
    }
}

pub(crate) fn is_out_of_range(error: &Error) -> bool {
    matches!(
        error,
        Error::Broker {
            code: ErrorCode::OffsetOutOfRange,
            ..
        }
    )
}

/// Adds the records of a batch at offsets from `from` on.
pub(crate) fn records_of(
    batch: &Batch,
    from: i64,
    scratch: &mut Scratch,
    log: &mut Vec<Found>,
) -> Result<(), RecordError> {
    for record in record_iter(batch, scratch)? {
        let record = record?;
        if record.offset >= from {
            let bytes = record.value.unwrap_or_default();
            log.push(Found::new(record.offset, bytes, record.timestamp));
        }
    }
    Ok(())
}

pub(crate) fn malformed(client: &Client, error: &RecordError) -> Error {
    let address = client.connection().address().to_owned();
    Error::Malformed {
        address,
        reason: error.to_string(),
    }
}
