//! kcat: a topic of each codec made by producing to it, consumed as JSON, compared; by assignment, and
//! as a member of a group, which goes on behind what it committed.

use std::process::Command;

use serde_json::Value;

use super::Served;
use crate::Outcome;
use crate::packages::need;
use crate::process::{output, println};

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
const RECORDS: usize = 2000;

/// Runs the client.
pub(super) fn run(broker: &Served) -> Outcome {
    need("kcat", "kcat")?;
    for codec in CODECS {
        let topic = format!("kcat-{codec}");
        let file = broker.directory.path().join(&topic);
        let lines: Vec<String> = (0..RECORDS)
            .map(|nth| format!("{}\t{}\n", key(nth), value(nth)))
            .collect();
        std::fs::write(&file, lines.concat()).map_err(|error| error.to_string())?;
        let mut produce = kcat(broker, &["-P", "-t", &topic, "-z", codec, "-K", "\t", "-l"]);
        let settings = [
            "-p",
            "0",
            "-H",
            "maker=kcat",
            "-H",
            "empty=",
            "-X",
            "enable.idempotence=true",
        ];
        output(produce.args(settings).arg(&file))?;
        let consumed = output(&mut kcat(
            broker,
            &[
                "-C",
                "-t",
                &topic,
                "-p",
                "0",
                "-o",
                "beginning",
                "-e",
                "-q",
                "-J",
            ],
        ))?;
        compare(&topic, &consumed)?;
        consume_in_a_group(broker, &topic)?;
    }
    let listed = output(&mut kcat(broker, &["-L"]))?;
    for codec in CODECS {
        if !listed.contains(&format!("topic \"kcat-{codec}\"")) {
            return Err(format!("kcat -L does not list kcat-{codec}:\n{listed}"));
        }
    }
    println(&format!(
        "kcat: {} codecs, {RECORDS} records each, all alike, by assignment and in groups",
        CODECS.len()
    ));
    Ok(())
}

/// A member reads everything; the next one, which begins where it left off, nothing.
fn consume_in_a_group(broker: &Served, topic: &str) -> Outcome {
    let group = format!("group of {topic}");
    let member = || {
        let earliest = ["-X", "auto.offset.reset=earliest", "-e", "-q", "-J"];
        output(kcat(broker, &["-G", &group]).args(earliest).arg(topic))
    };
    compare(topic, &member()?)?;
    let again = member()?;
    if again.is_empty() {
        Ok(())
    } else {
        let lines = again.lines().count();
        Err(format!(
            "{topic}: the group read {lines} records that it had committed"
        ))
    }
}

fn kcat(broker: &Served, arguments: &[&str]) -> Command {
    let mut command = Command::new("kcat");
    command.args(["-b", &broker.address]).args(arguments);
    command
}

fn key(nth: usize) -> String {
    format!("key {nth}")
}

fn value(nth: usize) -> String {
    format!("value {nth} {}", "abcdefgh ".repeat(nth % 40))
}

fn compare(topic: &str, consumed: &str) -> Outcome {
    let mut seen = 0;
    for (nth, line) in consumed.lines().enumerate() {
        let record: Value =
            serde_json::from_str(line).map_err(|error| format!("{topic}: {error} in {line}"))?;
        let (key, value) = (key(nth), value(nth));
        let alike = record["offset"].as_u64() == Some(nth as u64)
            && record["key"].as_str() == Some(&key)
            && record["payload"].as_str() == Some(&value)
            && record["headers"] == serde_json::json!(["maker", "kcat", "empty", ""])
            && record["tstype"].as_str() == Some("create")
            && record["ts"]
                .as_i64()
                .is_some_and(|ts| ts > 1_700_000_000_000);
        if !alike {
            return Err(format!("{topic}: record {nth} came back as {line}"));
        }
        seen += 1;
    }
    if seen == RECORDS {
        Ok(())
    } else {
        Err(format!("{topic}: {seen} of {RECORDS} came back"))
    }
}
