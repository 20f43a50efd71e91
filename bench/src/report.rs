//! How figures are printed: for people one a line, name, value, unit; with `--json` as JSON lines, and
//! with them the curves that plots are made of.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::json;

/// Whether this process prints JSON lines; set once, before anything is printed.
static JSON: AtomicBool = AtomicBool::new(false);

/// Steps of a latency curve in each halving of what is left above it.
const CURVE_TICKS: u32 = 4;

/// From now on figures are JSON lines.
pub(crate) fn print_json() {
    JSON.store(true, Ordering::Relaxed);
}

/// Prints one figure.
pub(crate) fn figure(name: &str, value: impl Display, unit: &str) {
    let value = value.to_string();
    if !JSON.load(Ordering::Relaxed) {
        return line(&format!("{name:<28} {value:>14} {unit}"));
    }
    let value = match value.parse::<f64>() {
        Ok(number) => json!(number),
        Err(_) => json!(value),
    };
    line(&json!({ "figure": name, "value": value, "unit": unit }).to_string());
}

/// Prints the processor time of a `broker` or `client` for each million of what it did.
pub(crate) fn cpu_per_million(whose: &str, cpu: Duration, count: u64) {
    let each = cpu.as_secs_f64() * 1e6 / count.max(1) as f64;
    figure(
        &format!("{whose} cpu per million"),
        format!("{each:.3}"),
        "s",
    );
}

/// Prints points of a curve, for plots only.
pub(crate) fn curve(name: &str, (x, unit): (&str, &str), points: &[(f64, f64)]) {
    if JSON.load(Ordering::Relaxed) {
        let curve = json!({ "curve": name, "x": x, "unit": unit, "points": points });
        line(&curve.to_string());
    }
}

/// Prints the percentiles of latencies that were recorded in microseconds, and their curve.
pub(crate) fn latencies(name: &str, histogram: &Histogram<u64>) {
    if histogram.is_empty() {
        return;
    }
    for (part, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        let us = histogram.value_at_quantile(quantile);
        figure(&format!("{name} {part}"), ms(us), "ms");
    }
    figure(&format!("{name} max"), ms(histogram.max()), "ms");
    let steps = histogram.iter_quantiles(CURVE_TICKS);
    let points: Vec<(f64, f64)> = steps
        .map(|step| {
            let us = step.value_iterated_to().min(histogram.max());
            (step.quantile_iterated_to(), us as f64 / 1e3)
        })
        .collect();
    curve(name, ("quantile", "ms"), &points);
}

/// `count` in `elapsed`, per second.
pub(crate) fn per_second(count: u64, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64().max(1e-9)
}

/// Prints a line for who runs this program.
#[expect(clippy::print_stdout, reason = "the output of a developer's tool")]
pub(crate) fn line(text: &str) {
    println!("{text}");
}

/// A histogram of microseconds up to two minutes, three digits.
pub(crate) fn new_histogram() -> Result<Histogram<u64>, String> {
    Histogram::new_with_max(120_000_000, 3).map_err(|error| error.to_string())
}

/// Whole microseconds.
pub(crate) fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

fn ms(us: u64) -> String {
    format!("{:.3}", us as f64 / 1000.0)
}

/// What happened when, counted in tenths of a second.
#[derive(Clone, Debug, Default)]
pub(crate) struct OverTime(Vec<u64>);

/// The width of one count.
const TENTH: Duration = Duration::from_millis(100);
/// Counts that are kept, an hour; what comes later is in the last.
const TENTHS_MAX: usize = 36_000;

impl OverTime {
    /// Counts something that happened so long after the start.
    pub(crate) fn add(&mut self, after: Duration, count: u64) {
        let at = (after.as_millis() / TENTH.as_millis()) as usize;
        let at = at.min(TENTHS_MAX - 1);
        if self.0.len() <= at {
            self.0.resize(at + 1, 0);
        }
        self.0[at] += count;
    }

    /// Adds what somebody else counted from the same start.
    pub(crate) fn join(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (own, more) in self.0.iter_mut().zip(&other.0) {
            *own += more;
        }
    }

    /// Prints the rate as a curve. The last tenth is cut off by the end of the run.
    pub(crate) fn print(&self, name: &str) {
        let whole = self.0.split_last().map_or(&[][..], |(_, whole)| whole);
        let point = |(at, count): (usize, &u64)| (at as f64 / 10.0, *count as f64 * 10.0);
        let points: Vec<(f64, f64)> = whole.iter().enumerate().map(point).collect();
        curve(name, ("s", "/s"), &points);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_is_counted_in_its_tenth_and_counts_of_all_are_added() {
        let mut one = OverTime::default();
        one.add(Duration::from_millis(99), 2);
        one.add(Duration::from_millis(100), 3);
        let mut other = OverTime::default();
        other.add(Duration::from_millis(350), 7);
        other.join(&one);
        assert_eq!(other.0, [2, 3, 0, 7]);
        one.add(Duration::from_secs(1 << 30), 1);
        assert_eq!(one.0.len(), TENTHS_MAX);
    }
}
