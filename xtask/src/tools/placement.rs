//! Tools about where partitions lie and who leads them: `kafka-log-dirs`, `kafka-leader-election`,
//! `kafka-reassign-partitions`.

use super::{Tools, absent};
use crate::Outcome;

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
    moves(tools, &told)?;
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
    tools.file("moves.json", &list("1", "/nowhere"))?;
    tools.refused(
        "reassign-partitions",
        &execute,
        &["LogDirNotFoundException"],
    )
}

/// A partition with records lies in one of the directories, and is moved to each of them in turn.
fn moves(tools: &Tools, told: &str) -> Outcome {
    let paths = told.split("\"logDir\":\"").skip(1);
    let paths: Vec<&str> = paths.filter_map(|rest| rest.split('"').next()).collect();
    if paths.len() != 2 {
        return Err(format!("not two log directories: {paths:?}"));
    }
    for path in [paths[0], paths[1], paths[0]] {
        let list = list("1", path).replace("\"topic\":\"t\"", "\"topic\":\"r\"");
        let file = tools.file("moves.json", &list)?;
        let of = ["--reassignment-json-file", &file];
        let said = ["Successfully started log directory move for: r-0-1"];
        let execute = [&["--execute"], &of[..]].concat();
        tools.ask("reassign-partitions", &execute, &said)?;
        let said = ["Reassignment of replica r-0-1 completed successfully."];
        let verify = [&["--verify"], &of[..]].concat();
        tools.ask("reassign-partitions", &verify, &said)?;
    }
    Ok(())
}

fn directories(tools: &Tools) -> Outcome {
    let some = ["--describe", "--topic-list", "r", "--broker-list", "1"];
    let told = tools.ask("log-dirs", &some, &["\"partition\":\"r-0\""])?;
    absent(&told, "\"partition\":\"t-0\"")?;
    absent(&told, "\"partition\":\"r-0\",\"size\":0,")?;
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
