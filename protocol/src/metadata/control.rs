//! Values of the control records in Raft logs and snapshots: who leads, where a snapshot begins and
//! ends, who votes.
//!
//! They have no frame: the type stands in the key (see [`ControlType`](crate::records::ControlType)),
//! the version is the value's first field.

use super::codec::unframe;
use super::error::MetadataError;
use super::wire::{
    Broken, Layout, OWN_TAG, Reader, Tags, write_array, write_no_tags, write_string,
};
use crate::ids::TopicId;

/// A control record's value: to bytes and back.
pub trait ControlValue: Sized {
    /// The value's bytes, at the version this broker writes.
    fn encode(&self) -> Vec<u8>;

    /// Reads a value, all of it, at any version known.
    fn decode(value: &[u8]) -> Result<Self, MetadataError>;
}

/// Marks the layouts that stand in control records, and so have no frame.
trait Control: Layout {}

impl Control for LeaderChange {}
impl Control for SnapshotHeader {}
impl Control for SnapshotFooter {}
impl Control for KRaftVersion {}
impl Control for Voters {}

impl<R: Control> ControlValue for R {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::from((R::WRITTEN as u16).to_be_bytes());
        self.write(&mut out);
        out
    }

    fn decode(value: &[u8]) -> Result<Self, MetadataError> {
        let mut bytes = Reader::new(value);
        let malformed = |what| MetadataError::Malformed {
            record: R::NAME,
            what,
        };
        let version = bytes
            .int16()
            .map_err(|_| malformed("ends before its version"))?;
        let version = u32::try_from(version).map_err(|_| malformed("negative version"))?;
        unframe(bytes, version)
    }
}

/// A voter as an election names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ElectionVoter {
    /// Node id.
    pub voter_id: i32,
    /// Its metadata log's directory; zero when not known, and not written (see `LeaderChange`).
    pub directory_id: TopicId,
}

/// First record of a leader's epoch (`LeaderChangeMessage`, type 2). Written at version 0, which has no
/// directory ids; read at 0 and 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderChange {
    /// The new leader.
    pub leader_id: i32,
    /// All voters.
    pub voters: Vec<ElectionVoter>,
    /// Those that voted for it.
    pub granting_voters: Vec<ElectionVoter>,
}

impl Layout for LeaderChange {
    const NAME: &'static str = "LeaderChangeMessage";
    const KEY: u32 = 2;
    const NEWEST: u32 = 1;
    // Kafka 4.3 still writes 0, without directory ids, and reads nothing else.
    const WRITTEN: u32 = 0;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.leader_id.to_be_bytes());
        for voters in [&self.voters, &self.granting_voters] {
            write_array(out, voters, |out, voter| {
                out.extend_from_slice(&voter.voter_id.to_be_bytes());
                write_no_tags(out);
            });
        }
        write_no_tags(out);
    }

    fn read(bytes: &mut Reader<'_>, version: u32) -> Result<Self, Broken> {
        let voter = |bytes: &mut Reader<'_>| {
            let voter_id = bytes.int32()?;
            let directory_id = if version >= 1 {
                bytes.id()?
            } else {
                TopicId::ZERO
            };
            bytes.no_tags()?;
            Ok(ElectionVoter {
                voter_id,
                directory_id,
            })
        };
        let leader_id = bytes.int32()?;
        let voters = bytes.array(voter)?;
        let granting_voters = bytes.array(voter)?;
        bytes.no_tags()?;
        Ok(Self {
            leader_id,
            voters,
            granting_voters,
        })
    }
}

/// First record of a snapshot (`SnapshotHeaderRecord`, type 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotHeader {
    /// Time (ms) of the last record the snapshot contains.
    pub last_contained_log_timestamp_ms: i64,
    /// How many entries the log had up to the snapshot, since the beginning: a tagged field of our
    /// own, which Kafka's tools skip; `None` in a snapshot that Kafka made.
    pub entry_index: Option<i64>,
}

impl Layout for SnapshotHeader {
    const NAME: &'static str = "SnapshotHeaderRecord";
    const KEY: u32 = 3;
    const NEWEST: u32 = 0;
    const WRITTEN: u32 = 0;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.last_contained_log_timestamp_ms.to_be_bytes());
        let mut tags = Tags::default();
        if let Some(index) = self.entry_index {
            tags.add(OWN_TAG, |out| out.extend_from_slice(&index.to_be_bytes()));
        }
        tags.write(out);
    }

    fn read(bytes: &mut Reader<'_>, _version: u32) -> Result<Self, Broken> {
        let mut record = Self {
            last_contained_log_timestamp_ms: bytes.int64()?,
            entry_index: None,
        };
        bytes.tags(|tag, field| {
            if tag != OWN_TAG {
                return Ok(false);
            }
            record.entry_index = Some(field.int64()?);
            Ok(true)
        })?;
        Ok(record)
    }
}

/// Last record of a snapshot (`SnapshotFooterRecord`, type 4): without it the snapshot isn't whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotFooter;

impl Layout for SnapshotFooter {
    const NAME: &'static str = "SnapshotFooterRecord";
    const KEY: u32 = 4;
    const NEWEST: u32 = 0;
    const WRITTEN: u32 = 0;

    fn write(&self, out: &mut Vec<u8>) {
        write_no_tags(out);
    }

    fn read(bytes: &mut Reader<'_>, _version: u32) -> Result<Self, Broken> {
        bytes.no_tags()?;
        Ok(Self)
    }
}

/// The finalized level of `kraft.version` (`KRaftVersionRecord`, type 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KRaftVersion {
    /// 0 static voters, 1 voters in the log (KIP-853).
    pub level: i16,
}

impl Layout for KRaftVersion {
    const NAME: &'static str = "KRaftVersionRecord";
    const KEY: u32 = 5;
    const NEWEST: u32 = 0;
    const WRITTEN: u32 = 0;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.level.to_be_bytes());
        write_no_tags(out);
    }

    fn read(bytes: &mut Reader<'_>, _version: u32) -> Result<Self, Broken> {
        let record = Self {
            level: bytes.int16()?,
        };
        bytes.no_tags()?;
        Ok(record)
    }
}

/// Where a voter listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoterEndpoint {
    /// Listener name.
    pub name: String,
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// One member of the quorum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voter {
    /// Node id.
    pub voter_id: i32,
    /// Its metadata log's directory.
    pub directory_id: TopicId,
    /// Where it listens.
    pub endpoints: Vec<VoterEndpoint>,
    /// Lowest `kraft.version` it works with.
    pub kraft_version_min: i16,
    /// Highest `kraft.version` it works with.
    pub kraft_version_max: i16,
}

/// The set of voters (`VotersRecord`, type 6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voters(pub Vec<Voter>);

impl Layout for Voters {
    const NAME: &'static str = "VotersRecord";
    const KEY: u32 = 6;
    const NEWEST: u32 = 0;
    const WRITTEN: u32 = 0;

    fn write(&self, out: &mut Vec<u8>) {
        write_array(out, &self.0, |out, voter| {
            out.extend_from_slice(&voter.voter_id.to_be_bytes());
            out.extend_from_slice(&voter.directory_id.to_bytes());
            write_array(out, &voter.endpoints, |out, endpoint| {
                write_string(out, &endpoint.name);
                write_string(out, &endpoint.host);
                out.extend_from_slice(&endpoint.port.to_be_bytes());
                write_no_tags(out);
            });
            out.extend_from_slice(&voter.kraft_version_min.to_be_bytes());
            out.extend_from_slice(&voter.kraft_version_max.to_be_bytes());
            write_no_tags(out);
            write_no_tags(out);
        });
        write_no_tags(out);
    }

    fn read(bytes: &mut Reader<'_>, _version: u32) -> Result<Self, Broken> {
        let voters = bytes.array(read_voter)?;
        bytes.no_tags()?;
        Ok(Self(voters))
    }
}

fn read_voter(bytes: &mut Reader<'_>) -> Result<Voter, Broken> {
    let voter_id = bytes.int32()?;
    let directory_id = bytes.id()?;
    let endpoints = bytes.array(|bytes| {
        let endpoint = VoterEndpoint {
            name: bytes.string()?,
            host: bytes.string()?,
            port: bytes.uint16()?,
        };
        bytes.no_tags()?;
        Ok(endpoint)
    })?;
    let (kraft_version_min, kraft_version_max) = (bytes.int16()?, bytes.int16()?);
    bytes.no_tags()?;
    bytes.no_tags()?;
    Ok(Voter {
        voter_id,
        directory_id,
        endpoints,
        kraft_version_min,
        kraft_version_max,
    })
}
