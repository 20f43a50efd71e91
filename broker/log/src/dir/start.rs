//! Opening a log directory: format or lock, load, fold, replay, begin a new generation.
//!
//! What always holds: nothing is written before the lock is held; *unreadable* is never taken for
//! *empty* (L3); an earlier generation's files are left as they are until what they hold is settled
//! (J4). Syncs in series: one round, files and names side by side (R9).

use std::io;
use std::path::Path;
use std::sync::Arc;

use millrace_host::{DirEntry, Disk, EntryKind, Host, LockGuard, OpenMode};
use millrace_probe::{Branch, Bug, planted, reached};

use crate::dir::format::{self, Format, Read};
use crate::dir::history::History;
use crate::dir::replay::{self, Replayed};
use crate::dir::steps::{Loaded, Made, Start, parent};
use crate::dir::{DirOptions, Generations, LogDir, SLOTS, StartReport};
use crate::error::{ACCEPT_JOURNAL_LOSS, ACCEPT_OLD_COPY, Error};
use crate::flusher::reclaim::Retired;
use crate::journal::file;
use crate::journal::reader;
use crate::ledger::file::{
    Found, LedgerFiles, NAMES as LEDGERS, Newest, read as read_ledger, unreadable,
};
use crate::ledger::{Ledger, Run};
use crate::slots::SlotFile;

/// Room the ledger files get when they are made.
const LEDGER_FIRST_LEN: u64 = 64 * 1024;

/// What the names in the directory say.
enum Kind {
    /// Nothing, or what an interrupted format left.
    Empty,
    /// One of ours.
    Ours(Format),
}

/// See [`LogDir::open`].
pub(super) async fn open(
    host: Host,
    path: &Path,
    options: DirOptions,
    known: &Generations,
) -> Result<(Arc<LogDir>, StartReport), Error> {
    let start = Start {
        host,
        path: path.to_owned(),
        options,
    };
    let mut made = Made::default();
    start.make_dir(&mut made)?;
    let names = start.list().await?;
    match start.kind(&names).await? {
        Kind::Empty => {
            let lock = start.lock()?;
            start.clear(&names).await?;
            start.format(lock, made).await
        }
        Kind::Ours(format) => {
            format.check(path, &start.options)?;
            let lock = start.lock()?;
            let known = known.get(&format.dir_id).copied().unwrap_or(0);
            start.load(format, lock, made, known).await
        }
    }
}

impl Start {
    pub(super) fn disk(&self) -> &dyn Disk {
        self.host.disk.as_ref()
    }

    fn foreign(&self, reason: &str) -> Error {
        Error::Foreign {
            path: self.path.clone(),
            reason: reason.to_owned(),
        }
    }

    /// Makes the directory and those above it; whatever is made has its entry synced (R8).
    fn make_dir(&self, made: &mut Made) -> Result<(), Error> {
        let mut missing = vec![self.path.clone()];
        while let Some(dir) = missing.last() {
            match self.disk().create_dir(dir) {
                Ok(()) => {
                    made.dirs.push(parent(dir));
                    missing.pop();
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    missing.pop();
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let above = parent(dir);
                    if above == *dir {
                        return Err(Error::access(&self.path, "create", dir, error));
                    }
                    missing.push(above);
                }
                Err(error) => {
                    return Err(Error::access(&self.path, "create", dir, error));
                }
            }
        }
        Ok(())
    }

    async fn list(&self) -> Result<Vec<DirEntry>, Error> {
        let listed = self.disk().list(&self.path).await;
        listed.map_err(|error| Error::access(&self.path, "list", &self.path, error))
    }

    fn lock(&self) -> Result<Box<dyn LockGuard>, Error> {
        format::lock(self.disk(), &self.path)
    }

    /// Ours, empty, or somebody else's.
    async fn kind(&self, names: &[DirEntry]) -> Result<Kind, Error> {
        let only_format = names.iter().all(|entry| is_format_name(&entry.name));
        match format::read(self.disk(), &self.path).await? {
            Some(Read::Other(found)) => Err(format::refused(self.disk(), &self.path, found).await),
            Some(Read::Format(format)) => {
                let unfinished = only_format
                    && matches!(
                        read_ledger(self.disk(), &self.path, format.dir_id).await?,
                        Found::Unreadable
                    )
                    && self.no_commits(names).await?;
                Ok(if unfinished {
                    Kind::Empty
                } else {
                    Kind::Ours(format)
                })
            }
            // A format cut short: nothing but its own files, and no commit in them.
            Some(Read::Bad) | None if only_format && self.no_commits(names).await? => {
                Ok(Kind::Empty)
            }
            Some(Read::Bad) => Err(Error::Corrupt {
                what: format!("{} is damaged", self.path.join(format::NAME).display()),
            }),
            None if names.iter().any(|entry| entry.name == format::META) => Err(self.foreign(
                "it holds the data of an Apache Kafka broker; choose another directory with \
                 log.dirs",
            )),
            None => Err(self.foreign(
                "it isn't empty and holds no Millrace data; choose an empty directory with \
                 log.dirs",
            )),
        }
    }

    /// No block of any journal file looks like a commit.
    async fn no_commits(&self, names: &[DirEntry]) -> Result<bool, Error> {
        for entry in names
            .iter()
            .filter(|entry| file::parse_name(&entry.name).is_some())
        {
            if reader::holds_commits(self.disk(), &self.path.join(&entry.name)).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes what an interrupted format left.
    async fn clear(&self, names: &[DirEntry]) -> Result<(), Error> {
        for entry in names {
            let keep = entry.name == format::LOCK || entry.kind != EntryKind::File;
            if !keep {
                reached(Branch::FormatCutShort);
                let path = self.path.join(&entry.name);
                self.disk()
                    .remove(&path)
                    .await
                    .map_err(Error::io("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Makes an empty directory one of ours.
    async fn format(
        self,
        lock: Box<dyn LockGuard>,
        mut made: Made,
    ) -> Result<(Arc<LogDir>, StartReport), Error> {
        reached(Branch::DirectoryFormatted);
        let mut dir_id = [0; 16];
        self.host.rng.fill(&mut dir_id);
        // A version 4 UUID, as Kafka's directory ids are.
        dir_id[6] = (dir_id[6] & 0x0f) | 0x40;
        dir_id[8] = (dir_id[8] & 0x3f) | 0x80;
        let cluster_id = self.options.cluster_id.clone();
        let format = Format {
            dir_id,
            node_id: self.options.node_id,
            cluster_id: cluster_id.unwrap_or_else(|| format::draw_id(self.host.rng.as_ref())),
        };
        let run = self.run(1);
        let mut ledger = Ledger::default();
        ledger.start(run.clone());
        let ledger_files = LedgerFiles::open(self.disk(), &self.path, dir_id, Newest::NONE)?;
        ledger_files.allocate(LEDGER_FIRST_LEN).map_err(|error| {
            Error::access(&self.path, "make room for the ledger in", &self.path, error)
        })?;
        ledger_files.write_first(&ledger)?;
        made.files.extend(ledger_files.files().iter().cloned());
        for (name, bytes) in [
            (format::NAME, format.encode()),
            (format::META, format.meta_properties().into_bytes()),
        ] {
            made.files.push(format::write_file(
                self.disk(),
                &self.path.join(name),
                &bytes,
            )?);
        }
        let loaded = Loaded {
            ledger,
            ledger_files,
            repeat: None,
            retired: Retired::default(),
            settle_first: false,
            after_failure: false,
            report: StartReport {
                formatted: true,
                ..StartReport::default()
            },
        };
        self.begin(format, lock, made, (run, loaded)).await
    }

    /// Loads a directory of ours: ledger, fold, replay. Generation `known` of it has served.
    async fn load(
        self,
        format: Format,
        lock: Box<dyn LockGuard>,
        mut made: Made,
        known: u64,
    ) -> Result<(Arc<LogDir>, StartReport), Error> {
        reached(Branch::DirectoryLoaded);
        // Listed before the lock was held: another process may just have ended its work.
        let names = self.list().await?;
        let (ledger, newest_ledger) =
            match read_ledger(self.disk(), &self.path, format.dir_id).await? {
                Found::Ledger(ledger, newest) => (ledger, newest),
                Found::Unreadable if planted(Bug::UnreadableLedgerTakenAsEmpty) => {
                    (Box::default(), Newest::NONE)
                }
                Found::Unreadable => {
                    reached(Branch::LedgersUnreadable);
                    return Err(unreadable(&self.path));
                }
            };
        let dirs = names.iter().filter(|entry| entry.kind == EntryKind::Dir);
        let written = dirs
            .into_iter()
            .any(|dir| dir.name != format::LOST_AND_FOUND);
        let mut journals: Vec<String> = names
            .into_iter()
            .map(|entry| entry.name)
            .filter(|name| file::parse_name(name).is_some())
            .collect();
        let settled = ledger.settled_through;
        let scan = reader::scan(self.disk(), &self.path, format.dir_id, &journals, settled).await?;
        let missing = scan.missing(ledger.run.generation);
        if written || !ledger.entries.is_empty() {
            self.refuse_journal_loss(&missing).await?;
        } else {
            // Formatted, and ended before they were made. They are made before anything else is:
            // a later start must not take them for lost. The directory is synced before the first
            // append, and so before it holds a partition.
            for name in missing {
                file::make_empty(self.disk(), &self.path, &name)?;
                journals.push(name);
            }
        }
        let newest = scan
            .names
            .iter()
            .map(|(generation, _)| *generation)
            .max()
            .unwrap_or(0);
        let newest = newest
            .max(ledger.run.generation)
            .max(ledger.last.generation);
        self.refuse_old_copy(newest, known).await?;
        let history = History::fold(*ledger, scan).await?;
        let replayed = replay::run(self.disk(), &self.path, &history).await?;
        let ledger_files =
            LedgerFiles::open(self.disk(), &self.path, format.dir_id, newest_ledger)?;
        // What was read may be in the page cache only: a format or a ledger cut short by a kill.
        made.files.extend(ledger_files.files().iter().cloned());
        for name in [format::NAME, format::META] {
            let file = self.disk().open(&self.path.join(name), OpenMode::Write);
            made.files.extend(file.ok());
        }
        self.read_slots(&mut made).await?;
        let run = self.run(newest + 1);
        let loaded = self.loaded(history, replayed, ledger_files, &journals);
        self.begin(format, lock, made, (run, loaded)).await
    }

    /// Refuses a directory of whose journal files some are gone: what stood only there, acknowledged
    /// records among it, would be lost without a word (R1). Unless the operator wants that.
    async fn refuse_journal_loss(&self, missing: &[String]) -> Result<(), Error> {
        let path = self.path.join(ACCEPT_JOURNAL_LOSS);
        let accepted = self.take_word(&path).await?;
        if missing.is_empty() {
            return Ok(());
        }
        reached(Branch::JournalMissing);
        let names = missing.join(" and ");
        if accepted {
            tracing::warn!(
                path = %self.path.display(), names,
                "journal files are missing and the directory is used, as the operator wants: records \
                 and deletions that stood only there are lost"
            );
            return Ok(());
        }
        let dir = self.path.display();
        Err(Error::Corrupt {
            what: format!(
                "log directory {dir} has no {names}: somebody removed it, and acknowledged records and \
                 deletions that stand only there with it. Put it back; or, to give them up, make an \
                 empty file {} and start again",
                path.display()
            ),
        })
    }

    /// Whether the operator left a file with that name. It is taken away: its word counts once.
    async fn take_word(&self, path: &Path) -> Result<bool, Error> {
        match self.disk().remove(path).await {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::access(&self.path, "remove", path, error)),
        }
    }

    /// Refuses a directory that ends with generation `own` while a later one is `known`, unless the
    /// operator wants it all the same. Its word is taken once: a later swap asks again.
    async fn refuse_old_copy(&self, own: u64, known: u64) -> Result<(), Error> {
        let accepted = self.take_word(&self.path.join(ACCEPT_OLD_COPY)).await?;
        if own >= known {
            return Ok(());
        }
        reached(Branch::OldCopyFound);
        if accepted {
            tracing::warn!(
                path = %self.path.display(), own, known,
                "an old copy of a log directory is used, as the operator wants; what only the newer \
                 one has is given up"
            );
            return Ok(());
        }
        Err(Error::OldCopy {
            path: self.path.clone(),
            own,
            known,
        })
    }

    /// Reads the record in two slots, if there is one, and has it proven with the other files.
    async fn read_slots(&self, made: &mut Made) -> Result<(), Error> {
        let path = self.path.join(SLOTS);
        let file = match self.disk().open(&path, OpenMode::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            result => result.map_err(Error::io("open", &path))?,
        };
        let read = SlotFile::read(Arc::clone(&self.host.disk), &self.path, file).await?;
        made.files.push(read.0.file());
        made.slots = Some(read);
        Ok(())
    }

    fn loaded(
        &self,
        history: History,
        replayed: Replayed,
        ledger_files: LedgerFiles,
        journals: &[String],
    ) -> Loaded {
        let mut ledger = history.ledger;
        let mut report = StartReport {
            replayed_bytes: replayed.bytes,
            ..StartReport::default()
        };
        for incarnation in history.damaged {
            report
                .damaged
                .push((incarnation, "its bytes in the journal are damaged".into()));
        }
        for (incarnation, reason) in replayed.damaged {
            ledger.damage(incarnation);
            report.damaged.push((incarnation, reason));
        }
        report.dirty = ledger
            .entries
            .values()
            .filter(|entry| entry.close.is_none())
            .count();
        let retired = Retired {
            works: replayed.works,
            journals: journals.iter().map(|name| self.path.join(name)).collect(),
        };
        let settle_first = history.generations > 1;
        Loaded {
            ledger,
            ledger_files,
            repeat: history.repeat,
            retired,
            settle_first,
            after_failure: false,
            report,
        }
    }

    fn run(&self, generation: u64) -> Run {
        let boot = self.disk().boot_id();
        Run {
            generation,
            boot,
            mount: self.disk().mount_id(&self.path),
        }
    }
}

fn is_format_name(name: &str) -> bool {
    [
        format::NAME,
        format::META,
        format::LOCK,
        format::RESERVE,
        format::LOST_AND_FOUND,
    ]
    .contains(&name)
        || LEDGERS.contains(&name)
        || file::parse_name(name).is_some()
}
