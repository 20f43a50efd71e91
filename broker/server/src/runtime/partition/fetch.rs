//! A fetch at one partition: what it may read, and its place while there is nothing.

use std::sync::Arc;

use millrace_core::partition::{Event, FetchDecision, FetchPosition, ReadReject, Token};

use super::{OpenPartition, State, next_token};
use crate::runtime::fetch_waiter::FetchWaiter;

/// A fetch's place at one partition. Dropping it takes the place back.
#[derive(Debug)]
pub(crate) struct FetchPlace {
    partition: Arc<OpenPartition>,
    token: Token,
}

impl Drop for FetchPlace {
    fn drop(&mut self) {
        self.partition.cancel_fetch(self.token);
    }
}

impl OpenPartition {
    fn cancel_fetch(&self, token: Token) {
        self.with(|state, now, effects| {
            if state.fetches.remove(&token).is_some() {
                state.core.step(now, Event::CancelFetch { token }, effects);
            }
        })
        .ok();
    }

    /// Decides a fetch. When there is nothing to read the fetch takes a place (again): it is pushed
    /// once there is.
    pub(crate) fn check_fetch(
        self: &Arc<Self>,
        position: &FetchPosition,
        waiter: &Arc<FetchWaiter>,
        slot: u64,
        place: &mut Option<FetchPlace>,
    ) -> Result<FetchDecision, ReadReject> {
        self.give_up_elsewhere(place);
        self.with(|state, now, effects| {
            let decision = state.core.check_fetch(position)?;
            if let FetchDecision::Read { upto, .. } = decision
                && upto <= position.fetch_offset
            {
                let from = position.fetch_offset;
                let ask = (position, from, slot);
                let event = self.take_place(state, ask, waiter, place);
                state.core.step(now, event, effects);
            }
            Ok(decision)
        })?
    }

    /// Takes a place for a fetch that has something but wants more: it is pushed once there is
    /// anything at or past `from`.
    pub(crate) fn watch(
        self: &Arc<Self>,
        position: &FetchPosition,
        from: i64,
        waiter: &Arc<FetchWaiter>,
        slot: u64,
        place: &mut Option<FetchPlace>,
    ) {
        self.give_up_elsewhere(place);
        self.with(|state, now, effects| {
            if state.core.is_leader() {
                let ask = (position, from, slot);
                let event = self.take_place(state, ask, waiter, place);
                state.core.step(now, event, effects);
            }
        })
        .ok();
    }

    /// Gives up a place at an earlier life of the partition: before this one's lock is taken, so
    /// that no two are held.
    fn give_up_elsewhere(self: &Arc<Self>, place: &mut Option<FetchPlace>) {
        if place
            .as_ref()
            .is_some_and(|place| !Arc::ptr_eq(&place.partition, self))
        {
            *place = None;
        }
    }

    /// Takes a place for `waiter` at `from_offset`; gives the event that tells core.
    fn take_place(
        self: &Arc<Self>,
        state: &mut State,
        (position, from_offset, slot): (&FetchPosition, i64, u64),
        waiter: &Arc<FetchWaiter>,
        place: &mut Option<FetchPlace>,
    ) -> Event {
        let token = place
            .get_or_insert_with(|| FetchPlace {
                partition: Arc::clone(self),
                token: next_token(),
            })
            .token;
        state.fetches.insert(token, (Arc::downgrade(waiter), slot));
        Event::AwaitFetch {
            token,
            from_offset,
            bound: position.reader.bound(),
        }
    }
}
