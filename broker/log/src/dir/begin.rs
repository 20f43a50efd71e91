//! Beginning a new generation: the last step of every start (J4, R8, R9).
//!
//! What always holds: every file and name that the start made or read is durable before the flusher
//! runs; the last commit of the generation before is repeated before anyone is served.

use millrace_host::sync::{Arc, Mutex};
use millrace_host::{BoxFuture, Host, LockGuard, OpenMode, Pool};
use millrace_probe::{Branch, reached};
use tokio::sync::oneshot;

use crate::dir::format::{self, Format};
use crate::dir::space::Room;
use crate::dir::steps::{Loaded, Made, Start, parent};
use crate::dir::{LogDir, StartReport};
use crate::error::Error;
use crate::flusher::Shared;
use crate::flusher::gather::Gather;
use crate::flusher::reclaim::Reclaim;
use crate::flusher::state::{FAILED, Parts};
use crate::flusher::task::{Flusher, Limits};
use crate::journal::commit::{self, BLOCK, Place};
use crate::journal::file::Journal;
use crate::ledger::Run;
use crate::mark::Mark;

/// Room that a start needs beside its journal: the ledger's, the first marks and names.
const START_MARGIN: u64 = 1 << 20;

/// At so many times the files that may hold unsettled bytes, appends wait until some are settled.
const UNSETTLED_WAIT: usize = 2;

/// An in-use file is far smaller than this.
const IN_USE_LEN_MAX: usize = 4096;

impl Start {
    /// Writes the in-use file and makes the files of the new generation, not yet synced.
    fn new_journal(
        &self,
        format: &Format,
        lock: &dyn LockGuard,
        made: &mut Made,
        (run, loaded): (&Run, &Loaded),
    ) -> Result<Journal, Error> {
        let generation = run.generation;
        let mut in_use = format!(
            "generation={generation}\n{}mount={}\n{}{}\n",
            boot_line(run),
            run.mount.as_deref().unwrap_or("unknown"),
            format::VERSION_IS,
            crate::VERSION,
        );
        if loaded.after_failure {
            // Of this boot: not every partition is recovered by this run.
            in_use.push_str(FAILED);
        }
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
        self.make_way(len * 2 + START_MARGIN);
        let journal = Journal::create(self.disk(), &self.path, place, len)?;
        made.files.extend(journal.files());
        made.dirs.push(self.path.clone());
        made.dirs.push(parent(&self.path));
        Ok(journal)
    }

    /// Gives up the reserve when less than `need` bytes are free: a node whose disk is full can be
    /// started, and be told what to delete (F4).
    fn make_way(&self, need: u64) {
        let space = self.disk().space(&self.path);
        if space.is_ok_and(|space| space.available >= need) {
            return;
        }
        let reserve = self.path.join(format::RESERVE);
        let Ok(reserve) = self.disk().open(&reserve, OpenMode::Write) else {
            // None was taken yet.
            return;
        };
        reached(Branch::StartUsesReserve);
        tracing::warn!(path = %self.path.display(), "disk full: the start uses the reserve");
        if let Err(error) = reserve.set_len(0) {
            tracing::warn!(path = %self.path.display(), %error, "the reserve can't be used");
        }
    }

    /// Begins a new generation and starts the flusher.
    pub(super) async fn begin(
        self,
        format: Format,
        lock: Box<dyn LockGuard>,
        mut made: Made,
        (run, mut loaded): (Run, Loaded),
    ) -> Result<(Arc<LogDir>, StartReport), Error> {
        let generation = run.generation;
        loaded.after_failure = has_failed(lock.as_ref(), &run).await;
        let journal = self.new_journal(&format, lock.as_ref(), &mut made, (&run, &loaded))?;
        let mut slots = made.slots.take();
        made.sync(self.disk()).await?;
        if let Some((slots, _)) = &mut slots {
            slots.is_synced();
        }

        let mut gather = Gather::new(
            journal.commit_len_max() - BLOCK,
            self.options.direct_sync_bytes,
        );
        let told = first_round(&mut gather, format.dir_id, &run, &loaded);
        let lock: Arc<dyn LockGuard> = lock.into();
        loaded.ledger.start(run);
        let shared = Arc::new(Shared::new(Parts {
            host: self.host.clone(),
            path: self.path.clone(),
            lag: self.options.flush_lag,
            unflushed_max: self.options.unflushed_bytes_max,
            unsettled_max: self.options.unsettled_files_max * UNSETTLED_WAIT,
            ledger: loaded.ledger,
            ledger_files: loaded.ledger_files,
            gather,
            in_use: lock.file(),
            lock: Arc::downgrade(&lock),
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
        if loaded.settle_first {
            reached(Branch::OlderGenerationSettled);
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
            homes: Arc::default(),
            dir_id,
            cluster_id,
            generation,
            after_failure: loaded.after_failure,
            repeated: tokio::sync::Mutex::new(told),
            slots: Mutex::new(slots),
            _lock: lock,
            task,
        };
        Ok((Arc::new(dir), loaded.report))
    }
}

fn boot_line(run: &Run) -> String {
    format!("boot={}\n", run.boot.as_deref().unwrap_or("unknown"))
}

/// Whether the in-use file says that a run of the same boot failed: the page cache may lack what was
/// written to it (R5). One that can't be read says nothing.
async fn has_failed(lock: &dyn LockGuard, run: &Run) -> bool {
    let read = lock.file().read_at(0, IN_USE_LEN_MAX).await;
    let said = read.unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    said.contains(&boot_line(run)) && said.contains(FAILED)
}

/// What the new generation's first commit says: the last commit again, under the run that it is of;
/// the new run; what was found damaged. Gives a receiver if anyone must wait for it.
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
    if let Some(bytes) = &loaded.repeat
        && let Some(header) = commit::Header::decode(dir_id, bytes)
    {
        reached(Branch::LastCommitRepeated);
        gather.repeat(&loaded.ledger.run, &commit::open(&header, bytes).entries);
    }
    gather.start(run);
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
