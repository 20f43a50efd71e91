//! A log directory on a real temporary disk, for this crate's own tests: it can be killed, and
//! started again on the same boot or on another.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use millrace_host::{Completion, DirEntry, Disk, File, Host, LockGuard, OpenMode, Space};
use millrace_protocol::producer::ProducerEntry;
use millrace_protocol::records::BatchHeader;

use crate::dir::{DirOptions, LogDir};
use crate::error::Error;
use crate::mark::Incarnation;
use crate::partition::{LogSettings, Opened, PartitionLog, PartitionOptions, Partitions, Replay};
use crate::sink::DurabilitySink;

/// The partition that the tests open: topic `t`, partition 0.
pub(crate) const INCARNATION: Incarnation = Incarnation {
    topic_id: [7; 16],
    partition: 0,
};

/// One process on one log directory.
pub(crate) struct Fixture {
    temporary: tempfile::TempDir,
    boot: u32,
    pub(crate) host: Host,
    pub(crate) dir: Arc<LogDir>,
    pub(crate) partitions: Partitions,
}

/// Small journal files, so that they wrap in tests.
pub(crate) fn options() -> DirOptions {
    DirOptions {
        cluster_id: None,
        node_id: 1,
        flush_lag: Duration::from_millis(2),
        unflushed_bytes_max: 1 << 20,
        reserve_bytes: 0,
        journal_initial_bytes: 256 << 10,
        journal_file_bytes_max: 1 << 20,
        direct_sync_bytes: 16 << 10,
        unsettled_files_max: 8,
    }
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::start(tempfile::tempdir().unwrap(), 0).await
    }

    async fn start(temporary: tempfile::TempDir, boot: u32) -> Self {
        let machine = millrace_host::real::host(&millrace_host::real::Options::default()).unwrap();
        let disk = Arc::new(Booted {
            disk: machine.disk.clone(),
            boot,
        });
        let host = Host { disk, ..machine };
        let path = temporary.path().join("log");
        let dir = loop {
            match LogDir::open(host.clone(), &path, options()).await {
                // The killed process's tasks are still being dropped.
                Err(Error::InUse { .. }) => tokio::task::yield_now().await,
                opened => break opened.unwrap().0,
            }
        };
        let partitions = Partitions::new(dir.clone(), host.clone(), PartitionOptions::default());
        Self {
            temporary,
            boot,
            host,
            dir,
            partitions,
        }
    }

    /// Kills the process and starts the next one on the same boot.
    pub(crate) async fn restart(self) -> Self {
        let Self {
            temporary,
            boot,
            host,
            dir,
            partitions,
        } = self;
        host.spawn.kill();
        drop((host, dir, partitions));
        Self::start(temporary, boot).await
    }

    /// The same, on another boot; nothing is lost.
    pub(crate) async fn reboot(mut self) -> Self {
        self.boot += 1;
        self.restart().await
    }

    /// Waits until everything written is durable.
    pub(crate) async fn durable(&self, log: &PartitionLog) {
        while log.flushed() < log.log_end() {
            log.flush_now();
            let soon = self.host.clock.now().mono + Duration::from_millis(1);
            self.host.clock.sleep_until(soon).await;
        }
    }

    pub(crate) fn partition_dir(&self) -> PathBuf {
        self.dir.path().join("t-0")
    }

    /// A file of the partition.
    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.partition_dir().join(name)).unwrap()
    }

    /// Writes a file of the partition, as somebody else would.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.partition_dir().join(name), bytes).unwrap();
    }

    /// The names in the partition's directory.
    pub(crate) async fn names(&self) -> Vec<String> {
        let listed = self.host.disk.list(&self.partition_dir()).await.unwrap();
        listed.into_iter().map(|entry| entry.name).collect()
    }

    pub(crate) async fn open(&self, settings: LogSettings) -> Opened {
        self.try_open(settings).await.unwrap().0
    }

    pub(crate) async fn try_open(&self, settings: LogSettings) -> Result<(Opened, Seen), Error> {
        let mut seen = Seen::default();
        let opened = self
            .partitions
            .open(INCARNATION, "t", settings, Arc::new(Silent), &mut seen)
            .await?;
        Ok((opened, seen))
    }
}

/// Nobody waits.
pub(crate) struct Silent;

impl DurabilitySink for Silent {
    fn flushed(&self, _upto: i64, _cut_count: u32) {}

    fn directory_failed(&self, _reason: &str) {}
}

/// What an open replayed.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) producers: Vec<ProducerEntry>,
    pub(crate) batches: Vec<BatchHeader>,
}

impl Seen {
    /// The last sequence of a producer, as core would know it after this replay.
    pub(crate) fn last_sequence(&self, producer_id: i64) -> Option<i32> {
        let replayed = self.batches.iter().rev();
        let replayed = replayed
            .filter(|header| header.producer_id == producer_id)
            .map(|header| header.base_sequence + header.last_offset_delta);
        let loaded = self.producers.iter().rev();
        let loaded = loaded
            .filter(|entry| entry.producer_id == producer_id)
            .filter_map(|entry| Some(entry.batches.last()?.last_sequence));
        replayed.chain(loaded).next()
    }
}

impl Replay for Seen {
    fn producers(&mut self, entries: Vec<ProducerEntry>) {
        self.producers = entries;
    }

    fn batch(&mut self, header: &BatchHeader) {
        self.batches.push(*header);
    }
}

/// A disk that says which boot it is.
#[derive(Debug)]
struct Booted {
    disk: Arc<dyn Disk>,
    boot: u32,
}

impl Disk for Booted {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        self.disk.open(path, mode)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>> {
        self.disk.lock(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.disk.space(path)
    }

    fn boot_id(&self) -> Option<String> {
        Some(format!("boot {}", self.boot))
    }

    fn mount_id(&self, _path: &Path) -> Option<String> {
        Some("mount".to_owned())
    }

    fn list(&self, path: &Path) -> Completion<Vec<DirEntry>> {
        self.disk.list(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> Completion<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> Completion<()> {
        self.disk.remove(path)
    }

    fn remove_dir(&self, path: &Path) -> Completion<()> {
        self.disk.remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> Completion<()> {
        self.disk.sync_dir(path)
    }
}
