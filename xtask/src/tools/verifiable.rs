//! `kafka-verifiable-producer` and `kafka-verifiable-consumer`: what the one says that it wrote is what
//! the other one says that it read, record by record.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Tools, row};
use crate::Outcome;

/// Partition, offset, key and value.
type Entry = (i64, i64, Option<String>, String);

pub(super) fn run(tools: &Tools) -> Outcome {
    let new = ["--create", "--topic", "ver", "--partitions", "2"];
    tools.ask("topics", &new, &[])?;
    let mut written = produced(tools, &["--max-messages", "40", "--acks", "-1"], 40)?;
    if tools.whole {
        let keyed = ["--max-messages", "30", "--repeating-keys", "5"];
        let keyed = [&keyed[..], &["--value-prefix", "7", "--acks", "1"]].concat();
        let more = produced(tools, &keyed, 30)?;
        let keys: BTreeSet<_> = more.iter().map(|entry| entry.2.clone()).collect();
        let all_prefixed = more.iter().all(|entry| entry.3.starts_with("7."));
        if keys.len() != 5 || keys.contains(&None) || !all_prefixed {
            return Err(format!("not five keys and values of 7.: {more:?}"));
        }
        written.extend(more);
        let timed = ["--max-messages", "10", "--throughput", "50"];
        let timed = [&timed[..], &["--message-create-time", "1700000000000"]].concat();
        written.extend(produced(tools, &timed, 10)?);
        let at = ["--topic", "ver", "--time", "max-timestamp"];
        tools.ask("get-offsets", &at, &["ver:"])?;
    }
    consumed(tools, ("ver-all", &[]), &written)?;
    if tools.whole {
        for (group, how) in [
            ("ver-auto", &["--enable-autocommit"][..]),
            (
                "ver-robin",
                &[
                    "--assignment-strategy",
                    "org.apache.kafka.clients.consumer.RoundRobinAssignor",
                ],
            ),
            (
                "ver-sticky",
                &[
                    "--assignment-strategy",
                    "org.apache.kafka.clients.consumer.CooperativeStickyAssignor",
                ],
            ),
            (
                "ver-static",
                &["--group-instance-id", "one", "--session-timeout", "10000"],
            ),
        ] {
            consumed(tools, (group, how), &written)?;
        }
    }
    Ok(())
}

/// The events that a tool told, a line of JSON each.
fn events(said: &str, name: &str) -> Vec<Value> {
    let lines = said
        .lines()
        .filter_map(|line| line.trim().strip_prefix('{'));
    let events = lines.filter_map(|rest| serde_json::from_str::<Value>(&format!("{{{rest}")).ok());
    events.filter(|event| event["name"] == name).collect()
}

fn entry(event: &Value) -> Option<Entry> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Some((
        event["partition"].as_i64()?,
        event["offset"].as_i64()?,
        text(&event["key"]),
        text(&event["value"])?,
    ))
}

fn entries(said: &str, name: &str) -> Result<BTreeSet<Entry>, String> {
    let events = events(said, name);
    let count = events.len();
    let entries: Option<BTreeSet<Entry>> = events.iter().map(entry).collect();
    match entries {
        Some(entries) if entries.len() == count => Ok(entries),
        _ => Err(format!(
            "`{name}` twice, or without its fields, in:\n{said}"
        )),
    }
}

/// Has the producer write so many records; gives what it says of each.
fn produced(tools: &Tools, how: &[&str], count: usize) -> Result<BTreeSet<Entry>, String> {
    let of = [&["--topic", "ver"][..], how].concat();
    let said = ["startup_complete", "shutdown_complete"];
    let said = tools.ask("verifiable-producer", &of, &said)?;
    let written = entries(&said, "producer_send_success")?;
    let sums = events(&said, "tool_data");
    let all_acked = sums
        .iter()
        .any(|sum| sum["sent"] == count && sum["acked"] == count);
    if written.len() != count || !all_acked {
        return Err(format!("not {count} records, all acknowledged:\n{said}"));
    }
    Ok(written)
}

/// A member of a new group reads all that was written, and has committed it.
fn consumed(tools: &Tools, (group, how): (&str, &[&str]), written: &BTreeSet<Entry>) -> Outcome {
    let count = written.len().to_string();
    let of = ["--topic", "ver", "--group-id", group, "--verbose"];
    let until = ["--reset-policy", "earliest", "--max-messages", &count];
    let all = [&of[..], &until, how].concat();
    let said = ["partitions_assigned", "shutdown_complete"];
    let said = tools.ask("verifiable-consumer", &all, &said)?;
    let read = entries(&said, "record_data")?;
    if read != *written {
        let differs = read.symmetric_difference(written).next();
        return Err(format!(
            "{group} reads others than were written: {differs:?}"
        ));
    }
    let counts = events(&said, "records_consumed");
    let sum: i64 = counts
        .iter()
        .filter_map(|some| some["count"].as_i64())
        .sum();
    if usize::try_from(sum) != Ok(written.len()) {
        return Err(format!("{group} counts {sum} of {count}:\n{said}"));
    }
    let told = tools.ask("consumer-groups", &["--describe", "--group", group], &[])?;
    for partition in [0, 1] {
        let of = written.iter().filter(|entry| entry.0 == partition);
        // It commits what it has read: nothing of a partition without records.
        let Some(end) = of.map(|entry| entry.1 + 1).max() else {
            continue;
        };
        let end = end.to_string();
        let partition = partition.to_string();
        row(&told, &[group, "ver", &partition, &end, &end, "0"])?;
    }
    Ok(())
}
