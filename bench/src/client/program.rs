//! Perf tools of others: run to their end, what they print is their figure.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{BATCH_BYTES, ClientArguments, Done, LINGER_MS, Work};
use crate::cpu::children_cpu_time;
use crate::text;

/// librdkafka's `rdkafka_performance`.
pub(super) fn librdkafka(program: &Path, arguments: &ClientArguments) -> Result<Done, String> {
    let mut tool = Command::new(program);
    tool.args(["-t", &arguments.topic])
        .args(["-b", &arguments.bootstrap.to_string()])
        .args(["-c", &arguments.records.to_string()])
        .args(["-X", "log_level=2"]);
    match arguments.work {
        Work::Produce => tool
            .args(["-P", "-a", "-1"])
            .args(["-s", &arguments.record_bytes.to_string()])
            .args(["-X", "enable.idempotence=true"])
            .args(["-X", &format!("linger.ms={LINGER_MS}")])
            .args(["-X", &format!("batch.size={BATCH_BYTES}")])
            .args(["-X", "batch.num.messages=100000"]),
        // A group of one: without a group it reads one partition only.
        Work::Consume => tool
            .args(["-G", &format!("{}-reader", arguments.topic)])
            .args(["-X", "auto.offset.reset=earliest"])
            .args(["-X", "check.crcs=true"]),
    };
    let each = tempfile::NamedTempFile::new().map_err(text)?;
    if let Some(rate) = arguments.rate {
        // It busy-waits between two records, and looks for deliveries meanwhile.
        tool.args(["-r", &rate.to_string(), "-l"]);
        tool.arg("-A").arg(each.path());
    }
    let (printed, cpu) = run(&mut tool)?;
    // The last line with a rate is that of the whole run.
    let words: Vec<&str> = printed.split_ascii_whitespace().collect();
    let rate = words.windows(2).rev().find(|pair| pair[1] == "msgs/s");
    let rate = rate.and_then(|pair| pair[0].parse().ok());
    Ok(Done {
        records_per_second: rate.ok_or_else(|| format!("{tool:?} told no rate: {printed}"))?,
        cpu,
        latencies: percentiles(&fs::read_to_string(each.path()).map_err(text)?)?,
    })
}

/// Of a latency on each line, in microseconds.
fn percentiles(each: &str) -> Result<Vec<(&'static str, f64)>, String> {
    let all = each.lines().map(|line| line.trim().parse::<u64>());
    let mut all = all.collect::<Result<Vec<u64>, _>>().map_err(text)?;
    all.sort_unstable();
    let of = |(part, per_mille): (&'static str, usize)| {
        let at = all.len() * per_mille / 1000;
        all.get(at).map(|us| (part, *us as f64 / 1e3))
    };
    Ok([("p50", 500), ("p99", 990)]
        .into_iter()
        .filter_map(of)
        .collect())
}

/// Apache Kafka's perf tools, through the script that runs them.
pub(super) fn java(script: &Path, arguments: &ClientArguments) -> Result<Done, String> {
    let bootstrap = arguments.bootstrap.to_string();
    let records = arguments.records.to_string();
    let throughput = arguments
        .rate
        .map_or("-1".to_owned(), |rate| rate.to_string());
    let mut tool = Command::new(script);
    tool.arg("run");
    match arguments.work {
        Work::Produce => tool
            .args(["producer-perf-test", "--topic", &arguments.topic])
            .args(["--num-records", &records, "--throughput", &throughput])
            .args(["--record-size", &arguments.record_bytes.to_string()])
            .arg("--producer-props")
            .arg(format!("bootstrap.servers={bootstrap}"))
            .args(["acks=all", "enable.idempotence=true"])
            .arg(format!("linger.ms={LINGER_MS}"))
            .arg(format!("batch.size={BATCH_BYTES}")),
        Work::Consume => tool
            .args(["consumer-perf-test", "--topic", &arguments.topic])
            .args(["--bootstrap-server", &bootstrap])
            .args(["--messages", &records, "--timeout", "60000"]),
    };
    let (printed, cpu) = run(&mut tool)?;
    let rate = match arguments.work {
        Work::Produce => sent_per_second(&printed),
        Work::Consume => fetched_per_second(&printed),
    };
    Ok(Done {
        records_per_second: rate.ok_or_else(|| format!("{tool:?} told no rate: {printed}"))?,
        cpu,
        latencies: if arguments.rate.is_some() {
            told_latencies(&printed)
        } else {
            Vec::new()
        },
    })
}

/// `..., 2 ms 50th, 4 ms 95th, 7 ms 99th, 9 ms 99.9th.`: the last are of the whole run.
fn told_latencies(printed: &str) -> Vec<(&'static str, f64)> {
    let words: Vec<&str> = printed.split_ascii_whitespace().collect();
    let of = |(part, word): (&'static str, &str)| {
        let told = words.windows(3).rev().find(|told| told[2] == word)?;
        Some((part, told[0].parse().ok()?))
    };
    [("p50", "50th,"), ("p99", "99th,")]
        .into_iter()
        .filter_map(of)
        .collect()
}

/// `1000000 records sent, 512820.5 records/sec (48.91 MB/sec), ...`: the last is of the whole run.
fn sent_per_second(printed: &str) -> Option<f64> {
    let words: Vec<&str> = printed.split_ascii_whitespace().collect();
    let pair = words
        .windows(2)
        .rev()
        .find(|pair| pair[1] == "records/sec")?;
    pair[0].parse().ok()
}

/// A line of names and one of values, with commas between.
fn fetched_per_second(printed: &str) -> Option<f64> {
    let mut lines = printed.lines().map(|line| line.split(',').map(str::trim));
    let mut names = lines.find(|names| names.clone().any(|name| name == "fetch.nMsg.sec"))?;
    let at = names.position(|name| name == "fetch.nMsg.sec")?;
    lines.next()?.nth(at)?.parse().ok()
}

/// What it printed, and the processor time of it and of what it started.
fn run(tool: &mut Command) -> Result<(String, Duration), String> {
    let before = children_cpu_time().map_err(text)?;
    let ended = tool.stdin(Stdio::null()).output();
    let ended = ended.map_err(|error| format!("{tool:?}: {error}"))?;
    let printed = [ended.stdout, ended.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    if !ended.status.success() {
        return Err(format!("{tool:?}: {}: {printed}", ended.status));
    }
    let cpu = children_cpu_time().map_err(text)?.saturating_sub(before);
    Ok((printed, cpu))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_all_that_was_written() {
        let each: Vec<String> = (1..=1000).rev().map(|us: u32| us.to_string()).collect();
        assert_eq!(
            percentiles(&each.join("\n")),
            Ok(vec![("p50", 0.501), ("p99", 0.991)])
        );
        assert_eq!(percentiles(""), Ok(Vec::new()));
        assert!(percentiles("soon\n").is_err());
    }

    #[test]
    fn rates_are_found_in_what_the_java_tools_print() {
        let sent = "50 records sent, 9.9 records/sec (0.01 MB/sec), 3.0 ms avg latency.\n\
                    100 records sent, 512820.5 records/sec (48.91 MB/sec), 1.0 ms avg latency\n";
        assert_eq!(sent_per_second(sent), Some(512_820.5));
        assert_eq!(sent_per_second("none"), None);
        let told =
            "9 ms 50th, 9 ms 99th, 9 ms 99.9th.\n2 ms 50th, 4 ms 95th, 7 ms 99th, 9 ms 99.9th.";
        assert_eq!(told_latencies(told), [("p50", 2.0), ("p99", 7.0)]);
        let fetched = "start.time, end.time, fetch.MB.sec, fetch.nMsg.sec\na, b, 90.1, 940000.5\n";
        assert_eq!(fetched_per_second(fetched), Some(940_000.5));
        assert_eq!(fetched_per_second("WARNING: nothing\n"), None);
    }
}
