//! How often one place in the code may speak.
//!
//! What always holds: whatever happens, and however often, a place writes at most [`LINES_MAX`]
//! lines between two turns; every line more is counted. Lines below `info` are written for who asked
//! for them, and are not limited.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter};

/// Most lines of one place in the code within [`INTERVAL`].
pub(crate) const LINES_MAX: u64 = 20;

/// From one turn to the next.
pub(crate) const INTERVAL: Duration = Duration::from_secs(10);

/// Lines since the last turn, by the place that wrote them; there are as many as the code has.
#[derive(Clone, Debug, Default)]
pub(super) struct HeldBack(Arc<Mutex<BTreeMap<&'static str, u64>>>);

impl HeldBack {
    /// Begins anew, and gives the places that had more to say, with how many lines of it.
    pub(super) fn turn(&self) -> Vec<(&'static str, u64)> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = std::mem::take(&mut *lines).into_iter();
        let more = lines.map(|(place, count)| (place, count.saturating_sub(LINES_MAX)));
        more.filter(|(_, more)| *more > 0).collect()
    }

    /// Counts a line of `place`, and says whether it may be written.
    fn permit(&self, place: &'static str) -> bool {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = lines.entry(place).or_default();
        *count += 1;
        *count <= LINES_MAX
    }
}

impl<S: Subscriber> Filter<S> for HeldBack {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        // The name of an event is its file and line.
        *metadata.level() > Level::INFO || self.permit(metadata.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_from_one_place_is_cut_off_counted_and_over_at_the_next_turn() {
        let held_back = HeldBack::default();
        let written = (0..1000).filter(|_| held_back.permit("here")).count();
        assert_eq!(written as u64, LINES_MAX);
        assert!(held_back.permit("there"), "places count apart");
        assert_eq!(held_back.turn(), [("here", 1000 - LINES_MAX)]);
        assert!(held_back.permit("here"));
        assert_eq!(held_back.turn(), []);
    }
}
