//! Reading: whole partitions for the check, and a consumer that follows the end while the workload
//! runs, since what a consumer was shown must never vanish either.

use std::time::Duration;

use millrace_client::{Client, Error, FetchFrom, FetchOptions, PartitionReader, Topic};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::records::{Batch, RecordError, Scratch, batches, record_iter};

use crate::oracle::Found;
use crate::workload::{Progress, Reach};

/// Most bytes that one batch may open to; the workload's batches are far smaller.
const INFLATED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A partition that is being read from its first offset on; goes on where it was when a connection
/// ends.
#[derive(Debug)]
pub struct Whole {
    partition: i32,
    log_start: i64,
    next: i64,
    log: Vec<Found>,
}

impl Whole {
    /// Reads everything a consumer may see of a partition now. Gives its first offset, and the
    /// records.
    pub async fn read(
        reach: &Reach,
        topic: &Topic,
        partition: i32,
    ) -> Result<(i64, Vec<Found>), String> {
        let mut whole = Self {
            partition,
            log_start: 0,
            next: 0,
            log: Vec::new(),
        };
        let mut since = reach.host.clock.now().mono;
        loop {
            let address = *reach.address.borrow();
            let before = whole.next;
            let connected = Client::connect(&reach.host, address, reach.options.clone()).await;
            let ended = match connected {
                Ok(client) => whole.read_on(&client, topic).await,
                Err(error) => Err(error),
            };
            if whole.next > before {
                since = reach.host.clock.now().mono;
            }
            match ended {
                Ok(()) => return Ok((whole.log_start, whole.log)),
                Err(error) => reach.bear(&error, &mut since).await?,
            }
        }
    }

    async fn read_on(&mut self, client: &Client, topic: &Topic) -> Result<(), Error> {
        let reader = PartitionReader::new(client, topic, self.partition).await?;
        self.log_start = reader.start();
        let mut reader = reader.skip_to(self.next);
        let mut scratch = Scratch::new(INFLATED_BYTES_MAX);
        loop {
            let batches = reader.next().await?;
            if batches.is_empty() {
                return Ok(());
            }
            for batch in &batches {
                records_of(batch, &mut scratch, &mut self.log)
                    .map_err(|error| malformed(client, &error))?;
                self.next = batch.header.last_offset() + 1;
            }
        }
    }
}

fn records_of(
    batch: &Batch,
    scratch: &mut Scratch,
    log: &mut Vec<Found>,
) -> Result<(), RecordError> {
    for record in record_iter(batch, scratch)? {
        let record = record?;
        let value = record.value.unwrap_or_default().to_vec();
        log.push(Found {
            offset: record.offset,
            value,
        });
    }
    Ok(())
}

fn malformed(client: &Client, error: &RecordError) -> Error {
    let address = client.connection().address().to_owned();
    Error::Malformed {
        address,
        reason: error.to_string(),
    }
}

/// A consumer of all partitions by assignment that stays at the end and waits there.
#[derive(Debug)]
pub struct Tail {
    topic: Topic,
    next: Vec<i64>,
}

impl Tail {
    /// A consumer from the first offset on.
    pub fn new(topic: Topic) -> Self {
        let partitions = usize::try_from(topic.partitions).unwrap_or(0);
        Self {
            topic,
            next: vec![0; partitions],
        }
    }

    /// Consumes until the workload stops, noting everything it is shown.
    pub async fn run(mut self, reach: &Reach, progress: &Progress) -> Result<(), String> {
        let mut since = reach.host.clock.now().mono;
        while !progress.is_stopping() {
            let address = *reach.address.borrow();
            let before = progress.shown();
            let connected = Client::connect(&reach.host, address, reach.options.clone()).await;
            let ended = match connected {
                Ok(client) => self.session(&client, progress).await,
                Err(error) => Err(error),
            };
            if progress.shown() > before {
                since = reach.host.clock.now().mono;
            }
            if let Err(error) = ended {
                reach.bear(&error, &mut since).await?;
            }
        }
        Ok(())
    }

    async fn session(&mut self, client: &Client, progress: &Progress) -> Result<(), Error> {
        let options = FetchOptions {
            max_wait: Duration::from_millis(200),
            ..FetchOptions::default()
        };
        let mut scratch = Scratch::new(INFLATED_BYTES_MAX);
        while !progress.is_stopping() {
            let from: Vec<FetchFrom> = (0..)
                .zip(&self.next)
                .map(|(partition, offset)| FetchFrom {
                    partition,
                    offset: *offset,
                })
                .collect();
            for of_partition in client.fetch(&self.topic, &from, &options).await? {
                let partition = of_partition.partition;
                if of_partition.error != ErrorCode::None {
                    let offset = self.next.get(partition as usize);
                    let what = format!("to show {}-{partition} from {offset:?}", self.topic.name);
                    return Err(Error::Broker {
                        what,
                        code: of_partition.error,
                    });
                }
                for batch in batches(of_partition.records) {
                    let batch = match batch {
                        Ok(batch) => batch,
                        // A fetch may end inside a batch.
                        Err(RecordError::Truncated { .. }) => break,
                        Err(error) => return Err(malformed(client, &error)),
                    };
                    self.show(&batch, partition, &mut scratch, progress)
                        .map_err(|error| malformed(client, &error))?;
                }
            }
        }
        Ok(())
    }

    fn show(
        &mut self,
        batch: &Batch,
        partition: i32,
        scratch: &mut Scratch,
        progress: &Progress,
    ) -> Result<(), RecordError> {
        batch.verify_crc()?;
        let mut shown = Vec::new();
        records_of(batch, scratch, &mut shown)?;
        let at = usize::try_from(partition)
            .ok()
            .filter(|at| *at < self.next.len());
        let at = at.ok_or(RecordError::Header("of a partition that was not asked for"))?;
        for found in shown.iter().filter(|found| found.offset >= self.next[at]) {
            progress.show(partition, found);
        }
        self.next[at] = batch.header.last_offset() + 1;
        Ok(())
    }
}
