//! The proof: for each acknowledged acks=all request, write → sync returned → answer sent.

use std::collections::BTreeMap;

use super::calls::{self, Call, TraceError};
use super::files::{Files, is_write, last, parent};
use super::journal::{self, Entry};
use super::wire;

/// A batch's bytes that the broker fills in lie before this; from here on they are the client's.
const CLIENTS_FROM: usize = 16;
/// Of a batch's first bytes: base offset, then the length of what follows.
const BATCH_HEAD: usize = 12;

/// By which sync bytes became durable first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// A commit of the journal carries them.
    Journal,
    /// The segment's own, with its names and its mark.
    Direct,
}

/// One batch that was acknowledged after it was durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// By which sync.
    pub way: Way,
    /// The line at which that sync had returned.
    pub durable: usize,
    /// The line at which the answer began to leave.
    pub answered: usize,
}

/// What a trace proves.
#[derive(Clone, Debug, Default)]
pub struct Proof {
    /// Acknowledged acks=all requests.
    pub requests: usize,
    /// Their batches that were durable before the answer left.
    pub proven: Vec<Proven>,
    /// Their batches that were not, each with the reason.
    pub unproven: Vec<String>,
    /// Batches that were refused: they are owed nothing.
    pub refused: usize,
    /// Commits of the journal.
    pub commits: usize,
    /// Commits written before the sync of the one before had returned (J3).
    pub hasty_commits: usize,
    /// Syncs that failed; none of the same file counts from then on.
    pub failed_syncs: usize,
}

impl Proof {
    /// Batches proven by one way.
    pub fn by(&self, way: Way) -> usize {
        self.proven.iter().filter(|one| one.way == way).count()
    }
}

/// A segment: its file, and whose it is.
type Place = (String, String, i32, i64);

/// A batch in a segment.
#[derive(Debug)]
struct Stored<'a> {
    file: &'a str,
    place: Place,
    position: u64,
    bytes: &'a [u8],
    written: usize,
    /// When it and everything before it in its partition was durable.
    durable: Option<(usize, Way)>,
}

/// Record bytes in a commit: position, bytes, when they were durable.
type Journaled = (u64, Vec<u8>, Option<usize>);

/// What all commits say.
#[derive(Debug, Default)]
struct Journal {
    /// When each segment's mark was durable.
    marks: BTreeMap<Place, usize>,
    data: BTreeMap<Place, Vec<Journaled>>,
    commits: usize,
    hasty: usize,
}

/// Reads a trace, and judges each acknowledged acks=all request in it.
///
/// The broker must have been started within the trace, on an empty directory.
pub fn prove(trace: &str) -> Result<Proof, TraceError> {
    let calls = calls::read(trace)?;
    let files = Files::read(&calls);
    let journal = Journal::read(&calls, &files)?;
    let stored = stored(&calls, &files, &journal)?;
    let mut by_bytes: BTreeMap<(i32, &[u8]), &Stored<'_>> = BTreeMap::new();
    for batch in &stored {
        let key = (batch.place.2, &batch.bytes[CLIENTS_FROM..]);
        by_bytes.entry(key).or_insert(batch);
    }
    let mut proof = Proof {
        commits: journal.commits,
        hasty_commits: journal.hasty,
        failed_syncs: files.failed_syncs(),
        ..Proof::default()
    };
    for request in wire::produced(&calls)? {
        if request.acks != -1 {
            continue;
        }
        let mut acknowledged = false;
        for (partition, error, records) in &request.parts {
            if *error != 0 {
                proof.refused += 1;
                continue;
            }
            acknowledged = true;
            let batches = batches(records).ok_or(TraceError::Content {
                line: request.answered,
                what: "the batch of the request answered here",
            })?;
            for (_, batch) in batches {
                let found = by_bytes.get(&(*partition, &batch[CLIENTS_FROM..]));
                match judge(found.copied(), request.answered) {
                    Ok(proven) => proof.proven.push(proven),
                    Err(reason) => proof.unproven.push(format!("{}: {reason}", request.name)),
                }
            }
        }
        proof.requests += usize::from(acknowledged);
    }
    Ok(proof)
}

fn judge(stored: Option<&Stored<'_>>, answered: usize) -> Result<Proven, String> {
    let stored = stored.ok_or("acknowledged, and never written to a segment")?;
    let file = last(stored.file);
    let (topic, partition) = (&stored.place.1, stored.place.2);
    let what = format!("{topic}-{partition}/{file} at {}", stored.position);
    let (durable, way) = stored
        .durable
        .ok_or_else(|| format!("{what}: no sync made it durable"))?;
    if durable < answered {
        Ok(Proven {
            way,
            durable,
            answered,
        })
    } else {
        Err(format!(
            "{what}: durable at line {durable}, but its answer left at line {answered}"
        ))
    }
}

/// The batches that lie one behind the other in `bytes`, with their positions; `None` when the last
/// is not whole.
fn batches(bytes: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let len = rest.get(8..BATCH_HEAD)?.try_into().ok()?;
        let len = BATCH_HEAD + usize::try_from(u32::from_be_bytes(len)).ok()?;
        let batch = rest.get(..len).filter(|_| len > CLIENTS_FROM)?;
        found.push((at as u64, batch));
        at += len;
    }
    Some(found)
}

/// Whose segment a path is: log directory, topic, partition, base offset.
fn place_of(path: &str) -> Option<Place> {
    let base = last(path).strip_suffix(".log")?.parse().ok()?;
    let directory = parent(path);
    let (topic, partition) = last(directory).rsplit_once('-')?;
    let log_directory = parent(directory).to_owned();
    Some((
        log_directory,
        topic.to_owned(),
        partition.parse().ok()?,
        base,
    ))
}

/// Writes that put all their bytes where they say.
fn writes(calls: &[Call]) -> impl Iterator<Item = (&Call, usize, u64)> {
    let whole = |call: &&Call| {
        let all = usize::try_from(call.result).is_ok_and(|taken| taken == call.bytes.len());
        is_write(&call.name) && call.succeeded() && all
    };
    calls.iter().filter(whole).filter_map(|call| {
        let position = call.rest.rsplit(", ").next()?.parse().ok()?;
        Some((call, call.ended?, position))
    })
}

impl Journal {
    fn read(calls: &[Call], files: &Files) -> Result<Self, TraceError> {
        let mut commits = BTreeMap::new();
        for (call, ended, _) in writes(calls) {
            if !last(&call.file).starts_with("journal.") || !journal::is_commit(&call.bytes) {
                continue;
            }
            let commit = journal::commit(&call.bytes).ok_or(TraceError::Content {
                line: call.began,
                what: "a commit of the journal",
            })?;
            let order = (parent(&call.file), commit.generation, commit.number);
            commits.insert(order, (call, ended, commit));
        }
        let mut topics: BTreeMap<[u8; 16], String> = BTreeMap::new();
        for (_, _, commit) in commits.values() {
            for entry in &commit.entries {
                if let Entry::Segment { whose, topic, .. } = entry {
                    topics.insert(whose.0, topic.clone());
                }
            }
        }
        let mut journal = Self {
            commits: commits.len(),
            ..Self::default()
        };
        // Of the run that the commit belongs to: directory, generation, when all so far is durable.
        let mut run: Option<(&str, u64, Option<usize>)> = None;
        for ((directory, generation, _), (call, ended, commit)) in &commits {
            let own = files.synced_after(&call.file, *ended);
            let own = own.zip(files.name_durable(&call.file));
            let own = own.map(|(bytes, name)| bytes.max(name));
            let before = run.filter(|run| (run.0, run.1) == (*directory, *generation));
            let durable = match before {
                None => own,
                Some((_, _, before)) => own.zip(before).map(|(own, before)| own.max(before)),
            };
            let hasty = before.is_some_and(|run| run.2.is_none_or(|line| line > call.began));
            journal.hasty += usize::from(hasty);
            run = Some((directory, *generation, durable));
            for entry in &commit.entries {
                journal.note(directory, entry, durable, &topics);
            }
        }
        Ok(journal)
    }

    fn note(
        &mut self,
        directory: &str,
        entry: &Entry,
        durable: Option<usize>,
        topics: &BTreeMap<[u8; 16], String>,
    ) {
        let (whose, base) = match entry {
            Entry::Data { whose, base, .. } | Entry::Segment { whose, base, .. } => (whose, base),
        };
        let Some(topic) = topics.get(&whose.0) else {
            return;
        };
        let place = (directory.to_owned(), topic.clone(), whose.1, *base);
        match entry {
            Entry::Segment { .. } => {
                if let Some(durable) = durable {
                    let first = self.marks.entry(place).or_insert(durable);
                    *first = durable.min(*first);
                }
            }
            Entry::Data {
                position, bytes, ..
            } => {
                let of_segment = self.data.entry(place).or_default();
                of_segment.push((*position, bytes.clone(), durable));
            }
        }
    }

    /// When a commit that carries these bytes was durable.
    fn carried(&self, place: &Place, position: u64, bytes: &[u8]) -> Option<usize> {
        let of_segment = self.data.get(place)?.iter();
        let carries = of_segment.filter(|(from, carried, _)| {
            let inside = position.checked_sub(*from);
            let inside = inside.and_then(|inside| usize::try_from(inside).ok());
            inside.is_some_and(|inside| carried.get(inside..inside + bytes.len()) == Some(bytes))
        });
        carries.filter_map(|(_, _, durable)| *durable).min()
    }
}

/// Every batch that was written to a segment, and when it was durable.
fn stored<'a>(
    calls: &'a [Call],
    files: &Files,
    journal: &Journal,
) -> Result<Vec<Stored<'a>>, TraceError> {
    let mut stored = Vec::new();
    for (call, written, from) in writes(calls) {
        let Some(place) = place_of(&call.file) else {
            continue;
        };
        let batches = batches(&call.bytes).ok_or(TraceError::Content {
            line: call.began,
            what: "what was written to a segment",
        })?;
        for (at, bytes) in batches {
            stored.push(Stored {
                file: &call.file,
                place: place.clone(),
                position: from + at,
                bytes,
                written,
                durable: None,
            });
        }
    }
    stored.sort_by(|a, b| (&a.place, a.position).cmp(&(&b.place, b.position)));
    let mut before: Option<(Place, Option<usize>)> = None;
    for batch in &mut stored {
        let own = durable(batch, files, journal);
        let (directory, topic, partition, _) = &batch.place;
        let partition = (directory.clone(), topic.clone(), *partition, 0);
        let prefix = match &before {
            Some((known, prefix)) if *known == partition => *prefix,
            _ => Some(0),
        };
        batch.durable = own
            .zip(prefix)
            .map(|((own, way), prefix)| (own.max(prefix), way));
        before = Some((partition, batch.durable.map(|(line, _)| line)));
    }
    Ok(stored)
}

/// When a batch by itself was durable, and by which way first. Either way its segment's mark is.
fn durable(batch: &Stored<'_>, files: &Files, journal: &Journal) -> Option<(usize, Way)> {
    let mark = *journal.marks.get(&batch.place)?;
    let carried = journal.carried(&batch.place, batch.position, batch.bytes);
    // What is in a commit was in the segment before (J5).
    let carried = carried.map(|line| (line.max(mark).max(batch.written), Way::Journal));
    let direct = || {
        let synced = files.synced_after(batch.file, batch.written)?;
        let named = files.name_durable(batch.file)?;
        let metadata = format!("{}/partition.metadata", parent(batch.file));
        let metadata = files.content_durable(&metadata)?;
        Some((synced.max(named).max(metadata).max(mark), Way::Direct))
    };
    carried.into_iter().chain(direct()).min()
}
