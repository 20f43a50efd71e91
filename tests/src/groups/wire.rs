//! What members of protocol type `consumer` say in the bytes that a coordinator passes on: their
//! subscription, and the assignment that a leader makes (KIP-429's forms, versions 0 and 1).
//!
//! What always holds: an assignment carries a number that no other has, so that whoever gets it can
//! tell which leader's turn it is from.

use std::collections::BTreeSet;

/// One partition of one topic.
pub(super) type Place = (String, i32);

/// What a member says when it joins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Subscription {
    /// The topics that it reads.
    pub(super) topics: Vec<String>,
    /// A number that it may change to be asked for a rebalance.
    pub(super) mark: u8,
    /// What it holds on to, of a cooperative group.
    pub(super) owned: BTreeSet<Place>,
}

/// What a member gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Assignment {
    /// Names the turn that made it.
    pub(super) turn: u64,
    /// The partitions.
    pub(super) places: BTreeSet<Place>,
}

impl Subscription {
    /// Version 0 without, 1 with what is owned.
    pub(super) fn encode(&self, cooperative: bool) -> Vec<u8> {
        let mut out = i16::from(cooperative).to_be_bytes().to_vec();
        put_count(&mut out, self.topics.len());
        for topic in &self.topics {
            put_text(&mut out, topic);
        }
        put_count(&mut out, 1);
        out.push(self.mark);
        if cooperative {
            put_places(&mut out, &self.owned);
        }
        out
    }

    /// `None` for bytes that no member of ours made.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let version = i16::from_be_bytes(take(&mut rest)?);
        let count = take_count(&mut rest)?;
        let topics = (0..count)
            .map(|_| take_text(&mut rest))
            .collect::<Option<_>>()?;
        let [0, 0, 0, 1, mark] = take(&mut rest)? else {
            return None;
        };
        let owned = if version > 0 {
            take_places(&mut rest)?
        } else {
            BTreeSet::new()
        };
        Some(Self {
            topics,
            mark,
            owned,
        })
    }
}

impl Assignment {
    /// In version 0, with the turn as what it calls user data.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![0, 0];
        put_places(&mut out, &self.places);
        put_count(&mut out, 8);
        out.extend(self.turn.to_be_bytes());
        out
    }

    /// `None` for bytes that no leader of ours made.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let [0, 0] = take(&mut rest)? else {
            return None;
        };
        let places = take_places(&mut rest)?;
        let [0, 0, 0, 8] = take(&mut rest)? else {
            return None;
        };
        let turn = u64::from_be_bytes(take(&mut rest)?);
        rest.is_empty().then_some(Self { turn, places })
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend((count as u32).to_be_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u16).to_be_bytes());
    out.extend(text.as_bytes());
}

fn put_places(out: &mut Vec<u8>, places: &BTreeSet<Place>) {
    let topics: BTreeSet<&String> = places.iter().map(|(topic, _)| topic).collect();
    put_count(out, topics.len());
    for topic in topics {
        put_text(out, topic);
        let numbers = places.iter().filter(|(of, _)| of == topic);
        put_count(out, numbers.clone().count());
        for (_, number) in numbers {
            out.extend(number.to_be_bytes());
        }
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, others) = rest.split_first_chunk::<N>()?;
    *rest = others;
    Some(*first)
}

/// A count of things of which each takes a byte at least.
fn take_count(rest: &mut &[u8]) -> Option<usize> {
    let count = usize::try_from(i32::from_be_bytes(take(rest)?)).ok()?;
    (count <= rest.len()).then_some(count)
}

fn take_text(rest: &mut &[u8]) -> Option<String> {
    let len = usize::from(u16::from_be_bytes(take(rest)?));
    let (text, others) = rest.split_at_checked(len)?;
    *rest = others;
    String::from_utf8(text.to_vec()).ok()
}

fn take_places(rest: &mut &[u8]) -> Option<BTreeSet<Place>> {
    let mut places = BTreeSet::new();
    for _ in 0..take_count(rest)? {
        let topic = take_text(rest)?;
        for _ in 0..take_count(rest)? {
            places.insert((topic.clone(), i32::from_be_bytes(take(rest)?)));
        }
    }
    Some(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> BTreeSet<Place> {
        let place = |topic: &str, number| (topic.to_owned(), number);
        BTreeSet::from([place("a", 0), place("a", 3), place("b", 1)])
    }

    #[test]
    fn what_is_said_is_read_back() {
        let said = Subscription {
            topics: vec!["a".to_owned(), "b".to_owned()],
            mark: 7,
            owned: places(),
        };
        assert_eq!(Subscription::decode(&said.encode(true)), Some(said.clone()));
        let eager = Subscription::decode(&said.encode(false)).unwrap();
        assert!(eager.owned.is_empty() && eager.mark == 7);
        let given = Assignment {
            turn: 99,
            places: places(),
        };
        let bytes = given.encode();
        assert_eq!(Assignment::decode(&bytes), Some(given));
        for end in 0..bytes.len() {
            assert_eq!(Assignment::decode(&bytes[..end]), None);
        }
    }

    #[test]
    fn the_broker_reads_the_topics() {
        let said = Subscription {
            topics: vec!["a".to_owned(), "bc".to_owned()],
            ..Subscription::default()
        };
        let bytes = said.encode(true);
        let topics = millrace_protocol::coordinator::subscribed_topics(&bytes).unwrap();
        assert_eq!(topics.collect::<Vec<_>>(), ["a", "bc"]);
    }
}
