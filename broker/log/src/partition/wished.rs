//! Notes of replicas that are to move to a log directory: what a restart goes by (`durability.md` M6).
//!
//! What always holds: a note is an empty file whose name says all, so that it is there whole or not at
//! all; nothing that is acknowledged stands on one. It isn't synced: a power cut may lose it, and the
//! move with it, or bring back one that was taken away a moment before.

use std::path::{Path, PathBuf};

use millrace_host::{EntryKind, OpenMode};

use super::Partitions;
use crate::error::Error;
use crate::mark::Incarnation;

/// How names of notes begin: no partition's directory does.
const BEGINNING: &str = ".moving-";

/// A replica that is to lie in this directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Which.
    pub incarnation: Incarnation,
    /// Wall time of the wish, in milliseconds since the Unix epoch: of two, the later holds.
    pub wished_ms: i64,
    path: PathBuf,
}

impl Partitions {
    /// Leaves a note that a replica is to lie here.
    pub fn note_wish(&self, incarnation: Incarnation) -> Result<Note, Error> {
        let wished_ms = self.host.clock.now().wall_ms;
        let path = self.dir.path().join(name(&incarnation, wished_ms));
        let made = self.host.disk.open(&path, OpenMode::Create);
        made.map_err(Error::io("create", &path))?;
        Ok(Note {
            incarnation,
            wished_ms,
            path,
        })
    }

    /// The notes that were left here.
    pub async fn noted_wishes(&self) -> Result<Vec<Note>, Error> {
        let dir = self.dir.path();
        let listed = self.host.disk.list(dir).await;
        let listed = listed.map_err(Error::io("list", dir))?;
        let files = listed.iter().filter(|entry| entry.kind == EntryKind::File);
        let note = |name: &String| read(dir, name);
        let names = files.map(|entry| &entry.name);
        Ok(names.filter_map(note).collect())
    }

    /// Takes a note away. Where that fails it stays, and the next start asks for the move again.
    pub async fn forget_wish(&self, note: &Note) {
        if self.dir.offline().is_some() {
            return;
        }
        match self.host.disk.remove(&note.path).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(incarnation = %note.incarnation, %error,
                    "the note of a move that is over stays: a restart may begin it again");
            }
            _ => {}
        }
    }
}

fn name(incarnation: &Incarnation, wished_ms: i64) -> String {
    let id = u128::from_be_bytes(incarnation.topic_id);
    let partition = incarnation.partition;
    format!("{BEGINNING}{id:032x}-{partition}-{wished_ms}")
}

fn read(dir: &Path, found: &str) -> Option<Note> {
    let mut parts = found.strip_prefix(BEGINNING)?.splitn(3, '-');
    let id = u128::from_str_radix(parts.next()?, 16).ok()?;
    let incarnation = Incarnation {
        topic_id: id.to_be_bytes(),
        partition: parts.next()?.parse().ok()?,
    };
    let wished_ms = parts.next()?.parse().ok()?;
    // What we would write, and nothing that only looks like it.
    (name(&incarnation, wished_ms) == found).then(|| Note {
        incarnation,
        wished_ms,
        path: dir.join(found),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_all_and_what_only_looks_like_one_is_none() {
        let dir = Path::new("/d");
        for (topic_id, partition, wished_ms) in [
            ([0; 16], 0, 0),
            ([255; 16], i32::MAX, i64::MAX),
            ([7; 16], 3, -5),
        ] {
            let incarnation = Incarnation {
                topic_id,
                partition,
            };
            let name = name(&incarnation, wished_ms);
            let note = read(dir, &name).unwrap();
            assert_eq!((note.incarnation, note.wished_ms), (incarnation, wished_ms));
            assert_eq!(note.path, dir.join(&name));
            for other in [
                format!("{name}-"),
                format!("{name}0x"),
                name.replacen('-', "-+", 1),
                name.replace(".moving", "moving"),
                name[..20].to_owned(),
            ] {
                assert_eq!(read(dir, &other), None, "{other}");
            }
        }
    }
}
