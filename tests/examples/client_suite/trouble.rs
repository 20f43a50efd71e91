//! Trouble under a load: brokers that are killed and paused, connections that are cut, leaders that move.
//!
//! What always holds: after each fault records must flow again before the next; on three nodes the fault
//! meets the leader of a partition of the load, and they must flow while that node is away.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_client::{Admin, Assignor, Cluster, Election, Partition, TopicPartition};
use millrace_protocol::error_code::ErrorCode;

use crate::load::{Load, PARTITIONS};
use crate::stage::{REQUEST, Stage, is_code, one, text};

/// How long a node is paused: longer than a request's time, and, where others can take over, than the
/// nodes' own sessions (`broker.session.timeout.ms` of the suite's brokers).
const PAUSE: Duration = Duration::from_secs(6);
const PAUSE_OF_SEVERAL: Duration = Duration::from_secs(12);
/// Between two cuts of a round, and how many a round has.
const CUT_EVERY: Duration = Duration::from_millis(150);
const CUTS: usize = 12;

/// kill -9 of a node, which is started again.
pub(crate) async fn kills(stage: &Stage) -> crate::Told {
    let load = Load::start(stage, "kills", &[Assignor::CooperativeSticky]).await?;
    let rounds = stage.rounds(4, 2);
    for round in 0..rounds {
        let node = victim(stage, &load, "kills", round).await?;
        stage.nodes.kill(node)?;
        if stage.nodes.count() > 1 {
            load.advance("while a node is away").await?;
        }
        stage.nodes.start(node)?;
        load.advance("after a kill").await?;
        load.next_life(round);
        in_sync(stage, &load.cluster, "kills").await?;
    }
    Ok(format!("{rounds} kills; {}", load.judge().await?))
}

/// SIGSTOP of a node for longer than a request's time.
pub(crate) async fn pauses(stage: &Stage) -> crate::Told {
    let load = Load::start(stage, "pauses", &[Assignor::Range]).await?;
    let rounds = stage.rounds(3, 1);
    for round in 0..rounds {
        let node = victim(stage, &load, "pauses", round).await?;
        stage.nodes.pause(node)?;
        if stage.nodes.count() > 1 {
            stage.pass(PAUSE_OF_SEVERAL).await;
            load.advance("while a node is paused").await?;
        } else {
            stage
                .pass(PAUSE.max(REQUEST + Duration::from_secs(1)))
                .await;
        }
        stage.nodes.resume(node)?;
        load.advance("after a pause").await?;
        load.next_life(round);
        in_sync(stage, &load.cluster, "pauses").await?;
    }
    Ok(format!("{rounds} pauses; {}", load.judge().await?))
}

/// Connections are cut, all of them or some, again and again.
pub(crate) async fn cuts(stage: &Stage) -> crate::Told {
    let before = stage.wires.cuts();
    let load = Load::start(stage, "cuts", &[Assignor::RoundRobin]).await?;
    let rounds = stage.rounds(6, 2);
    for round in 0..rounds {
        for _ in 0..CUTS {
            stage.wires.cut(1 + round % 3);
            stage.pass(CUT_EVERY).await;
        }
        load.advance("after cuts").await?;
        load.next_life(round);
    }
    let told = load.judge().await?;
    let cut = stage.wires.cuts() - before;
    Ok(format!("{cut} connections cut; {told}"))
}

/// Every partition's replicas are put in another order, and the first of them made its leader: each
/// leader hands over while it is written to and read from.
pub(crate) async fn leaders(stage: &Stage) -> crate::Told {
    let load = Load::start(stage, "leaders", &[Assignor::Sticky]).await?;
    let rounds = stage.rounds(6, 2);
    let mut moved = 0;
    for round in 0..rounds {
        moved += hand_over(stage, &load.cluster, "leaders").await?;
        load.advance("under new leaders").await?;
        load.next_life(round);
    }
    Ok(format!("{moved} leaders moved; {}", load.judge().await?))
}

/// The node that a fault meets: the leader of one of the load's partitions.
async fn victim(stage: &Stage, load: &Load<'_>, topic: &str, round: usize) -> Result<i32, String> {
    if stage.nodes.count() == 1 {
        return Ok(1);
    }
    let partitions = described(&load.cluster, topic).await?;
    let one = &partitions[round % partitions.len()];
    one.leader
        .ok_or_else(|| format!("nobody leads {topic}-{}", one.index))
}

/// A topic's partitions, as a broker tells them now.
async fn described(cluster: &Cluster, topic: &str) -> Result<Vec<Partition>, String> {
    let told = one(Admin::new(cluster).describe_topics(&[topic]).await);
    Ok(told.map_err(text)?.partitions.clone())
}

/// Waits until every replica is in sync again, so that the next node may go.
async fn in_sync(stage: &Stage, cluster: &Cluster, topic: &str) -> Result<(), String> {
    let nodes = usize::try_from(stage.nodes.count()).map_err(|error| error.to_string())?;
    let waited = stage.until("replicas in sync", async || {
        let partitions = match described(cluster, topic).await {
            Ok(partitions) => partitions,
            Err(reason) => return Ok(Some(reason)),
        };
        let behind = partitions.iter().find(|one| one.in_sync.len() < nodes);
        Ok(behind.map(|behind| format!("{behind:?}")))
    });
    waited.await
}

/// Moves the leaders of all partitions to their second replicas; how many.
async fn hand_over(stage: &Stage, cluster: &Cluster, topic: &str) -> Result<usize, String> {
    let admin = Admin::new(cluster);
    let partitions = described(cluster, topic).await?;
    let mut targets = BTreeMap::new();
    let mut wanted = Vec::new();
    for partition in &partitions {
        let mut replicas = partition.replicas.clone();
        replicas.rotate_left(1);
        wanted.push(replicas.first().copied());
        let item = TopicPartition::new(topic, partition.index);
        targets.insert(item, Some(replicas));
    }
    let moved = admin.alter_reassignments(&targets).await.map_err(text)?;
    for outcome in moved.into_values() {
        outcome.map_err(text)?;
    }
    let items: Vec<_> = targets.keys().cloned().collect();
    stage
        .until("the replicas' new order", async || {
            let moving = admin.list_reassignments().await.map_err(text)?;
            let moving = items.iter().find(|item| moving.contains_key(item));
            Ok(moving.map(|item| format!("{item} is still moving")))
        })
        .await?;
    let elected = admin.elect_leaders(Election::Preferred, Some(&items)).await;
    for outcome in elected.map_err(text)?.into_values() {
        // The controller may have been as quick.
        let refused = outcome.err();
        let refused = refused.filter(|error| !is_code(error, ErrorCode::ElectionNotNeeded));
        if let Some(error) = refused {
            return Err(error.to_string());
        }
    }
    stage
        .until("new leaders", async || {
            let now = described(cluster, topic).await?;
            let leaders: Vec<_> = now.iter().map(|one| one.leader).collect();
            Ok((leaders != wanted).then(|| format!("{leaders:?} lead, not {wanted:?}")))
        })
        .await?;
    usize::try_from(PARTITIONS).map_err(|error| error.to_string())
}
