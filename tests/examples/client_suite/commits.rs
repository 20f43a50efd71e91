//! Commits by hand: what is kept for a group, where its next member begins, and what is refused.

use std::collections::BTreeMap;

use millrace_client::{Cluster, Consumer, GroupOptions, OffsetAndMetadata, TopicPartition};

use crate::groups::{owned, quick};
use crate::stage::{Stage, from_the_start, same, text};

const PARTITIONS: i32 = 3;
const TOPIC: &str = "commits";

fn all() -> impl Iterator<Item = TopicPartition> {
    (0..PARTITIONS).map(|partition| TopicPartition::new(TOPIC, partition))
}

fn member(cluster: &Cluster) -> Result<Consumer, String> {
    let group: GroupOptions = quick("commits-group", TOPIC);
    Consumer::subscribe(cluster, from_the_start(), group).map_err(text)
}

/// The group's offsets, by partition.
async fn committed(consumer: &Consumer) -> Result<BTreeMap<i32, i64>, String> {
    let all = consumer.committed(all()).await.map_err(text)?;
    let offsets = all.into_iter();
    Ok(offsets
        .map(|(at, committed)| (at.partition, committed.offset))
        .collect())
}

/// What was given out, and offsets that somebody chose.
pub(crate) async fn by_hand(stage: &Stage) -> crate::Told {
    let cluster = stage.topic(TOPIC, PARTITIONS).await?;
    stage.produce(&cluster, TOPIC, PARTITIONS, 0..90).await?;
    let first = member(&cluster)?;
    stage.take(&first, 90).await?;
    let none = BTreeMap::new();
    same("what nobody committed", committed(&first).await?, none)?;
    let beside = OffsetAndMetadata {
        offset: 10,
        leader_epoch: Some(0),
        metadata: "up to the tenth".to_owned(),
    };
    let zero = TopicPartition::new(TOPIC, 0);
    let offsets = [(zero.clone(), beside.clone())];
    first.commit_offsets(offsets.clone()).await.map_err(text)?;
    let kept = first.committed(all()).await.map_err(text)?;
    same("what was committed", kept, BTreeMap::from(offsets))?;
    let foreign = (TopicPartition::new(TOPIC, 9), OffsetAndMetadata::at(1));
    let refused = first.commit_offsets([foreign]).await;
    same("a commit of what isn't its own", refused.is_err(), true)?;
    first.commit().await.map_err(text)?;
    let thirty = BTreeMap::from([(0, 30), (1, 30), (2, 30)]);
    same("what was given out", committed(&first).await?, thirty)?;
    let back = [(0, 20), (1, 25)].map(|(partition, offset)| {
        let at = TopicPartition::new(TOPIC, partition);
        (at, OffsetAndMetadata::at(offset))
    });
    first.commit_offsets(back).await.map_err(text)?;
    first.close().await.map_err(text)?;
    let second = member(&cluster)?;
    let mut begins = BTreeMap::new();
    for record in stage.take(&second, 15).await? {
        begins.entry(record.partition).or_insert(record.offset);
    }
    same(
        "where the next begins",
        begins,
        BTreeMap::from([(0, 20), (1, 25)]),
    )?;
    second.commit_soon().map_err(text)?;
    stage
        .until("a commit that nobody waits for", async || {
            let at = committed(&second).await?;
            let done = at.values().all(|at| *at == 30);
            Ok((!done).then(|| format!("the group is at {at:?}")))
        })
        .await?;
    same("what it owns", owned(&second), vec![0, 1, 2])?;
    second.close().await.map_err(text)?;
    Ok("what was given, what was chosen, what is beside it, what isn't its own".to_owned())
}
