//! One run of this program in a process of its own, and what it printed. A process each, so that no
//! run finds what another left in its client; and so that any line of a comparison can be repeated by
//! hand.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::text;

/// A curve to plot.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Curve {
    /// What the points' first coordinate is: `quantile` or `s`.
    pub(super) x: String,
    /// The unit of the second.
    pub(super) unit: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// What a run printed, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Report {
    pub(super) figures: BTreeMap<String, f64>,
    pub(super) curves: BTreeMap<String, Curve>,
}

/// Runs this program with these words and reads what it prints.
pub(super) fn run(own: &Path, words: &[String]) -> Result<Report, String> {
    let output = command(own, words)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{}: {error}", own.display()))?;
    if !output.status.success() {
        return Err(format!("`{}`: {}", shown(words), output.status));
    }
    read(&String::from_utf8_lossy(&output.stdout))
}

/// A run that goes on beside another one; killed with this value.
pub(super) struct Beside {
    child: Child,
    words: String,
}

impl Beside {
    /// Starts it and waits for the first line that it prints: it has begun.
    pub(super) fn start(own: &Path, words: &[String]) -> Result<Self, String> {
        let mut child = command(own, words)
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|error| format!("{}: {error}", own.display()))?;
        let mut first = String::new();
        // What it prints at its end fits the pipe.
        let read = match child.stdout.as_mut() {
            Some(printed) => BufReader::with_capacity(1, printed).read_line(&mut first),
            None => Ok(0),
        };
        let beside = Self {
            child,
            words: shown(words),
        };
        match read {
            Ok(1..) => Ok(beside),
            Ok(0) => Err(format!("`{}` ended before it began", beside.words)),
            Err(error) => Err(text(error)),
        }
    }

    /// Starts one that is not expected to reach its end.
    pub(super) fn unheard(own: &Path, words: &[String]) -> Result<Self, String> {
        let child = command(own, words)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{}: {error}", own.display()))?;
        Ok(Self {
            child,
            words: shown(words),
        })
    }

    /// Ends it; an error when it ended by itself, since then something ran without it.
    pub(super) fn end(mut self) -> Result<(), String> {
        match self.child.try_wait().map_err(text)? {
            None => Ok(()),
            Some(status) => Err(format!("`{}` ended too early: {status}", self.words)),
        }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // One that has ended can't be killed, which is no harm.
        drop(self.child.kill());
        if let Err(error) = self.child.wait() {
            eprintln!("millrace-bench: `{}`: {error}", self.words);
        }
    }
}

fn command(own: &Path, words: &[String]) -> Command {
    let mut command = Command::new(own);
    command.arg("--json").args(words);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// The words as one would type them.
pub(super) fn shown(words: &[String]) -> String {
    words.join(" ")
}

/// Reads JSON lines.
fn read(printed: &str) -> Result<Report, String> {
    let mut report = Report::default();
    for line in printed.lines() {
        let line: Value =
            serde_json::from_str(line).map_err(|error| format!("`{line}`: {error}"))?;
        if let (Some(name), Some(value)) = (line["figure"].as_str(), line["value"].as_f64()) {
            report.figures.insert(name.to_owned(), value);
        }
        if let Some(name) = line["curve"].as_str() {
            let word = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
            let points = line["points"].as_array().into_iter().flatten();
            let point = |point: &Value| Some((point[0].as_f64()?, point[1].as_f64()?));
            let curve = Curve {
                x: word("x"),
                unit: word("unit"),
                points: points.filter_map(point).collect(),
            };
            report.curves.insert(name.to_owned(), curve);
        }
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_and_curves_are_read_as_they_are_printed() {
        let printed = "{\"figure\":\"elapsed\",\"value\":1.5,\"unit\":\"s\"}\n\
                       {\"figure\":\"topic\",\"value\":\"a name\",\"unit\":\"\"}\n\
                       {\"curve\":\"latency\",\"x\":\"quantile\",\"unit\":\"ms\",\"points\":[[0.5,2.0],[1.0,3.5]]}\n";
        let report = read(printed).unwrap();
        assert_eq!(report.figures, [("elapsed".to_owned(), 1.5)].into());
        let curve = &report.curves["latency"];
        assert_eq!(curve.points, [(0.5, 2.0), (1.0, 3.5)]);
        assert_eq!((&*curve.x, &*curve.unit), ("quantile", "ms"));
        assert!(read("not JSON").is_err());
    }
}
