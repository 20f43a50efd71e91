//! Log directories as a broker leaves them, made once by the log itself on a simulated disk, and
//! what opening such a directory shows.
//!
//! What always holds: an image is the same in every process, so that an input means the same
//! everywhere.

use std::cell::OnceCell;
use std::fmt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_host::Host;
use millrace_log::dir::{DirOptions, LogDir};
use millrace_log::error::Error;
use millrace_log::ledger::LedgerEntry;
use millrace_log::mark::{Durability, Incarnation};
use millrace_log::partition::{
    Append, LogSettings, Opened, PartitionLog, PartitionOptions, Partitions, Read, Replay,
};
use millrace_log::sink::DurabilitySink;
use millrace_protocol::producer::ProducerEntry;
use millrace_protocol::records::{
    BatchBuilder, BatchHeader, Marker, Options, Scratch, TransactionEnd, batches,
};
use millrace_sim::Sim;

use crate::disk::{self, Files};

/// Where the directory lies on the simulated disk.
pub const ROOT: &str = "/log";

/// The node that wrote the images; under another name the machine was booted since.
pub const SAME_BOOT: &str = "n";
/// See [`SAME_BOOT`].
pub const OTHER_BOOT: &str = "m";

/// The topics in an image, of one partition each.
pub const TOPICS: [(&str, Durability); 2] =
    [("t", Durability::Fsync), ("u", Durability::PageCache)];

/// When the first batch was written, ms since 1970.
pub(crate) const TIME_MS: i64 = 1_700_000_000_000;

/// Batches in each.
const BATCHES: i64 = 24;

/// How the process that wrote an image ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It closed its logs.
    Closed,
    /// It was killed, with the last batches not yet durable.
    Killed,
}

/// One directory.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its files.
    pub files: Files,
    /// What the next start knows of each topic's partition.
    pub entries: Vec<LedgerEntry>,
}

/// The image of a process that ended so.
pub fn image(ended: Ended) -> Rc<Image> {
    thread_local! {
        static IMAGES: [OnceCell<Rc<Image>>; 2] = const { [OnceCell::new(), OnceCell::new()] };
    }
    IMAGES.with(|images| {
        let image = &images[usize::from(ended == Ended::Closed)];
        Rc::clone(image.get_or_init(|| Rc::new(make(ended))))
    })
}

/// The options of the process that wrote the images, and of those that open them.
pub(crate) fn options() -> DirOptions {
    DirOptions {
        cluster_id: None,
        node_id: 1,
        flush_lag: Duration::from_millis(2),
        unflushed_bytes_max: 1 << 20,
        reserve_bytes: 0,
        journal_initial_bytes: 64 << 10,
        journal_file_bytes_max: 128 << 10,
        direct_sync_bytes: 16 << 10,
        unsettled_files_max: 8,
    }
}

pub(crate) fn settings(durability: Durability) -> LogSettings {
    LogSettings {
        file_delete_delay_ms: 1,
        segment_bytes: 1200,
        segment_index_bytes: 4096,
        index_interval_bytes: 200,
        durability,
        ..LogSettings::default()
    }
}

/// A partition that a start opens.
#[derive(Clone, Debug)]
pub(crate) struct Partition {
    pub(crate) incarnation: Incarnation,
    pub(crate) topic: &'static str,
    pub(crate) durability: Durability,
}

/// Those of every image.
pub(crate) fn partitions() -> Vec<Partition> {
    let all = TOPICS.into_iter().enumerate();
    all.map(|(at, (topic, durability))| Partition {
        incarnation: incarnation(at),
        topic,
        durability,
    })
    .collect()
}

/// The partition of a topic.
pub fn incarnation(topic: usize) -> Incarnation {
    Incarnation {
        topic_id: [topic as u8 + 7; 16],
        partition: 0,
    }
}

fn make(ended: Ended) -> Image {
    let sim = Sim::with_options(disk::still());
    let host = sim.node(SAME_BOOT);
    sim.block_on(async {
        let (dir, _) = LogDir::open(host.clone(), Path::new(ROOT), options())
            .await
            .expect("an empty disk is formatted");
        let partitions =
            Partitions::new(Arc::clone(&dir), host.clone(), PartitionOptions::default());
        let mut logs = Vec::new();
        for partition in self::partitions() {
            let opened = open_one(&partitions, &partition).await;
            logs.push(opened.expect("it was never written").log);
        }
        for log in &mut logs {
            write(&sim, log, ended).await;
        }
        if ended == Ended::Closed {
            for mut log in logs {
                log.close().await.expect("there are no faults");
            }
            dir.close().await.expect("there are no faults");
        }
    });
    sim.kill(SAME_BOOT);
    let host = sim.node(SAME_BOOT);
    let files = sim.block_on(disk::take(&host.disk, Path::new(ROOT)));
    let entries = sim.block_on(async {
        let (dir, _) = LogDir::open(host, Path::new(ROOT), options())
            .await
            .expect("what was written can be opened");
        let entry = |at| dir.entry(&incarnation(at)).expect("it was written");
        (0..TOPICS.len()).map(entry).collect()
    });
    Image { files, entries }
}

async fn write(sim: &Sim, log: &mut PartitionLog, ended: Ended) {
    for at in 0..BATCHES {
        if at % 9 == 0 {
            log.begin_epoch((at / 9) as i32, log.log_end());
        }
        let bytes = batch(at);
        let header = BatchHeader::parse(&bytes).expect("what is built is a batch");
        let appended = log.append(Append {
            bytes: &bytes,
            header: &header,
            base_offset: log.log_end(),
            leader_epoch: (at / 9) as i32,
            urgent: true,
            now_wall_ms: TIME_MS,
        });
        let appended = appended.expect("there is room");
        if appended.snapshot_due || at == 10 {
            log.write_snapshot(log.log_end(), &[producer(TIME_MS + at)]);
        }
        let unflushed = ended == Ended::Killed && at > BATCHES - 4;
        while !unflushed && log.flushed() < log.log_end() {
            log.flush_now();
            sim.pause(Duration::from_millis(1)).await;
        }
        log.set_high_watermark(log.flushed());
    }
}

/// A producer that was last seen then.
pub(crate) fn producer(last_seen_ms: i64) -> ProducerEntry {
    ProducerEntry {
        producer_id: 5,
        producer_epoch: 0,
        coordinator_epoch: -1,
        open_txn_first_offset: None,
        last_seen_ms,
        batches: Vec::new(),
    }
}

/// The end of a transaction.
pub(crate) fn marker(time_ms: i64) -> Bytes {
    let marker = Marker {
        end: TransactionEnd::Commit,
        coordinator_epoch: 0,
    };
    marker.batch((5, 0), time_ms)
}

/// Batches of one or two records; every seventh ends a transaction.
fn batch(at: i64) -> Bytes {
    let time_ms = TIME_MS + at;
    if at % 7 == 6 {
        return marker(time_ms);
    }
    let mut builder = BatchBuilder::new(Options {
        producer: (at % 2 == 0).then_some((5, 0, at as i32)),
        ..Options::default()
    });
    for record in 0..=at % 2 {
        builder
            .push(time_ms + record, Some(b"key"), Some(&[b'v'; 40]), &[])
            .expect("it is far below a batch's limits");
    }
    builder.build()
}

/// Nobody waits for what is durable.
pub(crate) struct Nobody;

impl DurabilitySink for Nobody {
    fn flushed(&self, _upto: i64, _cut_count: u32) {}

    fn directory_failed(&self, _reason: &str) {}
}

/// No state is kept above the log.
pub(crate) struct Nothing;

impl Replay for Nothing {
    fn producers(&mut self, _entries: Vec<ProducerEntry>) {}

    fn batch(&mut self, _header: &BatchHeader) {}
}

/// What a partition showed when it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// It could not be opened; an error in words says why.
    Offline,
    /// It is open.
    Open {
        /// First offset.
        log_start: i64,
        /// The offset after the last record.
        log_end: i64,
        /// Everything below is durable.
        flushed: i64,
        /// Leader epochs and their first offsets.
        epochs: Vec<(i32, i64)>,
        /// Something below its durable end is damaged.
        quarantined: bool,
        /// Its bytes, as far as they can be read.
        bytes: Content,
    },
}

/// Whole batches, which show themselves by their offsets.
#[derive(Clone, PartialEq, Eq)]
pub struct Content(pub Vec<u8>);

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = Bytes::copy_from_slice(&self.0);
        let offsets = batches(bytes).flatten().map(|b| b.header.base_offset);
        f.debug_list().entries(offsets).finish()
    }
}

/// Opens the log of one partition.
pub(crate) async fn open_one(
    partitions: &Partitions,
    partition: &Partition,
) -> Result<Opened, Error> {
    partitions
        .open(
            partition.incarnation,
            partition.topic,
            settings(partition.durability),
            Arc::new(Nobody),
            &mut Nothing,
        )
        .await
}

/// Opens the directory and every partition of the images in it, as one process does.
pub async fn open(host: &Host) -> Result<Vec<Shown>, Error> {
    open_those(host, &partitions(), false).await
}

/// The same with other partitions, in which offsets may be missing.
pub(crate) async fn open_those(
    host: &Host,
    those: &[Partition],
    gaps: bool,
) -> Result<Vec<Shown>, Error> {
    let (dir, _) = LogDir::open(host.clone(), Path::new(ROOT), options()).await?;
    let partitions = Partitions::new(dir, host.clone(), PartitionOptions::default());
    let mut shown = Vec::new();
    for partition in those {
        shown.push(match open_one(&partitions, partition).await {
            Ok(opened) => {
                look_up(&opened.log, gaps).await;
                Shown::Open {
                    log_start: opened.log_start,
                    log_end: opened.log_end,
                    flushed: opened.flushed,
                    epochs: opened.epochs,
                    quarantined: opened.quarantined.is_some(),
                    bytes: Content(read(&opened.log).await),
                }
            }
            Err(error) => {
                let words = error.to_string();
                assert!(!words.is_empty(), "an error has words");
                if std::env::var_os("MILLRACE_FUZZ_SHOW").is_some() {
                    eprintln!("{}: {words}", partition.topic);
                }
                Shown::Offline
            }
        });
    }
    Ok(shown)
}

/// Looks records up by offset and by time, through whatever the indexes say. Where offsets may be
/// missing, what is read may begin behind what was asked for.
async fn look_up(log: &PartitionLog, gaps: bool) {
    let reader = log.reader();
    let mut scratch = Scratch::new(1 << 16);
    for past in [3, 16, 30] {
        let from = log.log_start() + past;
        if let Ok(Read::Region(region)) = reader.read(from, log.log_end(), 100, true).await {
            assert!(
                gaps || region.first_offset <= from,
                "{} is past {from}",
                region.first_offset
            );
        }
        let time_ms = TIME_MS + past;
        let found = reader
            .offset_for_timestamp(time_ms, log.log_end(), &mut scratch)
            .await;
        if let Ok(Some(found)) = found {
            assert!(found.timestamp >= time_ms, "{found:?} is before {time_ms}");
            assert!(found.offset < log.log_end(), "{found:?} is past the end");
        }
    }
    let greatest = reader.max_timestamp_offset(log.log_end(), &mut scratch);
    if let Ok(Some(found)) = greatest.await {
        assert!(found.offset < log.log_end(), "{found:?} is past the end");
    }
}

/// The bytes of whole batches from the log's start, up to its end or to the first damage.
async fn read(log: &PartitionLog) -> Vec<u8> {
    let (reader, mut from) = (log.reader(), log.log_start());
    let mut out = Vec::new();
    while from < log.log_end() {
        let Ok(Read::Region(region)) = reader.read(from, log.log_end(), 1 << 16, true).await else {
            break;
        };
        let slice = region.slice;
        let Ok(bytes) = slice.file.read_at(slice.offset, slice.len as usize).await else {
            break;
        };
        let before = from;
        for batch in batches(bytes).map_while(Result::ok) {
            from = from.max(batch.header.last_offset().saturating_add(1));
            out.extend_from_slice(&batch.bytes);
        }
        if from == before {
            break;
        }
    }
    out
}
