//! What a log directory knows of the one that holds the metadata log: that it is another one, and
//! which generation of it has served.
//!
//! What always holds: it is durable in every directory that is opened before the node serves; so an
//! old copy of the metadata's directory, which can't tell by itself, is told by any other
//! (`docs/durability.md` A1).

use std::path::Path;
use std::sync::Arc;

use millrace_host::Host;
use millrace_log::dir::{Generations, LogDir};
use millrace_log::error::Error;
use millrace_log::slots::SlotFile;

/// A file that says of its directory: the metadata log lies in another one. Without it a directory
/// that never held a partition looks as an interrupted first start leaves the first one. Two slots
/// with a [`Sighting`]; a start that was cut short leaves it empty.
pub(crate) const ELSEWHERE: &str = millrace_log::dir::METADATA_ELSEWHERE;

/// A generation of the directory with the metadata log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sighting {
    directory: [u8; 16],
    generation: u64,
}

impl Sighting {
    /// The directory with the metadata log, as it is open now.
    pub(crate) fn of(dir: &LogDir) -> Self {
        Self {
            directory: dir.id(),
            generation: dir.generation(),
        }
    }

    /// Adds what the directory at `path` knows to `sighted`. Changes nothing there.
    pub(crate) async fn read(
        host: &Host,
        path: &Path,
        sighted: &mut Generations,
    ) -> Result<(), Error> {
        let record = SlotFile::look(host.disk.as_ref(), path, ELSEWHERE).await?;
        if let Some(sighting) = record.as_deref().and_then(Self::decode) {
            let newest = sighted.entry(sighting.directory).or_default();
            *newest = sighting.generation.max(*newest);
        }
        Ok(())
    }

    /// Says it in `dir`, durably.
    pub(crate) async fn mark(self, host: &Host, dir: &LogDir) {
        let marked = async {
            let disk = Arc::clone(&host.disk);
            let (mut slots, _) = SlotFile::open(disk, dir.path(), ELSEWHERE).await?;
            slots.write(&self.encode()).await
        };
        let Err(error) = marked.await else {
            return;
        };
        let error = error.in_directory(dir.path());
        if matches!(error, Error::Io { .. }) {
            // What the disk has of it is unknown (F1).
            dir.fail(&error.to_string());
            return;
        }
        tracing::warn!(
            path = %dir.path().join(ELSEWHERE).display(), %error,
            "it can't be written, so this directory would not tell an old copy of the one with the \
             metadata log"
        );
    }

    fn encode(self) -> [u8; 24] {
        let mut record = [0; 24];
        record[..16].copy_from_slice(&self.directory);
        record[16..].copy_from_slice(&self.generation.to_be_bytes());
        record
    }

    /// `None` for what a later version may have written.
    fn decode(record: &[u8]) -> Option<Self> {
        let (directory, generation) = record.split_first_chunk::<16>()?;
        Some(Self {
            directory: *directory,
            generation: u64::from_be_bytes(generation.try_into().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sighting_comes_back_whole_or_not_at_all() {
        let sighting = Sighting {
            directory: [7; 16],
            generation: 1 << 40,
        };
        let record = sighting.encode();
        assert_eq!(Sighting::decode(&record), Some(sighting));
        for len in 0..record.len() {
            assert_eq!(Sighting::decode(&record[..len]), None);
        }
        assert_eq!(Sighting::decode(&[record.as_slice(), &[0]].concat()), None);
    }
}
