//! Where a bit rots: which kind of file, and what of it.
//!
//! What always holds: a place is chosen among the bytes that a file holds something in, and of a
//! batch among those that a rule is about, so that a drawn flip nearly always takes effect.

use std::path::{Path, PathBuf};

use millrace_protocol::records::{BatchHeader, HEADER_LEN};
use millrace_sim::World;

use super::commits;

/// What is struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aim {
    /// Any file at all.
    Any,
    /// A journal file.
    Journal,
    /// One of the two ledger files.
    Ledger,
    /// Both of them, of one directory.
    Ledgers,
    /// An offset index.
    Index,
    /// A time index.
    TimeIndex,
    /// A snapshot of producers, in either form.
    Producers,
    /// The base offset of a batch: no checksum covers it.
    BaseOffset,
    /// The leader epoch of a batch: no checksum covers it.
    Epoch,
    /// The length of a batch.
    Length,
    /// The bytes of a batch that its checksum covers, and the checksum.
    Body,
}

/// A bit of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The file.
    pub path: PathBuf,
    /// Which byte.
    pub byte: u64,
}

/// The numbers that a place is chosen by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Which file, modulo their number.
    pub file: u64,
    /// Where in it, in millionths.
    pub place: u64,
    /// Which byte of what is struck there.
    pub byte: u64,
}

/// Bytes of an index entry, those that tell neighbours apart first and most.
const ENTRY: [u64; 8] = [3, 3, 2, 3, 7, 7, 6, 1];
/// Bytes of a base offset, in the same way.
const BASE_OFFSET: [u64; 8] = [7, 7, 6, 7, 6, 5, 3, 0];

impl Aim {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Any,
        Self::Journal,
        Self::Ledger,
        Self::Ledgers,
        Self::Index,
        Self::TimeIndex,
        Self::Producers,
        Self::BaseOffset,
        Self::Epoch,
        Self::Length,
        Self::Body,
    ];

    /// Whether whatever is struck there stands elsewhere too, so that nobody must notice.
    pub fn heals(self) -> bool {
        let heal = [Self::Ledger, Self::Index, Self::TimeIndex, Self::Producers];
        heal.contains(&self)
    }

    fn is_of_batch(self) -> bool {
        [Self::BaseOffset, Self::Epoch, Self::Length, Self::Body].contains(&self)
    }

    fn strikes(self, path: &Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.unwrap_or_default();
        let is_own = path.to_string_lossy().contains("/__");
        let ends = |suffix: &str| name.ends_with(suffix) && !is_own;
        match self {
            Self::Any => true,
            Self::Journal => commits::is_journal(path),
            Self::Ledger | Self::Ledgers => name.starts_with("ledger."),
            Self::Index => ends(".index"),
            Self::TimeIndex => ends(".timeindex"),
            Self::Producers => ends(".producers") || ends(".snapshot"),
            Self::BaseOffset | Self::Epoch | Self::Length | Self::Body => ends(".log"),
        }
    }

    /// The bytes to strike on a node's disk; none when there is nothing of the kind.
    pub fn targets(self, world: &World, node: &str, choice: Choice) -> Vec<Target> {
        if self == Self::Journal {
            return commits::target(world, node, choice).into_iter().collect();
        }
        let mut files = world.files(node);
        files.retain(|(path, len)| *len > 0 && self.strikes(path));
        if files.is_empty() {
            return Vec::new();
        }
        let (path, _) = files.swap_remove((choice.file % files.len() as u64) as usize);
        let mut targets = Vec::new();
        targets.extend(self.target(world, node, (&path, choice)));
        if self == Self::Ledgers {
            let twin = |(other, _): &(PathBuf, u64)| other.parent() == path.parent();
            let twin = files.iter().find(|other| twin(other));
            targets.extend(twin.and_then(|(path, _)| self.target(world, node, (path, choice))));
        }
        targets
    }

    fn target(self, world: &World, node: &str, (path, choice): (&Path, Choice)) -> Option<Target> {
        let bytes = world.read_file(node, path)?;
        let byte = self.byte(&bytes, choice)?;
        let path = path.to_owned();
        Some(Target { path, byte })
    }

    fn byte(self, bytes: &[u8], choice: Choice) -> Option<u64> {
        let held = bytes.iter().rposition(|byte| *byte != 0)? as u64 + 1;
        let at = |of: u64| choice.place.min(999_999) * of / 1_000_000;
        let of_eight = |order: [u64; 8]| order[(choice.byte % 8) as usize];
        if self.is_of_batch() {
            let batches = batches(bytes);
            let (start, size) = *batches.get(at(batches.len() as u64) as usize)?;
            let inside = if self == Self::BaseOffset {
                of_eight(BASE_OFFSET)
            } else if self == Self::Length {
                8 + choice.byte % 4
            } else if self == Self::Epoch {
                12 + [3, 3, 3, 2][(choice.byte % 4) as usize]
            } else {
                16 + choice.byte % (size - 16)
            };
            return Some(start + inside);
        }
        if self == Self::Index {
            let entry = at(held.div_ceil(8)) * 8;
            return Some((entry + of_eight(ENTRY)).min(bytes.len() as u64 - 1));
        }
        Some(at(held))
    }
}

/// Where the batches of a segment stand, and how many bytes each has.
fn batches(bytes: &[u8]) -> Vec<(u64, u64)> {
    let (mut at, mut found) = (0, Vec::new());
    while let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= HEADER_LEN) {
        let Ok(header) = BatchHeader::parse(rest) else {
            break;
        };
        found.push((at as u64, header.size() as u64));
        at += header.size();
    }
    found
}

#[cfg(test)]
mod tests {
    use millrace_protocol::records::{BatchBuilder, Options};

    use super::*;

    fn batch() -> Vec<u8> {
        let mut builder = BatchBuilder::new(Options::default());
        builder.push(0, None, Some(b"some value"), &[]).unwrap();
        builder.build().to_vec()
    }

    #[test]
    fn a_field_of_a_batch_is_struck_where_it_stands() {
        let bytes = [batch(), batch()].concat();
        let size = bytes.len() as u64 / 2;
        for byte in 0..50 {
            let choice = |place| Choice {
                file: 0,
                place,
                byte,
            };
            let second = |aim: Aim| aim.byte(&bytes, choice(999_999)).unwrap() - size;
            assert!(second(Aim::BaseOffset) < 8);
            assert!((8..12).contains(&second(Aim::Length)));
            assert!((12..16).contains(&second(Aim::Epoch)));
            assert!((16..size).contains(&second(Aim::Body)));
            assert!(Aim::Body.byte(&bytes, choice(0)).unwrap() < size);
        }
    }

    #[test]
    fn zeros_behind_what_a_file_holds_are_not_struck() {
        let mut bytes = vec![1; 100];
        bytes.resize(10_000, 0);
        for place in [0, 500_000, 999_999] {
            let choice = Choice {
                file: 0,
                place,
                byte: 0,
            };
            assert!(Aim::Any.byte(&bytes, choice).unwrap() < 100);
        }
        let choice = Choice {
            file: 0,
            place: 0,
            byte: 0,
        };
        assert_eq!(Aim::Any.byte(&[0; 10], choice), None);
    }
}
