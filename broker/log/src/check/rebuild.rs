//! `millrace check --rebuild-ledger`: a ledger from the partitions' files, when neither ledger file
//! can be read (L3).
//!
//! What always holds: it acts only where there is no ledger to lose; no partition's file is changed;
//! what the journals still say is left to the next start to fold on top; nothing that can't be
//! known is made up: every partition is dirty, of another boot, and cut by nobody.

use std::collections::BTreeMap;
use std::path::Path;

use millrace_host::{Disk, Host, OpenMode};

use crate::check::Report;
use crate::check::survey::{self, PartitionFiles, SegmentContent};
use crate::dir::format;
use crate::error::Error;
use crate::journal::commit::CommitId;
use crate::journal::commit::Entry;
use crate::journal::file;
use crate::journal::reader::Scan;
use crate::ledger::file::{self as ledger_file, Found, LedgerFiles, Newest};
use crate::ledger::{Ledger, LedgerEntry, SealedEntry, SegmentEntry, UNKNOWN_GENERATION};
use crate::mark::{Incarnation, Mark, Position, SegmentId, SnapshotName};
use crate::partition::TIMESTAMP_UNKNOWN;
use crate::partition::verify::Stop;
use crate::segment::names;

/// Snapshots of the metadata that are named again, at most.
const SNAPSHOTS_MAX: usize = 2;

/// What the files can't say, and what is taken instead.
const UNKNOWN: [&str; 5] = [
    "a partition whose directory is missing is not missed: compare the list with the topics",
    "log starts moved by DeleteRecords into the middle of a segment fall back to its beginning",
    "leader epochs are those that the batches name: no checksum covers them",
    "what idempotent producers did is known from the records that are there, no further back",
    "a tail that looks cut off by a crash is cut at the partition's first use and kept aside in a \
     .cut file; any other damage is quarantined",
];

/// Makes a ledger for the log directory at `path` from what its partitions' files and its journals
/// hold.
///
/// # Errors
///
/// When it is in use or none of ours, when its ledger can be read (there is nothing to rebuild),
/// or when a file can't be read or written.
pub async fn rebuild_ledger(host: &Host, path: &Path) -> Result<Report, Error> {
    let disk = host.disk.as_ref();
    let own = survey::format(disk, path).await?;
    let lock = format::lock(disk, path)?;
    if let Found::Ledger(..) = ledger_file::read(disk, path, own.dir_id).await? {
        return Err(Error::Foreign {
            path: path.to_owned(),
            reason: "its ledger can be read; there is nothing to rebuild".to_owned(),
        });
    }
    let mut report = Report::default();
    let scan = survey::journals(disk, path, own.dir_id, CommitId::default()).await?;
    let newest = scan.names.iter().map(|(generation, _)| *generation).max();
    let in_use = lock.file().read_at(0, 64).await;
    let in_use = in_use.map_err(Error::io("read", lock.file().path()))?;
    let mut ledger = Ledger {
        settled_through: first_commit(&scan),
        same_since: UNKNOWN_GENERATION + 1,
        ..Ledger::default()
    };
    ledger.run.generation = newest.max(generation_of(&in_use)).unwrap_or(0);
    let generations = generations(&scan, ledger.settled_through).await?;
    let (found, others) = survey::partitions(disk, path).await?;
    for name in others {
        report.note(format!(
            "{name} is no partition's directory of ours: left alone"
        ));
    }
    for files in &found {
        let entry = entry(disk, files, &generations, &mut report).await?;
        ledger.put(files.whose, entry);
    }
    for what in UNKNOWN {
        report.note(what.to_owned());
    }
    name_journals(disk, path, &scan, ledger.run.generation, &mut report).await?;
    let files = LedgerFiles::open(disk, path, own.dir_id, Newest::NONE)?;
    let bytes = files.next(&ledger);
    files.write(&bytes).await?;
    let synced = disk.sync_dir(path).await;
    synced.map_err(Error::io("sync directory", path))?;
    Ok(report)
}

/// Makes the journal files of the generation that the ledger will tell of, those that aren't there: a
/// ledger tells of no generation without (J1), and the start takes their absence for a loss. Without
/// a ledger nobody knows whether they were removed, or had not been made when the process ended.
async fn name_journals(
    disk: &dyn Disk,
    path: &Path,
    scan: &Scan,
    generation: u64,
    report: &mut Report,
) -> Result<(), Error> {
    if generation == 0 {
        return Ok(());
    }
    for name in [0, 1].map(|index| file::name(generation, index)) {
        if scan.names.iter().any(|(_, found)| *found == name) {
            continue;
        }
        file::make_empty(disk, path, &name)?;
        report.note(format!(
            "{name} was not there and an empty one is: if somebody removed it, what stood only there \
             is lost"
        ));
    }
    let synced = disk.sync_dir(path).await;
    synced.map_err(Error::io("sync directory", path))
}

/// Where the unbroken run of commits begins that reaches up to the last one: everything before is
/// settled, or a file was given back. The start folds what is behind.
fn first_commit(scan: &Scan) -> CommitId {
    for (generation, commits) in scan.generations.iter().rev() {
        let Some(last) = commits.last_key_value().map(|(number, _)| *number) else {
            continue;
        };
        let unbroken = (1..=last)
            .rev()
            .take_while(|number| commits.contains_key(number));
        let first = unbroken.last().unwrap_or(last);
        if first > 1 {
            return CommitId {
                generation: *generation,
                number: first - 1,
            };
        }
    }
    CommitId::default()
}

/// The newest generation that the journals name of each segment: bytes of another are skipped.
async fn generations(
    scan: &Scan,
    after: CommitId,
) -> Result<BTreeMap<(Incarnation, i64), u32>, Error> {
    let mut found = BTreeMap::new();
    let mut name = |whose: Incarnation, id: SegmentId| {
        let newest = found.entry((whose, id.base_offset)).or_insert(0);
        *newest = id.generation.max(*newest);
    };
    for (generation, commits) in &scan.generations {
        for (number, located) in commits {
            let id = CommitId {
                generation: *generation,
                number: *number,
            };
            if id <= after {
                continue;
            }
            let bytes = located.load().await?;
            for entry in located.open(&bytes).entries {
                match entry {
                    Entry::Data(whose, place, _) => name(whose, place.segment),
                    Entry::Mark(whose, payload) => match survey::mark(payload) {
                        Some(Mark::Segment { id, .. }) => name(whose, id),
                        Some(
                            Mark::Flushed(at)
                            | Mark::Settled(at)
                            | Mark::Recovered(at)
                            | Mark::Close(at),
                        ) => name(whose, at.segment),
                        _ => {}
                    },
                    Entry::Start(_) => {}
                }
            }
        }
    }
    Ok(found)
}

/// `generation=<number>` in the in-use file.
fn generation_of(in_use: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(in_use).ok()?;
    let line = text.lines().next()?;
    line.strip_prefix("generation=")?.parse().ok()
}

/// What is known of a partition from its files.
async fn entry(
    disk: &dyn Disk,
    files: &PartitionFiles,
    generations: &BTreeMap<(Incarnation, i64), u32>,
    report: &mut Report,
) -> Result<LedgerEntry, Error> {
    let name = format!("{}-{}", files.topic, files.whose.partition);
    let mut entry = LedgerEntry {
        topic: files.topic.clone(),
        log_start: -1,
        high_watermark: -1,
        since_generation: UNKNOWN_GENERATION,
        ..LedgerEntry::default()
    };
    let last = files.segments.last_key_value().map(|(base, _)| *base);
    let (mut epoch, mut records, mut next) = (-1, 0, None);
    for (base, len, is_swapping) in standing(disk, files).await? {
        let kind = if is_swapping { names::SWAP } else { "" };
        let path = names::file(&files.path, base, &format!("{}{kind}", names::LOG));
        let content = content(disk, files, (base, &path), epoch).await?;
        let found = content.verified;
        let known = generations.get(&(files.whose, base)).copied();
        let id = SegmentId {
            base_offset: base,
            generation: known.unwrap_or(0),
        };
        entry.cut_count = entry.cut_count.max(id.generation);
        entry.segments.push(SegmentEntry {
            id,
            holes: content.holes || is_swapping,
            swapping: is_swapping,
            // Nobody has to have cleaned it as far as that: it is cleaned again.
            cleaned: is_swapping.then_some(base),
            sealed: is_swapping.then_some(SealedEntry {
                bytes: len,
                next_offset: found.end.offset,
                max_timestamp_ms: TIMESTAMP_UNKNOWN,
            }),
        });
        if next.is_some_and(|next| next != base) {
            report.damage(format!("{name}: offsets are missing before segment {base}"));
        }
        let cut_off = matches!(found.stop, Stop::Incomplete | Stop::Zeros) && last == Some(base);
        if found.stop != Stop::End {
            report.damage(format!(
                "{name}: segment {base} holds whole records up to byte {} of {len}, offset {}",
                found.end.bytes, found.end.offset
            ));
        }
        // What recovery must not cut counts as durable; the rest of it then is quarantined.
        let durable = if cut_off { found.end.bytes } else { len };
        entry.flushed = Some(Position {
            segment: id,
            bytes: durable,
            offset: found.end.offset,
        });
        (epoch, next) = (found.epoch, Some(found.end.offset));
        records += found.end.offset - base;
        report.segments += 1;
        report.bytes += found.end.bytes;
    }
    entry.snapshots = snapshots(disk, files, next.unwrap_or(0)).await?;
    report.partitions += 1;
    report.note(format!(
        "{name}: {} segments, {records} offsets up to {}",
        files.segments.len(),
        next.unwrap_or(0)
    ));
    Ok(entry)
}

/// The segments that make up the log: base offset, length, and whether it is one that was about to
/// take the place of others, which are left out then (K2).
async fn standing(disk: &dyn Disk, files: &PartitionFiles) -> Result<Vec<(i64, u64, bool)>, Error> {
    let mut standing: BTreeMap<i64, (u64, bool)> = BTreeMap::new();
    for (base, len) in &files.segments {
        standing.insert(*base, (*len, false));
    }
    for (&base, &len) in &files.swaps {
        let path = format!("{}{}", names::LOG, names::SWAP);
        let path = names::file(&files.path, base, &path);
        let found = survey::segment(disk, &path, base, -1, true).await?;
        let end = found.verified.end.offset;
        standing.retain(|other, _| *other < base || *other >= end);
        standing.insert(base, (len, true));
    }
    let standing = standing.into_iter();
    Ok(standing
        .map(|(base, (len, swaps))| (base, len, swaps))
        .collect())
}

/// Reads a segment. Offsets may be missing in it only if it ends where the next one begins, as one
/// that was cleaned does (K2): a flipped base offset looks the same otherwise.
async fn content(
    disk: &dyn Disk,
    files: &PartitionFiles,
    (base, path): (i64, &Path),
    epoch: i32,
) -> Result<SegmentContent, Error> {
    let strict = survey::segment(disk, path, base, epoch, false).await?;
    let behind = files.segments.keys().find(|other| **other > base);
    if !matches!(strict.verified.stop, Stop::Bad(_)) || behind.is_none() {
        return Ok(strict);
    }
    let loose = survey::segment(disk, path, base, epoch, true).await?;
    let found = &loose.verified;
    let is_whole = found.stop == Stop::End && files.segments.contains_key(&found.end.offset);
    Ok(if is_whole { loose } else { strict })
}

/// The newest snapshots of the metadata beside their log: without one a log that no longer begins
/// at 0 can't be read. The reader of a snapshot checks that it is whole.
async fn snapshots(
    disk: &dyn Disk,
    files: &PartitionFiles,
    end: i64,
) -> Result<Vec<SnapshotName>, Error> {
    let offset = |name: &String| {
        let (offset, epoch) = name.strip_suffix(".checkpoint")?.split_once('-')?;
        (offset.len() == 20 && epoch.len() == 10).then_some(())?;
        offset.parse::<i64>().ok()
    };
    let mut offsets: Vec<(i64, &String)> = files
        .others
        .iter()
        .filter_map(|name| Some((offset(name)?, name)))
        .filter(|(offset, _)| *offset <= end)
        .collect();
    offsets.sort_unstable();
    let excess = offsets.len().saturating_sub(SNAPSHOTS_MAX);
    let mut named = Vec::new();
    for (offset, name) in offsets.split_off(excess) {
        let path = files.path.join(name);
        let file = disk
            .open(&path, OpenMode::Read)
            .map_err(Error::io("open", &path))?;
        let len = file.len().map_err(Error::io("measure", &path))?;
        let (mut at, mut crc) = (0, 0);
        while at < len {
            let chunk = file.read_at(at, 1 << 20).await;
            let chunk = chunk.map_err(Error::io("read", &path))?;
            if chunk.is_empty() {
                break;
            }
            crc = crc32c::crc32c_append(crc, &chunk);
            at += chunk.len() as u64;
        }
        named.push(SnapshotName {
            offset,
            crc_ours: 0,
            crc_kafka: crc,
        });
    }
    Ok(named)
}
