//! Where logs are stored, when they become durable, and what storage may hold open or keep back.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::ConfigError;
use crate::key::{Check, Key, Kind};
use crate::values::Values;

pub(crate) const KEYS: &[Key] = &[
    Key::kafka(
        "log.dirs",
        Kind::List,
        None,
        "The directories that hold the data; beats log.dir.",
    )
    .check(Check::NotEmpty),
    Key::kafka(
        "log.dir",
        Kind::Text,
        Some("./millrace-data"),
        "The directory that holds the data, when log.dirs does not name several.",
    )
    .check(Check::NotEmpty),
    Key::kafka(
        "log.retention.check.interval.ms",
        Kind::Long,
        Some("300000"),
        "Time from one look for segments whose retention has ended to the next.",
    )
    .check(Check::AtLeast(1)),
    Key::own(
        "log.flush.lag.ms",
        Kind::Int,
        "20",
        "No byte of a durability=fsync topic stays unflushed longer than this.",
    )
    .check(Check::Between(1, 60_000)),
    Key::own(
        "log.sync.timeout.ms",
        Kind::Int,
        "30000",
        "A sync that has not returned after this time has failed, and its log directory with it.",
    )
    .check(Check::Between(100, 3_600_000)),
    Key::own(
        "log.unflushed.bytes.max",
        Kind::Long,
        "67108864",
        "Most unflushed bytes in one directory; past it, connections are not read.",
    )
    .check(Check::AtLeast(1 << 20)),
    Key::own(
        "log.dir.reserve.bytes",
        Kind::Long,
        "67108864",
        "Space kept back in each directory so that deletes and metadata work on a full disk.",
    )
    .check(Check::AtLeast(0)),
    Key::own(
        "log.cut.keep.bytes",
        Kind::Long,
        "268435456",
        "Most bytes that recovery keeps aside in .cut files, per directory; 0 keeps none.",
    )
    .check(Check::AtLeast(0)),
    Key::own(
        "log.journal.initial.bytes",
        Kind::Long,
        "1048576",
        "Size of a new journal file.",
    )
    .check(Check::Between(1 << 20, 1 << 30)),
    Key::own(
        "log.journal.file.bytes.max",
        Kind::Long,
        "134217728",
        "Size that each of a directory's two journal files may grow to.",
    )
    .check(Check::Between(1 << 20, 1 << 30)),
    Key::own(
        "log.direct.sync.bytes",
        Kind::Long,
        "65536",
        "An unflushed range of at least this is synced in its segment, a smaller one journaled.",
    )
    .check(Check::AtLeast(4096)),
    Key::own(
        "log.open.files.max",
        Kind::Int,
        "16384",
        "Most segments kept open at once in a log directory, a file each, two while a partition is new or the \
         index of a segment that grows is looked up. Half of them may hold what is not settled before it is \
         settled early, half what a page-cache topic has not rolled. A start lowers it to what the process \
         may open.",
    )
    .check(Check::AtLeast(16)),
    Key::kafka(
        "num.replica.alter.log.dirs.threads",
        Kind::Int,
        None,
        "How many replicas move between log directories at once; as many as there are directories \
         when it is not set.",
    )
    .check(Check::AtLeast(1)),
    Key::kafka(
        "replica.alter.log.dirs.io.max.bytes.per.second",
        Kind::Long,
        Some("9223372036854775807"),
        "Most bytes that moves between log directories copy in a second, all of them together.",
    )
    .check(Check::AtLeast(0))
    .dynamic(),
];

/// Storage of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// `log.dirs`, or else `log.dir`: at least one, none twice, in the order given.
    pub dirs: Vec<PathBuf>,
    /// `log.retention.check.interval.ms`.
    pub retention_check_interval: Duration,
    /// `log.flush.lag.ms`.
    pub flush_lag: Duration,
    /// `log.sync.timeout.ms`: a disk that hangs for this long has failed.
    pub sync_timeout: Duration,
    /// `log.unflushed.bytes.max`, per directory.
    pub unflushed_bytes_max: u64,
    /// `log.dir.reserve.bytes`, per directory.
    pub reserve_bytes: u64,
    /// `log.cut.keep.bytes`, per directory.
    pub cut_keep_bytes: u64,
    /// `log.journal.initial.bytes`: at most `journal_file_bytes_max`.
    pub journal_initial_bytes: u64,
    /// `log.journal.file.bytes.max`, per journal file.
    pub journal_file_bytes_max: u64,
    /// `log.direct.sync.bytes`: at most a quarter of `journal_file_bytes_max`.
    pub direct_sync_bytes: u64,
    /// `log.open.files.max`.
    pub open_files_max: u32,
    /// `num.replica.alter.log.dirs.threads`; by default one for each of `dirs`.
    pub moves_at_once: u32,
    /// `replica.alter.log.dirs.io.max.bytes.per.second`; 0 stops all of them.
    pub move_bytes_per_second_max: u64,
}

impl LogConfig {
    pub(crate) fn read(values: &Values) -> Result<Self, ConfigError> {
        let dirs = dirs(values)?;
        let threads = "num.replica.alter.log.dirs.threads";
        let moves_at_once = match values.effective(threads) {
            Some(_) => values.count32(threads),
            None => u32::try_from(dirs.len()).unwrap_or(u32::MAX),
        };
        Ok(Self {
            dirs,
            moves_at_once,
            move_bytes_per_second_max: values
                .count("replica.alter.log.dirs.io.max.bytes.per.second"),
            retention_check_interval: values.millis("log.retention.check.interval.ms"),
            flush_lag: values.millis("log.flush.lag.ms"),
            sync_timeout: values.millis("log.sync.timeout.ms"),
            unflushed_bytes_max: values.count("log.unflushed.bytes.max"),
            reserve_bytes: values.count("log.dir.reserve.bytes"),
            cut_keep_bytes: values.count("log.cut.keep.bytes"),
            journal_initial_bytes: values.count("log.journal.initial.bytes"),
            journal_file_bytes_max: values.count("log.journal.file.bytes.max"),
            direct_sync_bytes: values.count("log.direct.sync.bytes"),
            open_files_max: values.count32("log.open.files.max"),
        })
    }
}

fn dirs(values: &Values) -> Result<Vec<PathBuf>, ConfigError> {
    let names = ["log.dirs", "log.dir"];
    let key = values
        .strongest(names.into_iter())
        .map_or("log.dir", |(key, _)| key);
    let dirs: Vec<PathBuf> = if key == "log.dirs" {
        values
            .list(key)
            .unwrap_or_default()
            .into_iter()
            .map(PathBuf::from)
            .collect()
    } else {
        values.text(key).map(PathBuf::from).into_iter().collect()
    };
    // Paths compare by components, so that `a` and `a/` count as one.
    let distinct: BTreeSet<_> = dirs.iter().collect();
    if distinct.len() != dirs.len() {
        return Err(values.refuse(key, "each directory once"));
    }
    // One that lies in another looks there like a partition's, or like somebody else's. By
    // components, too, each stands directly behind the one that it lies in, or behind its like.
    let mut above: Option<&PathBuf> = None;
    for dir in distinct {
        if above.is_some_and(|above| dir.starts_with(above)) {
            return Err(values.refuse(key, "directories none of which lies in another"));
        }
        above = Some(dir);
    }
    Ok(dirs)
}
