//! A partition reduced to what the directory side sees: one segment of records with unique ids, an
//! append, a cut, and a recovery that keeps the longest intact prefix.

use millrace_host::sync::{Arc, Mutex};
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use millrace_host::{File, Host, OpenMode};

use super::*;
use crate::flusher::Staged;
use crate::mark::{Mark, SegmentId};
use crate::partition_metadata;

pub(super) fn options() -> DirOptions {
    DirOptions {
        cluster_id: Some("4L6g3nShT-eMCtK--X86sw".into()),
        node_id: 1,
        flush_lag: Duration::from_millis(20),
        unflushed_bytes_max: 64 << 20,
        reserve_bytes: 1 << 20,
        journal_initial_bytes: 256 * 1024,
        journal_file_bytes_max: 1 << 20,
        direct_sync_bytes: 64 * 1024,
        unsettled_files_max: 100,
    }
}

pub(super) fn path() -> PathBuf {
    PathBuf::from("/data")
}

/// Remembers what was said to be durable.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) upto: AtomicI64,
    pub(super) cut_count: Mutex<u32>,
    pub(super) failed: Mutex<Option<String>>,
}

impl DurabilitySink for Heard {
    fn flushed(&self, upto: i64, cut_count: u32) {
        if *lock(&self.cut_count) == cut_count {
            self.upto.fetch_max(upto, Ordering::Relaxed);
        }
    }

    fn directory_failed(&self, reason: &str) {
        *lock(&self.failed) = Some(reason.to_owned());
    }
}

pub(super) const SEGMENT: SegmentId = SegmentId {
    base_offset: 0,
    generation: 0,
};

pub(super) struct Part {
    pub(super) id: Incarnation,
    pub(super) handle: FlushHandle,
    pub(super) heard: Arc<Heard>,
    pub(super) file: Option<Arc<dyn File>>,
    pub(super) end: Position,
    /// Ids of the records in it, in order; record `i` has offset `i`.
    pub(super) records: Vec<u64>,
    /// Where each record ends.
    pub(super) ends: Vec<u64>,
    dir: Arc<LogDir>,
    host: Host,
    home: PathBuf,
}

pub(super) fn at(bytes: u64, offset: usize) -> Position {
    Position {
        segment: SEGMENT,
        bytes,
        offset: offset as i64,
    }
}

fn record(id: u64, len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(len + 16);
    out.extend_from_slice(&(len as u32).to_le_bytes());
    out.extend_from_slice(&id.to_le_bytes());
    out.resize(12 + len, (id % 251) as u8);
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// Ids and ends of the intact records at the front of `bytes`.
fn parse(bytes: &[u8]) -> (Vec<u64>, Vec<u64>) {
    let (mut ids, mut ends, mut at) = (Vec::new(), Vec::new(), 0);
    while let Some(head) = bytes.get(at..at + 12) {
        let len = u32::from_le_bytes(head[..4].try_into().unwrap()) as usize;
        let Some(crc) = bytes.get(at + 12 + len..at + 16 + len) else {
            break;
        };
        let covered = &bytes[at..at + 12 + len];
        if len == 0 || crc32c::crc32c(covered) != u32::from_le_bytes(crc.try_into().unwrap()) {
            break;
        }
        ids.push(u64::from_le_bytes(head[4..].try_into().unwrap()));
        at += 16 + len;
        ends.push(at as u64);
    }
    (ids, ends)
}

pub(super) fn incarnation(index: u8) -> Incarnation {
    Incarnation {
        topic_id: [index + 1; 16],
        partition: 0,
    }
}

impl Part {
    /// Opens and recovers: keeps the longest intact prefix, finishes a cut that was announced.
    pub(super) async fn open(host: &Host, dir: &Arc<LogDir>, index: u8) -> Self {
        Self::try_open(host, dir, index)
            .await
            .expect("no fault is planted")
    }

    /// `None` when the directory fails under it.
    pub(super) async fn try_open(host: &Host, dir: &Arc<LogDir>, index: u8) -> Option<Self> {
        dir.proven().await.ok()?;
        let id = incarnation(index);
        let heard = Arc::new(Heard::default());
        let home = path().join(format!("t{index}-0"));
        let entry = dir.entry(&id);
        let cut_count = entry.as_ref().map_or(0, |entry| entry.cut_count);
        *lock(&heard.cut_count) = cut_count;
        let flushed = entry.as_ref().and_then(|entry| entry.flushed);
        let flushed = flushed.unwrap_or(at(0, 0));
        let sink: Arc<dyn DurabilitySink> = Arc::clone(&heard) as _;
        let handle = dir.flush_handle(id, flushed, cut_count, sink);
        let mut part = Self {
            id,
            handle,
            heard,
            file: None,
            end: at(0, 0),
            records: Vec::new(),
            ends: Vec::new(),
            dir: Arc::clone(dir),
            host: host.clone(),
            home,
        };
        if let Some(entry) = entry {
            assert!(!entry.damaged, "nothing here damages {id}");
            part.recover(&entry).await.ok()?;
        }
        Some(part)
    }

    async fn recover(&mut self, entry: &LedgerEntry) -> Result<(), Error> {
        // The first mark was durable, the file may not have been: then nothing in it was settled.
        let Ok(file) = self.host.disk.open(&self.log_path(), OpenMode::Write) else {
            assert!(
                entry.settled.is_none_or(|at| at.bytes == 0),
                "settled and missing: {entry:?}"
            );
            return Ok(());
        };
        let len = file.len().unwrap();
        let bytes = file.read_at(0, len as usize).await.unwrap();
        let (mut ids, mut ends) = parse(&bytes);
        if let Some(cut) = entry.pending_cut {
            let keep = ends.iter().take_while(|end| **end <= cut.to.bytes).count();
            ids.truncate(keep);
            ends.truncate(keep);
        }
        let end = ends.last().copied().unwrap_or(0);
        let flushed = entry.flushed.map_or(0, |at| at.bytes);
        if end < flushed && self.dir.offline().is_some() {
            // A sync failed while this was read: the cache may have dropped the pages.
            return Err(self.handle.settle().await.expect_err("it is offline"));
        }
        assert!(
            end >= flushed,
            "{} is flushed to {flushed}, found {end} of {len}",
            self.id
        );
        if end < len {
            file.set_len(end).unwrap();
        }
        // Written again in place, so that the sync proves the disk (R4).
        file.write_vectored_at(&[IoSlice::new(&bytes[..end as usize])], 0)
            .unwrap();
        let failed = || Error::io("sync", &self.home);
        file.sync().await.map_err(failed())?;
        self.host
            .disk
            .sync_dir(&self.home)
            .await
            .map_err(failed())?;
        self.host.disk.sync_dir(&path()).await.map_err(failed())?;
        if let Some(cut) = entry.pending_cut {
            self.handle.mark(Mark::CutDone {
                cut_count: cut.cut_count,
            });
        }
        (self.records, self.ends) = (ids, ends);
        self.end = at(end, self.records.len());
        self.handle.mark_now(Mark::Recovered(self.end)).await?;
        self.file = Some(file);
        Ok(())
    }

    pub(super) fn log_path(&self) -> PathBuf {
        self.home.join("00000000000000000000.log")
    }

    fn create(&mut self) {
        self.handle.make_room().unwrap();
        let disk = &self.host.disk;
        if let Err(error) = disk.create_dir(&self.home) {
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        }
        let metadata = self.home.join(partition_metadata::FILE_NAME);
        let text = partition_metadata::encode(self.id.topic_id);
        let file = format::write_file(disk.as_ref(), &metadata, text.as_bytes()).unwrap();
        self.handle.new_file(&file);
        let file = disk.open(&self.log_path(), OpenMode::Create).unwrap();
        let topic: Arc<str> = self
            .home
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .trim_end_matches("-0")
            .into();
        self.handle.mark(Mark::Segment {
            id: SEGMENT,
            topic,
            holes: false,
        });
        self.handle.new_names([self.home.clone(), path()]);
        self.file = Some(file);
    }

    /// Appends one record.
    pub(super) fn append(&mut self, id: u64, len: usize, urgent: bool) {
        if self.dir.offline().is_some() {
            return;
        }
        if self.file.is_none() {
            self.create();
        }
        let bytes = record(id, len);
        let file = self.file.as_ref().unwrap();
        let taken = file
            .write_vectored_at(&[IoSlice::new(&bytes)], self.end.bytes)
            .unwrap();
        assert_eq!(taken, bytes.len());
        self.records.push(id);
        let next = at(self.end.bytes + bytes.len() as u64, self.records.len());
        self.ends.push(next.bytes);
        let (head, tail) = bytes.split_at(12);
        self.handle.stage(&Staged {
            segment: SEGMENT,
            position: self.end.bytes,
            first_offset: self.end.offset,
            next_offset: next.offset,
            bytes: &[IoSlice::new(head), IoSlice::new(tail)],
            file,
            urgent,
        });
        self.end = next;
    }

    /// Moves the end back to `keep` records: intent, change, sync, done (C5).
    pub(super) async fn cut(&mut self, keep: usize) {
        let to = at(if keep == 0 { 0 } else { self.ends[keep - 1] }, keep);
        let cut_count = self.handle.cut(to);
        *lock(&self.heard.cut_count) = cut_count;
        self.heard.upto.fetch_min(keep as i64, Ordering::Relaxed);
        if self
            .handle
            .mark_now(Mark::CutIntent { to, cut_count })
            .await
            .is_err()
        {
            return;
        }
        let file = self.file.clone().unwrap();
        if file.set_len(to.bytes).is_err() || file.sync().await.is_err() {
            self.dir.fail("a cut wasn't synced");
            return;
        }
        self.handle.mark(Mark::CutDone { cut_count });
        self.records.truncate(keep);
        self.ends.truncate(keep);
        self.end = to;
    }

    pub(super) fn acked(&self) -> usize {
        self.heard.upto.load(Ordering::Relaxed) as usize
    }
}

pub(super) async fn open(host: &Host) -> (Arc<LogDir>, StartReport) {
    LogDir::open(host.clone(), Path::new("/data"), options())
        .await
        .unwrap()
}
