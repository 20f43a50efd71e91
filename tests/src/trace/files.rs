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
}

impl Files {
    /// Reads all calls.
    pub(super) fn read(calls: &[Call]) -> Self {
        let mut files = Self::default();
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
                    files.written.entry(call.file.clone()).or_insert(ended);
                }
                _ => {}
            }
        }
        files
    }

    /// The end of the first sync of `path` that began after `line`.
    pub(super) fn synced_after(&self, path: &str, line: usize) -> Option<usize> {
        let syncs = self.syncs.get(path)?;
        let later = syncs.iter().filter(|(began, _)| *began > line);
        later.map(|(_, ended)| *ended).min()
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
