//! What the node counts, in Prometheus' form. Handles are made once and cached: counting is one
//! atomic addition. Labels take values only from fixed lists (APIs, close reasons, error codes),
//! never from clients, so that the number of series has a bound.

use std::fmt;

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts,
    Registry, TextEncoder,
};

use crate::outcome::CloseReason;

/// Bounds of the latency histograms, in seconds.
const LATENCY_BUCKETS: [f64; 14] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0,
    5.0,
];

/// Bounds of the histograms of a request's stages, in seconds: coarser, since there are four to each
/// API.
const STAGE_BUCKETS: [f64; 6] = [0.000_1, 0.000_5, 0.002_5, 0.01, 0.1, 1.0];

/// The counters of one API.
#[derive(Clone, Debug)]
pub(crate) struct ApiMetrics {
    /// The API's name.
    pub(crate) name: &'static str,
    /// Requests whose effect was begun.
    pub(crate) requests: IntCounter,
    /// From a request's arrival to the hand-over of its reply, in seconds.
    pub(crate) seconds: Histogram,
    /// Behind others of its connection, until its effect began.
    pub(crate) queued: Histogram,
    /// Its effect: reading, deciding, writing to the page cache.
    pub(crate) effect: Histogram,
    /// Its wait: for the disk, for data, for a commit.
    pub(crate) wait: Histogram,
    /// Handing its reply to the machine.
    pub(crate) send: Histogram,
    /// Requests that took longer than `request.slow.ms`.
    pub(crate) slow: IntCounter,
}

/// The counters of the produce path.
#[derive(Clone, Debug)]
pub(crate) struct ProduceMetrics {
    /// Batches appended.
    pub(crate) batches: IntCounter,
    /// Bytes of the batches appended.
    pub(crate) bytes: IntCounter,
    /// Records appended.
    pub(crate) records: IntCounter,
    /// Batches recognised as duplicates, and so not appended again.
    pub(crate) duplicates: IntCounter,
    /// Batches refused for what they contain.
    pub(crate) rejected: IntCounter,
    /// Appends that took more than 50 ms.
    pub(crate) stalls: IntCounter,
}

/// The counters of the fetch path.
#[derive(Clone, Debug)]
pub(crate) struct FetchMetrics {
    /// Bytes of batches in replies.
    pub(crate) bytes: IntCounter,
    /// Fetches that waited for data.
    pub(crate) waits: IntCounter,
    /// Fetches that ended their wait without data.
    pub(crate) empty: IntCounter,
    /// Fetch sessions in the cache.
    pub(crate) sessions: IntGauge,
    /// Partitions that fetch sessions remember.
    pub(crate) session_partitions: IntGauge,
    /// Fetch sessions that were wanted and not made, or closed because they grew.
    pub(crate) sessions_refused: IntCounter,
}

/// The counters of syncs, of files and of names.
#[derive(Clone, Debug)]
pub(crate) struct SyncMetrics {
    /// How long syncs took that returned, in seconds.
    pub(crate) seconds: Histogram,
    /// Syncs that took long.
    pub(crate) slow: IntCounter,
    /// Syncs that take long and have not returned.
    pub(crate) under_way_for_long: IntGauge,
    /// Syncs that had not returned within `log.sync.timeout.ms`.
    pub(crate) given_up: IntCounter,
}

/// The counters of one cache.
#[derive(Clone, Debug)]
pub(crate) struct CacheMetrics {
    /// Look-ups that found what they looked for.
    pub(crate) hits: IntCounter,
    /// Look-ups that had to make it.
    pub(crate) misses: IntCounter,
    /// What the cache holds.
    pub(crate) bytes: IntGauge,
}

/// All counters of a node.
pub(crate) struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    seconds: HistogramVec,
    stages: HistogramVec,
    slow: IntCounterVec,
    errors: IntCounterVec,
    closes: Vec<IntCounter>,
    /// Listeners beyond loopback without authentication.
    pub(crate) open_listeners: IntGauge,
    /// Connections open now.
    pub(crate) connections: IntGauge,
    /// Connections accepted, those closed at once for a limit included.
    pub(crate) accepted: IntCounter,
    /// Times a listener waited before it accepted, by the limit on the rate.
    pub(crate) accepts_delayed: IntCounter,
    /// Failures to accept (too few descriptors, as a rule).
    pub(crate) accept_errors: IntCounter,
    /// Bytes of requests received, their length fields included.
    pub(crate) received_bytes: IntCounter,
    /// Bytes of replies handed to the machine.
    pub(crate) sent_bytes: IntCounter,
    /// Bytes reserved now from the budget of requests in progress.
    pub(crate) budget_bytes: IntGauge,
    /// Frames that had to wait for room in that budget.
    pub(crate) budget_waits: IntCounter,
    /// Bytes reserved now from the budget of answers.
    pub(crate) answers_bytes: IntGauge,
    /// Requests that had to wait for room in that budget.
    pub(crate) answers_waits: IntCounter,
    /// Log directories of the configuration that can't be used.
    pub(crate) offline_directories: IntGauge,
    /// Joins and commits refused because groups take all the memory that they may.
    pub(crate) groups_full: IntCounter,
    /// How late tasks of the data pool came to run that were due, in seconds.
    pub(crate) lateness: Histogram,
    /// Syncs of the log directories.
    pub(crate) sync: SyncMetrics,
    /// Encoded rows of all topics, for Metadata.
    pub(crate) metadata_rows: CacheMetrics,
    /// The produce path.
    pub(crate) produce: ProduceMetrics,
    /// The fetch path.
    pub(crate) fetch: FetchMetrics,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Makes metrics and registers them. Names are distinct by construction (a test gathers them).
#[derive(Debug, Default)]
struct Maker {
    registry: Registry,
}

impl Maker {
    fn counter(&self, name: &str, help: &str) -> IntCounter {
        let counter = IntCounter::new(name, help).expect("metric names are valid");
        self.register(counter.clone());
        counter
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        let gauge = IntGauge::new(name, help).expect("metric names are valid");
        self.register(gauge.clone());
        gauge
    }

    fn histogram(&self, name: &str, help: &str) -> Histogram {
        let options = HistogramOpts::new(name, help).buckets(LATENCY_BUCKETS.to_vec());
        let histogram = Histogram::with_opts(options).expect("metric names are valid");
        self.register(histogram.clone());
        histogram
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        let counters =
            IntCounterVec::new(Opts::new(name, help), labels).expect("metric names are valid");
        self.register(counters.clone());
        counters
    }

    fn register(&self, metric: impl prometheus::core::Collector + 'static) {
        self.registry
            .register(Box::new(metric))
            .expect("metric names are distinct");
    }
}

impl Metrics {
    /// All counters, at zero.
    pub(crate) fn new() -> Self {
        let make = Maker::default();
        Self {
            requests: make.counters("millrace_requests_total", "Requests begun.", &["api"]),
            seconds: request_seconds(&make),
            stages: stages(&make),
            slow: make.counters(
                "millrace_slow_requests_total",
                "Requests that took longer than request.slow.ms, what they asked to wait for left out.",
                &["api"],
            ),
            errors: make.counters(
                "millrace_request_errors_total",
                "Error codes in replies.",
                &["api", "error"],
            ),
            closes: closes(&make),
            open_listeners: make.gauge(
                "millrace_listeners_unauthenticated",
                "Listeners that other machines can reach, and that ask nobody who they are.",
            ),
            connections: make.gauge("millrace_connections", "Connections open."),
            accepted: make.counter(
                "millrace_connections_accepted_total",
                "Connections accepted.",
            ),
            accepts_delayed: make.counter(
                "millrace_accepts_delayed_total",
                "Times a listener waited before it accepted, by max.connection.creation.rate.",
            ),
            accept_errors: make.counter("millrace_accept_errors_total", "Failures to accept."),
            received_bytes: make.counter("millrace_received_bytes_total", "Bytes of requests."),
            sent_bytes: make.counter("millrace_sent_bytes_total", "Bytes of replies."),
            budget_bytes: make.gauge(
                "millrace_request_budget_bytes",
                "Bytes reserved for requests in progress.",
            ),
            budget_waits: make.counter(
                "millrace_request_budget_waits_total",
                "Requests that waited for room in the budget.",
            ),
            answers_bytes: make.gauge(
                "millrace_response_budget_bytes",
                "Bytes reserved for long answers in progress.",
            ),
            answers_waits: make.counter(
                "millrace_response_budget_waits_total",
                "Requests that waited for room for their answer.",
            ),
            groups_full: make.counter(
                "millrace_groups_full_total",
                "Joins and commits refused because groups take all of group.state.bytes.max.",
            ),
            offline_directories: make.gauge(
                "millrace_log_directories_offline",
                "Log directories of the configuration that can't be used.",
            ),
            lateness: make.histogram(
                "millrace_task_lateness_seconds",
                "How late a task ran that was due once a second: stalls of the runtime.",
            ),
            sync: sync(&make),
            metadata_rows: metadata_rows(&make),
            produce: produce(&make),
            fetch: fetch(&make),
            registry: make.registry,
        }
    }

    /// The counters of one API, made on first use; for the dispatch table to keep.
    pub(crate) fn api(&self, name: &'static str) -> ApiMetrics {
        let stage = |stage| self.stages.with_label_values(&[name, stage]);
        ApiMetrics {
            name,
            requests: self.requests.with_label_values(&[name]),
            seconds: self.seconds.with_label_values(&[name]),
            queued: stage("queue"),
            effect: stage("effect"),
            wait: stage("wait"),
            send: stage("send"),
            slow: self.slow.with_label_values(&[name]),
        }
    }

    /// Counts an error code in a reply. Both names come from fixed lists. Not for the hot path of
    /// success: it looks the counter up.
    pub(crate) fn count_error(&self, api: &'static str, error: &'static str) {
        self.errors.with_label_values(&[api, error]).inc();
    }

    /// The counter of connections ended for `reason`.
    pub(crate) fn closed(&self, reason: CloseReason) -> &IntCounter {
        &self.closes[reason as usize]
    }

    /// Everything, in Prometheus' text format.
    pub(crate) fn text(&self) -> String {
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .expect("gathered metrics are valid, and writing to memory does not fail");
        String::from_utf8(text).expect("the text format is UTF-8")
    }
}

fn request_seconds(make: &Maker) -> HistogramVec {
    let options = HistogramOpts::new(
        "millrace_request_seconds",
        "From a request's arrival to the hand-over of its reply.",
    )
    .buckets(LATENCY_BUCKETS.to_vec());
    let seconds = HistogramVec::new(options, &["api"]).expect("metric names are valid");
    make.register(seconds.clone());
    seconds
}

fn closes(make: &Maker) -> Vec<IntCounter> {
    let closes = make.counters(
        "millrace_connection_closes_total",
        "Connections ended, by reason.",
        &["reason"],
    );
    CloseReason::ALL
        .iter()
        .map(|reason| closes.with_label_values(&[reason.label()]))
        .collect()
}

fn stages(make: &Maker) -> HistogramVec {
    let options = HistogramOpts::new(
        "millrace_request_stage_seconds",
        "Where that time goes: queue, effect, wait (for the disk, for data), send.",
    )
    .buckets(STAGE_BUCKETS.to_vec());
    let stages = HistogramVec::new(options, &["api", "stage"]).expect("metric names are valid");
    make.register(stages.clone());
    stages
}

fn sync(make: &Maker) -> SyncMetrics {
    SyncMetrics {
        seconds: make.histogram(
            "millrace_sync_seconds",
            "How long syncs took, of journals, segments and names.",
        ),
        slow: make.counter(
            "millrace_slow_syncs_total",
            "Syncs that took more than a second.",
        ),
        under_way_for_long: make.gauge(
            "millrace_slow_syncs",
            "Syncs that take more than a second and have not returned.",
        ),
        given_up: make.counter(
            "millrace_syncs_given_up_total",
            "Syncs that had not returned within log.sync.timeout.ms; each ended its log directory.",
        ),
    }
}

fn metadata_rows(make: &Maker) -> CacheMetrics {
    CacheMetrics {
        hits: make.counter(
            "millrace_metadata_cache_hits_total",
            "Metadata answers of all topics from rows that were encoded already.",
        ),
        misses: make.counter(
            "millrace_metadata_cache_misses_total",
            "Metadata answers of all topics whose rows had to be encoded.",
        ),
        bytes: make.gauge(
            "millrace_metadata_cache_bytes",
            "Encoded rows of all topics that are kept for Metadata.",
        ),
    }
}

fn produce(make: &Maker) -> ProduceMetrics {
    ProduceMetrics {
        batches: make.counter("millrace_produce_batches_total", "Batches appended."),
        bytes: make.counter("millrace_produce_bytes_total", "Bytes of batches appended."),
        records: make.counter("millrace_produce_records_total", "Records appended."),
        duplicates: make.counter(
            "millrace_produce_duplicates_total",
            "Batches recognised as duplicates, and not appended again.",
        ),
        rejected: make.counter(
            "millrace_produce_rejected_total",
            "Batches refused for what they contain.",
        ),
        stalls: make.counter(
            "millrace_append_stalls_total",
            "Appends that took more than 50 ms.",
        ),
    }
}

fn fetch(make: &Maker) -> FetchMetrics {
    FetchMetrics {
        bytes: make.counter("millrace_fetch_bytes_total", "Bytes of batches in replies."),
        waits: make.counter(
            "millrace_fetch_waits_total",
            "Fetches that waited for data.",
        ),
        empty: make.counter("millrace_fetch_empty_total", "Fetches that waited in vain."),
        sessions: make.gauge("millrace_fetch_sessions", "Fetch sessions in the cache."),
        session_partitions: make.gauge(
            "millrace_fetch_session_partitions",
            "Partitions that fetch sessions remember.",
        ),
        sessions_refused: make.counter(
            "millrace_fetch_sessions_refused_total",
            "Fetch sessions not made, or closed when they grew, for want of room.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_registers_and_close_reasons_find_their_own_counter() {
        let metrics = Metrics::new();
        for reason in CloseReason::ALL {
            metrics.closed(reason).inc();
        }
        metrics.closed(CloseReason::Internal).inc();
        let text = metrics.text();
        for reason in CloseReason::ALL {
            let count = if reason == CloseReason::Internal {
                2
            } else {
                1
            };
            let line = format!(
                "millrace_connection_closes_total{{reason=\"{}\"}} {count}",
                reason.label()
            );
            assert!(text.contains(&line), "{line}");
        }
    }
}
