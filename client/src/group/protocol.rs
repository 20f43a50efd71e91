//! What members tell each other through the coordinator: Kafka's `ConsumerProtocolSubscription` and
//! `ConsumerProtocolAssignment`, versions 0 to 3 (KIP-429, KIP-792, KIP-881), byte for byte as
//! Kafka's Java client writes them.
//!
//! What always holds: what another member wrote may be anything: reading it takes memory in proportion
//! to its bytes and never panics. A version that is newer than ours begins as ours does.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use crate::TopicPartition;

/// The version that is written.
const VERSION: i16 = 3;
/// First version of a subscription with what the member owns.
const WITH_OWNED: i16 = 1;
/// First version of a subscription with the generation of what it owns.
const WITH_GENERATION: i16 = 2;
/// First version of a subscription with the member's rack.
const WITH_RACK: i16 = 3;
/// The generation of a member of none.
pub(super) const NO_GENERATION: i32 = -1;

/// What a member asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Subscription {
    pub(super) topics: BTreeSet<String>,
    /// What its assignor says beside.
    pub(super) user_data: Option<Bytes>,
    pub(super) owned: BTreeSet<TopicPartition>,
    /// The generation in which it came to own that, if it says so.
    pub(super) generation: Option<i32>,
    pub(super) rack: Option<String>,
}

impl Subscription {
    /// Its bytes.
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_i16(VERSION);
        put_length(&mut out, self.topics.len());
        for topic in &self.topics {
            put_text(&mut out, topic);
        }
        put_bytes(&mut out, self.user_data.as_deref());
        put_partitions(&mut out, &self.owned);
        out.put_i32(self.generation.unwrap_or(NO_GENERATION));
        match &self.rack {
            Some(rack) => put_text(&mut out, rack),
            None => out.put_i16(-1),
        }
        out.freeze()
    }

    /// What the bytes say; `None` when they aren't a subscription.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        let version = from.version()?;
        let mut read = Self::default();
        for _ in 0..from.length()? {
            read.topics.insert(from.text().ok()??.to_owned());
        }
        read.user_data = from.bytes().ok()?.map(Bytes::copy_from_slice);
        if version >= WITH_OWNED {
            read.owned = from.partitions()?;
        }
        if version >= WITH_GENERATION {
            read.generation = Some(from.i32()?).filter(|generation| *generation >= 0);
        }
        if version >= WITH_RACK {
            read.rack = from.text().ok()?.map(str::to_owned);
        }
        Some(read)
    }
}

/// The bytes of a member's assignment.
pub(super) fn encode_assignment(partitions: &BTreeSet<TopicPartition>) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(VERSION);
    put_partitions(&mut out, partitions);
    put_bytes(&mut out, None);
    out.freeze()
}

/// What a member is assigned; `None` when the bytes aren't an assignment. No bytes are an empty one:
/// what a member gets of which the leader said nothing.
pub(super) fn decode_assignment(bytes: &[u8]) -> Option<BTreeSet<TopicPartition>> {
    if bytes.is_empty() {
        return Some(BTreeSet::new());
    }
    let mut from = Reader(bytes);
    from.version()?;
    let partitions = from.partitions()?;
    from.bytes().ok()?;
    Some(partitions)
}

/// What the sticky assignor's members say: what they owned, and in which generation (KIP-341).
pub(super) fn encode_sticky(owned: &BTreeSet<TopicPartition>, generation: i32) -> Bytes {
    let mut out = BytesMut::new();
    put_partitions(&mut out, owned);
    out.put_i32(generation);
    out.freeze()
}

/// The same, read; without a generation from members before KIP-341.
pub(super) fn decode_sticky(bytes: &[u8]) -> Option<(BTreeSet<TopicPartition>, Option<i32>)> {
    let mut from = Reader(bytes);
    let owned = from.partitions()?;
    Some((owned, from.i32()))
}

fn put_length(out: &mut BytesMut, length: usize) {
    out.put_i32(i32::try_from(length).expect("a group has fewer than 2^31 of anything"));
}

fn put_text(out: &mut BytesMut, text: &str) {
    let length = i16::try_from(text.len());
    out.put_i16(length.expect("topics and racks came in with lengths of 15 bits"));
    out.put_slice(text.as_bytes());
}

fn put_bytes(out: &mut BytesMut, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            put_length(out, bytes.len());
            out.put_slice(bytes);
        }
        None => out.put_i32(-1),
    }
}

/// By topic, in order.
fn put_partitions(out: &mut BytesMut, partitions: &BTreeSet<TopicPartition>) {
    let all: Vec<_> = partitions.iter().collect();
    let topics = || all.chunk_by(|one, other| one.topic == other.topic);
    put_length(out, topics().count());
    for topic in topics() {
        put_text(out, &topic[0].topic);
        put_length(out, topic.len());
        for partition in topic {
            out.put_i32(partition.partition);
        }
    }
}

/// The bytes end before their field does, or are no text.
struct Cut;

/// Reads big-endian fields off the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn i16(&mut self) -> Option<i16> {
        Some(i16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn i32(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn version(&mut self) -> Option<i16> {
        self.i16().filter(|version| *version >= 0)
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.i32()?).ok()
    }

    /// `None` is null.
    fn text(&mut self) -> Result<Option<&'a str>, Cut> {
        match self.i16().ok_or(Cut)? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| Cut)?;
                let text = self.take(length).ok_or(Cut)?;
                std::str::from_utf8(text).map(Some).map_err(|_| Cut)
            }
        }
    }

    /// `None` is null.
    fn bytes(&mut self) -> Result<Option<&'a [u8]>, Cut> {
        match self.i32().ok_or(Cut)? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| Cut)?;
                self.take(length).map(Some).ok_or(Cut)
            }
        }
    }

    fn partitions(&mut self) -> Option<BTreeSet<TopicPartition>> {
        let mut partitions = BTreeSet::new();
        for _ in 0..self.length()? {
            let topic: Arc<str> = self.text().ok()??.into();
            for _ in 0..self.length()? {
                partitions.insert(TopicPartition {
                    topic: Arc::clone(&topic),
                    partition: self.i32()?,
                });
            }
        }
        Some(partitions)
    }
}

#[cfg(test)]
#[path = "protocol_tests.rs"]
mod tests;
