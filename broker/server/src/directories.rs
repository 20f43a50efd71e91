//! The log directories at a start: which holds the metadata log, which are opened, which are left
//! out.
//!
//! What always holds (`docs/durability.md` A1): every directory is looked at before the first one is
//! changed; the metadata log is found by what a directory holds, never by its place in `log.dirs`,
//! and never begun anew beside data, nor in a directory that was once opened beside it; a directory that the machine fails is left out, and its
//! partitions are offline, but one that belongs elsewhere stops the start; an empty directory is not
//! taken into use while one that holds partitions is missing: it may be that one, not mounted; an old
//! copy of a directory is refused: the metadata know the last generation of every other one, and
//! these that of the one with the metadata log.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_config::BrokerConfig;
use millrace_core::cluster::{Directory, Image};
use millrace_host::Host;
use millrace_log::dir::{DirOptions, Generations, LogDir};
use millrace_log::error::Error;
use millrace_log::partition::{PartitionOptions, Partitions};
use millrace_probe::{Branch, Bug, planted, reached};
use millrace_protocol::ids::TopicId;

use crate::cluster::{MetadataError, is_metadata_name};
use crate::sighting::{ELSEWHERE, Sighting};

/// How many offline partitions a message names.
const NAMED_MAX: usize = 5;

/// Why a start can't use the log directories.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// A log directory, and what to do about it.
    #[error(transparent)]
    Directory(Error),
    /// The machine fails a log directory.
    #[error(
        "log directory {} can't be used: {source}; repair it, or choose another with log.dirs",
        path.display()
    )]
    Unusable {
        /// The log directory.
        path: PathBuf,
        /// What the machine said.
        source: Error,
    },
    /// There is not even room to start.
    #[error(
        "no space left in log directory {}: a start needs some for its journal; free some on that \
         disk, or choose another directory with log.dirs", path.display()
    )]
    Full {
        /// The log directory.
        path: PathBuf,
    },
    /// The metadata log.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// There are data and nothing says whose.
    #[error(
        "log directory {} holds data, but no directory of log.dirs holds the cluster's metadata \
         (__cluster_metadata-0): add the directory that does to log.dirs and mount its disk, or \
         choose empty directories", path.display()
    )]
    MetadataMissing {
        /// A directory with data.
        path: PathBuf,
    },
    /// Two directories say that they hold it: one of them is an old copy.
    #[error(
        "{} and {} both hold a cluster's metadata (__cluster_metadata-0): one of them is a copy or \
         belongs to another cluster; take it out of log.dirs", first.display(), second.display()
    )]
    MetadataTwice {
        /// One of them.
        first: PathBuf,
        /// Another.
        second: PathBuf,
    },
    /// Two directories are the same one: one of them is a copy.
    #[error(
        "{} and {} are one and the same log directory: one of them is a copy; take it out of \
         log.dirs", first.display(), second.display()
    )]
    Twice {
        /// The one that was opened.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// The configuration names none.
    #[error("log.dirs names no directory")]
    NoDirectory,
}

impl StorageError {
    /// What a failure of the directory at `path` is to a start.
    fn of(path: &Path, error: Error) -> Self {
        let error = error.in_directory(path);
        let path = path.to_owned();
        if matches!(error, Error::DiskFull { .. }) {
            return Self::Full { path };
        }
        if matches!(error, Error::Io { .. }) {
            let source = error;
            return Self::Unusable { path, source };
        }
        Self::Directory(error)
    }
}

/// What a look at a directory says.
#[derive(Debug)]
enum Seen {
    /// Nothing is there, or nothing of ours.
    Unformatted,
    /// One of ours.
    Formatted {
        /// With the metadata log.
        metadata: bool,
        /// It was opened beside the one with the metadata log.
        elsewhere: bool,
    },
    /// It can't be looked at.
    Failed(Error),
}

/// The directories of `log.dirs` on the way of being opened.
#[derive(Debug)]
pub(crate) struct Directories {
    host: Host,
    config: Arc<BrokerConfig>,
    /// Not opened yet, in the order of the configuration.
    seen: Vec<(PathBuf, Seen)>,
    /// The cluster that the metadata's directory belongs to.
    pub(crate) cluster_id: Arc<str>,
    /// The first start of the node: nothing can be missing.
    fresh: bool,
    /// The last generation of the metadata log's directory, as the others saw it.
    sighted: Generations,
    /// The directory with the metadata log, once it is open.
    metadata: Option<Sighting>,
    /// What is open.
    pub(crate) opened: BTreeMap<Directory, Partitions>,
}

impl Directories {
    /// Looks at every directory of the configuration; changes none.
    pub(crate) async fn look(host: &Host, config: &Arc<BrokerConfig>) -> Self {
        let mut seen = Vec::new();
        let mut sighted = Generations::new();
        for path in &config.log.dirs {
            let look = look(host, path, &mut sighted).await;
            seen.push((path.clone(), look.unwrap_or_else(Seen::Failed)));
        }
        Self {
            host: host.clone(),
            config: Arc::clone(config),
            seen,
            cluster_id: Arc::from(""),
            fresh: false,
            sighted,
            metadata: None,
            opened: BTreeMap::new(),
        }
    }

    /// Opens the directory of the metadata log; on the first start, which finds no data at all, the
    /// first directory becomes it.
    pub(crate) async fn open_metadata(&mut self) -> Result<(Directory, Partitions), StorageError> {
        let known = |seen: &Seen| matches!(seen, Seen::Formatted { metadata: true, .. });
        let formatted = |seen: &Seen| matches!(seen, Seen::Formatted { .. });
        let mut holders = self.seen.iter().filter(|(_, seen)| known(seen));
        if let (Some((first, _)), Some((second, _))) = (holders.next(), holders.next()) {
            return Err(StorageError::MetadataTwice {
                first: first.clone(),
                second: second.clone(),
            });
        }
        let elsewhere = |seen: &Seen| {
            matches!(
                seen,
                Seen::Formatted {
                    elsewhere: true,
                    ..
                }
            )
        };
        let place = |test: &dyn Fn(&Seen) -> bool| self.seen.iter().position(|(_, s)| test(s));
        let at = match place(&known) {
            Some(at) => at,
            // The one that can't be looked at may be it.
            None => match place(&|seen| matches!(seen, Seen::Failed(_))) {
                Some(at) => at,
                // A first start that was interrupted formats one directory and writes no record.
                None => place(&formatted).unwrap_or(0),
            },
        };
        if at >= self.seen.len() {
            return Err(StorageError::NoDirectory);
        }
        let (path, seen) = self.seen.remove(at);
        let holds_metadata = known(&seen);
        if let Seen::Failed(error) = seen {
            return Err(StorageError::of(&path, error));
        }
        if !holds_metadata && elsewhere(&seen) {
            return Err(StorageError::MetadataMissing { path });
        }
        if !holds_metadata && let Some((path, _)) = self.seen.iter().find(|(_, s)| formatted(s)) {
            return Err(StorageError::MetadataMissing { path: path.clone() });
        }
        let opened = self.open(&path, None, &self.sighted).await;
        let (dir, is_new) = opened.map_err(|error| StorageError::of(&path, error))?;
        if !holds_metadata && !dir.written().is_empty() {
            return Err(StorageError::MetadataMissing { path });
        }
        self.fresh = is_new;
        self.cluster_id = dir.cluster_id().into();
        self.metadata = Some(Sighting::of(&dir));
        Ok(self.take_in(dir))
    }

    /// Opens the others, now that `image` says where partitions lie.
    pub(crate) async fn open_others(&mut self, image: &Image) -> Result<(), StorageError> {
        let mut known = Generations::new();
        if let Some(broker) = image.broker(self.config.node.id) {
            let generations = broker.generations.iter();
            known.extend(generations.map(|(id, generation)| (id.to_bytes(), *generation)));
        }
        let mut unformatted = Vec::new();
        for (path, seen) in std::mem::take(&mut self.seen) {
            match seen {
                Seen::Formatted { .. } => self.open_other(&path, &known).await?,
                Seen::Unformatted => unformatted.push(path),
                Seen::Failed(error) => self.leave_out(&path, error)?,
            }
        }
        let missing = self.tell_missing(image);
        for path in unformatted {
            if missing && !planted(Bug::EmptyDirectoryTakenForNew) {
                reached(Branch::EmptyLeftAlone);
                tracing::error!(
                    path = %path.display(),
                    "the log directory is empty while one that holds partitions is missing, so it \
                     is left alone: mount the disk that belongs there, or delete the topics whose \
                     partitions are missing, then start again"
                );
            } else {
                self.open_other(&path, &known).await?;
            }
        }
        Ok(())
    }

    async fn open_other(&mut self, path: &Path, known: &Generations) -> Result<(), StorageError> {
        let cluster_id = Arc::clone(&self.cluster_id);
        match self.open(path, Some(&cluster_id), known).await {
            Ok((dir, _)) => {
                if let Some(twin) = self.opened.get(&TopicId::from_bytes(dir.id())) {
                    return Err(StorageError::Twice {
                        first: twin.dir().path().clone(),
                        second: path.to_owned(),
                    });
                }
                if let Some(sighting) = self.metadata {
                    sighting.mark(&self.host, &dir).await;
                }
                self.take_in(dir);
                Ok(())
            }
            Err(error) => self.leave_out(path, error),
        }
    }

    /// A directory that the machine fails is done without; one that is a mistake of the
    /// configuration is not, nor any at the first start.
    fn leave_out(&self, path: &Path, error: Error) -> Result<(), StorageError> {
        match error {
            Error::InUse { .. } | Error::Foreign { .. } | Error::OtherFormat { .. } => {
                return Err(StorageError::of(path, error));
            }
            _ if self.fresh => return Err(StorageError::of(path, error)),
            Error::Io { .. }
            | Error::OldCopy { .. }
            | Error::BadFile { .. }
            | Error::Offline { .. }
            | Error::Access { .. }
            | Error::Corrupt { .. }
            | Error::DiskFull { .. }
            | Error::PartitionOffline { .. } => {}
        }
        reached(Branch::DirectoryLeftOut);
        tracing::error!(
            path = %path.display(), %error,
            "a log directory can't be used; its partitions are offline until a start that can"
        );
        Ok(())
    }

    /// The directories that are open, with their generations.
    pub(crate) fn generations(&self) -> BTreeMap<Directory, u64> {
        let opened = self.opened.iter();
        opened
            .map(|(id, partitions)| (*id, partitions.dir().generation()))
            .collect()
    }

    async fn open(
        &self,
        path: &Path,
        cluster: Option<&str>,
        known: &Generations,
    ) -> Result<(Arc<LogDir>, bool), Error> {
        let options = options(&self.config, cluster);
        let opened = LogDir::open_known(self.host.clone(), path, options, known);
        let (dir, report) = opened.await?;
        if report.replayed_bytes > 0 || report.dirty > 0 {
            tracing::info!(
                path = %path.display(), replayed_bytes = report.replayed_bytes, dirty = report.dirty,
                "the last run did not end cleanly; partitions recover at their first use"
            );
        }
        for (incarnation, reason) in &report.damaged {
            tracing::error!(%incarnation, reason, "a partition is damaged and stays offline");
        }
        Ok((dir, report.formatted))
    }

    fn take_in(&mut self, dir: Arc<LogDir>) -> (Directory, Partitions) {
        let id = TopicId::from_bytes(dir.id());
        let options = PartitionOptions {
            open_segments_max: self.config.log.open_files_max as usize,
            cut_keep_bytes: self.config.log.cut_keep_bytes,
        };
        let partitions = Partitions::new(dir, self.host.clone(), options);
        self.opened.insert(id, partitions.clone());
        (id, partitions)
    }

    /// Says which directories hold partitions of this node and aren't open; whether there are any.
    fn tell_missing(&self, image: &Image) -> bool {
        let mut missing: BTreeMap<Directory, Vec<String>> = BTreeMap::new();
        for topic in image.topics_by_name() {
            for (index, partition) in &topic.partitions {
                let directory = partition.directory_of(self.config.node.id);
                if let Some(id) = directory.filter(|id| !self.opened.contains_key(id)) {
                    let name = format!("{}-{index}", topic.name);
                    missing.entry(id).or_default().push(name);
                }
            }
        }
        for (directory, partitions) in &missing {
            reached(Branch::DirectoryAbsent);
            let first = &partitions[..partitions.len().min(NAMED_MAX)];
            tracing::error!(
                %directory, partitions = partitions.len(), first = %first.join(", "),
                "a log directory that holds partitions is missing; they are offline until it is \
                 back: mount its disk, and name it in log.dirs"
            );
        }
        !missing.is_empty()
    }
}

async fn look(host: &Host, path: &Path, sighted: &mut Generations) -> Result<Seen, Error> {
    let names = LogDir::names(host.disk.as_ref(), path).await?;
    if !names.is_formatted {
        return Ok(Seen::Unformatted);
    }
    let elsewhere = names.names.iter().any(|name| name == ELSEWHERE);
    if elsewhere {
        Sighting::read(host, path, sighted).await?;
    }
    Ok(Seen::Formatted {
        metadata: names.names.iter().any(|name| is_metadata_name(name)),
        elsewhere,
    })
}

fn options(config: &BrokerConfig, cluster_id: Option<&str>) -> DirOptions {
    let log = &config.log;
    DirOptions {
        cluster_id: cluster_id.map(ToOwned::to_owned),
        node_id: config.node.id,
        flush_lag: log.flush_lag,
        unflushed_bytes_max: log.unflushed_bytes_max,
        reserve_bytes: log.reserve_bytes,
        journal_initial_bytes: log.journal_initial_bytes,
        journal_file_bytes_max: log.journal_file_bytes_max,
        direct_sync_bytes: log.direct_sync_bytes,
        unsettled_files_max: log.open_files_max as usize / 2,
    }
}
