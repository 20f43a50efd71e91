//! What the disk says of a node's terms: the promises in the two slots, and the first batch of each
//! term in the metadata log. Read without the broker's own code.
//!
//! What always holds of a sound node: a promise that is durable never falls, nor does its vote
//! change; nothing is written in a term whose promise is not durable; no two processes begin one term.

use std::collections::BTreeMap;
use std::path::Path;

use millrace_images::volume::{Change, Op, Tree, Volume};

use super::METADATA;

const SLOT: usize = 4096;
/// Magic, version, sequence, length, CRC.
const SLOT_HEAD: usize = 24;
/// A batch's header up to its first record, and places in it.
const BATCH_HEAD: usize = 61;
const LENGTH: usize = 8;
const EPOCH: usize = 12;
const MAGIC: usize = 16;
const CRC: usize = 17;
const ATTRIBUTES: usize = 21;
const CONTROL: u8 = 0x20;

/// A promise: its term, and the whole record, which holds the vote.
type Promise = (i32, Vec<u8>);

/// What was promised and begun so far, and the first rule that was broken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Terms {
    promised: Option<Promise>,
    /// By term: base offset and CRC of the batch that begins it.
    begun: BTreeMap<i32, (i64, u32)>,
    broken: Option<String>,
}

impl Terms {
    /// The first rule that was broken.
    pub(super) fn sound(&self) -> Result<(), String> {
        self.broken.clone().map_or(Ok(()), Err)
    }

    /// Takes note of what an operation did.
    pub(super) fn saw(&mut self, volume: &Volume, op: &Op) {
        let judged = match op {
            Op::SyncEnded(_) | Op::Left { .. } => self.durable(volume),
            Op::Change(Change::Write { file, bytes, .. }) => {
                let home = Path::new(METADATA);
                if volume.cache.lookup(&home.join("quorum-state")) == Some(*file) {
                    self.promising(bytes)
                } else if is_log(&volume.cache, *file) {
                    self.writing(bytes)
                } else {
                    Ok(())
                }
            }
            Op::Change(_)
            | Op::SyncBegun(..)
            | Op::SyncFailed { .. }
            | Op::Killed
            | Op::Forgotten(_) => Ok(()),
        };
        if let Err(why) = judged {
            self.broken.get_or_insert(why);
        }
    }

    /// What the device holds for certain counts.
    fn durable(&mut self, volume: &Volume) -> Result<(), String> {
        let path = Path::new(METADATA).join("quorum-state");
        let file = volume.durable.lookup(&path);
        let Some(content) = file.and_then(|file| volume.durable.files.get(&file)) else {
            return Ok(());
        };
        let bytes = content.read(0, 2 * SLOT);
        let newest = bytes
            .chunks(SLOT)
            .filter_map(slot)
            .max_by_key(|(at, _)| *at);
        if let Some((_, promise)) = newest {
            self.promising_record(&promise)?;
            self.promised = Some(promise);
        }
        Ok(())
    }

    fn promising(&self, bytes: &[u8]) -> Result<(), String> {
        let (_, promise) = slot(bytes).ok_or("a slot is written that can't be read")?;
        self.promising_record(&promise)
    }

    fn promising_record(&self, (term, record): &Promise) -> Result<(), String> {
        match &self.promised {
            Some((promised, _)) if term < promised => Err(format!(
                "term {promised} was promised durably, and now {term}"
            )),
            Some((promised, vote)) if term == promised && record != vote => {
                Err(format!("a second vote in term {term}"))
            }
            _ => Ok(()),
        }
    }

    /// Bytes are written into the metadata log: recovery may write again what was there.
    fn writing(&mut self, bytes: &[u8]) -> Result<(), String> {
        let mut rest = bytes;
        while let Some((batch, behind)) = batch(rest) {
            rest = behind;
            if batch[ATTRIBUTES + 1] & CONTROL == 0 {
                continue;
            }
            let term = number(batch, EPOCH);
            let crc = u32::from_be_bytes(four(batch, CRC));
            let base = i64::from_be_bytes(batch[..8].try_into().unwrap_or_default());
            match self.begun.get(&term) {
                Some(known) if *known == (base, crc) => continue,
                Some((at, _)) => {
                    return Err(format!("term {term} began at {at}, and again at {base}"));
                }
                None => {}
            }
            let newest = self.begun.keys().next_back();
            if let Some(newest) = newest.filter(|newest| **newest > term) {
                return Err(format!("term {term} begins behind term {newest}"));
            }
            let promised = self.promised.as_ref().map(|(term, _)| *term);
            if promised.is_none_or(|promised| promised < term) {
                return Err(format!(
                    "term {term} begins, and the last durable promise is {promised:?}"
                ));
            }
            self.begun.insert(term, (base, crc));
        }
        Ok(())
    }
}

fn is_log(tree: &Tree, file: u64) -> bool {
    let home = tree.lookup(&Path::new(METADATA).join("__cluster_metadata-0"));
    let names = home.and_then(|home| tree.dirs.get(&home));
    let mut names = names.into_iter().flat_map(|names| names.iter());
    names.any(|(name, of)| *of == file && Path::new(name).extension() == Some("log".as_ref()))
}

fn four(bytes: &[u8], at: usize) -> [u8; 4] {
    let found = bytes.get(at..at + 4);
    found
        .and_then(|found| found.try_into().ok())
        .unwrap_or_default()
}

fn number(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(four(bytes, at))
}

/// The first batch, and what lies behind it.
fn batch(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    if bytes.len() < BATCH_HEAD || bytes[MAGIC] != 2 {
        return None;
    }
    let len = usize::try_from(number(bytes, LENGTH)).ok()? + LENGTH + 4;
    (len >= BATCH_HEAD && len <= bytes.len()).then(|| bytes.split_at(len))
}

/// Sequence and promise of a slot that is whole.
fn slot(bytes: &[u8]) -> Option<(u64, Promise)> {
    let head = bytes.get(..SLOT_HEAD)?;
    let sequence = u64::from_le_bytes(head[8..16].try_into().ok()?);
    let len = usize::try_from(u32::from_le_bytes(four(head, 16))).ok()?;
    let record = bytes.get(SLOT_HEAD..SLOT_HEAD.checked_add(len)?)?;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&head[..20]), record);
    let is_whole = head.starts_with(b"MRsl") && crc == u32::from_le_bytes(four(head, 20));
    (is_whole && len >= 6).then(|| (sequence, (number(record, 2), record.to_vec())))
}
