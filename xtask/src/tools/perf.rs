//! `kafka-producer-perf-test`, `kafka-consumer-perf-test` and `kafka-e2e-latency`: what they count is
//! what there is, and what they wrote is read back.

use std::collections::BTreeSet;

use super::{Tools, row};
use crate::Outcome;

/// Records of the runs whose values count up.
const COUNTED: usize = 200;
/// Records of a hundred bytes.
const RECORDS: usize = 1000;

pub(super) fn run(tools: &Tools) -> Outcome {
    for topic in ["perf", "counted", "chosen", "e2e"] {
        let new = ["--create", "--topic", topic, "--partitions", "1"];
        tools.ask("topics", &new, &[])?;
        if !tools.whole && topic == "counted" {
            break;
        }
    }
    counted(tools)?;
    tools.produce("perf", RECORDS)?;
    consumed(tools)?;
    if tools.whole {
        chosen(tools)?;
        options(tools)?;
        latency(tools)?;
    }
    Ok(())
}

/// The values of a topic's one partition.
fn values(tools: &Tools, topic: &str, count: usize) -> Result<Vec<String>, String> {
    let number = count.to_string();
    let of = ["--topic", topic, "--partition", "0", "--offset", "earliest"];
    let until = ["--max-messages", &number, "--timeout-ms", "30000"];
    let processed = format!("Processed a total of {count} messages");
    let said = tools.ask(
        "console-consumer",
        &[&of[..], &until].concat(),
        &[&processed],
    )?;
    let values = said.lines().filter(|line| *line != processed);
    Ok(values.map(str::to_owned).collect())
}

fn write(tools: &Tools, arguments: &[&str], said: &[&str]) -> Result<String, String> {
    tools.ask("producer-perf-test", arguments, said)
}

/// Values that count up, each there in its place; and the producer's own metrics.
fn counted(tools: &Tools) -> Outcome {
    let count = COUNTED.to_string();
    let of = ["--topic", "counted", "--num-records", &count];
    let how = ["--payload-monotonic", "--throughput", "2000"];
    let more = ["--print-metrics", "--command-property", "acks=all"];
    let total = format!("{COUNTED}.000");
    let sent = format!("{COUNTED} records sent");
    let said = write(tools, &[&of[..], &how, &more].concat(), &[&sent])?;
    let metric = said
        .lines()
        .find(|line| line.contains("producer-metrics:record-send-total"));
    if !metric.is_some_and(|line| line.ends_with(&total)) {
        return Err(format!("record-send-total isn't {total}:\n{said}"));
    }
    let read = values(tools, "counted", COUNTED)?;
    let wanted: Vec<String> = (0..COUNTED).map(|number| number.to_string()).collect();
    if read == wanted {
        return Ok(());
    }
    Err(format!("`counted` holds {read:?}"))
}

/// Values from a file: any of them, and nothing else.
fn chosen(tools: &Tools) -> Outcome {
    let file = tools.file("payload.txt", "one;two;three")?;
    let of = ["--topic", "chosen", "--num-records", "100"];
    let how = ["--payload-file", &file, "--payload-delimiter", ";"];
    let more = ["--throughput", "-1", "--reporting-interval", "100"];
    write(
        tools,
        &[&of[..], &how, &more].concat(),
        &["100 records sent"],
    )?;
    let read: BTreeSet<String> = values(tools, "chosen", 100)?.into_iter().collect();
    let wanted = ["one", "two", "three"].map(str::to_owned);
    if read == BTreeSet::from(wanted) {
        return Ok(());
    }
    Err(format!("`chosen` holds {read:?}"))
}

/// Each codec and acks, a configuration in a file, and a topic that there isn't.
fn options(tools: &Tools) -> Outcome {
    let of = [
        "--topic",
        "perf",
        "--num-records",
        "50",
        "--record-size",
        "100",
    ];
    let of = [&of[..], &["--throughput", "-1"]].concat();
    for (codec, acks) in [
        ("gzip", "0"),
        ("snappy", "1"),
        ("lz4", "all"),
        ("zstd", "-1"),
    ] {
        let codec = format!("compression.type={codec}");
        let acks = format!("acks={acks}");
        let how = [
            "--command-property",
            &codec,
            &acks,
            "enable.idempotence=false",
        ];
        write(tools, &[&of[..], &how].concat(), &["50 records sent"])?;
    }
    let file = tools.file("perf.properties", "linger.ms=5\nbatch.size=1000\n")?;
    let how = ["--command-config", &file, "--warmup-records", "10"];
    write(tools, &[&of[..], &how].concat(), &["50 records sent"])?;
    let end = format!("perf:0:{}", RECORDS + 250);
    tools.ask("get-offsets", &["--topic", "perf"], &[&end])?;
    let both = ["--payload-monotonic"];
    let said = ["--payload-monotonic: not allowed"];
    tools.refused("producer-perf-test", &[&of[..], &both].concat(), &said)
}

/// A run of the consumer's test: the row of figures behind its header, if there is one.
fn read(tools: &Tools, how: &[&str], header: bool) -> Result<Vec<f64>, String> {
    let of = ["--num-records", "1000", "--timeout", "30000"];
    let said = tools.ask("consumer-perf-test", &[&of[..], how].concat(), &[])?;
    let is_told = said.contains("data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec");
    if is_told != header {
        return Err(format!("a header in place of none, or none:\n{said}"));
    }
    // Two times come first.
    let row = said
        .lines()
        .rfind(|line| line.starts_with("20"))
        .ok_or_else(|| format!("no figures in:\n{said}"))?;
    let cells = row.split(", ").skip(2).map(|cell| cell.trim().parse());
    let cells: Result<Vec<f64>, _> = cells.collect();
    cells.map_err(|error| format!("{error} in `{row}`"))
}

fn consumed(tools: &Tools) -> Outcome {
    let megabytes = (RECORDS * 100) as f64 / f64::from(1 << 20);
    let check = |how: &[&str], header| {
        let row = read(tools, how, header)?;
        let [mb, _, records, ..] = row.as_slice() else {
            return Err(format!("too few figures: {row:?}"));
        };
        let is_right = (*mb - megabytes).abs() < 0.001 && (*records - RECORDS as f64).abs() < 0.5;
        if is_right {
            return Ok(());
        }
        Err(format!("{how:?} counts {row:?}"))
    };
    check(&["--topic", "perf", "--group", "perf-group"], true)?;
    let said = ["--describe", "--group", "perf-group"];
    let told = tools.ask("consumer-groups", &said, &[])?;
    row(&told, &["perf-group", "perf", "0", "1000", "1000", "0"])?;
    if tools.whole {
        check(&["--include", "per.", "--hide-header"], false)?;
        let how = ["--topic", "perf", "--fetch-size", "1000"];
        let more = ["--socket-buffer-size", "10000", "--print-metrics"];
        check(&[&how[..], &more].concat(), true)?;
        let file = tools.file("perf-consumer.properties", "max.poll.records=7\n")?;
        check(&["--topic", "perf", "--command-config", &file], true)?;
    }
    Ok(())
}

/// The tool itself compares what comes with what it sent, one by one.
fn latency(tools: &Tools) -> Outcome {
    let said = ["Avg latency: ", "Percentiles: 50th = "];
    let positions = [tools.address.as_str(), "e2e", "20", "1", "64"];
    tools.run("e2e-latency", &positions, true, &said)?;
    let of = [
        "--topic",
        "e2e",
        "--num-records",
        "30",
        "--record-size",
        "64",
    ];
    let more =
        "--record-key-size 8 --num-headers 2 --record-header-key-size 5 --record-header-size 7";
    let more: Vec<&str> = more.split_ascii_whitespace().collect();
    let all = [&of[..], &more, &["--producer-acks", "all"]].concat();
    tools.ask("e2e-latency", &all, &said)?;
    tools.ask("get-offsets", &["--topic", "e2e"], &["e2e:0:50"])?;
    let none = [&of[..], &["--producer-acks", "0"]].concat();
    let said = ["Latency testing requires synchronous acknowledgement."];
    tools.refused("e2e-latency", &none, &said)
}
