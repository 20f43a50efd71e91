//! A member of a group that somebody else wrote: a program of its own, whose words are read as they come.
//!
//! What always holds: it ends with the value that started it; one that ended by itself is told as an
//! error, with its last words. Apache Kafka's verifiable consumer prints JSON; the rdkafka crate's member
//! (`tests/clients/rdkafka/src/bin/member.rs`) lines of words.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::load::lock;

/// The last words that are shown of one that failed.
const WORDS_MAX: usize = 20;

/// What a member said so far.
#[derive(Debug, Default)]
struct Said {
    owned: BTreeSet<i32>,
    given: BTreeMap<(i32, i64), usize>,
    last: Vec<String>,
}

/// A member at work.
#[derive(Debug)]
pub(crate) struct Foreign {
    name: &'static str,
    child: Child,
    stdin: Option<ChildStdin>,
    reads_input: bool,
    said: Arc<Mutex<Said>>,
}

impl Foreign {
    /// Starts one, which leaves at the end of its input or knows nothing of such.
    pub(crate) fn start(
        name: &'static str,
        words: &[String],
        reads_input: bool,
    ) -> Result<Self, String> {
        let (program, rest) = words.split_first().ok_or("a member has no program")?;
        let mut child = Command::new(program)
            .args(rest)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start {program}: {error}"))?;
        let stdin = child.stdin.take();
        let output = child.stdout.take().ok_or("its output is not piped")?;
        let said = Arc::<Mutex<Said>>::default();
        let noted = Arc::clone(&said);
        #[expect(
            clippy::disallowed_methods,
            reason = "it reads a pipe, and is no part of a node"
        )]
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                lock(&noted).hear(&line);
            }
        });
        Ok(Self {
            name,
            child,
            stdin,
            reads_input,
            said,
        })
    }

    /// What it owns; an error once it has ended.
    pub(crate) fn owned(&mut self) -> Result<BTreeSet<i32>, String> {
        match self.child.try_wait() {
            Ok(None) => Ok(lock(&self.said).owned.clone()),
            other => Err(format!(
                "the {} member ended ({other:?}); it said last:\n{}",
                self.name,
                lock(&self.said).last.join("\n")
            )),
        }
    }

    /// How often it was given each record.
    pub(crate) fn given(&self) -> BTreeMap<(i32, i64), usize> {
        lock(&self.said).given.clone()
    }

    /// Asks it to leave: by the end of its input, and one that reads none by SIGTERM. It is gone by and by.
    pub(crate) fn leave(&mut self) -> Result<(), String> {
        drop(self.stdin.take());
        if self.reads_input {
            return Ok(());
        }
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status();
        match sent {
            Ok(status) if status.success() => Ok(()),
            other => Err(format!(
                "the {} member can't be ended: {other:?}",
                self.name
            )),
        }
    }

    /// Whether it has ended.
    pub(crate) fn is_gone(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        if !self.is_gone() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

impl Said {
    fn hear(&mut self, line: &str) {
        let is_record = if line.starts_with('{') {
            serde_json::from_str(line).is_ok_and(|json: Value| self.json(&json))
        } else {
            self.words(line)
        };
        if !is_record {
            self.last.push(line.to_owned());
            let over = self.last.len().saturating_sub(WORDS_MAX);
            self.last.drain(..over);
        }
    }

    /// What the verifiable consumer prints; whether it is about a record.
    fn json(&mut self, json: &Value) -> bool {
        let number = |of: &Value| {
            of["partition"]
                .as_i64()
                .and_then(|at| i32::try_from(at).ok())
        };
        let partitions = json["partitions"].as_array().into_iter().flatten();
        let partitions: Vec<i32> = partitions.filter_map(number).collect();
        match json["name"].as_str().unwrap_or_default() {
            "partitions_assigned" => self.owned.extend(partitions),
            "partitions_revoked" => self.owned.retain(|at| !partitions.contains(at)),
            "record_data" => {
                if let Some(place) = number(json).zip(json["offset"].as_i64()) {
                    *self.given.entry(place).or_default() += 1;
                    return true;
                }
            }
            _ => {}
        }
        false
    }

    /// What the rdkafka crate's member prints; whether it is about a record.
    fn words(&mut self, line: &str) -> bool {
        let mut words = line.split(' ');
        let kind = words.next().unwrap_or_default();
        let numbers: Vec<i64> = words.filter_map(|word| word.parse().ok()).collect();
        let partitions = numbers.iter().filter_map(|at| i32::try_from(*at).ok());
        match (kind, numbers.as_slice()) {
            ("assigned", _) => self.owned.extend(partitions),
            ("revoked", _) => {
                let gone: BTreeSet<i32> = partitions.collect();
                self.owned.retain(|at| !gone.contains(at));
            }
            ("record", [partition, offset]) => {
                if let Ok(partition) = i32::try_from(*partition) {
                    *self.given.entry((partition, *offset)).or_default() += 1;
                    return true;
                }
            }
            _ => {}
        }
        false
    }
}
