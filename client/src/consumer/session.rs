//! A fetch session with one broker (KIP-227): it remembers what is asked of it, so that a request
//! names only what has changed.
//!
//! What always holds: once a request is answered, the broker goes by exactly what was wanted then;
//! whenever that isn't certain, the next request names everything and begins a new session. Pure.

use std::collections::BTreeMap;

use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::ids::TopicId;

use super::core::Part;
use super::reading::Key;

/// The session id of who has none.
const NO_SESSION: i32 = 0;
/// The epoch of a request that names everything and begins a session.
const FIRST_EPOCH: i32 = 0;

/// What the broker was last told of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    topic_id: TopicId,
    leader_epoch: i32,
    offset: i64,
    /// The request that wanted it last.
    round: u64,
}

/// The session.
#[derive(Debug, Default)]
pub(super) struct Session {
    id: i32,
    epoch: i32,
    told: BTreeMap<Key, Told>,
    round: u64,
}

/// How to ask for what is wanted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) id: i32,
    pub(super) epoch: i32,
    /// Which of the parts to name, by their places.
    pub(super) named: Vec<usize>,
    /// What isn't wanted any more.
    pub(super) forgotten: Vec<(Key, TopicId)>,
    /// Partitions that are named, of a topic that had this other id. To be forgotten where requests
    /// name topics by id; by name that would forget the new one.
    pub(super) replaced: Vec<(Key, TopicId)>,
}

impl Ask {
    /// Whether it names everything.
    pub(super) fn is_full(&self) -> bool {
        self.epoch == FIRST_EPOCH
    }
}

impl Session {
    /// How to ask for these parts and no others.
    pub(super) fn ask(&mut self, parts: &[Part<i64>]) -> Ask {
        self.round += 1;
        let round = self.round;
        let mut ask = Ask {
            id: self.id,
            epoch: self.epoch,
            ..Ask::default()
        };
        if ask.is_full() {
            self.told.clear();
        }
        for (at, part) in parts.iter().enumerate() {
            let now = Told {
                topic_id: part.topic_id,
                leader_epoch: part.leader_epoch,
                offset: part.want,
                round,
            };
            let before = match self.told.get_mut(&part.key) {
                Some(told) => Some(std::mem::replace(told, now)),
                None => self.told.insert(part.key.clone(), now),
            };
            let same = |told: &Told| Told { round, ..*told } == now;
            if !before.as_ref().is_some_and(same) {
                ask.named.push(at);
            }
            // A topic that was made again is another one to the broker.
            let replaced = before.filter(|told| told.topic_id != now.topic_id);
            ask.replaced
                .extend(replaced.map(|told| (part.key.clone(), told.topic_id)));
        }
        self.told.retain(|key, told| {
            let is_wanted = told.round == round;
            if !is_wanted {
                ask.forgotten.push((key.clone(), told.topic_id));
            }
            is_wanted
        });
        ask
    }

    /// The request was answered: with this code as a whole, for this session.
    pub(super) fn answered(&mut self, code: ErrorCode, id: i32) {
        let is_right = self.epoch == FIRST_EPOCH || id == self.id;
        if code == ErrorCode::FetchSessionIdNotFound
            || (code == ErrorCode::None && id == NO_SESSION)
        {
            self.id = NO_SESSION;
            self.epoch = FIRST_EPOCH;
        } else if code == ErrorCode::None && is_right {
            self.id = id;
            self.epoch = self.epoch.checked_add(1).unwrap_or(FIRST_EPOCH + 1);
        } else {
            self.lost();
        }
    }

    /// Nobody knows what the broker goes by: the next request ends this session and begins another.
    pub(super) fn lost(&mut self) {
        self.epoch = FIRST_EPOCH;
    }
}

/// Codes that say that the session isn't what the client takes it for.
pub(super) fn is_of_session(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::FetchSessionIdNotFound
            | ErrorCode::InvalidFetchSessionEpoch
            | ErrorCode::FetchSessionTopicIdError
    )
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
