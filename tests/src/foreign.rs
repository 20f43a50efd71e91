//! Writers that others wrote, and whether what they were promised was kept: what their delivery
//! reports say, held against what another client reads back.
//!
//! A writer is a program that takes a bootstrap address, a topic and a file; it writes values
//! `NAME-0`, `NAME-1`, .. idempotently until its standard input ends, each report as a line
//! `partition offset value` of the file.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A writer at work; killed with this value.
#[derive(Debug)]
pub struct Writer {
    topic: String,
    reports: PathBuf,
    child: Child,
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

    /// What it was told so far.
    pub fn reports(&self) -> Result<Vec<Record>, String> {
        let text = std::fs::read_to_string(&self.reports).unwrap_or_default();
        // The last line may be on its way.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        records(whole)
    }

    /// Lets it end, reads its topic with kcat and judges; how many records it was promised.
    pub fn finish(mut self, address: SocketAddr) -> Result<usize, String> {
        drop(self.child.stdin.take());
        let status = self.child.wait().map_err(|error| error.to_string())?;
        if !status.success() {
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
        let log = records(&String::from_utf8_lossy(&read.stdout))?;
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

/// Lines `partition offset value`.
fn records(text: &str) -> Result<Vec<Record>, String> {
    let record = |line: &str| {
        let (partition, rest) = line.split_once(' ')?;
        let (offset, value) = rest.split_once(' ')?;
        Some((
            partition.parse().ok()?,
            offset.parse().ok()?,
            value.to_owned(),
        ))
    };
    text.lines()
        .map(|line| record(line).ok_or_else(|| format!("`{line}` is no record")))
        .collect()
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
        let other = [record(0, "w-0"), record(1, "w-2"), record(2, "w-6")];
        assert_eq!(judge(&log, &other).len(), 1, "another value");
    }
}
