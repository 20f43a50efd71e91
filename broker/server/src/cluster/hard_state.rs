//! What this node promised in elections: the term it knows and its vote in it (Raft's hard state).
//!
//! What always holds: a term is durable here before anything is written with it, and never falls;
//! a record that can't be read is damage, never taken for *never voted*.

use std::sync::Arc;

use millrace_host::Host;
use millrace_log::dir::LogDir;
use millrace_log::slots::SlotFile;
use millrace_protocol::ids::TopicId;

use super::MetadataError;

/// The file's name in the directory that holds the metadata log.
pub(super) const FILE: &str = millrace_log::dir::SLOTS;

/// Version of the record.
const VERSION: u16 = 1;

/// Version, term, node id, directory id.
const LEN: usize = 2 + 4 + 4 + 16;

/// In the place of a node id: no vote was given in the term.
const NO_VOTE: i32 = -1;

/// Whom a vote was given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Vote {
    /// Node id, 0 or greater.
    pub(super) node_id: i32,
    /// The directory that holds the node's metadata log: another directory is another voter.
    pub(super) directory_id: TopicId,
}

/// Term and vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HardState {
    /// The newest term known.
    pub(super) term: i32,
    /// The vote in it.
    pub(super) vote: Option<Vote>,
}

impl HardState {
    fn encode(self) -> Vec<u8> {
        let (node_id, directory_id) = match self.vote {
            Some(vote) => (vote.node_id, vote.directory_id),
            None => (NO_VOTE, TopicId::ZERO),
        };
        let mut out = Vec::with_capacity(LEN);
        out.extend_from_slice(&VERSION.to_be_bytes());
        out.extend_from_slice(&self.term.to_be_bytes());
        out.extend_from_slice(&node_id.to_be_bytes());
        out.extend_from_slice(&directory_id.to_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, MetadataError> {
        let (version, rest) = bytes
            .split_first_chunk::<2>()
            .ok_or_else(|| damaged("it is too short"))?;
        let version = u16::from_be_bytes(*version);
        if version != VERSION {
            return Err(damaged(&format!(
                "it has version {version}, this version of the broker reads {VERSION}"
            )));
        }
        let whole: &[u8; LEN - 2] = rest
            .try_into()
            .map_err(|_| damaged(&format!("it has {} bytes instead of {LEN}", bytes.len())))?;
        let [t0, t1, t2, t3, n0, n1, n2, n3, directory @ ..] = *whole;
        let term = i32::from_be_bytes([t0, t1, t2, t3]);
        let node_id = i32::from_be_bytes([n0, n1, n2, n3]);
        let vote = (node_id != NO_VOTE).then(|| Vote {
            node_id,
            directory_id: TopicId::from_bytes(directory),
        });
        if term < 0 || node_id < NO_VOTE {
            return Err(damaged("its term or vote is negative"));
        }
        Ok(Self { term, vote })
    }
}

fn damaged(what: &str) -> MetadataError {
    MetadataError::Damaged(format!("{FILE} can't be read: {what}"))
}

/// The hard state on disk.
#[derive(Debug)]
pub(super) struct HardStateFile {
    slots: SlotFile,
    dir: Arc<LogDir>,
    state: Option<HardState>,
}

impl HardStateFile {
    /// Takes what stands in the directory of the metadata log; the directory's start has read and
    /// proven it.
    pub(super) async fn open(host: &Host, dir: &Arc<LogDir>) -> Result<Self, MetadataError> {
        let (slots, bytes) = match dir.take_slots() {
            Some(slots) => slots,
            None => SlotFile::open(Arc::clone(&host.disk), dir.path(), FILE).await?,
        };
        let state = bytes.as_deref().map(HardState::decode).transpose()?;
        Ok(Self {
            slots,
            dir: Arc::clone(dir),
            state,
        })
    }

    /// What is durable; `None` when nothing was ever promised.
    pub(super) fn state(&self) -> Option<HardState> {
        self.state
    }

    /// Makes a promise durable. On an error the directory is given up: which of the two states a
    /// start will find is unknown (F1).
    pub(super) async fn write(&mut self, state: HardState) -> Result<(), MetadataError> {
        let term = self.state.map_or(0, |state| state.term);
        assert!(state.term >= term, "a term never falls");
        if let Err(error) = self.slots.write(&state.encode()).await {
            self.dir.fail(&format!("writing {FILE}: {error}"));
            return Err(error.into());
        }
        self.state = Some(state);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_back_and_anything_else_is_damage() {
        let vote = Vote {
            node_id: 3,
            directory_id: TopicId::from_bytes([9; 16]),
        };
        for vote in [None, Some(vote)] {
            let state = HardState { term: 70_000, vote };
            let bytes = state.encode();
            assert_eq!(HardState::decode(&bytes).unwrap(), state);
            for len in 0..bytes.len() {
                assert!(HardState::decode(&bytes[..len]).is_err(), "{len} bytes");
            }
            let longer = [bytes.as_slice(), &[0]].concat();
            assert!(HardState::decode(&longer).is_err());
        }
        let newer = [&2_u16.to_be_bytes()[..], &[0; LEN - 2]].concat();
        assert!(HardState::decode(&newer).is_err());
    }
}
