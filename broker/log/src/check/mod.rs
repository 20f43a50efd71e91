//! `millrace check`: what an operator is told of a log directory that no broker has open.
//!
//! What always holds: nothing but the lock is touched; every batch of every segment is read.

mod rebuild;
mod survey;

use std::path::Path;

use millrace_host::{Disk, Host};

use crate::dir::format;
use crate::dir::history::History;
use crate::error::{ACCEPT_JOURNAL_LOSS, Error};
use crate::journal::commit::Entry;
use crate::ledger::file::{self as ledger_file, Found};
use crate::ledger::{Ledger, LedgerEntry};
use crate::mark::{Incarnation, SegmentId};
use crate::partition::verify::Stop;
use crate::segment::names;
use survey::PartitionFiles;

pub use rebuild::rebuild_ledger;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Worth knowing; the next start takes care of it.
    Note,
    /// Something that was durable is damaged or missing.
    Damage,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is, for people.
    pub what: String,
}

/// What a directory holds and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Partitions that were looked at.
    pub partitions: usize,
    /// Their segments.
    pub segments: usize,
    /// Bytes of whole, good batches.
    pub bytes: u64,
    /// Everything else, in the order it was found.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Nothing that was durable is damaged or missing.
    pub fn is_sound(&self) -> bool {
        let damage = |finding: &Finding| finding.severity == Severity::Damage;
        !self.findings.iter().any(damage)
    }

    pub(super) fn note(&mut self, what: String) {
        let severity = Severity::Note;
        self.findings.push(Finding { severity, what });
    }

    pub(super) fn damage(&mut self, what: String) {
        let severity = Severity::Damage;
        self.findings.push(Finding { severity, what });
    }
}

/// Whose a log directory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The node's id.
    pub node_id: i32,
    /// The cluster's id.
    pub cluster_id: String,
    /// A running process has it.
    pub in_use: bool,
}

/// Whose the log directory at `path` is; `None` while it holds nothing. Changes nothing.
///
/// # Errors
///
/// When it isn't ours, or of a newer format, or can't be read.
pub async fn owner(host: &Host, path: &Path) -> Result<Option<Owner>, Error> {
    let disk = host.disk.as_ref();
    let entries = disk.list(path).await.map_err(Error::io("list", path))?;
    if entries
        .iter()
        .all(|entry| entry.name == format::LOST_AND_FOUND)
    {
        return Ok(None);
    }
    let own = survey::format(disk, path).await?;
    let in_use = match format::lock(disk, path) {
        Ok(_) => false,
        Err(Error::InUse { .. }) => true,
        Err(error) => return Err(error),
    };
    Ok(Some(Owner {
        node_id: own.node_id,
        cluster_id: own.cluster_id,
        in_use,
    }))
}

/// Reads the log directory at `path`: format, ledger, journals, every batch of every segment.
/// Nothing is changed.
///
/// # Errors
///
/// When it is in use, is none of ours, or is damaged where nothing further can be said.
pub async fn check(host: &Host, path: &Path) -> Result<Report, Error> {
    let disk = host.disk.as_ref();
    let own = survey::format(disk, path).await?;
    let _lock = format::lock(disk, path)?;
    let mut report = Report::default();
    let ledger = match ledger_file::read(disk, path, own.dir_id).await? {
        Found::Ledger(ledger, _) => *ledger,
        Found::Unreadable => return Err(ledger_file::unreadable(path)),
    };
    for name in ledger_file::torn(disk, path, own.dir_id).await? {
        report.note(format!(
            "{name} is torn or damaged; the other ledger file is whole, and a start writes both"
        ));
    }
    let settled = ledger.settled_through;
    let scan = survey::journals(disk, path, own.dir_id, settled).await?;
    let (files, others) = survey::partitions(disk, path).await?;
    let written = !ledger.entries.is_empty() || !files.is_empty();
    let missing = scan.missing(ledger.run.generation);
    for name in missing.into_iter().filter(|_| written) {
        report.damage(format!(
            "{name} is missing: somebody removed it; the directory isn't served until it is back, or \
             an operator gives up what stood only there by an empty file {ACCEPT_JOURNAL_LOSS}"
        ));
    }
    let history = History::fold(ledger, scan).await?;
    let unsettled = note_journal(&history, &mut report).await?;
    for name in &others {
        let what = match name.rsplit('-').next() {
            Some("future") => "is a copy that a move did not end: the next start removes it",
            Some("delete") => "is what a removal left: the next start removes it",
            _ => "is no partition's directory of ours",
        };
        report.note(format!("{name} {what}"));
    }
    let mut check = Checking {
        disk,
        history: &history,
        unsettled,
        report,
    };
    check.all(&files, &others).await?;
    Ok(check.report)
}

/// Says what a start would write into segments from the journals; whose.
async fn note_journal(
    history: &History,
    report: &mut Report,
) -> Result<Vec<(Incarnation, SegmentId)>, Error> {
    let (mut bytes, mut whose) = (0, Vec::new());
    for (id, located) in &history.commits {
        let content = located.load().await?;
        for (index, entry) in located.open(&content).entries.iter().enumerate() {
            let Entry::Data(incarnation, place, data) = entry else {
                continue;
            };
            let live = history.live(incarnation, (*id, index), place, data.len() as u64);
            if let Some(live) = live {
                bytes += live.end - live.start;
                whose.push((*incarnation, place.segment));
            }
        }
    }
    whose.sort_unstable();
    whose.dedup();
    if bytes > 0 {
        report.note(format!(
            "{} commits of the journal hold {bytes} bytes that the next start settles in {} segments",
            history.commits.len(),
            whose.len()
        ));
    }
    for incarnation in &history.damaged {
        report.damage(format!(
            "{}: its entries in the journal are damaged",
            name(history.ledger.entries.get(incarnation), *incarnation)
        ));
    }
    Ok(whose)
}

/// `topic-partition`, or the incarnation where the topic isn't known.
fn name(entry: Option<&LedgerEntry>, whose: Incarnation) -> String {
    entry.map_or_else(
        || whose.to_string(),
        |entry| format!("{}-{}", entry.topic, whose.partition),
    )
}

/// One check on its way through the partitions.
struct Checking<'a> {
    disk: &'a dyn Disk,
    history: &'a History,
    /// Segments with bytes that are in the journal only.
    unsettled: Vec<(Incarnation, SegmentId)>,
    report: Report,
}

impl Checking<'_> {
    /// `others`: directories that say of no partition that they are its own.
    async fn all(&mut self, found: &[PartitionFiles], others: &[String]) -> Result<(), Error> {
        let ledger: &Ledger = &self.history.ledger;
        for (whose, entry) in &ledger.entries {
            let what = name(Some(entry), *whose);
            self.report.partitions += 1;
            if entry.deleting {
                self.report.note(format!("{what} is being deleted"));
                continue;
            }
            if entry.damaged {
                self.report
                    .damage(format!("{what} is marked damaged and stays offline"));
            }
            match found.iter().find(|files| files.whose == *whose) {
                Some(files) => self.partition(&what, entry, files).await?,
                None if others.contains(&what) => self.report.note(format!(
                    "{what}: its partition.metadata is missing or damaged, so its files were not \
                     read; the next start writes it again if the ledger knows the partition"
                )),
                None if entry.settled.is_some_and(|settled| settled.bytes > 0) => {
                    self.report
                        .damage(format!("{what}: its directory is missing"));
                }
                None => self.report.note(format!(
                    "{what}: its directory is gone; the next start makes it from the journal"
                )),
            }
        }
        for files in found {
            if !ledger.entries.contains_key(&files.whose) {
                self.report.note(format!(
                    "{} isn't in the ledger: a first append that a crash cut off, or an old copy",
                    files.path.display()
                ));
            }
        }
        Ok(())
    }

    async fn partition(
        &mut self,
        what: &str,
        entry: &LedgerEntry,
        files: &PartitionFiles,
    ) -> Result<(), Error> {
        let (mut epoch, mut next) = (-1, None);
        for segment in &entry.segments {
            let base = segment.id.base_offset;
            if segment.swapping {
                self.report.note(format!(
                    "{what}: a cleaned segment was taking the place of others from {base} on; the next \
                     use ends that, and it is read then"
                ));
                (epoch, next) = (-1, None);
                continue;
            }
            let needed = settled_bytes(entry, segment.id);
            if !files.segments.contains_key(&base) {
                if needed > 0 {
                    self.report
                        .damage(format!("{what}: segment {base} is missing"));
                }
                continue;
            }
            let path = names::file(&files.path, base, names::LOG);
            let content = survey::segment(self.disk, &path, base, epoch, true).await?;
            let end = content.verified.end;
            self.report.segments += 1;
            self.report.bytes += end.bytes;
            let unsettled = self.unsettled.contains(&(files.whose, segment.id));
            if end.bytes < needed {
                self.report.damage(format!(
                    "{what}: segment {base} is damaged at byte {} (offset {}): {}",
                    end.bytes,
                    end.offset,
                    why(&content.verified.stop)
                ));
            } else if content.verified.stop != Stop::End && !unsettled {
                self.report.note(format!(
                    "{what}: segment {base} holds whole records up to byte {}; what follows was \
                     never durable ({}), and recovery decides on it",
                    end.bytes,
                    why(&content.verified.stop)
                ));
            }
            if content.holes && !segment.holes
                || next.is_some_and(|next| next != base && !segment.holes)
            {
                self.report.damage(format!(
                    "{what}: offsets are missing in or before segment {base}"
                ));
            }
            epoch = content.verified.epoch;
            next = (!unsettled && content.verified.stop == Stop::End).then_some(end.offset);
        }
        if entry.close.is_none() {
            self.report.note(format!(
                "{what} wasn't closed; it is verified again at its first use"
            ));
        }
        Ok(())
    }
}

/// How many bytes of a segment were durable in its file.
fn settled_bytes(entry: &LedgerEntry, id: SegmentId) -> u64 {
    let Some(settled) = entry.settled else {
        return 0;
    };
    if settled.segment.base_offset > id.base_offset {
        let sealed = entry.segments.iter().find(|segment| segment.id == id);
        return sealed
            .and_then(|one| one.sealed)
            .map_or(0, |sealed| sealed.bytes);
    }
    if settled.segment == id {
        settled.bytes
    } else {
        0
    }
}

fn why(stop: &Stop) -> &str {
    match stop {
        Stop::End => "the file ends there",
        Stop::Incomplete => "an incomplete batch",
        Stop::Zeros => "zeros up to the end of the file",
        Stop::Bad(what) => what,
    }
}
