//! One file's two images, and the changes that lie between them.

use bytes::Bytes;

use super::image::{Image, Room};
use super::rot::Rot;

/// What the process sees, what a power cut leaves for sure, and the un-synced changes between.
#[derive(Debug, Default)]
pub(crate) struct FileNode {
    pub(crate) cache: Image,
    pub(crate) durable: Image,
    pub(crate) pending: Vec<Pending>,
    pub(crate) room: Room,
    /// Names that lead here.
    pub(crate) links: u32,
    /// Open handles of the running process.
    pub(crate) handles: u32,
    /// The name that it was made under.
    pub(crate) name: String,
    /// Where the device holds something else than was written.
    pub(crate) rot: Rot,
    /// How often a write-back has failed: a descriptor knows of those up to its opening.
    pub(crate) failures: u64,
    /// What such a write-back should have written, while nobody has heard of it.
    unwritten: Vec<Pending>,
    next: u64,
}

/// An un-synced change.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    /// Order of the changes of one file.
    pub(crate) number: u64,
    pub(crate) change: Change,
}

/// One change of a file.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// `data` at `at`; the device puts `device` (the same, but for flipped bits) at `lands` (the
    /// same, but when misdirected).
    Write {
        at: u64,
        data: Bytes,
        lands: u64,
        device: Bytes,
    },
    /// Cut or extended to this length.
    Len(u64),
}

/// Past this many un-synced changes of one file the older half is written back by itself, as a
/// kernel does; it keeps long runs bounded.
const PENDING_MAX: usize = 4096;

impl FileNode {
    /// An empty file with one name.
    pub(crate) fn named(name: &str) -> Self {
        Self {
            links: 1,
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// Applies a change to the cache and remembers it as un-synced.
    pub(crate) fn change(&mut self, change: Change) {
        match &change {
            Change::Write { at, data, .. } => {
                self.cache.write(*at, data);
                self.cache.len = self.cache.len.max(at + data.len() as u64);
                self.rot.hide(*at, data.len() as u64);
            }
            Change::Len(len) => self.cache.set_len(*len),
        }
        self.pending.push(Pending {
            number: self.next,
            change,
        });
        self.next += 1;
        if self.pending.len() > PENDING_MAX {
            let upto = self.pending[PENDING_MAX / 2].number;
            self.settle(upto);
        }
    }

    /// The number that the next change will have: a sync started now covers all below it.
    pub(crate) fn next_number(&self) -> u64 {
        self.next
    }

    /// Makes every change below `upto` durable.
    pub(crate) fn settle(&mut self, upto: u64) {
        for Pending { change, .. } in self.take_below(upto) {
            match change {
                Change::Write {
                    at,
                    data,
                    lands,
                    device,
                } => {
                    self.durable.write(lands, &device);
                    self.rot.cover(lands, device.len() as u64);
                    self.rot.add_write((at, &data), (lands, &device));
                    self.durable.len = self.durable.len.max(at + data.len() as u64);
                }
                Change::Len(len) => {
                    self.durable.set_len(len);
                    self.rot.cover(len, u64::MAX - len);
                }
            }
        }
    }

    /// What waits counts as written back, and is not; gives it, for what the device has of it.
    pub(crate) fn fail_write_back(&mut self) -> Vec<Pending> {
        self.failures += 1;
        let failed = self.take_below(self.next);
        self.unwritten.extend(failed.iter().cloned());
        failed
    }

    /// Somebody has heard of it: nobody writes it back any more.
    pub(crate) fn hear_of_failure(&mut self) {
        self.unwritten.clear();
    }

    /// Nobody is left who could: it waits to be written back again.
    pub(crate) fn retry_write_back(&mut self) {
        let failed = std::mem::take(&mut self.unwritten);
        self.pending.splice(..0, failed);
    }

    /// Takes the changes below `upto` off the list.
    pub(crate) fn take_below(&mut self, upto: u64) -> Vec<Pending> {
        let split = self
            .pending
            .partition_point(|pending| pending.number < upto);
        self.pending.drain(..split).collect()
    }

    /// The page cache lost what was not written back: the durable image with what is still
    /// pending on top.
    pub(crate) fn lose_cache(&mut self) {
        self.cache = self.durable.clone();
        self.unwritten.clear();
        self.rot.show();
        for Pending { change, .. } in &self.pending {
            match change {
                Change::Write { at, data, .. } => {
                    self.cache.write(*at, data);
                    self.cache.len = self.cache.len.max(at + data.len() as u64);
                }
                Change::Len(len) => self.cache.set_len(*len),
            }
        }
    }
}
