//! `cargo xtask client`: the client crate's own scenarios (`tests/examples/client_suite`) against Millrace,
//! and against Apache Kafka with one node and with three: contents, a producer and a group while brokers
//! are killed and paused, connections cut and leaders moved, groups with members that others wrote,
//! administration.
//!
//! What always holds: each kind of broker is started, killed and paused by the same words, and sees the
//! same scenarios, but for those that take several nodes.

mod nodes;
mod program;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::brokers::peer;
use crate::packages::need;
use crate::process::println;
use crate::{Outcome, binaries, clients};
use nodes::Nodes;

/// Whose brokers.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Against {
    /// Ours, one node.
    Millrace,
    /// Apache Kafka, one node.
    Kafka,
    /// Apache Kafka, three nodes.
    Kafka3,
}

/// How.
#[derive(Args, Debug)]
pub(crate) struct ClientArguments {
    /// Only against these; all without it.
    #[arg(long, value_enum)]
    against: Vec<Against>,
    /// Fewer rounds, and no members that others wrote: librdkafka would have to be built.
    #[arg(long)]
    smoke: bool,
    /// Only these scenarios, by their names.
    #[arg(long)]
    only: Vec<String>,
    /// This binary, instead of a build of the tree.
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// Runs the suite.
pub(crate) fn run(arguments: &ClientArguments) -> Outcome {
    let all = Against::value_variants();
    let against = if arguments.against.is_empty() {
        all
    } else {
        &arguments.against
    };
    let is_ours = against.contains(&Against::Millrace);
    let is_kafkas = against.iter().any(|one| *one != Against::Millrace);
    if is_kafkas || !arguments.smoke {
        need("java", "default-jdk-headless")?;
        need("mvn", "maven")?;
    }
    let binary = if is_ours {
        binaries::chosen(arguments.binary.as_deref())?
    } else {
        PathBuf::new()
    };
    let mut words = Vec::new();
    if arguments.smoke {
        words.push("smoke=yes".to_owned());
    } else {
        words.push(format!("java={}", peer().display()));
        let member = clients::rust::build_rdkafka("member")?;
        words.push(format!("rdkafka={}", member.display()));
    }
    words.extend(arguments.only.iter().map(|only| format!("only={only}")));
    let mut failures = Vec::new();
    for one in against {
        if let Err(reason) = scenarios(*one, &binary, &words) {
            println(&format!("FAILED {one:?}: {reason}"));
            failures.push(format!("{one:?}: {reason}"));
        }
    }
    match failures.as_slice() {
        [] => Ok(()),
        failures => Err(failures.join("\n")),
    }
}

fn scenarios(against: Against, binary: &Path, words: &[String]) -> Outcome {
    let mut nodes = match against {
        Against::Millrace => Nodes::millrace(binary)?,
        Against::Kafka => Nodes::kafka(1)?,
        Against::Kafka3 => Nodes::kafka(3)?,
    };
    println(&format!("against {against:?}, at {}:", nodes.bootstrap()));
    let mut program = binaries::example("client_suite")?;
    program.args([
        format!("bootstrap={}", nodes.bootstrap()),
        format!("nodes={}", nodes.count()),
    ]);
    program::attend(program.args(words), &mut nodes)?;
    nodes.stop()
}
