//! How figures are printed: one a line, name, value, unit, so that people and scripts read them.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Prints one figure.
#[expect(clippy::print_stdout, reason = "the output of a developer's tool")]
pub(crate) fn figure(name: &str, value: impl std::fmt::Display, unit: &str) {
    println!("{name:<28} {value:>14} {unit}");
}

/// Prints the percentiles of latencies that were recorded in microseconds.
pub(crate) fn latencies(histogram: &Histogram<u64>) {
    for (name, quantile) in [
        ("latency p50", 0.5),
        ("latency p99", 0.99),
        ("latency p99.9", 0.999),
    ] {
        figure(name, ms(histogram.value_at_quantile(quantile)), "ms");
    }
    figure("latency max", ms(histogram.max()), "ms");
}

fn ms(us: u64) -> String {
    format!("{:.3}", us as f64 / 1000.0)
}

/// `count` in `elapsed`, per second.
pub(crate) fn per_second(count: u64, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64().max(1e-9)
}
