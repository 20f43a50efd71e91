//! Writing journaled bytes into the segment files they belong to (R2).
//!
//! What always holds: only what [`History::live`] allows is written, never past a file's end; a
//! file or directory is made only while nothing of it is settled, and never over an existing one.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_host::{Disk, File, OpenMode};
use millrace_probe::{Branch, reached};

use crate::dir::history::History;
use crate::error::Error;
use crate::flusher::settle::Work;
use crate::journal::commit::Entry;
use crate::ledger::LedgerEntry;
use crate::mark::{Incarnation, SegmentId};
use crate::partition_metadata;
use crate::segment::names;

/// Files synced side by side when the old journal is let go.
const WORK_FILES: usize = 16;

/// What replay did.
#[derive(Default)]
pub(super) struct Replayed {
    pub(super) bytes: u64,
    /// Partitions whose files aren't what the journal continues, with the reason.
    pub(super) damaged: BTreeMap<Incarnation, String>,
    /// The files written into and the names made.
    pub(super) works: Vec<Work>,
}

struct Target {
    file: Arc<dyn File>,
    len: u64,
    /// Its directory, if the names in it may not be durable.
    home_to_sync: Option<PathBuf>,
    /// The partition's metadata file, if its content may not be durable.
    metadata: Option<Arc<dyn File>>,
}

struct Replay<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    targets: BTreeMap<(Incarnation, SegmentId), Target>,
    out: Replayed,
}

/// Writes everything live of `history` into the directory's segment files.
pub(super) async fn run(disk: &dyn Disk, dir: &Path, history: &History) -> Result<Replayed, Error> {
    let mut replay = Replay {
        disk,
        dir,
        targets: BTreeMap::new(),
        out: Replayed::default(),
    };
    for (id, located) in &history.commits {
        let bytes = located.load().await?;
        let opened = located.open(&bytes);
        for (index, entry) in opened.entries.iter().enumerate() {
            let Entry::Data(whose, place, data) = entry else {
                continue;
            };
            let live = history.live(whose, (*id, index), place, data.len() as u64);
            let (Some(live), Some(known)) = (live, history.ledger.entries.get(whose)) else {
                continue;
            };
            if !replay.out.damaged.contains_key(whose) {
                let skip = (live.start - place.position) as usize;
                let keep = (live.end - place.position) as usize;
                replay
                    .write(
                        *whose,
                        known,
                        place.segment,
                        (live.start, &data[skip..keep]),
                    )
                    .await?;
            }
        }
    }
    Ok(replay.finish())
}

impl Replay<'_> {
    async fn write(
        &mut self,
        whose: Incarnation,
        known: &LedgerEntry,
        segment: SegmentId,
        (at, bytes): (u64, &[u8]),
    ) -> Result<(), Error> {
        if !self.targets.contains_key(&(whose, segment)) {
            match self.open(whose, known, segment).await? {
                Ok(target) => {
                    self.targets.insert((whose, segment), target);
                }
                Err(reason) => return self.damage(whose, reason),
            }
        }
        let Some(target) = self.targets.get_mut(&(whose, segment)) else {
            return Ok(());
        };
        if at > target.len {
            reached(Branch::ReplayLeavesGap);
            let reason = format!(
                "{} ends at byte {}, the journal continues it at byte {at}",
                target.file.path().display(),
                target.len
            );
            return self.damage(whose, reason);
        }
        let path = target.file.path();
        let taken = target
            .file
            .write_vectored_at(&[IoSlice::new(bytes)], at)
            .map_err(Error::io("write", path))?;
        if taken < bytes.len() {
            return Err(Error::DiskFull {
                path: self.dir.to_owned(),
            });
        }
        target.len = target.len.max(at + bytes.len() as u64);
        reached(Branch::BytesReplayed);
        self.out.bytes += bytes.len() as u64;
        Ok(())
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "ends a step of replay as every other end does"
    )]
    fn damage(&mut self, whose: Incarnation, reason: String) -> Result<(), Error> {
        tracing::error!(partition = %whose, reason, "partition goes offline");
        self.out.damaged.insert(whose, reason);
        Ok(())
    }

    /// Opens a segment file, making it, and its directory, while nothing of them is settled. The
    /// inner error is the partition's, not the directory's.
    async fn open(
        &self,
        whose: Incarnation,
        known: &LedgerEntry,
        segment: SegmentId,
    ) -> Result<Result<Target, String>, Error> {
        let name = match names::partition_dir(&known.topic, whose.partition) {
            Ok(name) => name,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let home = self.dir.join(name);
        let path = names::file(&home, segment.base_offset, names::LOG);
        let settled = known
            .settled
            .is_some_and(|at| at.bytes > 0 || at.segment != segment);
        let file_settled = known.settled.is_some_and(|at| {
            at.segment.base_offset >= segment.base_offset && (at.segment != segment || at.bytes > 0)
        });
        let metadata = match self.check_home(&home, whose, settled).await? {
            Ok(metadata) => metadata,
            Err(reason) => return Ok(Err(reason)),
        };
        // Whoever made the file: while nothing of it is settled its name may not be durable.
        let home_to_sync = (!file_settled).then_some(home);
        let file = match self.disk.open(&path, OpenMode::Write) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !file_settled => {
                reached(Branch::ReplayMadeFile);
                let made = self.disk.open(&path, OpenMode::CreateNew);
                made.map_err(Error::io("create", &path))?
            }
            Err(error) => return Ok(Err(format!("{}: {error}", path.display()))),
        };
        let len = file.len().map_err(Error::io("measure", &path))?;
        Ok(Ok(Target {
            file,
            len,
            home_to_sync,
            metadata,
        }))
    }

    /// The partition's directory is there and its own. Gives its metadata file if that
    /// may not be durable.
    async fn check_home(
        &self,
        home: &Path,
        whose: Incarnation,
        settled: bool,
    ) -> Result<Result<Option<Arc<dyn File>>, String>, Error> {
        let metadata = home.join(partition_metadata::FILE_NAME);
        let found = match self.disk.open(&metadata, OpenMode::Write) {
            Ok(file) => {
                let bytes = file
                    .read_at(0, 4096)
                    .await
                    .map_err(Error::io("read", &metadata))?;
                let text = String::from_utf8_lossy(&bytes).into_owned();
                partition_metadata::parse(&text).ok().map(|id| (id, file))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Ok(Err(format!("{}: {error}", metadata.display()))),
        };
        match found {
            Some((id, file)) if id == whose.topic_id => {
                return Ok(Ok((!settled).then_some(file)));
            }
            Some(_) => {
                return Ok(Err(format!(
                    "{} belongs to another topic id",
                    home.display()
                )));
            }
            None => {}
        }
        // The ledger knows whose it is: a metadata file that is gone or torn is written again. But
        // a directory with something settled in it is never made anew.
        if !settled {
            match self.disk.create_dir(home) {
                Ok(()) => reached(Branch::ReplayMadeDirectory),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io("create directory", home)(error)),
            }
        }
        reached(Branch::IdentityReplayed);
        let text = partition_metadata::encode(whose.topic_id);
        match super::format::write_file(self.disk, &metadata, text.as_bytes()) {
            Ok(file) => Ok(Ok(Some(file))),
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(Err(format!("{} is missing", home.display())))
            }
            Err(error) => Err(error),
        }
    }

    fn finish(mut self) -> Replayed {
        let targets: Vec<Target> = std::mem::take(&mut self.targets).into_values().collect();
        let mut work = Work::default();
        for target in targets {
            work.files.push(target.file);
            work.files.extend(target.metadata);
            if let Some(home) = target.home_to_sync {
                work.dirs.push(home);
                if !work.dirs.iter().any(|dir| dir == self.dir) {
                    work.dirs.push(self.dir.to_owned());
                }
            }
            if work.files.len() >= WORK_FILES {
                self.out.works.push(std::mem::take(&mut work));
            }
        }
        if !work.files.is_empty() {
            self.out.works.push(work);
        }
        self.out
    }
}
