//! Memory and queues within their limits while a broker runs (L7): what it counts of itself, held
//! against its configuration.
//!
//! What always holds: a limit is named by its key; a gauge that is missing is over its limit, so
//! that none is forgotten by being renamed.

use millrace_config::BrokerConfig;
use millrace_server::Broker;

use crate::anomaly::Anomaly;

/// Holds every gauge of a running broker against its limit; cheap enough for each second of a run.
pub fn check(broker: &Broker, config: &BrokerConfig) -> Vec<Anomaly> {
    let mut over = gauges(&broker.metrics_text(), config);
    // Whoever waited for room appends once there is some: all requests in progress at most.
    let most = config
        .log
        .unflushed_bytes_max
        .saturating_add(config.network.queued_bytes_max);
    for bytes in broker.unflushed_bytes() {
        if bytes > most {
            let why = format!("log.unflushed.bytes.max: {bytes} of {most}");
            over.push(Anomaly::OverLimit(why));
        }
    }
    over
}

/// The gauges of a node's metrics.
fn gauges(metrics: &str, config: &BrokerConfig) -> Vec<Anomaly> {
    // Room is reserved in units of 1 KiB.
    let bytes = |limit: u64| limit.next_multiple_of(1024);
    let (network, fetch) = (&config.network, &config.fetch);
    let limits = [
        (
            "millrace_request_budget_bytes",
            "queued.max.request.bytes",
            bytes(network.queued_bytes_max),
        ),
        (
            "millrace_response_budget_bytes",
            "queued.response.bytes.max",
            bytes(network.response_bytes_max),
        ),
        (
            "millrace_connections",
            "max.connections",
            u64::from(network.connections_max),
        ),
        (
            "millrace_fetch_sessions",
            "max.incremental.fetch.session.cache.slots",
            u64::from(fetch.sessions_max),
        ),
        (
            "millrace_fetch_session_partitions",
            "fetch.session.partitions.max",
            u64::from(fetch.session_partitions_max),
        ),
    ];
    let over = limits.into_iter().filter_map(|(gauge, key, most)| {
        let now = value(metrics, gauge);
        let is_within = now.is_some_and(|now| now >= 0 && now.unsigned_abs() <= most);
        (!is_within).then(|| Anomaly::OverLimit(format!("{key}: {now:?} of {most}")))
    });
    over.collect()
}

/// The value of a gauge without labels in Prometheus' text.
fn value(metrics: &str, gauge: &str) -> Option<i64> {
    let mut lines = metrics.lines();
    lines.find_map(|line| line.strip_prefix(gauge)?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over(sessions: &str) -> Vec<Anomaly> {
        let pairs = [
            ("max.incremental.fetch.session.cache.slots", "2"),
            ("log.dirs", "/data"),
        ];
        let config = BrokerConfig::from_pairs(pairs).expect("a sound configuration");
        let metrics = format!(
            "# TYPE millrace_connections gauge\nmillrace_connections 3\n\
             millrace_request_budget_bytes 0\nmillrace_response_budget_bytes 1024\n\
             millrace_fetch_session_partitions 1\n{sessions}"
        );
        gauges(&metrics, &config)
    }

    #[test]
    fn a_gauge_over_its_limit_is_found() {
        assert_eq!(over("millrace_fetch_sessions 2\n"), []);
        assert_eq!(over("millrace_fetch_sessions 3\n").len(), 1);
        assert_eq!(over("millrace_fetch_sessions -1\n").len(), 1);
    }

    #[test]
    fn a_gauge_that_is_missing_is_found() {
        assert_eq!(over("").len(), 1);
    }
}
