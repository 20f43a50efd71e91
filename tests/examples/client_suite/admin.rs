//! The administrator: topics, configurations, groups with their offsets, the cluster.
//!
//! What always holds: what was changed is asked for again, and what must be refused is, by its code.

use std::collections::BTreeMap;

use millrace_client::{
    Admin, ConfigChange, ConfigResource, ConfigSource, Consumer, Error, Isolation, NewTopic,
    OffsetAndMetadata, OffsetOf, TopicPartition,
};
use millrace_protocol::error_code::ErrorCode;

use crate::groups::quick;
use crate::stage::{Stage, from_the_start, one, same, text};

const RETENTION: &str = "retention.ms";

/// Something must be refused with this code.
fn refused<T>(what: &str, told: Result<T, Error>, wanted: ErrorCode) -> Result<(), String> {
    match told {
        Err(Error::Broker { code, .. }) if code == wanted => Ok(()),
        Err(other) => Err(format!("{what}: refused with {other}, not {wanted}")),
        Ok(_) => Err(format!("{what}: it was not refused")),
    }
}

/// Made, described, given partitions and rid of records, removed.
pub(crate) async fn topics(stage: &Stage) -> crate::Told {
    let admin = Admin::new(&stage.connect().await?);
    let topic = NewTopic::new("made", 3).with(RETENTION, "3600000");
    let only = std::slice::from_ref(&topic);
    one(admin.check_new_topics(only).await).map_err(text)?;
    let absent = one(admin.describe_topics(&["made"]).await);
    let unknown = ErrorCode::UnknownTopicOrPartition;
    refused("a topic that was only checked", absent, unknown)?;
    let made = one(admin.create_topics(only).await).map_err(text)?;
    same("its partitions", made.partitions, Some(3))?;
    let again = one(admin.create_topics(only).await);
    refused("the same again", again, ErrorCode::TopicAlreadyExists)?;
    stage
        .until("leaders of a new topic", async || {
            let told = one(admin.describe_topics(&["made"]).await);
            let known = told.is_ok_and(|topic| {
                let led = topic.partitions.iter().all(|one| one.leader.is_some());
                led && topic.partitions.len() == 3 && topic.id == made.id
            });
            Ok((!known).then(|| "it is not described in full".to_owned()))
        })
        .await?;
    one(admin.add_partitions(&[("made", 5)], false).await).map_err(text)?;
    let fewer = one(admin.add_partitions(&[("made", 4)], false).await);
    refused("fewer partitions", fewer, ErrorCode::InvalidPartitions)?;
    stage
        .until("five partitions", async || {
            let told = one(admin.describe_topics(&["made"]).await).map_err(text)?;
            let count = told.partitions.len();
            Ok((count != 5).then(|| format!("it has {count}")))
        })
        .await?;
    rid_of_records(stage, &admin).await?;
    let listed = admin.list_topics().await.map_err(text)?;
    let is_listed = listed.iter().any(|topic| &*topic.name == "made");
    same("that it is listed", is_listed, true)?;
    one(admin.delete_topics(&["made"]).await).map_err(text)?;
    stage
        .until("a topic that is gone", async || {
            let listed = admin.list_topics().await.map_err(text)?;
            let is_there = listed.iter().any(|topic| &*topic.name == "made");
            Ok(is_there.then(|| "it is still listed".to_owned()))
        })
        .await?;
    let gone = one(admin.delete_topics(&["made"]).await);
    refused("to delete it again", gone, unknown)?;
    cluster(stage, &admin).await
}

async fn rid_of_records(stage: &Stage, admin: &Admin) -> Result<(), String> {
    let cluster = admin.cluster();
    stage.produce(cluster, "made", 5, 0..50).await?;
    let partition = |number| TopicPartition::new("made", number);
    let before = BTreeMap::from([(partition(1), Some(4))]);
    let left = one(admin.delete_records(before).await).map_err(text)?;
    same("the first offset left", left, 4)?;
    let before = BTreeMap::from([(partition(2), Some(11))]);
    let behind = one(admin.delete_records(before).await);
    refused(
        "to delete what isn't there",
        behind,
        ErrorCode::OffsetOutOfRange,
    )?;
    let asked = [
        (partition(0), OffsetOf::Start),
        (partition(1), OffsetOf::Start),
        (partition(2), OffsetOf::End),
        (partition(3), OffsetOf::Time(stage.time_of(18))),
        (partition(4), OffsetOf::Time(stage.time_of(1000))),
    ];
    let listed = admin.list_offsets(asked, Isolation::ReadUncommitted).await;
    let mut offsets = Vec::new();
    for told in listed.map_err(text)?.into_values() {
        offsets.push(told.map_err(text)?.offset);
    }
    let wanted = [Some(0), Some(4), Some(10), Some(3), None];
    same("offsets that partitions have", offsets, wanted.to_vec())
}

async fn cluster(stage: &Stage, admin: &Admin) -> crate::Told {
    let described = admin.describe_cluster().await.map_err(text)?;
    let brokers = i32::try_from(described.brokers.len()).unwrap_or(-1);
    same("the brokers", brokers, stage.nodes.count())?;
    same("a controller", described.controller.is_some(), true)?;
    let quorum = admin.describe_quorum().await.map_err(text)?;
    same("a leader of the quorum", quorum.leader.is_some(), true)?;
    let dirs = admin.describe_log_dirs().await.map_err(text)?;
    same(
        "failed directories",
        dirs.iter().any(|dir| dir.failed.is_some()),
        false,
    )?;
    let of_brokers: std::collections::BTreeSet<_> = dirs.iter().map(|dir| dir.broker).collect();
    same(
        "brokers with directories",
        of_brokers.len(),
        described.brokers.len(),
    )?;
    Ok(format!("all of a topic's life; {brokers} brokers"))
}

/// Set, added to, taken off, validated only, refused, and back to the default.
pub(crate) async fn configs(stage: &Stage) -> crate::Told {
    let cluster = stage.topic("configured", 1).await?;
    stage.known_by_all(&cluster, "configured").await?;
    let admin = Admin::new(&cluster);
    let topic = ConfigResource::Topic("configured".to_owned());
    let set = |value: &str| ConfigChange::Set(RETENTION.to_owned(), value.to_owned());
    let policy = |by: fn(String, String) -> ConfigChange| {
        by("cleanup.policy".to_owned(), "compact".to_owned())
    };
    let alter = async |change: ConfigChange, only_checked: bool| {
        let changes = BTreeMap::from([(topic.clone(), vec![change])]);
        one(admin.alter_configs(&changes, only_checked).await)
    };
    let value = async |key: &str| {
        let topic = std::slice::from_ref(&topic);
        let told = one(admin.describe_configs(topic, Some(&[key]), false).await);
        let told = told.map_err(text)?;
        let entry = told.into_iter().find(|entry| entry.name == key);
        let entry = entry.ok_or_else(|| format!("{key} isn't described"))?;
        Ok::<_, String>((entry.value.unwrap_or_default(), entry.source))
    };
    let becomes = async |key: &str, wanted: &str| {
        let told = stage.until(key, async || {
            let (now, _) = value(key).await?;
            Ok((now != wanted).then(|| format!("it is {now}, not {wanted}")))
        });
        told.await
    };
    let (default, source) = value(RETENTION).await?;
    same("where a default comes from", source, ConfigSource::Default)?;
    alter(set("7200000"), true).await.map_err(text)?;
    same(
        "what was only checked",
        value(RETENTION).await?.0,
        default.clone(),
    )?;
    alter(set("7200000"), false).await.map_err(text)?;
    becomes(RETENTION, "7200000").await?;
    same(
        "where it comes from now",
        value(RETENTION).await?.1,
        ConfigSource::Topic,
    )?;
    let nonsense = alter(set("soon"), false).await;
    refused("a value that is none", nonsense, ErrorCode::InvalidConfig)?;
    alter(policy(ConfigChange::Append), false)
        .await
        .map_err(text)?;
    becomes("cleanup.policy", "delete,compact").await?;
    alter(policy(ConfigChange::Subtract), false)
        .await
        .map_err(text)?;
    becomes("cleanup.policy", "delete").await?;
    let default_again = ConfigChange::Delete(RETENTION.to_owned());
    alter(default_again, false).await.map_err(text)?;
    becomes(RETENTION, &default).await?;
    let listed = admin.list_config_resources().await.map_err(text)?;
    same("that it is listed", listed.contains(&topic), true)?;
    let broker = ConfigResource::Broker(Some(1));
    let told = one(admin.describe_configs(&[broker], None, false).await).map_err(text)?;
    same("keys of a broker", told.len() > 50, true)?;
    Ok("set, checked, refused, added to, taken off, back".to_owned())
}

/// Listed, described, offsets set and removed, the group removed.
pub(crate) async fn groups(stage: &Stage) -> crate::Told {
    let cluster = stage.topic("offsets", 2).await?;
    let admin = Admin::new(&cluster);
    stage.produce(&cluster, "offsets", 2, 0..20).await?;
    let name = "offsets-group";
    let group = quick(name, "offsets");
    let member = Consumer::subscribe(&cluster, from_the_start(), group).map_err(text)?;
    stage.take(&member, 20).await?;
    member.commit().await.map_err(text)?;
    let listed = admin.list_groups().await.map_err(text)?;
    let found = listed.iter().find(|listed| listed.group == name);
    let found = found.map(|found| found.state.as_str());
    same("the group's state", found, Some("Stable"))?;
    let told = one(admin.describe_groups(&[name]).await).map_err(text)?;
    let partition = |number| TopicPartition::new("offsets", number);
    let both = vec![partition(0), partition(1)];
    let had: Vec<_> = told.members.into_iter().map(|one| one.partitions).collect();
    same("what its member has", had, vec![both.clone()])?;
    let wished = BTreeMap::from([(partition(0), OffsetAndMetadata::at(7))]);
    let busy = one(admin.alter_offsets(name, &wished).await);
    same("offsets set under a member", busy.is_err(), true)?;
    let busy = one(admin.delete_groups(&[name]).await);
    refused(
        "to delete a group with a member",
        busy,
        ErrorCode::NonEmptyGroup,
    )?;
    member.close().await.map_err(text)?;
    one(admin.alter_offsets(name, &wished).await).map_err(text)?;
    let kept = one(admin.committed_offsets(&[name]).await).map_err(text)?;
    let kept: Vec<_> = kept.values().map(|kept| kept.offset).collect();
    same("its offsets", kept, vec![7, 10])?;
    one(admin.delete_offsets(name, &both[1..]).await).map_err(text)?;
    let kept = one(admin.committed_offsets(&[name]).await).map_err(text)?;
    let left: Vec<_> = kept.into_keys().collect();
    same("what is left of them", left, vec![partition(0)])?;
    one(admin.delete_groups(&[name]).await).map_err(text)?;
    let gone = one(admin.delete_groups(&[name]).await);
    refused("to delete it again", gone, ErrorCode::GroupIdNotFound)?;
    Ok("listed, described, offsets set and removed, deleted".to_owned())
}
