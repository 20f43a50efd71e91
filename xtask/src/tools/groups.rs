//! `kafka-consumer-groups` and `kafka-groups`, with `kafka-console-consumer` and
//! `kafka-verifiable-consumer` as members.

use std::time::Duration;

use super::groups_asked::{GONE, RECORDS, groups, is_at};
use super::groups_resets::{reset, resets};
use super::{Tools, absent, peer, row};
use crate::Outcome;
use crate::process::Watched;

/// The group of a member that stays.
const LIVE: &str = "live";
/// A member has its partitions within this.
const JOIN_LIMIT: Duration = Duration::from_mins(1);

pub(super) fn run(tools: &Tools) -> Outcome {
    let new = ["--create", "--topic", "gr", "--partitions", "1"];
    tools.ask("topics", &new, &[])?;
    tools.produce("gr", RECORDS)?;
    let of = ["--topic", "gr", "--group", GONE, "--from-beginning"];
    let until = ["--max-messages", "100", "--timeout-ms", "30000"];
    let said = ["Processed a total of 100 messages"];
    tools.ask("console-consumer", &[&of[..], &until].concat(), &said)?;
    is_at(tools, GONE, 100)?;
    reset(tools, &["--to-offset", "10", "--execute"], Some(10))?;
    is_at(tools, GONE, 10)?;
    if tools.whole {
        listed(tools)?;
        described(tools)?;
        resets(tools)?;
        with_member(tools)?;
    }
    let all = ["--delete-offsets", "--group", GONE, "--topic", "gr"];
    let said = [
        "Request succeeded for deleting offsets from group gone.",
        "Successful",
    ];
    groups(tools, &all, &said)?;
    let delete = ["--delete", "--group", GONE];
    groups(tools, &delete, &["('gone') was successful."])?;
    let list = groups(tools, &["--list"], &[])?;
    absent(&list, GONE)?;
    // Groups that are there at the end are what kafka-dump-log reads.
    commits(tools)
}

fn listed(tools: &Tools) -> Outcome {
    groups(tools, &["--list"], &[GONE])?;
    let told = groups(tools, &["--list", "--state"], &[])?;
    row(&told, &[GONE, "Empty"])?;
    let told = groups(
        tools,
        &["--list", "--state", "empty", "--type", "Classic"],
        &[],
    )?;
    row(&told, &[GONE, "Classic", "Empty"])?;
    let told = groups(tools, &["--list", "--state", "Stable,Dead"], &[])?;
    absent(&told, GONE)?;
    let told = groups(tools, &["--list", "--type", "consumer"], &[])?;
    absent(&told, GONE)?;
    for kind in [
        &["--list"][..],
        &["--list", "--consumer"],
        &[
            "--list",
            "--protocol",
            "consumer",
            "--group-type",
            "classic",
        ],
    ] {
        let told = tools.ask("groups", kind, &[])?;
        row(&told, &[GONE, "Classic", "consumer"])?;
    }
    let none = ["--list", "--share"];
    let told = tools.ask("groups", &none, &[])?;
    absent(&told, GONE)
}

fn described(tools: &Tools) -> Outcome {
    let of = ["--describe", "--group", GONE];
    let said = ["Consumer group 'gone' has no active members."];
    for more in ["--members", "--state", "--offsets", "--verbose"] {
        groups(tools, &[&of[..], &[more]].concat(), &said)?;
    }
    groups(
        tools,
        &[&of[..], &["--members", "--verbose"]].concat(),
        &said,
    )?;
    let told = groups(tools, &[&of[..], &["--state"]].concat(), &said)?;
    let at = tools.address.clone();
    row(&told, &[GONE, &at, "(1)", "-", "Empty", "0"])?;
    let told = groups(tools, &["--describe", "--all-groups"], &[])?;
    row(&told, &[GONE, "gr", "0", "10", "100", "90"])?;
    let all = ["--describe", "--all-groups", "--state"];
    groups(tools, &all, &["Empty"])?;
    let unknown = ["--describe", "--group", "nobody"];
    let said = ["GroupIdNotFoundException: Group nobody not found."];
    groups(tools, &unknown, &said).map(drop)
}

/// What may not be done to a group with a member, and what is told of it.
fn with_member(tools: &Tools) -> Outcome {
    let line = format!(
        "{} run verifiable-consumer --bootstrap-server {} --topic gr --group-id {LIVE} \
         --reset-policy earliest",
        peer().display(),
        tools.address
    );
    let mut member = Watched::start(&line, &tools.directory)?;
    for said in ["partitions_assigned", "offsets_committed"] {
        member.wait_for_line(said, JOIN_LIMIT, |line| line.contains(said))?;
    }
    is_at(tools, LIVE, RECORDS)?;
    let of = ["--describe", "--group", LIVE];
    let told = groups(tools, &[&of[..], &["--members", "--verbose"]].concat(), &[])?;
    for words in ["consumer-live-1-", "/127.0.0.1", "gr:0"] {
        if !told.contains(words) {
            return Err(format!("`{words}` is missing in:\n{told}"));
        }
    }
    let told = groups(tools, &[&of[..], &["--state"]].concat(), &[])?;
    let at = tools.address.clone();
    row(&told, &[LIVE, &at, "(1)", "range", "Stable", "1"])?;
    let told = groups(tools, &["--list", "--state", "stable"], &[])?;
    row(&told, &[LIVE, "Stable"])?;
    let delete = ["--delete", "--group", LIVE];
    let said = ["GroupNotEmptyException"];
    groups(tools, &delete, &said)?;
    let offsets = ["--delete-offsets", "--group", LIVE, "--topic", "gr"];
    let said = ["GroupSubscribedToTopicException"];
    groups(tools, &offsets, &said)?;
    let reset = ["--reset-offsets", "--group", LIVE, "--topic", "gr"];
    let reset = [&reset[..], &["--to-earliest", "--execute"]].concat();
    let said = ["can only be reset if the group 'live' is inactive"];
    groups(tools, &reset, &said)?;
    member.terminate()?;
    member.wait(JOIN_LIMIT)?;
    let both = ["--delete", "--group", LIVE, "--group", "nobody"];
    let said = ["'nobody'", "GroupIdNotFoundException", "'live'"];
    groups(tools, &both, &said).map(drop)
}

/// A group that was read from the middle by the console consumer stays.
fn commits(tools: &Tools) -> Outcome {
    let of = ["--topic", "gr", "--group", "stays", "--from-beginning"];
    let until = ["--max-messages", "1", "--timeout-ms", "30000"];
    let said = ["Processed a total of 1 messages"];
    tools
        .ask("console-consumer", &[&of[..], &until].concat(), &said)
        .map(drop)
}
