//! What a node is sized by: processors, memory and open files, each with who gives it; and fitting a
//! configuration to them.
//!
//! What always holds: what somebody set in the configuration stays as it was set, but for what the
//! limit on open files leaves no room for; `serve` and `doctor` say the same.

use millrace_config::{BrokerConfig, ConfigError};
use millrace_host::real::{self, Share};
use serde_json::{Value, json};

/// Open files that the broker asks for: connections, segments and their indexes.
const OPEN_FILES_WANTED: u64 = 1 << 20;

/// Open files without which there is no serving: journal, metadata, listeners, a few of each kind.
pub(crate) const OPEN_FILES_MIN: u64 = 128;

/// The last descriptors, which no connection takes: for what is neither a connection nor a segment.
const OPEN_FILES_RESERVE: u64 = 64;

/// Descriptors of an open segment: the log, and the metadata of a partition that is new or an index that
/// is looked up while it grows.
const SEGMENT_FILES: u64 = 2;

/// Why a configuration can't be fitted to the machine.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// Too few files may be open.
    OpenFiles(String),
    /// What was chosen for the memory there is doesn't go together with what was set.
    Memory(ConfigError),
}

/// What this machine gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    /// Processors at once.
    processors: Share,
    /// Bytes of memory, where the machine says so.
    memory: Option<Share>,
    /// How many files may be open.
    open_files: u64,
    /// How many could be, before the limit was raised.
    open_files_before: u64,
}

impl Machine {
    /// Looks, and raises the limit on open files as far as may be.
    pub(crate) fn taken() -> Self {
        let before = real::open_files().soft;
        if let Err(error) = real::raise_open_files(OPEN_FILES_WANTED) {
            tracing::warn!(%error, "the limit on open files stays as it is");
        }
        Self {
            open_files: real::open_files().soft,
            ..Self::seen(before)
        }
    }

    /// Looks only: what a start would raise the limit on open files to.
    pub(crate) fn looked_at() -> Self {
        let files = real::open_files();
        Self {
            open_files: OPEN_FILES_WANTED.min(files.hard).max(files.soft),
            ..Self::seen(files.soft)
        }
    }

    fn seen(open_files: u64) -> Self {
        Self {
            processors: real::processors(),
            memory: real::memory_limit(),
            open_files,
            open_files_before: open_files,
        }
    }

    /// The threads of a node here.
    pub(crate) fn threads(&self) -> real::Options {
        real::Options {
            descriptor_reserve: OPEN_FILES_RESERVE,
            ..real::Options::for_processors(self.processors.amount)
        }
    }

    /// `config` as it is served here. Limits on memory that were lowered are told.
    pub(crate) fn fit(&self, mut config: BrokerConfig) -> Result<BrokerConfig, Unfit> {
        fit_open_files(&mut config, self.open_files).map_err(Unfit::OpenFiles)?;
        let memory = self.memory.as_ref().map(|memory| memory.amount);
        fit_memory(config, memory).map_err(Unfit::Memory)
    }

    /// What a node with this configuration, which was fitted, gets: a line for each of processors,
    /// memory and open files.
    pub(crate) fn lines(&self, config: &BrokerConfig) -> [String; 3] {
        let (network, log) = (&config.network, &config.log);
        let count = self.processors.amount;
        let noun = if count == 1 {
            "processor"
        } else {
            "processors"
        };
        let threads = self.threads().data_workers;
        let processors = format!(
            "{count} {noun} ({}): {threads} data threads",
            self.processors.from
        );
        let memory = self.memory.as_ref().map_or_else(
            || "memory of unknown size".to_owned(),
            |memory| format!("{} of memory ({})", size(memory.amount), memory.from),
        );
        let memory = format!(
            "{memory}: {} for requests, {} for answers, {} unflushed in each log directory",
            size(network.queued_bytes_max),
            size(network.response_bytes_max),
            size(log.unflushed_bytes_max)
        );
        let raised = if self.open_files > self.open_files_before {
            format!("raised from {}", self.open_files_before)
        } else {
            "as it was".to_owned()
        };
        let files = format!(
            "{} open files ({raised}): {} segments in each log directory, {} connections",
            self.open_files, log.open_files_max, network.connections_max
        );
        [processors, memory, files]
    }

    /// The same for machines.
    pub(crate) fn fields(&self, config: &BrokerConfig) -> Value {
        let (network, log) = (&config.network, &config.log);
        json!({
            "processors": self.processors.amount,
            "processors_from": self.processors.from.to_string(),
            "data_threads": self.threads().data_workers,
            "memory_bytes": self.memory.as_ref().map(|memory| memory.amount),
            "memory_from": self.memory.as_ref().map(|memory| memory.from.to_string()),
            "request_bytes_max": network.queued_bytes_max,
            "response_bytes_max": network.response_bytes_max,
            "unflushed_bytes_max": log.unflushed_bytes_max,
            "open_files": self.open_files,
            "open_files_before": self.open_files_before,
            "segments_max": log.open_files_max,
            "connections_max": network.connections_max,
        })
    }
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = UNITS.into_iter().find(|(_, shift)| bytes >> shift > 0);
    let Some((unit, shift)) = unit else {
        return format!("{bytes} bytes");
    };
    let tenths = (u128::from(bytes) * 10) >> shift;
    match (tenths / 10, tenths % 10) {
        (whole, 0) => format!("{whole} {unit}"),
        (whole, tenth) => format!("{whole}.{tenth} {unit}"),
    }
}

/// Lets no more connections in than there are open files for, so that logs never go without.
fn fit_open_files(config: &mut BrokerConfig, open_files: u64) -> Result<(), String> {
    if open_files < OPEN_FILES_MIN {
        return Err(format!(
            "at most {open_files} files may be open at once, and a broker needs {OPEN_FILES_MIN}: \
             raise the limit (ulimit -n, or LimitNOFILE= of its service)"
        ));
    }
    // Each directory has as many segments open.
    let of_segment = SEGMENT_FILES * config.log.dirs.len() as u64;
    let segments = u32::try_from(open_files / 3 / of_segment).unwrap_or(u32::MAX);
    config.log.open_files_max = config.log.open_files_max.min(segments.max(1));
    let for_logs = u64::from(config.log.open_files_max) * of_segment;
    let room = open_files.saturating_sub(for_logs + OPEN_FILES_RESERVE);
    let room = u32::try_from(room).unwrap_or(u32::MAX).max(1);
    config.network.connections_max = config.network.connections_max.min(room);
    Ok(())
}

/// Where there is little memory, limits on it that nobody set are a share of what there is.
fn fit_memory(config: BrokerConfig, memory: Option<u64>) -> Result<BrokerConfig, ConfigError> {
    let Some(memory_bytes) = memory else {
        return Ok(config);
    };
    let (mut fitted, lowered) = config.fit_memory(memory_bytes)?;
    if lowered.is_empty() {
        return Ok(config);
    }
    // What the limit on open files left.
    fitted.log.open_files_max = fitted.log.open_files_max.min(config.log.open_files_max);
    fitted.network.connections_max = config.network.connections_max;
    let lowered: Vec<_> = lowered
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    tracing::info!(
        memory_bytes,
        "limits chosen for the memory there is, since nobody set them: {}",
        lowered.join(", ")
    );
    Ok(fitted)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use millrace_host::real::Giver;

    use super::*;

    #[test]
    fn little_memory_lowers_limits_and_leaves_those_on_open_files() {
        let mut config = BrokerConfig::default();
        fit_open_files(&mut config, 1024).unwrap();
        let same = fit_memory(config.clone(), Some(64 << 30)).unwrap();
        assert_eq!(same, config);
        assert_eq!(fit_memory(config.clone(), None).unwrap(), config);
        let fitted = fit_memory(config.clone(), Some(64 << 20)).unwrap();
        assert!(fitted.network.queued_bytes_max < config.network.queued_bytes_max);
        assert!(fitted.log.open_files_max <= config.log.open_files_max);
        assert_eq!(
            fitted.network.connections_max,
            config.network.connections_max
        );
    }

    #[test]
    fn connections_leave_open_files_for_logs() {
        let fitted = |open_files| {
            let mut config = BrokerConfig::default();
            fit_open_files(&mut config, open_files)
                .map(|()| (config.network.connections_max, config.log.open_files_max))
        };
        assert_eq!(fitted(20_000), Ok((20_000 - 2 * 3333 - 64, 3333)));
        assert_eq!(fitted(1024), Ok((1024 - 2 * 170 - 64, 170)));
        assert_eq!(fitted(128), Ok((128 - 2 * 21 - 64, 21)));
        assert_eq!(fitted(u64::MAX), Ok((u32::MAX >> 1, 16_384)));
        assert!(fitted(127).unwrap_err().contains("ulimit -n"));
    }

    #[test]
    fn what_a_node_gets_is_told_with_who_gives_it() {
        let group = |file: &str| Giver::Group(PathBuf::from(file));
        let machine = Machine {
            processors: Share {
                amount: 1,
                from: group("/g/cpu.max"),
            },
            memory: Some(Share {
                amount: 120 << 20,
                from: group("/g/memory.max"),
            }),
            open_files: 4096,
            open_files_before: 1024,
        };
        let config = machine.fit(BrokerConfig::default()).unwrap();
        let expected = [
            "1 processor (by /g/cpu.max): 4 data threads",
            "120 MiB of memory (by /g/memory.max): 20 MiB for requests, 10 MiB for answers, 20 MiB \
             unflushed in each log directory",
            "4096 open files (raised from 1024): 682 segments in each log directory, 2668 connections",
        ];
        assert_eq!(machine.lines(&config), expected);
        let fields = machine.fields(&config);
        assert_eq!(fields["memory_from"], "by /g/memory.max");
        assert_eq!(fields["data_threads"], 4);
    }

    #[test]
    fn sizes_are_short() {
        let sizes = [0, 1023, 1024, 1536, 7 << 30, (7 << 30) + (3 << 28), 1 << 40];
        let shown: Vec<_> = sizes.into_iter().map(size).collect();
        let expected = [
            "0 bytes",
            "1023 bytes",
            "1 KiB",
            "1.5 KiB",
            "7 GiB",
            "7.7 GiB",
            "1 TiB",
        ];
        assert_eq!(shown, expected);
    }
}
