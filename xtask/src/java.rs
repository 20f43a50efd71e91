//! Java programs of the suites: compiled once from a directory of sources against Apache Kafka's jars,
//! then run as often as is wanted, each in a JVM of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::brokers::peer;
use crate::packages::need;
use crate::process::{Watched, output, println, succeed};
use crate::{Outcome, binaries, root};

/// What a JVM of a suite may take: several run at once, beside a broker.
const HEAP: &str = "-Xmx256m -XX:TieredStopAtLevel=1";

/// Classes made of one directory of sources.
#[derive(Debug)]
pub(crate) struct Programs {
    classes: PathBuf,
}

impl Programs {
    /// Compiles `tests/NAME/*.java`; Kafka's jars are installed where they are missing.
    pub(crate) fn of(name: &str) -> Result<Self, String> {
        need("javac", "default-jdk-headless")?;
        need("mvn", "maven")?;
        let home = output(Command::new(peer()).arg("install"))?;
        let home = home.lines().last().unwrap_or_default().trim();
        let classes = binaries::target_directory()?.join("java").join(name);
        let failed = |error: std::io::Error| format!("{}: {error}", classes.display());
        std::fs::create_dir_all(&classes).map_err(failed)?;
        let directory = root().join("tests").join(name);
        let mut sources = Vec::new();
        let named = |error: std::io::Error| format!("{}: {error}", directory.display());
        for entry in std::fs::read_dir(&directory).map_err(named)? {
            let path = entry.map_err(named)?.path();
            if path.extension().is_some_and(|kind| kind == "java") {
                sources.push(path);
            }
        }
        sources.sort();
        let mut javac = Command::new("javac");
        javac.args([
            "-encoding",
            "UTF-8",
            "-Werror",
            "-Xlint:all,-path,-classfile",
        ]);
        javac.args(["-cp", &format!("{home}/libs/*"), "-d"]);
        succeed(javac.arg(&classes).args(&sources))?;
        Ok(Self { classes })
    }

    /// Starts a program; what it logs are errors only, since brokers go away under it.
    pub(crate) fn start(&self, class: &str, words: &[&str]) -> Result<Watched, String> {
        let line = format!(
            "env CLASSPATH={} KAFKA_TOOL_HEAP='{HEAP}' KAFKA_OPTS=-Dpeer.log=ERROR {} class {class} {}",
            self.classes.display(),
            peer().display(),
            words.join(" ")
        );
        Watched::start(&line, Path::new("/"))
    }

    /// Runs a program to its end, within a limit.
    pub(crate) fn run(&self, class: &str, words: &[&str], limit: Duration) -> Outcome {
        let status = self.start(class, words)?.wait(limit)?;
        if status.success() {
            return Ok(());
        }
        let shown = format!("{class} {}", words.join(" "));
        println(&shown);
        Err(format!("{class} ended with {status}"))
    }
}
