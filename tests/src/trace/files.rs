//! What became durable when, file by file, as far as system calls tell.

use std::collections::BTreeMap;

use super::calls::Call;

/// Names, contents and syncs of all files that a trace touches. Times are lines of the trace.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// When a path was first made.
    made: BTreeMap<String, usize>,
    /// When bytes were first in it.
    written: BTreeMap<String, usize>,
    /// Beginnings and ends of the syncs that succeeded, in order of their beginnings.
    syncs: BTreeMap<String, Vec<(usize, usize)>>,
    /// Syncs that failed: of which path, and when.
    failed: Vec<(String, usize)>,
    /// When the broker began to say that a log directory is offline.
    offline: BTreeMap<String, usize>,
}

/// What a directory that goes offline leaves in its in-use file.
const OFFLINE: &[u8] = b"failed=yes\n";

impl Files {
    /// Reads all calls.
    pub(super) fn read(calls: &[Call]) -> Self {
        let mut files = Self::default();
        for call in calls {
            let is_sync = matches!(call.name.as_str(), "fdatasync" | "fsync");
            if let Some(ended) = call.ended.filter(|_| is_sync && call.result < 0) {
                files.failed.push((call.file.clone(), ended));
            }
        }
        for call in calls.iter().filter(|call| call.succeeded()) {
            let Some(ended) = call.ended else { continue };
            match call.name.as_str() {
                "openat" if call.rest.contains("O_CREAT") => {
                    files.made.entry(call.opened.clone()).or_insert(ended);
                }
                "mkdir" => {
                    let path = String::from_utf8_lossy(&call.bytes).into_owned();
                    files.made.entry(path).or_insert(ended);
                }
                "fdatasync" | "fsync" => {
                    let syncs = files.syncs.entry(call.file.clone()).or_default();
                    syncs.push((call.began, ended));
                }
                name if is_write(name) => {
                    if last(&call.file) == ".lock" && call.bytes == OFFLINE {
                        let directory = parent(&call.file).to_owned();
                        files.offline.entry(directory).or_insert(call.began);
                    }
                    files.written.entry(call.file.clone()).or_insert(ended);
                }
                _ => {}
            }
        }
        files
    }

    /// The end of the first sync of `path` that began after `line`. Behind a failed one of the same
    /// file it counts for nothing, since the kernel may have dropped what that one was for. Of the
    /// other files of the log directory those count that ended before the broker said that it is
    /// offline: the thread that hears of the failure and the one that hears of a sync may be two.
    pub(super) fn synced_after(&self, path: &str, line: usize) -> Option<usize> {
        let syncs = self.syncs.get(path)?;
        let later = syncs.iter().filter(|(began, _)| *began > line);
        let (_, ended) = *later.min_by_key(|(_, ended)| *ended)?;
        let of_same = |(failed, at): &(String, usize)| failed == path && *at < ended;
        let spoilt = self.failed.iter().any(of_same);
        let offline = self.offline.get(log_directory(path));
        let too_late = offline.is_some_and(|said| *said < ended);
        (!spoilt && !too_late).then_some(ended)
    }

    /// How many syncs failed.
    pub(super) fn failed_syncs(&self) -> usize {
        self.failed.len()
    }

    /// When the name of a file that was made in this trace could no longer be lost: its directory
    /// is synced, and that one's own name is safe.
    pub(super) fn name_durable(&self, path: &str) -> Option<usize> {
        let made = *self.made.get(path)?;
        let parent = parent(path);
        let synced = self.synced_after(parent, made)?;
        if self.made.contains_key(parent) {
            Some(synced.max(self.name_durable(parent)?))
        } else {
            Some(synced)
        }
    }

    /// When what was first written to a file, and its name, could no longer be lost.
    pub(super) fn content_durable(&self, path: &str) -> Option<usize> {
        let synced = self.synced_after(path, *self.written.get(path)?)?;
        Some(synced.max(self.name_durable(path)?))
    }
}

/// Calls that write where their arguments say.
pub(super) fn is_write(name: &str) -> bool {
    matches!(name, "pwritev" | "pwritev2" | "pwrite64")
}

/// The directory that a path is in.
pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// The last part of a path.
pub(super) fn last(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, last)| last)
}

/// The log directory that a path is in, or is: partitions' directories end in a number, and our own
/// files have a dot in their names.
fn log_directory(path: &str) -> &str {
    let is_partition = |path| {
        let number = last(path).rsplit_once('-').map(|(_, number)| number);
        number.is_some_and(|number| number.parse::<u32>().is_ok())
    };
    if is_partition(path) || last(path).starts_with("journal.") || last(path).starts_with("ledger.")
    {
        parent(path)
    } else if is_partition(parent(path)) {
        parent(parent(path))
    } else {
        path
    }
}
