//! `kafka-consumer-groups --reset-offsets` in every form, `--delete-offsets` and `--delete`.

use super::groups_asked::{GONE, RECORDS, groups, is_at};
use super::{Tools, absent, row};
use crate::Outcome;

/// A group that no member ever was in: its offsets are set from outside.
const MANY: &str = "many";
/// Records in each of the three partitions of the topic `gm`, about.
const OF_MANY: usize = 90;

/// Moves the offset of the group, or says where it would be.
pub(super) fn reset(tools: &Tools, how: &[&str], offset: Option<usize>) -> Outcome {
    let of = ["--reset-offsets", "--group", GONE, "--topic", "gr"];
    let told = groups(tools, &[&of[..], how].concat(), &[])?;
    match offset.map(|offset| offset.to_string()) {
        Some(offset) => row(&told, &[GONE, "gr", "0", &offset]),
        None => Ok(()),
    }
}

pub(super) fn resets(tools: &Tools) -> Outcome {
    reset(tools, &["--to-earliest", "--dry-run"], Some(0))?;
    // Without a word nothing is done either.
    reset(tools, &["--to-latest"], Some(RECORDS))?;
    is_at(tools, GONE, 10)?;
    for (how, offset) in [
        (&["--shift-by", "5"][..], 15),
        (&["--shift-by", "-7"], 8),
        (&["--shift-by", "-100"], 0),
        (&["--shift-by", "1000"], 100),
        (&["--to-earliest"], 0),
        (&["--to-latest"], 100),
        (&["--to-offset", "1000"], 100),
        (&["--by-duration", "PT1H"], 0),
        (&["--by-duration", "P1DT1H1M1S"], 0),
        (&["--by-duration", "PT0S"], 100),
        (&["--to-datetime", "2100-01-01T00:00:00.000"], 100),
        (&["--to-datetime", "2000-01-01T00:00:00.000+01:00"], 0),
        (&["--to-datetime", "2100-01-01T00:00:00.000Z"], 100),
        (&["--to-offset", "42"], 42),
        (&["--to-current"], 42),
    ] {
        reset(tools, &[how, &["--execute"]].concat(), Some(offset))?;
        is_at(tools, GONE, offset)?;
    }
    from_files(tools)?;
    refused(tools)?;
    several(tools)
}

/// Where a group is, written to a file, and read from one.
fn from_files(tools: &Tools) -> Outcome {
    let of = ["--reset-offsets", "--group", GONE];
    let export = ["--all-topics", "--to-current", "--export", "--dry-run"];
    groups(tools, &[&of[..], &export].concat(), &["gr,0,42"])?;
    let file = tools.file("offsets.csv", "gr,0,77\n")?;
    let from = ["--from-file", &file, "--execute"];
    groups(tools, &[&of[..], &from].concat(), &[])?;
    is_at(tools, GONE, 77)?;
    let one = ["--topic", "gr:0", "--to-earliest", "--execute"];
    groups(tools, &[&of[..], &one].concat(), &[])?;
    is_at(tools, GONE, 0)?;
    let all = ["--all-topics", "--to-latest", "--execute"];
    groups(tools, &[&of[..], &all].concat(), &[])?;
    is_at(tools, GONE, RECORDS)
}

/// What can't be: two places at once, a topic that there isn't, a time that is none.
fn refused(tools: &Tools) -> Outcome {
    let of = ["--reset-offsets", "--group", GONE, "--topic", "gr"];
    let twice = ["--to-earliest", "--to-latest", "--execute"];
    let twice = [&of[..], &twice].concat();
    tools.refused("consumer-groups", &twice, &["can't be used with"])?;
    let nowhere = ["--execute"];
    let nowhere = [&of[..], &nowhere].concat();
    tools.refused(
        "consumer-groups",
        &nowhere,
        &["requires one of the following scenarios"],
    )?;
    let never = ["--to-datetime", "yesterday", "--execute"];
    groups(tools, &[&of[..], &never].concat(), &["Error"])?;
    let of = ["--reset-offsets", "--group", GONE, "--topic", "nope"];
    let said = ["UnknownTopicOrPartitionException"];
    let gone = ["--to-earliest", "--execute"];
    groups(tools, &[&of[..], &gone].concat(), &said)?;
    is_at(tools, GONE, RECORDS)
}

/// Several groups, topics and partitions at once; offsets and groups that are removed.
fn several(tools: &Tools) -> Outcome {
    let new = ["--create", "--topic", "gm", "--partitions", "3"];
    tools.ask("topics", &new, &[])?;
    // Each record is a batch and draws its partition: no partition stays short.
    let spread = [
        "batch.size=1",
        "partitioner.adaptive.partitioning.enable=false",
    ];
    tools.produce_as("gm", 3 * OF_MANY, &spread)?;
    let of = ["--reset-offsets", "--group", MANY];
    let some = ["--topic", "gm:0,2", "--topic", "gr", "--to-offset", "7"];
    let told = groups(tools, &[&of[..], &some, &["--execute"]].concat(), &[])?;
    for (topic, partition) in [("gm", "0"), ("gm", "2"), ("gr", "0")] {
        row(&told, &[MANY, topic, partition, "7"])?;
    }
    let told = groups(tools, &["--describe", "--group", MANY, "--offsets"], &[])?;
    row(&told, &[MANY, "gm", "0", "7"])?;
    row(&told, &[MANY, "gr", "0", "7", "100", "93"])?;
    absent(&told, "gm              1")?;
    both_groups(tools)?;
    let one = ["--delete-offsets", "--group", MANY, "--topic", "gm:0"];
    let told = groups(tools, &one, &["Request succeeded for deleting offsets"])?;
    row(&told, &["gm", "0", "Successful"])?;
    let unknown = ["--delete-offsets", "--group", MANY, "--topic", "gm:9"];
    groups(tools, &unknown, &["UnknownTopicOrPartitionException"])?;
    let nobody = ["--delete-offsets", "--group", "nobody", "--topic", "gm"];
    groups(tools, &nobody, &["GroupIdNotFoundException"])?;
    let told = groups(tools, &["--describe", "--group", MANY, "--offsets"], &[])?;
    row(&told, &[MANY, "gm", "2", "11"])?;
    let is_left = told.lines().any(|line| {
        let cells: Vec<&str> = line.split_whitespace().take(3).collect();
        cells == [MANY, "gm", "0"]
    });
    if is_left {
        return Err(format!("an offset that was removed is there:\n{told}"));
    }
    let delete = ["--delete", "--group", MANY];
    groups(tools, &delete, &["('many') was successful."]).map(drop)
}

/// Two groups in one request, told and moved.
fn both_groups(tools: &Tools) -> Outcome {
    let both = ["--reset-offsets", "--group", MANY, "--group", GONE];
    let export = ["--all-topics", "--to-current", "--export", "--dry-run"];
    let said = ["many,gm,2,7", "many,gr,0,7", "gone,gr,0,100"];
    groups(tools, &[&both[..], &export].concat(), &said)?;
    let file = tools.file("both.csv", "many,gm,2,11\ngone,gr,0,12\n")?;
    let from = ["--from-file", &file, "--execute"];
    groups(tools, &[&both[..], &from].concat(), &[])?;
    is_at(tools, GONE, 12)?;
    let both = ["--describe", "--group", MANY, "--group", GONE];
    let told = groups(tools, &both, &[])?;
    row(&told, &[MANY, "gm", "2", "11"])?;
    row(&told, &[GONE, "gr", "0", "12", "100", "88"])
}
