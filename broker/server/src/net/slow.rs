//! Slow requests: every one counted, few of them logged (`request.slow.ms`).
//!
//! What always holds: what a request asked to wait for does not count; at most [`LINES_MAX`] lines
//! are written within [`INTERVAL`], and the next one says how many were held back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use millrace_host::Mono;

use crate::context::{ConnectionInfo, shown};
use crate::metrics::ApiMetrics;

/// Most lines within [`INTERVAL`].
const LINES_MAX: u32 = 10;

/// From a first line to when there may be as many again.
const INTERVAL: Duration = Duration::from_secs(10);

/// No request is slow.
const NEVER: u64 = u64::MAX;

/// Where the time of a request went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stages {
    /// Behind others of its connection.
    pub(crate) queue: Duration,
    /// Reading, deciding and writing to the page cache.
    pub(crate) effect: Duration,
    /// For what it asked to wait for: data, up to its own limit.
    pub(crate) asked: Duration,
    /// For what it did not: the disk, the answers before its own.
    pub(crate) wait: Duration,
    /// Handing its answer to the machine.
    pub(crate) send: Duration,
}

impl Stages {
    /// All of it but what was asked for.
    fn counted(&self) -> Duration {
        self.queue + self.effect + self.wait + self.send
    }
}

/// What is known of a request besides its stages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Served<'a> {
    /// The connection it came by.
    pub(crate) connection: &'a ConnectionInfo,
    /// What the client calls itself.
    pub(crate) client_id: &'a str,
    /// The version it spoke.
    pub(crate) api_version: i16,
    /// Its length, without the length field.
    pub(crate) request_bytes: u64,
    /// Length of its answer's body; 0 without one.
    pub(crate) response_bytes: u64,
}

/// Tells of slow requests.
#[derive(Debug)]
pub(crate) struct SlowLog {
    after_ms: AtomicU64,
    lines: Mutex<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    /// When the first of this interval was written.
    since: Option<Mono>,
    written: u32,
    held_back: u64,
}

impl SlowLog {
    /// One that tells of what takes longer than `after`; of nothing for `None`.
    pub(crate) fn new(after: Option<Duration>) -> Self {
        let log = Self {
            after_ms: AtomicU64::new(NEVER),
            lines: Mutex::default(),
        };
        log.limit(after);
        log
    }

    /// From now on tells of what takes longer than `after`; of nothing for `None`.
    pub(crate) fn limit(&self, after: Option<Duration>) {
        self.after_ms
            .store(after.map_or(NEVER, millis), Ordering::Relaxed);
    }

    /// Counts the request, and tells of it, if it was slow.
    pub(crate) fn served(&self, now: Mono, api: &ApiMetrics, stages: Stages, served: Served<'_>) {
        let after_ms = self.after_ms.load(Ordering::Relaxed);
        let counted = stages.counted();
        // Whatever part of a millisecond is more than the limit counts.
        if after_ms == NEVER || counted <= Duration::from_millis(after_ms) {
            return;
        }
        api.slow.inc();
        let Some(held_back) = self.permit(now) else {
            return;
        };
        tracing::warn!(
            api = api.name,
            version = served.api_version,
            client = %shown(served.client_id),
            peer = %served.connection.peer,
            connection = served.connection.id,
            request_bytes = served.request_bytes,
            response_bytes = served.response_bytes,
            took_ms = millis(counted),
            queue_ms = millis(stages.queue),
            effect_ms = millis(stages.effect),
            wait_ms = millis(stages.wait),
            send_ms = millis(stages.send),
            asked_wait_ms = millis(stages.asked),
            similar_held_back = held_back,
            "a request was slow"
        );
    }

    /// How many lines were held back since the last one, if one may be written now.
    fn permit(&self, now: Mono) -> Option<u64> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.since.is_none_or(|since| now.since(since) >= INTERVAL) {
            lines.since = Some(now);
            lines.written = 0;
        }
        if lines.written == LINES_MAX {
            lines.held_back += 1;
            return None;
        }
        lines.written += 1;
        Some(std::mem::take(&mut lines.held_back))
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(NEVER - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{Endpoint, Principal};
    use crate::metrics::Metrics;
    use std::sync::Arc;

    #[test]
    fn a_flood_of_slow_requests_writes_few_lines_and_counts_the_rest() {
        let log = SlowLog::new(Some(Duration::ZERO));
        let start = Mono(1);
        for _ in 0..LINES_MAX {
            assert_eq!(log.permit(start), Some(0));
        }
        for _ in 0..1000 {
            assert_eq!(log.permit(start), None);
        }
        assert_eq!(log.permit(start + INTERVAL), Some(1000));
        assert_eq!(log.permit(start + INTERVAL), Some(0));
    }

    #[test]
    fn what_was_asked_to_wait_for_does_not_make_a_request_slow() {
        let api = Metrics::new().api("Fetch");
        let connection = ConnectionInfo {
            principal: Principal::anonymous(),
            listener: Arc::from("PLAINTEXT"),
            advertised: Arc::new(Endpoint {
                host: "h".to_owned(),
                port: 1,
            }),
            peer: "127.0.0.1:1".parse().unwrap(),
            id: 1,
        };
        let log = SlowLog::new(Some(Duration::from_millis(100)));
        let tell = |stages| {
            let served = Served {
                connection: &connection,
                client_id: "c",
                api_version: 17,
                request_bytes: 1,
                response_bytes: 2,
            };
            log.served(Mono(1), &api, stages, served);
            api.slow.get()
        };
        let (long, short) = (Duration::from_mins(1), Duration::from_millis(40));
        let stages = Stages {
            asked: long,
            queue: short,
            effect: short,
            ..Stages::default()
        };
        assert_eq!(tell(stages), 0);
        let slow = Stages {
            wait: short,
            ..stages
        };
        assert_eq!(tell(slow), 1);
        log.limit(None);
        assert_eq!(tell(slow), 1);
        log.limit(Some(Duration::ZERO));
        assert_eq!(tell(stages), 2);
    }
}
