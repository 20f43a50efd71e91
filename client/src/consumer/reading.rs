//! Reading one partition: where it goes on, what is on its way and what waits for the application.
//! Pure decisions, nothing is fetched here.
//!
//! What always holds: what the application gets follows on what it got before, offset by offset, until
//! it seeks or the log turns out to have been truncated; an answer to what was asked before a seek is
//! thrown away; at most one request about the partition is under way. Under a new leader, records are
//! asked for only once it said that its log holds what they are to follow on (KIP-320).

use std::collections::VecDeque;
use std::sync::Arc;

use millrace_host::Mono;
use millrace_probe::{Bug, planted};
use millrace_protocol::ids::TopicId;

use super::options::Reset;
use super::records::Records;
use crate::{Error, OffsetOf, TopicPartition};

/// Where a partition is read on.
#[derive(Clone, Debug)]
enum Place {
    /// From this offset.
    Offset(i64),
    /// From an offset that must be asked for.
    Find(OffsetOf),
    /// Nowhere: the application hears why, once.
    Stuck(Option<Error>),
}

/// What is wanted of a partition's leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// Records from this offset on.
    Records(i64),
    /// An offset.
    Offset(OffsetOf),
    /// Where the leader's log leaves this epoch.
    End(i32),
}

/// What became of a request.
#[derive(Debug)]
pub(super) enum Outcome {
    /// These records.
    Fetched(Records),
    /// Nothing yet; the end of the log, if it was told.
    Nothing(Option<i64>),
    /// Nothing: it is better read from this broker, up to this time (KIP-392).
    Prefers(i32, Mono),
    /// The offset asked for, with its record's epoch; `None` when no record is that late.
    Found(Option<Position>),
    /// Where the leader's log leaves the epoch asked for, or the last one before that it knows.
    Ends {
        /// The partition.
        of: TopicPartition,
        /// `None` when it knows neither.
        end: Option<Position>,
    },
    /// The broker can't say where epochs end.
    Unchecked,
    /// The offset is not in the log.
    OutOfRange(Error),
    /// It can be tried again.
    Again(Error),
    /// It can't.
    Failed(Error),
}

/// A place between two records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// The offset of the record behind it.
    pub(crate) offset: i64,
    /// The leader's epoch in which the one before it was written; -1 if that isn't known.
    pub(crate) leader_epoch: i32,
}

impl Position {
    fn at(offset: i64) -> Self {
        Self {
            offset,
            leader_epoch: -1,
        }
    }
}

/// One partition.
#[derive(Debug)]
pub(super) struct Reading {
    place: Place,
    reset: Reset,
    /// What the application gets next is at this offset, if it is known.
    position: Option<Position>,
    /// What it is done with lies before this one.
    processed: Option<Position>,
    /// The group's offset, if it was read or written.
    committed: Option<i64>,
    /// One past the last offset that it could get, as last told.
    end: Option<i64>,
    /// Counts the seeks of all partitions.
    turn: u64,
    /// The turn in which it was asked for last, until that is answered.
    in_flight: Option<u64>,
    /// The broker that was asked last, and the leader epoch that it was told.
    asked: (i32, i32),
    /// The epoch of the record before the place where it is read on; -1 if that isn't known.
    follows: i32,
    /// The leader's epoch as of which its log is known to hold that record.
    checked: Option<i32>,
    /// A broker to read from in place of the leader, and until when.
    preferred: Option<(i32, Mono)>,
    ready: VecDeque<Records>,
    failures: u32,
    not_before: Mono,
    pub(super) paused: bool,
    pub(super) topic_id: TopicId,
    /// The broker that leads it, and the epoch of its leadership.
    leader: Option<(i32, i32)>,
}

impl Reading {
    pub(super) fn new(start: OffsetOrFind, turn: u64, reset: Reset) -> Self {
        let mut reading = Self {
            place: Place::Stuck(None),
            reset,
            position: None,
            processed: None,
            committed: None,
            end: None,
            turn,
            in_flight: None,
            asked: (-1, -1),
            follows: -1,
            checked: None,
            preferred: None,
            ready: VecDeque::new(),
            failures: 0,
            not_before: Mono::default(),
            paused: false,
            topic_id: TopicId::ZERO,
            leader: None,
        };
        reading.seek(start, turn);
        reading
    }

    /// Goes on elsewhere, in a turn that no partition had before. Gives the bytes of what was fetched ahead and is thrown away.
    pub(super) fn seek(&mut self, to: OffsetOrFind, turn: u64) -> usize {
        self.turn = turn;
        self.failures = 0;
        self.not_before = Mono::default();
        (self.place, self.position) = match to {
            OffsetOrFind::Offset(offset) => (Place::Offset(offset), Some(Position::at(offset))),
            OffsetOrFind::Find(of) => (Place::Find(of), None),
        };
        self.processed = self.position;
        self.follows = -1;
        self.checked = None;
        self.ready.drain(..).map(|fetched| fetched.bytes()).sum()
    }

    /// Hears who leads it.
    pub(super) fn led_by(&mut self, leader: Option<(i32, i32)>) {
        if self.leader != leader {
            self.leader = leader;
            self.preferred = None;
        }
    }

    /// Who leads it, and the epoch of that.
    pub(super) fn leader(&self) -> Option<(i32, i32)> {
        self.leader
    }

    /// The broker to read records from.
    pub(super) fn source(&self, now: Mono) -> Option<i32> {
        let (leader, _) = self.leader?;
        let preferred = self.preferred.filter(|(_, until)| now < *until);
        Some(preferred.map_or(leader, |(broker, _)| broker))
    }

    /// Whether a broker may be asked something of it.
    pub(super) fn is_asked_of(&self, broker: i32) -> bool {
        let leads = self.leader.is_some_and(|(leader, _)| leader == broker);
        let serves = self.preferred.is_some_and(|(serving, _)| serving == broker);
        leads || (serves && self.leader.is_some())
    }

    /// A broker can't be asked: it is read from the leader, if that is another.
    pub(super) fn not_reached(&mut self, broker: i32) {
        self.preferred = self.preferred.filter(|(serving, _)| *serving != broker);
    }

    /// What the application gets next is at this offset, if it is known.
    pub(super) fn position(&self) -> Option<i64> {
        self.position.map(|position| position.offset)
    }

    /// Begins where the group's offset says.
    pub(super) fn begin_at(&mut self, position: Position) {
        self.place = Place::Offset(position.offset);
        self.position = Some(position);
        self.processed = self.position;
        self.follows = position.leader_epoch;
        self.checked = None;
        self.committed = Some(position.offset);
    }

    /// Where records are fetched from next, if that is known.
    pub(super) fn fetches_from(&self) -> Option<Position> {
        match self.place {
            Place::Offset(offset) => Some(Position::at(offset)),
            Place::Find(_) | Place::Stuck(_) => None,
        }
    }

    /// Goes nowhere: the application hears why.
    pub(super) fn fail(&mut self, error: Error) {
        self.place = Place::Stuck(Some(error));
        self.position = None;
        self.processed = None;
    }

    /// What the application got is done with.
    pub(super) fn process(&mut self) {
        self.processed = self.position;
    }

    /// What is done with and isn't the group's offset yet.
    pub(super) fn uncommitted(&self) -> Option<Position> {
        if let Place::Offset(offset) = self.place
            && !self.ready.is_empty()
            && planted(Bug::CommitAheadOfDelivery)
        {
            return Some(Position::at(offset));
        }
        let differs = |position: &Position| self.committed != Some(position.offset);
        self.processed.filter(differs)
    }

    /// This is the group's offset now.
    pub(super) fn committed(&mut self, offset: i64) {
        self.committed = Some(offset);
    }

    /// How many offsets lie between the position and the end, as far as both are known.
    pub(super) fn lag(&self) -> Option<i64> {
        Some((self.end? - self.position?.offset).max(0))
    }

    /// Tells answers to what was asked before a seek.
    pub(super) fn turn(&self) -> u64 {
        self.turn
    }

    /// What to ask its leader now; or when, if it is only for a time.
    pub(super) fn wants(&self, now: Mono) -> Result<Want, Option<Mono>> {
        if self.in_flight.is_some() || self.paused {
            return Err(None);
        }
        let want = match &self.place {
            // One answer ahead of the application is enough to keep both busy.
            Place::Offset(offset) if self.ready.is_empty() => {
                if self.is_checked() {
                    Want::Records(*offset)
                } else {
                    Want::End(self.follows)
                }
            }
            Place::Find(of) => Want::Offset(*of),
            Place::Offset(_) | Place::Stuck(_) => return Err(None),
        };
        if now < self.not_before {
            Err(Some(self.not_before))
        } else {
            Ok(want)
        }
    }

    /// Whether the leader's log is known to hold what it follows on, as far as that can be known.
    fn is_checked(&self) -> bool {
        let Some((_, leader_epoch)) = self.leader else {
            return true;
        };
        self.follows < 0 || leader_epoch < 0 || self.checked == Some(leader_epoch)
    }

    /// A broker was asked.
    pub(super) fn asked(&mut self, broker: i32) {
        self.in_flight = Some(self.turn);
        self.asked = (broker, self.leader.map_or(-1, |(_, epoch)| epoch));
    }

    /// Hears what became of what was asked in a turn. Gives the bytes that wait for the application by
    /// it.
    pub(super) fn answered(&mut self, turn: u64, outcome: Outcome, retry_at: Mono) -> usize {
        if self.in_flight == Some(turn) {
            self.in_flight = None;
        }
        if turn != self.turn {
            return 0;
        }
        match outcome {
            Outcome::Fetched(fetched) => {
                self.failures = 0;
                self.place = Place::Offset(fetched.next_offset());
                self.follows = fetched.leader_epoch();
                self.checked = Some(self.asked.1);
                self.end = Some(fetched.high_watermark());
                let bytes = fetched.bytes();
                self.ready.push_back(fetched);
                return bytes;
            }
            Outcome::Nothing(end) => {
                self.failures = 0;
                self.end = end.or(self.end);
            }
            // Only a leader may say so; failures go on counting until one or the other gives records.
            Outcome::Prefers(broker, until) if broker != self.asked.0 => {
                self.preferred = Some((broker, until));
            }
            Outcome::Found(Some(position)) => {
                self.failures = 0;
                self.go_on_at(position);
            }
            // Nothing is that late: the next record will be.
            Outcome::Found(None) => self.place = Place::Find(OffsetOf::End),
            Outcome::Ends { of, end } => self.hear_end(of, end),
            Outcome::Unchecked => self.checked = Some(self.asked.1),
            Outcome::OutOfRange(error) => {
                if self.was_asked_of_leader() {
                    self.reset(error);
                } else {
                    // It may only lag, or be ahead of what it shows: the leader knows.
                    self.again(retry_at);
                }
            }
            Outcome::Prefers(..) | Outcome::Again(_) => self.again(retry_at),
            Outcome::Failed(error) => self.place = Place::Stuck(Some(error)),
        }
        0
    }

    fn was_asked_of_leader(&self) -> bool {
        self.leader.is_none_or(|(leader, _)| leader == self.asked.0)
    }

    /// Tries again later, and with the leader.
    fn again(&mut self, retry_at: Mono) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = retry_at;
        self.preferred = None;
    }

    /// The position isn't in the log.
    fn reset(&mut self, error: Error) {
        self.place = match self.reset {
            Reset::Earliest => Place::Find(OffsetOf::Start),
            Reset::Latest => Place::Find(OffsetOf::End),
            Reset::Fail => Place::Stuck(Some(error)),
        };
    }

    fn go_on_at(&mut self, position: Position) {
        self.place = Place::Offset(position.offset);
        self.position = Some(position);
        self.processed = self.position;
        self.follows = position.leader_epoch;
        self.checked = Some(self.asked.1);
    }

    /// Where the leader's log leaves the epoch of what it follows on: behind that, all is well; before
    /// it, the log was truncated, and what was read since isn't there any more.
    fn hear_end(&mut self, of: TopicPartition, end: Option<Position>) {
        let Place::Offset(offset) = self.place else {
            return;
        };
        self.failures = 0;
        if end.is_some_and(|end| end.offset >= offset) {
            self.checked = Some(self.asked.1);
            return;
        }
        let diverges_at = end.map(|end| end.offset);
        tracing::warn!(partition = %of, offset, ?diverges_at, "the log was truncated");
        let truncated = Error::Truncated {
            partition: of,
            offset,
            diverges_at,
        };
        match (self.reset, end) {
            (Reset::Earliest | Reset::Latest, Some(end)) => self.go_on_at(end),
            _ => self.reset(truncated),
        }
    }

    /// Failed attempts in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether something waits for the application.
    pub(super) fn has_news(&self) -> bool {
        !self.paused && (!self.ready.is_empty() || matches!(self.place, Place::Stuck(Some(_))))
    }

    /// What waits for the application.
    pub(super) fn take(&mut self) -> Option<Result<Records, Error>> {
        if let Some(fetched) = self.ready.pop_front() {
            self.position = Some(Position {
                offset: fetched.next_offset(),
                leader_epoch: fetched.leader_epoch(),
            });
            return Some(Ok(fetched));
        }
        match &mut self.place {
            Place::Stuck(error) => error.take().map(Err),
            Place::Offset(_) | Place::Find(_) => None,
        }
    }

    /// The bytes of what waits.
    pub(super) fn ready_bytes(&self) -> usize {
        self.ready.iter().map(Records::bytes).sum()
    }
}

/// Where to begin.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::{Consumer, ConsumerOptions, OffsetOf, OffsetOrFind};
/// # world::run(async |cluster| {
/// let consumer = Consumer::new(&cluster, ConsumerOptions::default());
/// let end = OffsetOrFind::Find(OffsetOf::End);
/// consumer.assign([("orders", 0, OffsetOrFind::Offset(0)), ("orders", 1, end)]).await?;
/// consumer.seek("orders", 0, end)?;
/// # Ok(()) });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetOrFind {
    /// At this offset.
    Offset(i64),
    /// At an offset that the partition's leader knows.
    Find(OffsetOf),
}

/// Names a partition.
pub(crate) type Key = (Arc<str>, i32);

#[cfg(test)]
#[path = "reading_tests.rs"]
mod tests;
