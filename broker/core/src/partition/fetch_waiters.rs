//! Fetches that wait for records.
//!
//! Always: edge-triggered: a token that was pushed is no longer here, so it is pushed at most once
//! between two fetches; a token waits at one offset for one bound; none waits for what is there.

use std::collections::{BTreeMap, BTreeSet};

use millrace_probe::{Bug, planted};

use super::offsets::Bounds;
use super::waiters::Token;

/// Which bound a reader may read up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bound {
    /// Consumers with `read_uncommitted`.
    HighWatermark,
    /// Consumers with `read_committed`.
    LastStable,
    /// Followers.
    LogEnd,
}

impl Bound {
    const ALL: [Self; 3] = [Self::HighWatermark, Self::LastStable, Self::LogEnd];

    /// Its offset: what lies below may be read.
    pub fn of(self, bounds: &Bounds) -> i64 {
        match self {
            Self::HighWatermark => bounds.high_watermark,
            Self::LastStable => bounds.last_stable,
            Self::LogEnd => bounds.log_end,
        }
    }
}

/// The waiting fetches of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FetchWaiters {
    by_token: BTreeMap<Token, (Bound, i64)>,
    by_offset: BTreeSet<(Bound, i64, Token)>,
}

impl FetchWaiters {
    pub(super) fn len(&self) -> usize {
        self.by_token.len()
    }

    /// `token` waits for records at `from_offset`; if it waited elsewhere, no longer there.
    pub(super) fn push(&mut self, token: Token, from_offset: i64, bound: Bound) {
        self.cancel(token);
        self.by_token.insert(token, (bound, from_offset));
        self.by_offset.insert((bound, from_offset, token));
    }

    /// Forgets a token.
    pub(super) fn cancel(&mut self, token: Token) {
        if let Some((bound, from_offset)) = self.by_token.remove(&token) {
            self.by_offset.remove(&(bound, from_offset, token));
        }
    }

    /// Takes out every token with something to read now, or whose offset the log start has passed.
    pub(super) fn wake(&mut self, bounds: &Bounds, mut push: impl FnMut(Token)) {
        for bound in Bound::ALL {
            // What lies below the log start lies below the bound too, so this covers both.
            let end = bound.of(bounds).max(bounds.log_start);
            let first = (bound, i64::MIN, Token(0));
            while let Some(&(found, from_offset, token)) = self.by_offset.range(first..).next()
                && found == bound
                && from_offset < end
            {
                self.cancel(token);
                if !planted(Bug::FetchWakeUpLost) {
                    push(token);
                }
            }
        }
    }

    /// Takes out every token.
    pub(super) fn drain(&mut self, mut push: impl FnMut(Token)) {
        self.by_offset.clear();
        for (token, _) in std::mem::take(&mut self.by_token) {
            push(token);
        }
    }

    /// Whether a consumer waits for records below `log_end`, which only a flush will show it.
    pub(super) fn consumer_waits_below(&self, log_end: i64) -> bool {
        [Bound::HighWatermark, Bound::LastStable]
            .into_iter()
            .any(|bound| {
                let first = (bound, i64::MIN, Token(0));
                let next = self.by_offset.range(first..).next();
                next.is_some_and(|&(found, from_offset, _)| found == bound && from_offset < log_end)
            })
    }

    /// Panics when a fetch waits for what is there, or the two views differ.
    pub(super) fn assert_waiting(&self, bounds: &Bounds) {
        debug_assert_eq!(self.by_token.len(), self.by_offset.len());
        for bound in Bound::ALL {
            let first = (bound, i64::MIN, Token(0));
            let next = self.by_offset.range(first..).next();
            if let Some(&(found, from_offset, token)) = next
                && found == bound
            {
                assert!(
                    from_offset >= bound.of(bounds),
                    "{token:?} waits at {from_offset} for {bound:?}, which is there: {bounds:?}"
                );
            }
        }
    }
}
