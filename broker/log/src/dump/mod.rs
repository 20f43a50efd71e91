//! `millrace dump-log`: what stands in the files of a log directory, item by item, for people and
//! for scripts.
//!
//! What always holds: nothing is written, not even a lock; a file is read a piece at a time, never
//! more of it at once than one batch or commit needs; whatever isn't as its format says is told where
//! it stands, and what follows it is not guessed at.

mod directory;
mod index;
mod line;
mod segment;
mod state;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use millrace_host::{Disk, EntryKind, File, Host, OpenMode};

use crate::dir::format;
use crate::epoch_checkpoint;
use crate::error::Error;
use crate::journal::file as journal_file;
use crate::ledger::file as ledger_file;
use crate::partition_metadata;
use crate::segment::names;

pub use line::{Line, Value};

/// Longest file that is read whole: everything but segments, indexes and journals.
const WHOLE_LEN_MAX: u64 = 256 << 20;

/// Directories of the metadata log: their records are Kafka's metadata records.
const METADATA_LOG: &str = "__cluster_metadata-";

/// What to show.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Every record, not only the batches' headers.
    pub records: bool,
    /// Records are metadata records; those of the metadata log always are.
    pub metadata: bool,
    /// Batches whose records all lie below this offset are left out.
    pub from_offset: i64,
    /// Most batches that are shown of one file.
    pub batches_max: u64,
    /// Most bytes that one compressed batch may become.
    pub inflated_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            records: false,
            metadata: false,
            from_offset: 0,
            batches_max: u64::MAX,
            inflated_bytes_max: 1 << 30,
        }
    }
}

/// Who takes the lines, one by one.
pub type Sink<'a> = dyn FnMut(&Line) -> io::Result<()> + Send + 'a;

/// One dump on its way.
struct Dump<'a> {
    disk: &'a dyn Disk,
    options: Options,
    sink: &'a mut Sink<'a>,
    /// Everything was as its format says.
    sound: bool,
}

/// Shows the file at `path`, or those of a partition's or a log directory. Answers whether
/// everything was as its format says.
///
/// # Errors
///
/// When it can't be read, isn't a file of ours, or `sink` fails.
pub async fn dump<'a>(
    host: &'a Host,
    path: &Path,
    options: Options,
    sink: &'a mut Sink<'a>,
) -> Result<bool, Error> {
    let mut dump = Dump {
        disk: host.disk.as_ref(),
        options,
        sink,
        sound: true,
    };
    match dump.disk.list(path).await {
        Ok(entries) => {
            let mut files: Vec<PathBuf> = entries
                .into_iter()
                .filter(|entry| entry.kind == EntryKind::File)
                .map(|entry| path.join(entry.name))
                .filter(|file| Kind::of(file).is_some())
                .collect();
            files.sort();
            if files.is_empty() {
                let what = format!("{} holds no file of a log directory", path.display());
                return Err(Error::BadFile { what });
            }
            for file in files {
                dump.file(&file).await?;
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => dump.file(path).await?,
        Err(error) => return Err(Error::io("open", path)(error)),
    }
    Ok(dump.sound)
}

/// What a file is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Segment,
    MetadataSnapshot,
    OffsetIndex,
    TimeIndex,
    Producers,
    KafkaProducers,
    Epochs,
    Identity,
    Format,
    Ledger,
    Journal,
    Slots,
}

impl Kind {
    fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        if let Some((_, suffix)) = names::parse(name) {
            // What was cut away, is being cleaned or waits to be removed is still a segment.
            let ends = [names::DELETED, names::SWAP, names::CLEANED];
            let mut stripped = ends.iter().filter_map(|end| suffix.strip_suffix(end));
            let suffix = stripped.next().unwrap_or(suffix);
            return match suffix {
                names::LOG => Some(Self::Segment),
                names::INDEX => Some(Self::OffsetIndex),
                names::TIME_INDEX => Some(Self::TimeIndex),
                names::PRODUCERS => Some(Self::Producers),
                names::SNAPSHOT => Some(Self::KafkaProducers),
                suffix if suffix.ends_with("cut") => Some(Self::Segment),
                _ => None,
            };
        }
        match name {
            epoch_checkpoint::FILE_NAME => Some(Self::Epochs),
            partition_metadata::FILE_NAME => Some(Self::Identity),
            format::NAME => Some(Self::Format),
            crate::dir::SLOTS | crate::dir::METADATA_ELSEWHERE => Some(Self::Slots),
            name if ledger_file::NAMES.contains(&name) => Some(Self::Ledger),
            name if journal_file::parse_name(name).is_some() => Some(Self::Journal),
            name if name.ends_with(".checkpoint") => Some(Self::MetadataSnapshot),
            _ => None,
        }
    }
}

impl Dump<'_> {
    async fn file(&mut self, path: &Path) -> Result<(), Error> {
        let Some(kind) = Kind::of(path) else {
            let what = format!(
                "{} is no file that a log directory has: name a segment, an index, a snapshot, a \
                 ledger or a journal, or a directory of them",
                path.display()
            );
            return Err(Error::BadFile { what });
        };
        let file = self.disk.open(path, OpenMode::Read);
        let file = file.map_err(Error::io("open", path))?;
        let shown = path.display().to_string();
        self.say(&Line::new("file").text("path", shown))?;
        match kind {
            Kind::Segment => self.segment(&file, holds_metadata(path)).await,
            Kind::MetadataSnapshot => self.segment(&file, true).await,
            Kind::OffsetIndex => self.offset_index(&file).await,
            Kind::TimeIndex => self.time_index(&file).await,
            Kind::Producers => self.producers(&file).await,
            Kind::KafkaProducers => self.kafka_producers(&file).await,
            Kind::Epochs => self.epochs(&file).await,
            Kind::Identity => self.identity(&file).await,
            Kind::Format => self.format(&file).await,
            Kind::Slots => self.slots(&file).await,
            Kind::Ledger => self.ledger(&file).await,
            Kind::Journal => self.journal(&file).await,
        }
    }

    fn say(&mut self, line: &Line) -> Result<(), Error> {
        (self.sink)(line).map_err(Error::io("write to", Path::new("standard output")))
    }

    /// Says that something isn't as its format says.
    fn complain(&mut self, position: u64, what: impl Into<String>) -> Result<(), Error> {
        self.sound = false;
        let line = Line::new("damage").unsigned("position", position);
        self.say(&line.text("what", what))
    }

    async fn whole(file: &Arc<dyn File>) -> Result<Bytes, Error> {
        let len = length(file)?;
        if len > WHOLE_LEN_MAX {
            let path = file.path().display();
            let what = format!("{path} has {len} bytes, no file of its kind has so many");
            return Err(Error::BadFile { what });
        }
        let read = file.read_at(0, len as usize).await;
        read.map_err(Error::io("read", file.path()))
    }
}

fn length(file: &Arc<dyn File>) -> Result<u64, Error> {
    file.len().map_err(Error::io("measure", file.path()))
}

/// Whether a segment belongs to the metadata log, by its directory's name.
fn holds_metadata(path: &Path) -> bool {
    let directory = path.parent().and_then(Path::file_name);
    let name = directory.and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with(METADATA_LOG))
}

#[cfg(test)]
mod tests;
