//! Coordinators: state machines of `core` that keep what they know as records of an internal topic.
//!
//! A partition of the topic is a [`shard::Shard`]: one state machine, its records, whoever waits for
//! it. What always holds: what a decision writes is replayed at once, at append, and answered once
//! it is committed; what is only read is answered once all that it rests on is committed; a shard
//! whose commit failed is dropped and loaded from its records, by the same replay.

mod active;
pub(crate) mod groups;
mod load;
mod shard;

use std::fmt::Debug;

use millrace_core::Now;
use millrace_core::group::{Text, Token};

pub(crate) use shard::Asked;

/// A state machine that a shard runs; pure.
pub(crate) trait Coordinate: Debug + Send + 'static {
    /// What it is asked, by somebody who waits for the answer.
    type Request: Clone + Send;
    /// What happens to one of its keys.
    type Event: Send;
    /// What it answers.
    type Reply: Send;
    /// What it keeps.
    type Record;
    /// What it goes by; changes while it runs.
    type Settings: Send + Sync + 'static;
    /// A decision that changes nothing until it is applied.
    type Decision;

    /// Nothing kept.
    fn empty() -> Self;
    /// A request under a token.
    fn request(token: Token, request: Self::Request) -> Self::Event;
    /// Whoever waits under a token has gone.
    fn gone(token: Token) -> Self::Event;
    /// Something of a key is due.
    fn timer() -> Self::Event;
    /// Decides.
    fn decide(
        &self,
        now: Now,
        settings: &Self::Settings,
        key: &Text,
        event: Self::Event,
    ) -> Self::Decision;
    /// What a decision writes.
    fn records(decision: &Self::Decision) -> &[Self::Record];
    /// A record's key and value.
    fn encode(record: &Self::Record) -> (Vec<u8>, Option<Vec<u8>>);
    /// The record that lies in the log; `None` for one of a kind that isn't known.
    fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<Self::Record>, String>;
    /// Takes in a record at its offset.
    fn replay(&mut self, offset: i64, record: &Self::Record);
    /// Applies a decision whose records were replayed: answers, and the offset whose commit they
    /// wait for.
    fn apply(&mut self, decision: Self::Decision) -> (Vec<(Token, Self::Reply)>, i64);
    /// All records are replayed and committed.
    fn loaded(&mut self, now: Now);
    /// What it takes in memory, in bytes, about.
    fn held_bytes(&self) -> usize;
    /// Everything below is committed.
    fn committed(&mut self, upto: i64);
    /// When something is due next.
    fn next_due_ns(&self) -> Option<u64>;
    /// A key of which something is due.
    fn due(&self, now: Now) -> Option<Text>;
    /// What was due of a key could not be written; it is due again then.
    fn postpone(&mut self, key: &Text, until_ns: u64);
}
