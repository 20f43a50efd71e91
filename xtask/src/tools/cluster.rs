//! Tools that look at the whole: `kafka-cluster`, `kafka-broker-api-versions`, `kafka-features`,
//! `kafka-metadata-quorum`, `kafka-acls`, `kafka-delegation-tokens`.

use super::Tools;
use crate::Outcome;

pub(super) fn run(tools: &Tools) -> Outcome {
    let id = tools.ask("cluster", &["cluster-id"], &["Cluster ID: "])?;
    let id = id.trim().rsplit(' ').next().unwrap_or_default().to_owned();
    let host_and_port = tools.address.replace(':', " ");
    let said = ["unfenced", "broker", host_and_port.as_str()];
    tools.ask("cluster", &["list-endpoints"], &said)?;
    let said = [
        "(id: 1 rack: null isFenced: false)",
        "Produce(0): 0 to 13 [usable: 13]",
        "DescribeTopicPartitions(75): 0 [usable: 0]",
    ];
    tools.ask("broker-api-versions", &[], &said)?;
    quorum(tools, &id)?;
    features(tools)?;
    if tools.whole {
        without_security(tools)?;
    }
    Ok(())
}

fn quorum(tools: &Tools, cluster_id: &str) -> Outcome {
    let id = format!("ClusterId:              {cluster_id}");
    let said = [
        id.as_str(),
        "LeaderId:               1\n",
        "MaxFollowerLag:         0\n",
        "CurrentVoters:          [{\"id\": 1, ",
        "CurrentObservers:       []",
    ];
    tools.ask("metadata-quorum", &["describe", "--status"], &said)?;
    if !tools.whole {
        return Ok(());
    }
    let of = ["describe", "--replication"];
    tools.ask("metadata-quorum", &of, &["LogEndOffset", "Leader"])?;
    let of = ["describe", "--replication", "--human-readable"];
    tools
        .ask("metadata-quorum", &of, &["ms ago", "Leader"])
        .map(drop)
}

fn features(tools: &Tools) -> Outcome {
    tools.ask("features", &["describe"], &[])?;
    let upgrade = ["upgrade", "--feature", "transaction.version=1"];
    let said = [
        "Could not upgrade transaction.version to 1.",
        "Local controller 1 does not support this feature.",
    ];
    tools.refused("features", &upgrade, &said)?;
    if !tools.whole {
        return Ok(());
    }
    let dry = [&upgrade[..], &["--dry-run"]].concat();
    tools.refused(
        "features",
        &dry,
        &["Can not upgrade transaction.version to 1."],
    )?;
    let lower = ["downgrade", "--feature", "group.version=0"];
    tools.refused("features", &lower, &["Feature"])?;
    let release = ["upgrade", "--release-version", "4.3"];
    tools.refused(
        "features",
        &release,
        &["Could not upgrade metadata.version to"],
    )
}

fn without_security(tools: &Tools) -> Outcome {
    let said = ["SecurityDisabledException: No Authorizer is configured"];
    tools.refused("acls", &["--list"], &said)?;
    let add = [
        "--add",
        "--allow-principal",
        "User:a",
        "--operation",
        "Read",
        "--topic",
        "t",
    ];
    tools.refused("acls", &add, &said)?;
    let remove = ["--remove", "--force", "--topic", "t"];
    tools.refused("acls", &remove, &said)?;
    let file = tools.file("client.properties", "")?;
    let describe = ["--describe", "--command-config", &file];
    tools.refused("delegation-tokens", &describe, &["DelegationToken"])?;
    let create = [
        "--create",
        "--max-life-time-period",
        "-1",
        "--command-config",
        &file,
    ];
    tools.refused("delegation-tokens", &create, &["DelegationToken"])
}
