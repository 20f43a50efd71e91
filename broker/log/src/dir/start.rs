//! Opening a log directory: format or lock, load, fold, replay, begin a new generation.
//!
//! What always holds: nothing is written before the lock is held; *unreadable* is never taken for
//! *empty* (L3); an earlier generation's files are left as they are until what they hold is settled
//! (J4). Syncs in series: the files made by the start (1), their directories (1), and, if the last
//! commit has to be repeated, the first commit (1) (R9).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_host::{BoxFuture, DirEntry, Disk, EntryKind, File, Host, LockGuard, OpenMode, Pool};
use tokio::sync::oneshot;

use crate::dir::format::{self, Format, Read};
use crate::dir::history::History;
use crate::dir::replay::{self, Replayed};
use crate::dir::space::Room;
use crate::dir::{DirOptions, LogDir, StartReport};
use crate::error::Error;
use crate::flusher::Shared;
use crate::flusher::gather::Gather;
use crate::flusher::reclaim::{Reclaim, Retired};
use crate::flusher::shared::Parts;
use crate::flusher::task::{Flusher, Limits};
use crate::journal::commit::{self, BLOCK, Place};
use crate::journal::file::{self, Journal};
use crate::journal::reader;
use crate::ledger::file::{Found, LedgerFiles, NAMES as LEDGERS, read as read_ledger};
use crate::ledger::{Ledger, Run};
use crate::mark::Mark;

/// Names that a file system makes by itself.
const LOST_AND_FOUND: &str = "lost+found";
/// Room the ledger files get when they are made.
const LEDGER_FIRST_LEN: u64 = 64 * 1024;

struct Start {
    host: Host,
    path: PathBuf,
    options: DirOptions,
}

/// What the names in the directory say.
enum Kind {
    /// Nothing, or what an interrupted format left.
    Empty,
    /// One of ours.
    Ours(Format),
}

/// What the files made by this start need before anything counts.
#[derive(Default)]
struct Made {
    files: Vec<Arc<dyn File>>,
    dirs: Vec<PathBuf>,
}

/// See [`LogDir::open`].
pub(super) async fn open(
    host: Host,
    path: &Path,
    options: DirOptions,
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
            start.load(format, lock, made).await
        }
    }
}

impl Start {
    fn disk(&self) -> &dyn Disk {
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
                        return Err(format::access(&self.path, "create", dir, error));
                    }
                    missing.push(above);
                }
                Err(error) => {
                    return Err(format::access(&self.path, "create", dir, error));
                }
            }
        }
        Ok(())
    }

    async fn list(&self) -> Result<Vec<DirEntry>, Error> {
        let listed = self.disk().list(&self.path).await;
        listed.map_err(|error| format::access(&self.path, "list", &self.path, error))
    }

    fn lock(&self) -> Result<Box<dyn LockGuard>, Error> {
        let path = self.path.join(format::LOCK);
        self.disk().lock(&path).map_err(|error| {
            if error.kind() == io::ErrorKind::WouldBlock {
                return Error::InUse {
                    path: self.path.clone(),
                };
            }
            format::access(&self.path, "lock", &path, error)
        })
    }

    /// Ours, empty, or somebody else's.
    async fn kind(&self, names: &[DirEntry]) -> Result<Kind, Error> {
        let only_format = names.iter().all(|entry| is_format_name(&entry.name));
        match format::read(self.disk(), &self.path).await? {
            Some(Read::Newer(found)) => Err(Error::NewerFormat {
                path: self.path.clone(),
                found,
                known: format::FORMAT,
            }),
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
        let ledger_files = LedgerFiles::open(self.disk(), &self.path, dir_id, 0)?;
        ledger_files.allocate(LEDGER_FIRST_LEN).map_err(|error| {
            format::access(&self.path, "make room for the ledger in", &self.path, error)
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
            report: StartReport {
                formatted: true,
                ..StartReport::default()
            },
        };
        self.begin(format, lock, made, (run, loaded)).await
    }

    /// Loads a directory of ours: ledger, fold, replay.
    async fn load(
        self,
        format: Format,
        lock: Box<dyn LockGuard>,
        mut made: Made,
    ) -> Result<(Arc<LogDir>, StartReport), Error> {
        // Listed before the lock was held: another process may just have ended its work.
        let names = self.list().await?;
        let Found::Ledger(ledger, sequence) =
            read_ledger(self.disk(), &self.path, format.dir_id).await?
        else {
            return Err(Error::Corrupt {
                what: format!(
                    "neither {} nor {} in {} can be read",
                    LEDGERS[0],
                    LEDGERS[1],
                    self.path.display()
                ),
            });
        };
        let journals: Vec<String> = names
            .into_iter()
            .map(|entry| entry.name)
            .filter(|name| file::parse_name(name).is_some())
            .collect();
        let settled = ledger.settled_through;
        let scan = reader::scan(self.disk(), &self.path, format.dir_id, &journals, settled).await?;
        let newest = scan
            .names
            .iter()
            .map(|(generation, _)| *generation)
            .max()
            .unwrap_or(0);
        let newest = newest
            .max(ledger.run.generation)
            .max(ledger.last.generation);
        let history = History::fold(*ledger, scan).await?;
        let replayed = replay::run(self.disk(), &self.path, &history).await?;
        let ledger_files = LedgerFiles::open(self.disk(), &self.path, format.dir_id, sequence)?;
        // What was read may be in the page cache only: a format or a ledger cut short by a kill.
        made.files.extend(ledger_files.files().iter().cloned());
        for name in [format::NAME, format::META] {
            let file = self.disk().open(&self.path.join(name), OpenMode::Write);
            made.files.extend(file.ok());
        }
        let run = self.run(newest + 1);
        let loaded = self.loaded(history, replayed, ledger_files, &journals);
        self.begin(format, lock, made, (run, loaded)).await
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

    /// Writes the in-use file and makes the files of the new generation, not yet synced.
    fn new_journal(
        &self,
        format: &Format,
        lock: &dyn LockGuard,
        made: &mut Made,
        (run, loaded): (&Run, &Loaded),
    ) -> Result<Journal, Error> {
        let generation = run.generation;
        let in_use = format!(
            "generation={generation}\nboot={}\nmount={}\n",
            run.boot.as_deref().unwrap_or("unknown"),
            run.mount.as_deref().unwrap_or("unknown")
        );
        format::put(lock.file().as_ref(), in_use.as_bytes())?;
        made.files.push(lock.file());
        let repeat_len = loaded.repeat.as_ref().map_or(0, bytes::Bytes::len) + 2 * BLOCK;
        // The commit to repeat has to fit into a quarter of a file (J6).
        let need = (repeat_len as u64 * 4).next_power_of_two();
        let len = self.options.journal_initial_bytes.max(need);
        let place = Place {
            dir_id: format.dir_id,
            generation,
            number: 0,
        };
        let journal = Journal::create(self.disk(), &self.path, place, len)?;
        made.files.extend(journal.files());
        made.dirs.push(self.path.clone());
        made.dirs.push(parent(&self.path));
        Ok(journal)
    }

    /// Begins a new generation and starts the flusher.
    async fn begin(
        self,
        format: Format,
        lock: Box<dyn LockGuard>,
        mut made: Made,
        (run, mut loaded): (Run, Loaded),
    ) -> Result<(Arc<LogDir>, StartReport), Error> {
        let generation = run.generation;
        let journal = self.new_journal(&format, lock.as_ref(), &mut made, (&run, &loaded))?;
        made.sync(self.disk()).await?;

        loaded.ledger.start(run.clone());
        let mut gather = Gather::new(
            journal.commit_len_max() - BLOCK,
            self.options.direct_sync_bytes,
        );
        let told = first_round(&mut gather, format.dir_id, &run, &loaded);
        let shared = Arc::new(Shared::new(Parts {
            host: self.host.clone(),
            path: self.path.clone(),
            lag: self.options.flush_lag,
            unflushed_max: self.options.unflushed_bytes_max,
            ledger: loaded.ledger,
            ledger_files: loaded.ledger_files,
            gather,
        }));
        shared.make_ledger_room()?;
        let reclaim = if loaded.settle_first {
            // Two generations are unsettled: the older is settled before anyone is served (J4).
            Reclaim::Idle
        } else {
            Reclaim::retire(&shared, generation, std::mem::take(&mut loaded.retired))
        };
        let limits = Limits {
            journal_len_max: self.options.journal_file_bytes_max,
            unsettled_files_max: self.options.unsettled_files_max,
        };
        let flusher = Flusher::new(Arc::clone(&shared), journal, reclaim, limits);
        let task: BoxFuture<'static, ()> = Box::pin(flusher.run());
        let task = self.host.spawn.spawn(Pool::Data, "flusher", task);
        if let Some(told) = told {
            told.await.map_err(|_| shared.offline())?;
        }
        if loaded.settle_first {
            shared.retire(generation, loaded.retired).await?;
        }
        let room = Arc::new(Room::new(
            self.host.clone(),
            self.path.clone(),
            self.options.reserve_bytes,
        ));
        hold_reserve(&self.host, &room);
        let dir_id = format.dir_id;
        let cluster_id = format.cluster_id;
        let dir = LogDir {
            shared,
            room,
            dir_id,
            cluster_id,
            generation,
            _lock: lock,
            task,
        };
        Ok((Arc::new(dir), loaded.report))
    }
}

/// What loading gives to the new generation.
struct Loaded {
    ledger: Ledger,
    ledger_files: LedgerFiles,
    repeat: Option<bytes::Bytes>,
    retired: Retired,
    settle_first: bool,
    report: StartReport,
}

/// What the new generation's first commit says: the run, the last commit again, what was found
/// damaged. Gives a receiver if anyone must wait for it.
fn first_round(
    gather: &mut Gather,
    dir_id: [u8; 16],
    run: &Run,
    loaded: &Loaded,
) -> Option<oneshot::Receiver<()>> {
    if loaded.report.formatted {
        // The first ledger says it all.
        return None;
    }
    gather.start(run);
    if let Some(bytes) = &loaded.repeat
        && let Some(header) = commit::Header::decode(dir_id, bytes)
    {
        gather.repeat(&commit::open(&header, bytes).entries);
    }
    for (incarnation, _) in &loaded.report.damaged {
        gather.mark_closed(*incarnation, Mark::Damaged);
    }
    if loaded.repeat.is_none() && loaded.report.damaged.is_empty() {
        return None;
    }
    let (tell, told) = oneshot::channel();
    gather.hurry(tell);
    Some(told)
}

/// Takes the reserve after the start, beside everything else.
fn hold_reserve(host: &Host, room: &Arc<Room>) {
    let room = Arc::clone(room);
    let _task = host.spawn.spawn(
        Pool::Data,
        "log-reserve",
        Box::pin(async move { room.hold() }),
    );
}

impl Made {
    /// Syncs all files side by side, then all directories side by side.
    async fn sync(mut self, disk: &dyn Disk) -> Result<(), Error> {
        self.dirs.sort();
        self.dirs.dedup();
        let syncs: Vec<_> = self.files.iter().map(|file| file.sync()).collect();
        for (sync, file) in syncs.into_iter().zip(&self.files) {
            sync.await.map_err(Error::io("sync", file.path()))?;
        }
        let syncs: Vec<_> = self.dirs.iter().map(|dir| disk.sync_dir(dir)).collect();
        for (sync, dir) in syncs.into_iter().zip(&self.dirs) {
            match sync.await {
                // The parent of a mount point may not be ours to open; its entry is not new then.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    tracing::debug!(path = %dir.display(), %error, "directory not synced");
                }
                done => done.map_err(Error::io("sync directory", dir))?,
            }
        }
        Ok(())
    }
}

fn is_format_name(name: &str) -> bool {
    [
        format::NAME,
        format::META,
        format::LOCK,
        format::RESERVE,
        LOST_AND_FOUND,
    ]
    .contains(&name)
        || LEDGERS.contains(&name)
        || file::parse_name(name).is_some()
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => path.to_owned(),
    }
}
