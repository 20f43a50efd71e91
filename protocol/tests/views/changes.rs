//! Bodies at random: recorded ones with changes, and bytes that are none.

use std::cell::Cell;

use bytes::Bytes;
use millrace_protocol::api::{self, Api};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::agree::{Compare, vectors};

/// A change of a body: of a byte, of its length, of the order of its parts.
#[derive(Clone, Debug)]
enum Change {
    Set(prop::sample::Index, u8),
    Insert(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Cut(prop::sample::Index),
    Repeat(prop::sample::Index, prop::sample::Index),
}

impl Change {
    fn apply(&self, body: &mut Vec<u8>) {
        if body.is_empty() {
            return;
        }
        match self {
            Self::Set(at, byte) => *at.get_mut(body) = *byte,
            Self::Insert(at, byte) => body.insert(at.index(body.len()), *byte),
            Self::Remove(at) => drop(body.remove(at.index(body.len()))),
            Self::Cut(at) => body.truncate(at.index(body.len())),
            Self::Repeat(from, to) => {
                let part = body[from.index(body.len())..].to_vec();
                let to = to.index(body.len());
                body.splice(to..to, part);
            }
        }
    }
}

fn any_change() -> impl Strategy<Value = Change> {
    // Lengths, nulls and tags are small; -1 and the sign of a varint are large.
    let byte = || prop_oneof![0..4_u8, any::<u8>(), Just(0xff), Just(0x80)];
    let at = any::<prop::sample::Index>;
    prop_oneof![
        4 => (at(), byte()).prop_map(|(at, byte)| Change::Set(at, byte)),
        2 => (at(), byte()).prop_map(|(at, byte)| Change::Insert(at, byte)),
        2 => at().prop_map(Change::Remove),
        1 => at().prop_map(Change::Cut),
        1 => (at(), at()).prop_map(|(from, to)| Change::Repeat(from, to)),
    ]
}

/// Compares bodies drawn at random; gives how many of 20,000 were accepted.
fn accepted<S: Strategy<Value = (Api, i16, Bytes)>>(compare: Compare, bodies: &S) -> u32 {
    let config = ProptestConfig {
        cases: 20_000,
        failure_persistence: None,
        ..Default::default()
    };
    let accepted = Cell::new(0);
    let outcome = TestRunner::new(config).run(bodies, |(api, version, body)| {
        if compare(api, version, &body).is_ok() {
            accepted.set(accepted.get() + 1);
        }
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    accepted.get()
}

/// Recorded messages of a side, changed in one to three places; gives how many were accepted.
pub(crate) fn changed_bodies_accepted(side: &str, compare: Compare) -> u32 {
    let vector = prop::sample::select(vectors(side));
    let changes = prop::collection::vec(any_change(), 1..4);
    let bodies = (vector, changes).prop_map(|((api, version, body), changes)| {
        let mut body = body.to_vec();
        for change in &changes {
            change.apply(&mut body);
        }
        (api, version, Bytes::from(body))
    });
    accepted(compare, &bodies)
}

/// Up to so many bytes, most of them 0 or 1; gives how many were accepted.
pub(crate) fn random_bodies_accepted(bytes_max: usize, compare: Compare) -> u32 {
    let row = prop::sample::select(api::TABLE);
    let version = row.prop_flat_map(|row| {
        let versions = row.served.min..=row.served.max;
        (Just(row.api), versions)
    });
    let byte = prop_oneof![9 => 0..2_u8, 1 => any::<u8>()];
    let body = prop::collection::vec(byte, 0..bytes_max);
    let bodies = (version, body).prop_map(|((api, version), body)| (api, version, body.into()));
    accepted(compare, &bodies)
}
