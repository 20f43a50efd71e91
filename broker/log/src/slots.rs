//! A small record in two slots written in turn (L4): Raft's hard state and the like.
//!
//! ```text
//! slot (4096 bytes, twice)   magic u32 | version u32 | sequence u64 | len u32 | crc u32 | bytes
//! ```
//! What always holds: a write touches only the slot that doesn't hold the newest durable record, so
//! that a torn write leaves that one; a file with content and no readable slot is damage, not empty
//! (L3).

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_host::{Disk, File, OpenMode};
use millrace_probe::{Branch, reached};

use crate::codec::{Put, Take};
use crate::error::Error;

/// Bytes of one slot.
pub(crate) const SLOT_LEN: usize = 4096;
const HEAD_LEN: usize = 24;
const MAGIC: u32 = u32::from_le_bytes(*b"MRsl");
const VERSION: u32 = 1;

/// No writer ever gets here: a slot that says so is damage, and counting on from it is safe.
const SEQUENCE_END: u64 = 1 << 63;

/// Longest record a slot holds, in bytes.
pub const RECORD_LEN_MAX: usize = SLOT_LEN - HEAD_LEN;

/// A record that is replaced as a whole.
#[derive(Debug)]
pub struct SlotFile {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    file: Arc<dyn File>,
    sequence: u64,
    /// The name's directory was synced by this process.
    name_synced: bool,
    /// A write or sync failed: what the slots hold is unknown, and stays so (F1).
    failed: bool,
}

impl SlotFile {
    /// Opens or makes the file `name` in `dir`, and gives the newest record in it.
    pub async fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        name: &str,
    ) -> Result<(Self, Option<Vec<u8>>), Error> {
        let path = dir.join(name);
        let file = disk
            .open(&path, OpenMode::Create)
            .map_err(Error::io("open", &path))?;
        let (mut slots, record) = Self::read(disk, dir, file).await?;
        if record.is_some() {
            slots.sync().await?;
        }
        Ok((slots, record))
    }

    /// The newest record in the file `name` in `dir`, if there is one. Changes nothing: it may be in
    /// the page cache only.
    pub async fn look(disk: &dyn Disk, dir: &Path, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let path = dir.join(name);
        let file = match disk.open(&path, OpenMode::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result.map_err(Error::io("open", &path))?,
        };
        let read = file.read_at(0, SLOT_LEN * 2).await;
        let bytes = read.map_err(Error::io("read", &path))?;
        let slots = bytes.chunks(SLOT_LEN).filter_map(decode);
        let newest = slots.max_by_key(|(sequence, _)| *sequence);
        Ok(newest.map(|(_, record)| record))
    }

    /// Reads `file` in `dir` and writes its newest record again, which may be in the page cache
    /// only while the next write goes over the one before it. The caller syncs [`Self::file`] and
    /// `dir` before the first [`Self::write`], and then says [`Self::is_synced`].
    pub(crate) async fn read(
        disk: Arc<dyn Disk>,
        dir: &Path,
        file: Arc<dyn File>,
    ) -> Result<(Self, Option<Vec<u8>>), Error> {
        let path = file.path().clone();
        let bytes = file
            .read_at(0, SLOT_LEN * 2)
            .await
            .map_err(Error::io("read", &path))?;
        let newest = bytes
            .chunks(SLOT_LEN)
            .filter_map(decode)
            .max_by_key(|(sequence, _)| *sequence);
        // A first write that was torn leaves an unreadable slot 0 and nothing behind it: nothing
        // was promised yet. Two slots' length without a readable one is damage.
        let whole = bytes.chunks(SLOT_LEN).filter_map(decode).count();
        if whole == 1 && bytes.len() > SLOT_LEN {
            reached(Branch::SlotBroken);
        }
        if newest.is_none() && bytes.len() > SLOT_LEN {
            reached(Branch::SlotsUnreadable);
            let what = format!("neither slot of {} can be read", path.display());
            return Err(Error::Corrupt { what });
        }
        let (sequence, record) = match newest {
            Some((sequence, record)) => (sequence, Some(record)),
            None => (0, None),
        };
        let dir = dir.to_owned();
        let mut slots = Self {
            disk,
            dir,
            file,
            sequence,
            name_synced: false,
            failed: false,
        };
        if let Some(record) = &record {
            slots.put(record)?;
        }
        Ok((slots, record))
    }

    /// The file, to be synced by whoever called [`Self::read`].
    pub(crate) fn file(&self) -> Arc<dyn File> {
        Arc::clone(&self.file)
    }

    /// The file and its name were synced after [`Self::read`].
    pub(crate) fn is_synced(&mut self) {
        self.failed = false;
        self.name_synced = true;
    }

    /// Makes `record` durable in place of the one before.
    pub async fn write(&mut self, record: &[u8]) -> Result<(), Error> {
        let path = self.file.path().clone();
        if record.len() > RECORD_LEN_MAX {
            return Err(Error::io("write", &path)(
                io::ErrorKind::InvalidInput.into(),
            ));
        }
        if self.failed {
            return Err(Error::Offline {
                path,
                reason: "an earlier write failed".into(),
            });
        }
        if self.sequence + 1 >= SEQUENCE_END {
            let what = format!("{} counts no further", path.display());
            return Err(Error::Corrupt { what });
        }
        self.sequence += 1;
        self.put(record)?;
        self.sync().await
    }

    /// Writes the slot of the present sequence. It counts after [`Self::sync`].
    fn put(&mut self, record: &[u8]) -> Result<(), Error> {
        self.failed = true;
        let path = self.file.path().clone();
        let slot = encode(self.sequence, record);
        // The first record goes to slot 0.
        let at = (self.sequence + 1) % 2 * SLOT_LEN as u64;
        let taken = self
            .file
            .write_vectored_at(&[IoSlice::new(&slot)], at)
            .map_err(Error::io("write", &path))?;
        if taken < slot.len() {
            return Err(Error::io("write", &path)(io::ErrorKind::StorageFull.into()));
        }
        Ok(())
    }

    /// Makes what was put durable, and at first its name.
    async fn sync(&mut self) -> Result<(), Error> {
        let path = self.file.path().clone();
        let sync = self.file.sync();
        if !self.name_synced {
            self.disk
                .sync_dir(&self.dir)
                .await
                .map_err(Error::io("sync directory", &self.dir))?;
            self.name_synced = true;
        }
        sync.await.map_err(Error::io("sync", &path))?;
        self.failed = false;
        Ok(())
    }
}

fn encode(sequence: u64, record: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(SLOT_LEN);
    out.put_u32(MAGIC);
    out.put_u32(VERSION);
    out.put_u64(sequence);
    out.put_u32(record.len() as u32);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&out), record);
    out.put_u32(crc);
    out.extend_from_slice(record);
    out.resize(SLOT_LEN, 0);
    out
}

pub(crate) fn decode(slot: &[u8]) -> Option<(u64, Vec<u8>)> {
    let mut take = Take(slot);
    let head = slot.get(..HEAD_LEN - 4)?;
    if take.u32()? != MAGIC || take.u32()? != VERSION {
        return None;
    }
    let sequence = take.u64().filter(|sequence| *sequence < SEQUENCE_END)?;
    let len = usize::try_from(take.u32()?).ok()?;
    let crc = take.u32()?;
    let record = take.bytes(len)?;
    let holds = crc32c::crc32c_append(crc32c::crc32c(head), record) == crc;
    holds.then(|| (sequence, record.to_vec()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use millrace_sim::Sim;

    use super::*;

    #[test]
    fn l4_the_newest_durable_record_survives_every_power_cut() {
        for seed in 0..200 {
            let sim = Sim::new(seed);
            let (mut durable, mut next) = (0_u64, 0_u64);
            for _ in 0..6 {
                let host = sim.node("n");
                let span = Duration::from_micros(sim.draw(30_000));
                sim.block_on(async {
                    let work = async {
                        let opened =
                            SlotFile::open(Arc::clone(&host.disk), Path::new("/"), "quorum-state");
                        let (mut slots, found) = opened.await.unwrap();
                        let found = found.map_or(0, |bytes| {
                            u64::from_le_bytes(bytes[..8].try_into().unwrap())
                        });
                        assert!(found >= durable && found <= next, "seed {seed}");
                        loop {
                            next += 1;
                            let mut record = next.to_le_bytes().to_vec();
                            record.resize(2000, next as u8);
                            slots.write(&record).await.unwrap();
                            durable = next;
                        }
                    };
                    tokio::select! {
                        biased;
                        () = sim.pause(span) => {}
                        () = work => {}
                    }
                });
                if sim.draw(2) == 0 {
                    sim.crash("n");
                } else {
                    sim.kill("n");
                }
            }
        }
    }

    #[test]
    fn a_record_that_could_not_be_read_back_is_not_written() {
        let sim = Sim::new(1);
        let disk = sim.node("n").disk;
        sim.block_on(async {
            let file = disk.open(Path::new("/s"), OpenMode::Create).unwrap();
            let last = encode(SEQUENCE_END - 1, b"last");
            file.write_vectored_at(&[IoSlice::new(&last)], 0).unwrap();
            let open = || SlotFile::open(Arc::clone(&disk), Path::new("/"), "s");
            let (mut slots, _) = open().await.unwrap();
            assert!(slots.write(b"newer").await.is_err());
            let (_, found) = open().await.unwrap();
            assert_eq!(found.as_deref(), Some(&b"last"[..]));
        });
    }

    #[test]
    fn a_sequence_that_no_writer_reaches_is_damage() {
        assert!(decode(&encode(SEQUENCE_END - 1, b"r")).is_some());
        for sequence in [SEQUENCE_END, u64::MAX - 1, u64::MAX] {
            assert_eq!(decode(&encode(sequence, b"r")), None);
        }
    }

    #[test]
    fn l3_two_unreadable_slots_are_damage() {
        let sim = Sim::new(1);
        let host = sim.node("n");
        let disk = Arc::clone(&host.disk);
        sim.block_on(async {
            let (mut slots, found) = SlotFile::open(Arc::clone(&disk), Path::new("/"), "s")
                .await
                .unwrap();
            assert!(found.is_none());
            slots.write(b"one").await.unwrap();
            slots.write(b"two").await.unwrap();
            let (_, found) = SlotFile::open(Arc::clone(&disk), Path::new("/"), "s")
                .await
                .unwrap();
            assert_eq!(found.unwrap(), b"two");
            let file = disk.open(Path::new("/s"), OpenMode::Write).unwrap();
            file.write_vectored_at(&[IoSlice::new(&[0; 8192])], 0)
                .unwrap();
            assert!(
                SlotFile::open(Arc::clone(&disk), Path::new("/"), "s")
                    .await
                    .is_err()
            );
        });
    }
}
