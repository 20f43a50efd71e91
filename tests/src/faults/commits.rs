//! Where a bit of a journal rots: among the bytes that commits say something in, not in what pads them
//! nor in the room that was never written.
//!
//! What always holds: half of the strikes meet one of the two newest commits of a directory, the last
//! that says anything and the one that proves it (C7 of docs/durability.md); the others any that is
//! there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use millrace_sim::World;

use super::aim::{Choice, Target};

/// Commits begin on these.
const BLOCK: usize = 4096;
const MAGIC: [u8; 4] = *b"MRjc";
/// A header without its partitions, one of these, and what stands behind the entries, in bytes.
const HEADER_LEN: u64 = 52;
const PARTITION_LEN: u64 = 20;
const TRAILER_LEN: u64 = 16;
/// One of these is struck when the newest are.
const NEWEST: usize = 2;

/// A commit, by its file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Commit {
    directory: PathBuf,
    /// Of the journal, and then its own.
    generation: u64,
    number: u64,
    path: PathBuf,
    at: u64,
    /// Without what pads it.
    len: u64,
}

/// Whether a file is one of a journal.
pub fn is_journal(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with("journal."))
}

/// The byte to strike in the journals of a node; none when nothing was ever committed.
pub(super) fn target(world: &World, node: &str, choice: Choice) -> Option<Target> {
    let files = world.files(node);
    let journals = files.iter().filter(|(path, _)| is_journal(path));
    let mut all: Vec<Commit> = Vec::new();
    for (path, _) in journals {
        all.extend(commits(path, &world.read_file(node, path)?));
    }
    all.sort_unstable();
    chosen(&all, choice)
}

/// The commits of a file, torn ones too.
fn commits(path: &Path, bytes: &[u8]) -> Vec<Commit> {
    let begins = bytes.chunks_exact(BLOCK).enumerate();
    let begins = begins.filter(|(_, block)| block.starts_with(&MAGIC));
    let read = |(nth, block): (usize, &[u8])| {
        let number = |at: usize| block.get(at..)?.first_chunk().copied();
        let count = |at: usize| number(at).map(|bytes| u64::from(u32::from_le_bytes(bytes)));
        let large = |at: usize| Some(u64::from_le_bytes(*block.get(at..)?.first_chunk()?));
        let at = (nth * BLOCK) as u64;
        let said = HEADER_LEN + PARTITION_LEN * count(32)? + count(24)? + TRAILER_LEN;
        Some(Commit {
            directory: path.parent()?.to_owned(),
            generation: large(8)?,
            number: large(16)?,
            path: path.to_owned(),
            at,
            len: said.min(bytes.len() as u64 - at),
        })
    };
    begins.filter_map(read).collect()
}

/// What is struck of these, which are sorted.
fn chosen(all: &[Commit], choice: Choice) -> Option<Target> {
    let some = choice.byte / 2;
    let (commit, some) = if choice.byte.is_multiple_of(2) {
        let at = choice.place.min(999_999) * all.len() as u64 / 1_000_000;
        (all.get(at as usize)?, some)
    } else {
        let directories: BTreeSet<&PathBuf> = all.iter().map(|one| &one.directory).collect();
        let nth = choice.file.checked_rem(directories.len() as u64)?;
        let directory = directories.into_iter().nth(nth as usize)?;
        let newest = all.iter().rev().filter(|one| one.directory == *directory);
        let newest: Vec<&Commit> = newest.take(NEWEST).collect();
        let count = newest.len() as u64;
        (*newest.get((some % count) as usize)?, some / count)
    };
    Some(Target {
        path: commit.path.clone(),
        byte: commit.at + some % commit.len,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block that begins a commit of so many bytes, as far as it is looked at.
    fn block(number: u64, entries_len: u32) -> Vec<u8> {
        let mut block = vec![0; BLOCK];
        block[..4].copy_from_slice(&MAGIC);
        block[8..16].copy_from_slice(&3_u64.to_le_bytes());
        block[16..24].copy_from_slice(&number.to_le_bytes());
        block[24..28].copy_from_slice(&entries_len.to_le_bytes());
        block[32..36].copy_from_slice(&2_u32.to_le_bytes());
        block
    }

    fn choice(place: u64, byte: u64) -> Choice {
        Choice {
            file: 0,
            place,
            byte,
        }
    }

    #[test]
    fn what_says_nothing_is_never_struck() {
        let bytes = [block(8, 100), block(9, 0), vec![0; BLOCK]].concat();
        let mut all = commits(Path::new("/d/journal.0000000003.0"), &bytes);
        all.sort_unstable();
        let lens: Vec<u64> = all.iter().map(|one| one.len).collect();
        assert_eq!(lens, [208, 108]);
        for byte in 0..1000 {
            for place in [0, 400_000, 999_999] {
                let struck = chosen(&all, choice(place, byte)).unwrap().byte;
                let inside = |one: &Commit| (one.at..one.at + one.len).contains(&struck);
                assert!(all.iter().any(inside), "{struck}");
            }
        }
        assert_eq!(chosen(&[], choice(0, 1)), None);
    }

    #[test]
    fn half_of_the_strikes_meet_the_newest() {
        let blocks: Vec<u8> = (0..50).flat_map(|number| block(number, 0)).collect();
        let all = commits(Path::new("/d/journal.0000000003.1"), &blocks);
        let is_newest = |byte: &u64| {
            let struck = chosen(&all, choice(0, *byte)).unwrap().byte;
            struck >= 48 * BLOCK as u64
        };
        assert_eq!((0..1000).filter(is_newest).count(), 500);
    }
}
