//! Tools about where partitions lie and who leads them: `kafka-log-dirs`, `kafka-leader-election`,
//! `kafka-reassign-partitions`.

use serde_json::Value;

use super::{Tools, absent};
use crate::Outcome;

/// A move of some kilobytes is over after so many looks.
const LOOKS_MAX: usize = 20;
/// Records of 100 bytes, some megabytes: more than a move copies before it looks at its throttle.
const MOVED_RECORDS: usize = 60_000;

pub(super) fn run(tools: &Tools) -> Outcome {
    let both = [
        "\"error\":null,\"logDir\":\"",
        "data\"",
        "more\"",
        "\"partition\":\"t-4\"",
    ];
    let told = tools.ask("log-dirs", &["--describe"], &both)?;
    absent(&told, "\"isFuture\":true")?;
    let election = [
        "--election-type",
        "preferred",
        "--topic",
        "t",
        "--partition",
        "0",
    ];
    let said = ["Valid replica already elected for partitions t-0"];
    tools.ask("leader-election", &election, &said)?;
    reassignments(tools)?;
    if tools.whole {
        directories(tools)?;
        elections(tools)?;
    }
    Ok(())
}

/// A list that moves partition 0.
fn list(to: &str, directory: &str) -> String {
    format!(
        "{{\"version\":1,\"partitions\":[{{\"topic\":\"t\",\"partition\":0,\
         \"replicas\":[{to}],\"log_dirs\":[\"{directory}\"]}}]}}"
    )
}

fn reassignments(tools: &Tools) -> Outcome {
    let file = tools.file("moves.json", &list("1", "any"))?;
    let of = ["--reassignment-json-file", &file];
    let said = ["Successfully started partition reassignment for t-0"];
    tools.ask(
        "reassign-partitions",
        &[&["--execute"], &of[..]].concat(),
        &said,
    )?;
    let said = ["Reassignment of partition t-0 is completed."];
    tools.ask(
        "reassign-partitions",
        &[&["--verify"], &of[..]].concat(),
        &said,
    )?;
    if !tools.whole {
        return Ok(());
    }
    let said = ["No partition reassignments found."];
    tools.ask("reassign-partitions", &["--list"], &said)?;
    let said = ["None of the specified partition reassignments are active."];
    tools.ask(
        "reassign-partitions",
        &[&["--cancel"], &of[..]].concat(),
        &said,
    )?;
    let topics = tools.file(
        "topics.json",
        "{\"topics\":[{\"topic\":\"t\"}],\"version\":1}",
    )?;
    let generate = [
        "--generate",
        "--topics-to-move-json-file",
        &topics,
        "--broker-list",
        "1",
    ];
    let said = [
        "Current partition replica assignment",
        "\"topic\":\"t\",\"partition\":4",
    ];
    tools.ask("reassign-partitions", &generate, &said)?;
    tools.file("moves.json", &list("2", "any"))?;
    let execute = [&["--execute"], &of[..]].concat();
    tools.refused("reassign-partitions", &execute, &["Unknown broker id 2"])?;
    // A directory that `log.dirs` doesn't name.
    tools.file("moves.json", &list("1", "/nowhere"))?;
    tools.refused(
        "reassign-partitions",
        &execute,
        &["LogDirNotFoundException"],
    )
}

/// The directory in which `kafka-log-dirs` says that a partition's copy lies, the future one if so.
fn lies_in(told: &str, partition: &str, is_future: bool) -> Option<String> {
    let line = told.lines().find(|line| line.starts_with('{'))?;
    let told: Value = serde_json::from_str(line).ok()?;
    let directories = told["brokers"][0]["logDirs"].as_array()?.iter();
    let holds = |directory: &&Value| {
        let copies = directory["partitions"].as_array();
        copies.into_iter().flatten().any(|copy| {
            copy["partition"] == partition && copy["isFuture"].as_bool() == Some(is_future)
        })
    };
    let found = directories.into_iter().find(holds)?;
    found["logDir"].as_str().map(str::to_owned)
}

/// What `kafka-reassign-partitions` reads to have the replica lie in a directory.
fn wished(directory: &str) -> String {
    format!(
        "{{\"version\":1,\"partitions\":[{{\"topic\":\"m\",\"partition\":0,\
         \"replicas\":[1],\"log_dirs\":[\"{directory}\"]}}]}}"
    )
}

/// A replica with records is moved to the other directory, slowly enough to be seen, then back.
fn moved(tools: &Tools) -> Outcome {
    let new = ["--create", "--topic", "m", "--partitions", "1"];
    tools.ask("topics", &new, &[])?;
    tools.produce("m", MOVED_RECORDS)?;
    let all = format!("m:0:{MOVED_RECORDS}");
    let of_topic = ["--describe", "--topic-list", "m"];
    let told = tools.ask("log-dirs", &of_topic, &["\"partition\":\"m-0\""])?;
    let unclear = || format!("kafka-log-dirs doesn't say where m-0 lies:\n{told}");
    let from = lies_in(&told, "m-0", false).ok_or_else(unclear)?;
    let (stem, name) = from.rsplit_once('/').ok_or_else(unclear)?;
    let other = if name == "data" { "more" } else { "data" };
    let to = format!("{stem}/{other}");
    let file = tools.file("moved.json", &wished(&to))?;
    let of = ["--reassignment-json-file", &file];
    let execute = [&["--execute"], &of[..]].concat();
    let verify = [&["--verify"], &of[..]].concat();
    // 20 bytes a second: it can't end while the tools look.
    let throttle = ["--replica-alter-log-dirs-throttle", "20"];
    let throttled = [&execute[..], &throttle].concat();
    let said = [
        "Successfully started moving log directory to ",
        "The replica-alter-dir throttle limit was set to 20 B/s",
    ];
    tools.ask("reassign-partitions", &throttled, &said)?;
    let said = ["Reassignment of replica m-0-1 is still in progress."];
    tools.ask("reassign-partitions", &verify, &said)?;
    let told = tools.ask("log-dirs", &of_topic, &["\"isFuture\":true"])?;
    for (directory, is_future) in [(&from, false), (&to, true)] {
        if lies_in(&told, "m-0", is_future).as_ref() != Some(directory) {
            return Err(format!(
                "m-0 should lie in {directory} ({is_future}):\n{told}"
            ));
        }
    }
    // Without the throttle it ends; verifying takes the throttle away.
    let unthrottled = ["--replica-alter-log-dirs-throttle", "100000000"];
    let again = [&execute[..], &unthrottled, &["--additional"]].concat();
    tools.ask(
        "reassign-partitions",
        &again,
        &["Successfully started moving log directory to "],
    )?;
    let said = "Reassignment of replica m-0-1 completed successfully.";
    comes(tools, &verify, said)?;
    let told = tools.ask("log-dirs", &of_topic, &[])?;
    absent(&told, "\"isFuture\":true")?;
    if lies_in(&told, "m-0", false).as_ref() != Some(&to) {
        return Err(format!("m-0 should lie in {to} now:\n{told}"));
    }
    tools.file("moved.json", &wished(&from))?;
    tools.ask(
        "reassign-partitions",
        &execute,
        &["Successfully started moving log directory to "],
    )?;
    comes(tools, &verify, said)?;
    let throttles = [
        "--entity-type",
        "brokers",
        "--entity-name",
        "1",
        "--describe",
    ];
    let told = tools.ask("configs", &throttles, &[])?;
    absent(&told, "replica.alter.log.dirs.io.max.bytes.per.second")?;
    tools
        .ask("get-offsets", &["--topic", "m"], &[&all])
        .map(drop)
}

/// Asks `kafka-reassign-partitions` until it says so, a few times: each takes a second.
fn comes(tools: &Tools, arguments: &[&str], said: &str) -> Outcome {
    let mut told = String::new();
    for _ in 0..LOOKS_MAX {
        told = tools.ask("reassign-partitions", arguments, &[])?;
        if told.contains(said) {
            return Ok(());
        }
    }
    Err(format!("`{said}` doesn't come, but:\n{told}"))
}

fn directories(tools: &Tools) -> Outcome {
    let some = ["--describe", "--topic-list", "r", "--broker-list", "1"];
    let told = tools.ask("log-dirs", &some, &["\"partition\":\"r-0\""])?;
    absent(&told, "\"partition\":\"t-0\"")?;
    absent(&told, "\"partition\":\"r-0\",\"size\":0,")?;
    moved(tools)?;
    let other = ["--describe", "--broker-list", "7"];
    tools.refused("log-dirs", &other, &["do not exist from --broker-list: 7"])
}

fn elections(tools: &Tools) -> Outcome {
    for kind in ["preferred", "unclean"] {
        let all = ["--election-type", kind, "--all-topic-partitions"];
        let told = tools.ask("leader-election", &all, &[])?;
        absent(&told, "Error")?;
    }
    let list =
        "{\"partitions\":[{\"topic\":\"t\",\"partition\":1},{\"topic\":\"r\",\"partition\":0}]}";
    let file = tools.file("elections.json", list)?;
    let of = ["--election-type", "unclean", "--path-to-json-file", &file];
    tools.ask("leader-election", &of, &["Valid replica already elected"])?;
    let unknown = [
        "--election-type",
        "preferred",
        "--topic",
        "nope",
        "--partition",
        "0",
    ];
    tools.refused("leader-election", &unknown, &["nope"])
}
