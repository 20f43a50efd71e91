//! When each of many is due, the earliest first.
//!
//! What always holds: each has at most one time; what is taken out was due, and nothing that is due
//! stays in; finding the earliest, and changing one, costs the logarithm of how many there are.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

/// Due times by key. Pure; the times are whoever's who asks, on one clock.
#[derive(Debug)]
pub(crate) struct Due<K> {
    by_time: BTreeSet<(u64, K)>,
    by_key: BTreeMap<K, u64>,
}

impl<K> Default for Due<K> {
    fn default() -> Self {
        Self {
            by_time: BTreeSet::new(),
            by_key: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Copy> Due<K> {
    /// `key` is due at `at`, whatever was said of it before.
    pub(crate) fn set(&mut self, key: K, at: u64) {
        self.forget(&key);
        self.by_key.insert(key, at);
        self.by_time.insert((at, key));
    }

    /// `key` is never due.
    pub(crate) fn forget(&mut self, key: &K) {
        if let Some(at) = self.by_key.remove(key) {
            self.by_time.remove(&(at, *key));
        }
    }

    /// None of these keys is ever due.
    pub(crate) fn forget_all(&mut self, keys: RangeInclusive<K>) {
        let keys: Vec<K> = self.by_key.range(keys).map(|(key, _)| *key).collect();
        for key in keys {
            self.forget(&key);
        }
    }

    /// Takes out the earliest of those that are due by `now`.
    pub(crate) fn take(&mut self, now: u64) -> Option<K> {
        let (at, key) = *self.by_time.first()?;
        if at > now {
            return None;
        }
        self.forget(&key);
        Some(key)
    }

    /// How many have a time.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Set(u8, u64),
        Forget(u8),
        ForgetAll(u8, u8),
        Take(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..8u8, 0..50u64).prop_map(|(key, at)| Step::Set(key, at)),
            (0..8u8).prop_map(Step::Forget),
            (0..8u8, 0..8u8)
                .prop_map(|(one, other)| Step::ForgetAll(one.min(other), one.max(other))),
            (0..60u64).prop_map(Step::Take),
        ]
    }

    proptest! {
        #[test]
        fn what_is_taken_is_the_earliest_that_is_due(steps in prop::collection::vec(step(), 0..80)) {
            let (mut due, mut model) = (Due::default(), BTreeMap::new());
            for step in steps {
                match step {
                    Step::Set(key, at) => {
                        due.set(key, at);
                        model.insert(key, at);
                    }
                    Step::Forget(key) => {
                        due.forget(&key);
                        model.remove(&key);
                    }
                    Step::ForgetAll(first, last) => {
                        due.forget_all(first..=last);
                        model.retain(|key, _| !(first..=last).contains(key));
                    }
                    Step::Take(now) => {
                        let first = model.iter().map(|(key, at)| (*at, *key)).min();
                        let first = first.filter(|(at, _)| *at <= now).map(|(_, key)| key);
                        prop_assert_eq!(due.take(now), first);
                        first.and_then(|key| model.remove(&key));
                    }
                }
                prop_assert_eq!(&due.by_key, &model);
                prop_assert_eq!(due.by_time.len(), model.len());
            }
        }
    }
}
