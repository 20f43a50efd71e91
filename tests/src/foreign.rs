//! Writers that others wrote, and whether what they were promised was kept: what their delivery
//! reports say, held against what another client reads back.
//!
//! A writer is a program that takes a bootstrap address, a topic and a file; it writes values
//! `NAME-0`, `NAME-1`, .. idempotently until its standard input ends, each report as a line
//! `partition offset value` of the file. Apache Kafka's verifiable producer writes `0`, `1`, .. and
//! its reports are the JSON that it prints.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// How a Java machine ends when SIGTERM let it put its things in order.
const JAVA_TERMINATED: i32 = 143;

/// A writer at work; killed with this value.
#[derive(Debug)]
pub struct Writer {
    topic: String,
    reports: PathBuf,
    child: Child,
    /// Reports that were there when it was last asked whether it gets on.
    told: usize,
}

/// A record: partition, offset, value.
pub type Record = (i32, i64, String);

impl Writer {
    /// Starts the program `words` on a topic that is there; its reports go to a file in `place`.
    pub fn start(
        words: &[String],
        topic: String,
        address: SocketAddr,
        place: &Path,
    ) -> Result<Self, String> {
        let (program, rest) = words.split_first().ok_or("a writer has no program")?;
        let reports = place.join(&topic);
        let child = Command::new(program)
            .args(rest)
            .args([&address.to_string(), &topic])
            .arg(&reports)
            .stdin(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start {program}: {error}"))?;
        Ok(Self {
            topic,
            reports,
            child,
            told: 0,
        })
    }

    /// Its topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Fails when it has ended by itself.
    pub fn is_alive(&mut self) -> Result<(), String> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            other => Err(format!("the writer of {} ended: {other:?}", self.topic)),
        }
    }

    /// What it was told so far; an error when a record was given up.
    pub fn reports(&self) -> Result<Vec<Record>, String> {
        reports(&self.text())
    }

    fn text(&self) -> String {
        let mut text = std::fs::read_to_string(&self.reports).unwrap_or_default();
        // The last line may be on its way.
        text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
        text
    }

    /// Whether it was told more since this was last asked.
    pub fn gets_on(&mut self) -> Result<bool, String> {
        let before = self.told;
        self.told = self.reports()?.len();
        Ok(self.told > before)
    }

    /// Lets it end, reads its topic with kcat and judges; how many records it was promised.
    pub fn finish(mut self, address: SocketAddr) -> Result<usize, String> {
        drop(self.child.stdin.take());
        let status = self.child.wait().map_err(|error| error.to_string())?;
        // Kafka's tool prints its sum once nothing is under way any more.
        let in_order = status.success()
            || (status.code() == Some(JAVA_TERMINATED) && self.text().contains("\"tool_data\""));
        if !in_order {
            return Err(format!("the writer of {} ended with {status}", self.topic));
        }
        let promised = self.reports()?;
        let read = Command::new("kcat")
            .args(["-C", "-b", &address.to_string(), "-t", &self.topic])
            .args(["-o", "beginning", "-e", "-q", "-f", "%p %o %s\n"])
            .output()
            .map_err(|error| format!("cannot run kcat: {error}"))?;
        if !read.status.success() {
            let said = String::from_utf8_lossy(&read.stderr);
            return Err(format!("kcat ended with {}: {said}", read.status));
        }
        let log = reports(&String::from_utf8_lossy(&read.stdout))?;
        let broken = judge(&promised, &log);
        match broken.first() {
            None => Ok(promised.len()),
            Some(first) => Err(format!(
                "{}: {} of {} promises broken; first: {first}",
                self.topic,
                broken.len(),
                promised.len()
            )),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// The records in lines `partition offset value`, or in those of Kafka's verifiable producer.
fn reports(text: &str) -> Result<Vec<Record>, String> {
    let mut records = Vec::new();
    for line in text.lines() {
        let said = if line.starts_with('{') {
            printed(line, records.len())?
        } else {
            let record = record(line).ok_or_else(|| format!("`{line}` is no record"))?;
            Some(record)
        };
        records.extend(said);
    }
    Ok(records)
}

fn record(line: &str) -> Option<Record> {
    let (partition, rest) = line.split_once(' ')?;
    let (offset, value) = rest.split_once(' ')?;
    Some((
        partition.parse().ok()?,
        offset.parse().ok()?,
        value.to_owned(),
    ))
}

/// What Kafka's verifiable producer says in a line, after so many acknowledged records: one more, or
/// nothing that counts. An error when a record was given up, or the tool counted otherwise.
fn printed(line: &str, acknowledged: usize) -> Result<Option<Record>, String> {
    let json: Value = serde_json::from_str(line).map_err(|error| format!("`{line}`: {error}"))?;
    let text = |field: &str| json[field].as_str().unwrap_or_default();
    let number = |field: &str| json[field].as_i64();
    match text("name") {
        "producer_send_success" => {
            let partition = number("partition").and_then(|number| number.try_into().ok());
            let record = partition.zip(number("offset"));
            let record =
                record.map(|(partition, offset)| (partition, offset, text("value").into()));
            record
                .map(Some)
                .ok_or_else(|| format!("`{line}` is no record"))
        }
        // Its main thread may still hand over a record while it is being ended: nobody's promise.
        "producer_send_error" if text("message").contains("closed") => Ok(None),
        "producer_send_error" => Err(format!("a record was given up: {line}")),
        "tool_data" if number("acked") != i64::try_from(acknowledged).ok() => Err(format!(
            "{acknowledged} acknowledgements were printed: {line}"
        )),
        _ => Ok(None),
    }
}

/// What is wrong with a log: a promise that isn't there, a value that is there twice, values of a
/// partition out of order.
pub fn judge(promised: &[Record], log: &[Record]) -> Vec<String> {
    let mut broken = Vec::new();
    let at: BTreeMap<(i32, i64), &str> = log
        .iter()
        .map(|(partition, offset, value)| ((*partition, *offset), value.as_str()))
        .collect();
    for (partition, offset, value) in promised {
        let found = at.get(&(*partition, *offset)).copied();
        if found != Some(value) {
            broken.push(format!(
                "{value} was acknowledged at {partition}/{offset}; there is {found:?}"
            ));
        }
    }
    let mut seen = BTreeSet::new();
    let mut last: BTreeMap<i32, u64> = BTreeMap::new();
    for ((partition, offset), value) in at {
        if !seen.insert(value) {
            broken.push(format!("{value} is there again at {partition}/{offset}"));
        }
        let number = value.rsplit('-').next().and_then(|text| text.parse().ok());
        let Some(number) = number else {
            broken.push(format!("{value} at {partition}/{offset} is nobody's"));
            continue;
        };
        let before = last.insert(partition, number);
        if before.is_some_and(|before| before >= number) {
            broken.push(format!(
                "{value} at {partition}/{offset} comes after {before:?}"
            ));
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(offset: i64, value: &str) -> Record {
        (0, offset, value.to_owned())
    }

    #[test]
    fn a_broken_promise_is_found_whichever_way_it_is_broken() {
        let log = [record(0, "w-0"), record(1, "w-3"), record(2, "w-6")];
        assert_eq!(judge(&log, &log), Vec::<String>::new());
        assert_eq!(judge(&log[..2], &log), Vec::<String>::new());
        assert_eq!(judge(&log, &log[..2]).len(), 1, "lost");
        let doubled = [record(0, "w-0"), record(1, "w-0")];
        assert!(!judge(&doubled[..1], &doubled).is_empty(), "doubled");
        let swapped = [record(0, "w-3"), record(1, "w-0")];
        assert_eq!(judge(&[], &swapped).len(), 1, "reordered");
        let bare = [record(0, "10"), record(1, "9")];
        assert_eq!(judge(&[], &bare).len(), 1, "reordered numbers");
        let other = [record(0, "w-0"), record(1, "w-2"), record(2, "w-6")];
        assert_eq!(judge(&log, &other).len(), 1, "another value");
    }

    #[test]
    fn what_the_verifiable_producer_prints_is_read_and_a_record_given_up_is_told() {
        let sent = r#"{"timestamp":1,"name":"producer_send_success","key":null,"value":"7","offset":4,"topic":"t","partition":2}"#;
        let sum = r#"{"timestamp":2,"name":"tool_data","sent":1,"acked":1,"avg_throughput":9.5}"#;
        let error = |message: &str| {
            format!(
                r#"{{"name":"producer_send_error","exception":"class X","message":"{message}"}}"#
            )
        };
        let late = error("Cannot perform operation after producer has been closed");
        let whole = [
            sent,
            r#"{"timestamp":1,"name":"shutdown_complete"}"#,
            &late,
            sum,
        ];
        assert_eq!(
            reports(&whole.join("\n")).expect("all is well"),
            [(2, 4, "7".to_owned())]
        );
        assert!(
            reports(sum).is_err(),
            "an acknowledgement that was not printed"
        );
        let given_up = error("Expiring 3 record(s) for t-2");
        assert!(reports(&given_up).is_err(), "given up");
    }
}
