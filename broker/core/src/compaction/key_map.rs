//! The latest offset of each key, in memory of a fixed size.
//!
//! A key is told by a 128-bit hash under a secret that is drawn for each round: nobody who may write to
//! a topic can make two keys that are taken for one, which would lose a value. Always: no more bytes
//! than asked for, and at least one slot is free, so that every search ends.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

/// Bytes that one key takes in a map: 16 of its hash, 8 of the offset.
pub const MAP_ENTRY_BYTES: u64 = 24;

/// How large a map may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MapLimits {
    /// Most memory, in bytes (a thread's part of `log.cleaner.dedupe.buffer.size`).
    pub bytes_max: u64,
    /// How full it may be, above 0 and up to 1 (`log.cleaner.io.buffer.load.factor`).
    pub load_factor: f64,
}

/// Keys by the latest offset they are known at.
#[derive(Debug)]
pub struct KeyMap {
    /// Two halves of the hash, and the offset plus one: 0 is a free slot.
    slots: Vec<[u64; 3]>,
    len: usize,
    len_max: usize,
    secret: (u64, u64),
    end: i64,
}

impl KeyMap {
    /// An empty map for a range of `offsets` offsets, which holds no more keys than that. `secret` is
    /// drawn anew for each map.
    pub(super) fn new(limits: MapLimits, offsets: u64, secret: (u64, u64)) -> Self {
        let load_factor = limits.load_factor.clamp(0.01, 1.0);
        // As many slots as all could take, and one that stays free.
        let wanted = (offsets as f64 / load_factor).ceil() as u64;
        let affordable = limits.bytes_max / MAP_ENTRY_BYTES;
        let slots = wanted.saturating_add(1).min(affordable).max(2) as usize;
        let full = (slots as f64 * load_factor) as usize;
        Self {
            slots: vec![[0; 3]; slots],
            len: 0,
            len_max: full.clamp(1, slots - 1),
            secret,
            end: 0,
        }
    }

    /// Remembers `key` at `offset`; `false` when the key is new and there is no room for it.
    pub(super) fn put(&mut self, key: &[u8], offset: i64) -> bool {
        let (high, low) = self.hash(key);
        let at = self.slot(high, low);
        let slot = &mut self.slots[at];
        if slot[2] == 0 {
            if self.len == self.len_max {
                return false;
            }
            self.len += 1;
            *slot = [high, low, 0];
        }
        slot[2] = slot[2].max(offset.unsigned_abs().saturating_add(1));
        true
    }

    /// The latest offset of `key`, if it is known.
    pub fn latest(&self, key: &[u8]) -> Option<i64> {
        let (high, low) = self.hash(key);
        let known = self.slots[self.slot(high, low)][2];
        known
            .checked_sub(1)
            .and_then(|offset| i64::try_from(offset).ok())
    }

    /// The offset below which every key is known: the end of what a round with this map cleans.
    pub fn end(&self) -> i64 {
        self.end
    }

    pub(super) fn set_end(&mut self, end: i64) {
        self.end = end;
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no key is known.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How much of the room for keys is taken, 0 to 1.
    pub fn used(&self) -> f64 {
        self.len as f64 / self.len_max as f64
    }

    /// Bytes that the map takes.
    pub fn bytes(&self) -> u64 {
        self.slots.len() as u64 * MAP_ENTRY_BYTES
    }

    fn hash(&self, key: &[u8]) -> (u64, u64) {
        let mut hasher = SipHasher13::new_with_keys(self.secret.0, self.secret.1);
        hasher.write(key);
        let hash = hasher.finish128();
        (hash.h1, hash.h2)
    }

    /// Where a hash is, or belongs.
    fn slot(&self, high: u64, low: u64) -> usize {
        let slots = self.slots.len();
        let mut at = ((u128::from(high) * slots as u128) >> 64) as usize;
        loop {
            let slot = &self.slots[at];
            if slot[2] == 0 || (slot[0], slot[1]) == (high, low) {
                return at;
            }
            at = if at + 1 == slots { 0 } else { at + 1 };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn limits(bytes_max: u64, load_factor: f64) -> MapLimits {
        MapLimits {
            bytes_max,
            load_factor,
        }
    }

    proptest! {
        #[test]
        fn it_is_a_map_until_it_is_full(
            puts in proptest::collection::vec((0_u16..300, 0_i64..1 << 40), 0..400),
            slots in 1_u64..400,
            load_factor in 0.1_f64..1.0,
            secret in any::<(u64, u64)>(),
        ) {
            let mut map = KeyMap::new(limits(slots * MAP_ENTRY_BYTES, load_factor), 400, secret);
            let mut model = BTreeMap::new();
            for (key, offset) in puts {
                let known = model.contains_key(&key);
                let put = map.put(&key.to_be_bytes(), offset);
                prop_assert_eq!(put, known || model.len() < map.len_max);
                if put {
                    let latest = model.entry(key).or_insert(offset);
                    *latest = offset.max(*latest);
                }
            }
            prop_assert_eq!(map.len(), model.len());
            prop_assert!(map.bytes() <= slots.max(2) * MAP_ENTRY_BYTES);
            for key in 0_u16..300 {
                prop_assert_eq!(map.latest(&key.to_be_bytes()), model.get(&key).copied());
            }
        }
    }

    #[test]
    fn it_takes_what_the_range_needs_and_never_more_than_it_may() {
        let small = KeyMap::new(limits(1 << 30, 0.9), 9, (1, 2));
        assert_eq!((small.len_max, small.bytes()), (9, 11 * MAP_ENTRY_BYTES));
        let capped = KeyMap::new(limits(24_000, 0.9), 1 << 40, (1, 2));
        assert_eq!((capped.len_max, capped.bytes()), (900, 24_000));
        // However little there is, one key fits: a round always gets on.
        let mut least = KeyMap::new(limits(0, 0.9), 1 << 40, (1, 2));
        assert!(least.put(b"a", 1) && least.put(b"a", 2) && !least.put(b"b", 3));
        assert_eq!((least.latest(b"a"), least.latest(b"b")), (Some(2), None));
    }

    #[test]
    fn offset_zero_and_the_empty_key_are_ordinary() {
        let mut map = KeyMap::new(limits(1 << 10, 0.9), 4, (3, 4));
        assert_eq!(map.latest(b""), None);
        assert!(map.put(b"", 0));
        assert_eq!(map.latest(b""), Some(0));
        assert!(map.put(b"", i64::MAX - 1));
        assert_eq!(map.latest(b""), Some(i64::MAX - 1));
    }
}
