//! What makes a directory one of ours: `millrace.format`, and Kafka's `meta.properties` beside it
//! for Kafka's tools.
//!
//! ```text
//! magic u32 | format u32 | directory id 16 | node id i32 | cluster id (len u32, text) | crc u32
//! ```
//! Little-endian. What always holds: the format file is written once, when the directory is
//! formatted, and never again.

use std::fmt::Write as _;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use millrace_host::{Disk, File, LockGuard, OpenMode, Rng};

use crate::codec::{Put, Take};
use crate::dir::DirOptions;
use crate::error::Error;
use crate::partition_metadata::base64;

/// Our own file.
pub(crate) const NAME: &str = "millrace.format";
/// Kafka's.
pub(crate) const META: &str = "meta.properties";
/// Kafka's name for the lock file, so that a Kafka broker finds it too.
pub(crate) const LOCK: &str = ".lock";
/// Begins the line of the in-use file that names the version which has the directory.
pub(crate) const VERSION_IS: &str = "version=";
/// Room kept for a full disk (F4).
pub(crate) const RESERVE: &str = ".reserve";
/// A name that a file system makes by itself.
pub(crate) const LOST_AND_FOUND: &str = "lost+found";
/// The newest format this version reads and the one it writes.
pub(crate) const FORMAT: u32 = 1;
/// The oldest format this version reads. A version that writes a newer one reads those before it, or
/// raises this and names, in `refused`, the command that brings a directory up to it.
pub(crate) const OLDEST: u32 = 1;

const MAGIC: u32 = u32::from_le_bytes(*b"MRfm");
/// A format file is far smaller than this.
const LEN_MAX: usize = 4096;

/// What the format file says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_field_names,
    reason = "each is an id, and its name says of what"
)]
pub(crate) struct Format {
    pub(crate) dir_id: [u8; 16],
    pub(crate) node_id: i32,
    pub(crate) cluster_id: String,
}

/// What reading a format file gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// Whole.
    Format(Format),
    /// A format number that this version doesn't read.
    Other(u32),
    /// Damaged, torn or not ours.
    Bad,
}

impl Format {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u32(MAGIC);
        out.put_u32(FORMAT);
        out.extend_from_slice(&self.dir_id);
        out.put_i32(self.node_id);
        out.put_block(self.cluster_id.as_bytes());
        let crc = crc32c::crc32c(&out);
        out.put_u32(crc);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Read {
        let Some((covered, crc)) = bytes.split_last_chunk::<4>() else {
            return Read::Bad;
        };
        let mut take = Take(covered);
        if take.u32() != Some(MAGIC) || u32::from_le_bytes(*crc) != crc32c::crc32c(covered) {
            return Read::Bad;
        }
        match take.u32() {
            Some(OLDEST..=FORMAT) => Self::fields(take).map_or(Read::Bad, Read::Format),
            Some(found) => Read::Other(found),
            None => Read::Bad,
        }
    }

    fn fields(mut take: Take<'_>) -> Option<Self> {
        let dir_id = take.array()?;
        let node_id = take.i32()?;
        let cluster_id = take.text()?.to_owned();
        take.is_done().then_some(Self {
            dir_id,
            node_id,
            cluster_id,
        })
    }

    /// `meta.properties` as Kafka 4 writes it.
    pub(crate) fn meta_properties(&self) -> String {
        let mut out = String::from("#\n");
        let dir_id = base64(self.dir_id);
        let (cluster_id, node_id) = (&self.cluster_id, self.node_id);
        write!(
            out,
            "cluster.id={cluster_id}\ndirectory.id={dir_id}\nnode.id={node_id}\nversion=1\n"
        )
        .expect("writing into a string doesn't fail");
        out
    }

    /// Refuses a directory of another cluster or node.
    pub(crate) fn check(&self, path: &Path, options: &DirOptions) -> Result<(), Error> {
        let foreign = |reason| {
            Err(Error::Foreign {
                path: path.to_owned(),
                reason,
            })
        };
        if let Some(wanted) = &options.cluster_id
            && self.cluster_id != *wanted
        {
            return foreign(format!(
                "it belongs to cluster {}, this node to cluster {wanted}; choose another directory \
                 with log.dirs, or start with that cluster's id",
                self.cluster_id
            ));
        }
        if self.node_id != options.node_id {
            return foreign(format!(
                "it belongs to node {}, this is node {}; choose another directory with log.dirs, \
                 or set node.id={}",
                self.node_id, options.node_id, self.node_id
            ));
        }
        Ok(())
    }
}

/// A new id in Kafka's form: 128 random bits as text.
pub(crate) fn draw_id(rng: &dyn Rng) -> String {
    let mut id = [0; 16];
    rng.fill(&mut id);
    base64(id)
}

/// Reads a directory's format file; `None` when there is none.
pub(crate) async fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<Read>, Error> {
    let path = dir.join(NAME);
    let file = match disk.open(&path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::access(dir, "open", &path, error)),
    };
    let bytes = file
        .read_at(0, LEN_MAX)
        .await
        .map_err(Error::io("read", &path))?;
    Ok(Some(Format::decode(&bytes)))
}

/// What a directory of a format that this version doesn't read is refused with. Its in-use file, which
/// is text in every format, says who wrote it; it is only read.
pub(crate) async fn refused(disk: &dyn Disk, dir: &Path, found: u32) -> Error {
    let said = match disk.open(&dir.join(LOCK), OpenMode::Read) {
        Ok(file) => file.read_at(0, LEN_MAX).await.unwrap_or_default(),
        Err(_) => Bytes::new(),
    };
    let said = String::from_utf8_lossy(&said);
    let writer = said.lines().find_map(|line| line.strip_prefix(VERSION_IS));
    Error::OtherFormat {
        path: dir.to_owned(),
        found,
        reads: (OLDEST, FORMAT),
        writer: writer.map_or_else(
            || "a version that left no name".to_owned(),
            |name| name.chars().filter(|c| !c.is_control()).collect(),
        ),
    }
}

/// Makes or replaces a small file, not yet synced.
pub(crate) fn write_file(
    disk: &dyn Disk,
    path: &Path,
    bytes: &[u8],
) -> Result<Arc<dyn File>, Error> {
    let file = disk
        .open(path, OpenMode::Create)
        .map_err(Error::io("create", path))?;
    put(file.as_ref(), bytes)?;
    Ok(file)
}

/// Replaces a small file's content in place.
pub(crate) fn put(file: &dyn File, bytes: &[u8]) -> Result<(), Error> {
    let failed = || Error::io("write", file.path());
    file.set_len(0).map_err(failed())?;
    let taken = file
        .write_vectored_at(&[IoSlice::new(bytes)], 0)
        .map_err(failed())?;
    if taken < bytes.len() {
        return Err(failed()(io::ErrorKind::StorageFull.into()));
    }
    Ok(())
}

/// Takes the directory's lock, so that no broker has it meanwhile.
pub(crate) fn lock(disk: &dyn Disk, dir: &Path) -> Result<Box<dyn LockGuard>, Error> {
    let path = dir.join(LOCK);
    disk.lock(&path).map_err(|error| {
        if error.kind() == io::ErrorKind::WouldBlock {
            let path = dir.to_owned();
            return Error::InUse { path };
        }
        Error::access(dir, "lock", &path, error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format() -> Format {
        Format {
            dir_id: [9; 16],
            node_id: 3,
            cluster_id: "4L6g3nShT-eMCtK--X86sw".into(),
        }
    }

    #[test]
    fn a_format_comes_back_whole_or_not_at_all() {
        let bytes = format().encode();
        assert_eq!(Format::decode(&bytes), Read::Format(format()));
        for at in 0..bytes.len() {
            let mut hurt = bytes.clone();
            hurt[at] ^= 4;
            assert_eq!(Format::decode(&hurt), Read::Bad);
            assert_eq!(Format::decode(&bytes[..at]), Read::Bad);
        }
    }

    #[test]
    fn another_format_is_told_by_its_number() {
        for number in [0, 7] {
            let mut bytes = format().encode();
            bytes[4..8].copy_from_slice(&u32::to_le_bytes(number));
            let end = bytes.len() - 4;
            let crc = crc32c::crc32c(&bytes[..end]);
            bytes[end..].copy_from_slice(&crc.to_le_bytes());
            assert_eq!(Format::decode(&bytes), Read::Other(number));
        }
    }

    #[test]
    fn metadata_reads_as_kafkas() {
        let text = format().meta_properties();
        assert!(text.contains("\ncluster.id=4L6g3nShT-eMCtK--X86sw\n"));
        assert!(text.contains("\nnode.id=3\nversion=1\n"));
        assert!(text.contains("\ndirectory.id=CQkJCQkJCQkJCQkJCQkJCQ\n"));
    }
}
