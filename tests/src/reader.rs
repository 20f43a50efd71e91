//! Reading: whole partitions for the check, and a consumer that follows the end while the workload
//! runs, since what a consumer was shown must never vanish either.

use std::time::Duration;

use millrace_client::{
    Client, Error, FetchFrom, FetchOptions, Fetched, OffsetOf, PartitionReader, Topic,
};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::records::{Batch, RecordError, Scratch, batches, record_iter};
use tokio::sync::watch;

use crate::ledger::Progress;
use crate::oracle::Found;
use crate::workload::{Incarnation, Reach};

/// Most bytes that one batch may open to; the workload's batches are far smaller.
const INFLATED_BYTES_MAX: usize = 16 * 1024 * 1024;

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
            let address = *reach.address.borrow();
            let connected = Client::connect(&reach.host, address, reach.options.clone()).await;
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
        let floor = progress.ledger().start_seen(self.place.0, partition);
        let reader = PartitionReader::new(client, topic, partition).await?;
        self.log_start = reader.start();
        let wall_ms = reach.host.clock.now().wall_ms;
        progress.saw_start(self.place, self.log_start, floor, wall_ms);
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
            for batch in &batches {
                records_of(batch, &mut scratch, &mut self.log)
                    .map_err(|error| malformed(client, &error))?;
                self.bytes += batch.header.size() as u64;
                self.next = batch.header.last_offset() + 1;
            }
        }
    }
}

fn is_out_of_range(error: &Error) -> bool {
    matches!(
        error,
        Error::Broker {
            code: ErrorCode::OffsetOutOfRange,
            ..
        }
    )
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

/// A connection, and the broker's life that it was made in.
struct Session<'a> {
    client: &'a Client,
    reach: &'a Reach,
    progress: &'a Progress,
    life: usize,
}

/// A consumer of all partitions by assignment that stays at the end and waits there.
#[derive(Debug)]
pub struct Tail {
    topics: watch::Receiver<Incarnation>,
    topic: Incarnation,
    next: Vec<i64>,
    /// Begin again at the front after each end of a life.
    rewinds: bool,
    /// The life in which it read last.
    life: usize,
}

impl Tail {
    /// A consumer from the first offset on; one that `rewinds` looks at everything again in each
    /// life of the broker.
    pub fn new(topics: watch::Receiver<Incarnation>, rewinds: bool) -> Self {
        let topic = topics.borrow().clone();
        Self {
            next: topic.fresh(),
            topics,
            topic,
            rewinds,
            life: 0,
        }
    }

    /// Consumes until the workload stops, noting everything it is shown.
    pub async fn run(mut self, reach: &Reach, progress: &Progress) -> Result<(), String> {
        let mut since = reach.host.clock.now().mono;
        while !progress.is_stopping() {
            if self.is_behind() {
                self.topic = self.topics.borrow().clone();
                self.next = self.topic.fresh();
            }
            let address = *reach.address.borrow();
            let before = progress.shown();
            let connected = Client::connect(&reach.host, address, reach.options.clone()).await;
            let life = progress.life();
            if self.rewinds && life != self.life {
                self.next = self.topic.fresh();
            }
            self.life = life;
            let ended = match connected {
                Ok(client) => {
                    let session = Session {
                        client: &client,
                        reach,
                        progress,
                        life,
                    };
                    self.session(&session).await
                }
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

    /// Whether the topic was made again. (A watch that is closed no longer says what changed.)
    fn is_behind(&self) -> bool {
        self.topics.borrow().number != self.topic.number
    }

    async fn session(&mut self, session: &Session<'_>) -> Result<(), Error> {
        let options = FetchOptions {
            max_wait: Duration::from_millis(200),
            ..FetchOptions::default()
        };
        let mut scratch = Scratch::new(INFLATED_BYTES_MAX);
        while !session.progress.is_stopping() && !self.is_behind() {
            let from: Vec<FetchFrom> = (0..)
                .zip(&self.next)
                .map(|(partition, offset)| FetchFrom {
                    partition,
                    offset: *offset,
                })
                .collect();
            let floors: Vec<i64> = {
                let ledger = session.progress.ledger();
                let seen = |from: &FetchFrom| ledger.start_seen(self.topic.number, from.partition);
                from.iter().map(seen).collect()
            };
            let topic = &self.topic.topic;
            for fetched in session.client.fetch(topic, &from, &options).await? {
                let at = usize::try_from(fetched.partition).unwrap_or(usize::MAX);
                let Some(floor) = floors.get(at) else {
                    let error = RecordError::Header("of a partition that was not asked for");
                    return Err(malformed(session.client, &error));
                };
                self.take(session, fetched, *floor, &mut scratch).await?;
            }
        }
        Ok(())
    }

    /// What one fetch brought of one partition; its log start is at `floor` or above.
    async fn take(
        &mut self,
        session: &Session<'_>,
        fetched: Fetched,
        floor: i64,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        let partition = fetched.partition;
        let place = (self.topic.number, partition);
        let wall_ms = || session.reach.host.clock.now().wall_ms;
        if fetched.error == ErrorCode::OffsetOutOfRange {
            // Retention was here, or a lossy end: on from the front.
            let topic = &self.topic.topic;
            let start = session
                .client
                .list_offset(topic, partition, OffsetOf::Start)
                .await?;
            let start = start.unwrap_or(0);
            session.progress.saw_start(place, start, floor, wall_ms());
            self.next[partition as usize] = start;
            return Ok(());
        }
        if fetched.error != ErrorCode::None {
            let offset = self.next.get(partition as usize);
            let what = format!(
                "to show {}-{partition} from {offset:?}",
                self.topic.topic.name
            );
            return Err(Error::Broker {
                what,
                code: fetched.error,
            });
        }
        let start = fetched.log_start_offset;
        session.progress.saw_start(place, start, floor, wall_ms());
        for batch in batches(fetched.records) {
            let batch = match batch {
                Ok(batch) => batch,
                // A fetch may end inside a batch.
                Err(RecordError::Truncated { .. }) => break,
                Err(error) => return Err(malformed(session.client, &error)),
            };
            self.show(&batch, partition, scratch, session)
                .map_err(|error| malformed(session.client, &error))?;
        }
        Ok(())
    }

    fn show(
        &mut self,
        batch: &Batch,
        partition: i32,
        scratch: &mut Scratch,
        session: &Session<'_>,
    ) -> Result<(), RecordError> {
        batch.verify_crc()?;
        let mut shown = Vec::new();
        records_of(batch, scratch, &mut shown)?;
        let number = self.topic.number;
        let next = &mut self.next[partition as usize];
        for found in shown.iter().filter(|found| found.offset >= *next) {
            session
                .progress
                .show(number, partition, found, session.life);
        }
        *next = batch.header.last_offset() + 1;
        Ok(())
    }
}
