//! Ended connections: every one counted by its reason, few of them logged.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use millrace_host::Mono;

use crate::context::shown;
use crate::outcome::{Close, CloseReason};

/// One line per reason in this time.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// Lets one log line through per reason and interval, and remembers how many it held back.
#[derive(Debug, Default)]
pub(crate) struct ClosingLog {
    by_reason: Mutex<[Line; CloseReason::ALL.len()]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Line {
    last: Option<Mono>,
    held_back: u64,
}

impl ClosingLog {
    /// Logs that the broker ended a connection, unless that was said a moment ago.
    pub(crate) fn tell(&self, now: Mono, close: &Close, peer: std::net::SocketAddr, client: &str) {
        let Some(held_back) = self.permit(now, close.reason) else {
            return;
        };
        tracing::warn!(
            reason = close.reason.label(),
            %peer,
            client = %shown(client),
            similar_held_back = held_back,
            "connection closed: {}",
            close.detail
        );
    }

    /// How many lines of that reason were held back since the last one, if one may be written now.
    fn permit(&self, now: Mono, reason: CloseReason) -> Option<u64> {
        if !reason.is_notable() {
            return None;
        }
        let mut lines = self
            .by_reason
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let line = &mut lines[reason as usize];
        if line.last.is_some_and(|last| now.since(last) < LOG_INTERVAL) {
            line.held_back += 1;
            return None;
        }
        line.last = Some(now);
        Some(std::mem::take(&mut line.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_closes_writes_one_line_per_reason_and_interval() {
        let log = ClosingLog::default();
        let start = Mono(1);
        assert_eq!(log.permit(start, CloseReason::FrameLength), Some(0));
        for _ in 0..1000 {
            assert_eq!(log.permit(start, CloseReason::FrameLength), None);
        }
        assert_eq!(
            log.permit(start, CloseReason::Unparsable),
            Some(0),
            "reasons count apart"
        );
        assert_eq!(
            log.permit(start + LOG_INTERVAL, CloseReason::FrameLength),
            Some(1000)
        );
        assert_eq!(
            log.permit(start, CloseReason::PeerGone),
            None,
            "a client that left is no news"
        );
    }
}
