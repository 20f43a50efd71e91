//! `kafka-topics` and `kafka-configs`.

use super::{Tools, absent};
use crate::Outcome;

pub(super) fn run(tools: &Tools) -> Outcome {
    created_and_grown(tools)?;
    configured(tools)?;
    if tools.whole {
        refused(tools)?;
        placed_by_hand(tools)?;
        removed(tools)?;
        brokers_configured(tools)?;
    }
    Ok(())
}

fn created_and_grown(tools: &Tools) -> Outcome {
    let new = ["--create", "--topic", "g", "--partitions", "3"];
    tools.ask("topics", &new, &["Created topic g."])?;
    tools.ask(
        "topics",
        &["--alter", "--topic", "g", "--partitions", "5"],
        &[],
    )?;
    let said = [
        "Topic: g\t",
        "PartitionCount: 5\t",
        "ReplicationFactor: 1\t",
        "Partition: 4\tLeader: 1\tReplicas: 1\tIsr: 1",
    ];
    tools.ask("topics", &["--describe", "--topic", "g"], &said)?;
    let listed = tools.ask("topics", &["--list"], &["g\n"])?;
    absent(&listed, "__cluster_metadata")
}

fn refused(tools: &Tools) -> Outcome {
    let new = ["--create", "--topic", "g", "--partitions", "3"];
    tools.refused("topics", &new, &["Topic 'g' already exists."])?;
    let unless = [&new[..], &["--if-not-exists"]].concat();
    tools.ask("topics", &unless, &[])?;
    let fewer = ["--alter", "--topic", "g", "--partitions", "2"];
    let said = "The topic g currently has 5 partition(s); 2 would not be an increase.";
    tools.refused("topics", &fewer, &[said])?;
    let same = ["--alter", "--topic", "g", "--partitions", "5"];
    tools.refused("topics", &same, &["Topic already has 5 partition(s)."])?;
    for command in ["--describe", "--delete", "--alter"] {
        let unknown = [command, "--topic", "nope", "--partitions", "9"];
        let unknown = if command == "--alter" {
            &unknown[..]
        } else {
            &unknown[..3]
        };
        tools.refused(
            "topics",
            unknown,
            &["Topic 'nope' does not exist as expected"],
        )?;
        let unless = [unknown, &["--if-exists"]].concat();
        tools.ask("topics", &unless, &[])?;
    }
    let factor = ["--create", "--topic", "wide", "--replication-factor", "2"];
    tools.refused(
        "topics",
        &factor,
        &["Unable to replicate the partition 2 time(s)"],
    )?;
    let bad = [
        "--create",
        "--topic",
        "bad",
        "--config",
        "retention.ms=soon",
    ];
    tools.refused("topics", &bad, &["retention.ms"])?;
    let named = ["--create", "--topic", "a/b"];
    tools.refused("topics", &named, &["opic"])
}

fn placed_by_hand(tools: &Tools) -> Outcome {
    let new = [
        "--create",
        "--topic",
        "placed",
        "--replica-assignment",
        "1,1",
    ];
    tools.ask("topics", &new, &["Created topic placed."])?;
    let more = [
        "--alter",
        "--topic",
        "placed",
        "--partitions",
        "4",
        "--replica-assignment",
        "1,1,1,1",
    ];
    tools.ask("topics", &more, &[])?;
    let wrong = [
        "--alter",
        "--topic",
        "placed",
        "--partitions",
        "5",
        "--replica-assignment",
        "1,1,1,1,9",
    ];
    tools.refused("topics", &wrong, &["no such broker is registered"])?;
    let said = ["PartitionCount: 4\t"];
    tools.ask("topics", &["--describe", "--topic", "placed"], &said)?;
    for trouble in [
        "--under-replicated-partitions",
        "--unavailable-partitions",
        "--under-min-isr-partitions",
        "--at-min-isr-partitions",
    ] {
        let found = tools.ask("topics", &["--describe", trouble], &[])?;
        // With one replica the minimum of one is just met.
        if trouble != "--at-min-isr-partitions" {
            absent(&found, "Partition:")?;
        }
    }
    let in_pages = ["--describe", "--partition-size-limit-per-response", "1"];
    let said = ["Topic: placed\tPartition: 3\t", "Topic: g\tPartition: 4\t"];
    let wanted: Vec<&str> = said.to_vec();
    tools.ask("topics", &in_pages, &wanted).map(drop)
}

fn removed(tools: &Tools) -> Outcome {
    tools.ask("topics", &["--delete", "--topic", "placed"], &[])?;
    let listed = tools.ask("topics", &["--list"], &["g\n"])?;
    absent(&listed, "placed")
}

/// Configurations of a topic: set, told with where they come from, and taken back.
fn configured(tools: &Tools) -> Outcome {
    let of = ["--entity-type", "topics", "--entity-name", "g"];
    let set = [
        "--alter",
        "--add-config",
        "retention.ms=86400000,max.message.bytes=2000000",
    ];
    tools.ask(
        "configs",
        &[&of[..], &set].concat(),
        &["Completed updating config for topic g."],
    )?;
    let said = [
        "retention.ms=86400000",
        "DYNAMIC_TOPIC_CONFIG:retention.ms=86400000",
    ];
    tools.ask("configs", &[&of[..], &["--describe"]].concat(), &said)?;
    if !tools.whole {
        return Ok(());
    }
    let said = ["Configs: "];
    let told = tools.ask("topics", &["--describe", "--topic", "g"], &said)?;
    if !told.contains("max.message.bytes=2000000") {
        return Err(format!(
            "kafka-topics doesn't tell the configuration:\n{told}"
        ));
    }
    let all = ["--describe", "--all"];
    let said = [
        "cleanup.policy=delete",
        "DEFAULT_CONFIG:log.cleanup.policy=delete",
    ];
    tools.ask("configs", &[&of[..], &all].concat(), &said)?;
    let back = [
        "--alter",
        "--delete-config",
        "retention.ms,max.message.bytes",
    ];
    tools.ask("configs", &[&of[..], &back].concat(), &[])?;
    let told = tools.ask("configs", &[&of[..], &["--describe"]].concat(), &[])?;
    absent(&told, "retention.ms")?;
    for (bad, said) in [
        ("retention.ms=soon", "retention.ms"),
        ("no.such.key=1", "no.such.key"),
    ] {
        let bad = ["--alter", "--add-config", bad];
        tools.refused("configs", &[&of[..], &bad].concat(), &[said])?;
    }
    let overridden = ["--describe", "--topics-with-overrides"];
    let told = tools.ask("topics", &overridden, &[])?;
    absent(&told, "Topic: g\t")
}

/// Configurations of the broker while it runs, of this one and of all.
fn brokers_configured(tools: &Tools) -> Outcome {
    for of in [
        &["--entity-type", "brokers", "--entity-name", "1"][..],
        &["--entity-type", "brokers", "--entity-default"],
    ] {
        let set = ["--alter", "--add-config", "log.retention.ms=90000000"];
        tools.ask("configs", &[of, &set].concat(), &["Completed updating"])?;
        let said = ["log.retention.ms=90000000"];
        tools.ask("configs", &[of, &["--describe"]].concat(), &said)?;
        let back = ["--alter", "--delete-config", "log.retention.ms"];
        tools.ask("configs", &[of, &back].concat(), &["Completed updating"])?;
        let told = tools.ask("configs", &[of, &["--describe"]].concat(), &[])?;
        absent(&told, "log.retention.ms=90000000")?;
    }
    Ok(())
}
