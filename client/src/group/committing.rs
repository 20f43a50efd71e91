//! What the application, or the membership for it, does with the group's offsets.
//!
//! What always holds: offsets go out under the membership that owned their partitions when they were
//! looked at, one commit after the other; one of a partition that the member has lost is refused here
//! or by the coordinator, never stored over its new owner's.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_host::Mono;
use millrace_protocol::error_code::ErrorCode;

use super::Group;
use super::member::{Fault, Partitions};
use super::offsets::{self, Offsets};
use super::options::OffsetAndMetadata;
use super::requests::{self, Identity};
use crate::cluster::Use;
use crate::consumer::{Key, Membership, Position, Shared};
use crate::{Error, TopicPartition};

/// Which offsets to commit.
#[derive(Clone, Debug)]
pub(crate) enum Which {
    /// Of what the application is done with.
    Processed,
    /// These.
    These(Offsets),
}

/// The key of a partition.
pub(super) fn key(partition: &TopicPartition) -> Key {
    (Arc::clone(&partition.topic), partition.partition)
}

/// The partition of a key.
pub(super) fn partition((topic, partition): &Key) -> TopicPartition {
    TopicPartition::new(Arc::clone(topic), *partition)
}

/// What to keep of a position.
pub(super) fn offset_of(position: Position) -> OffsetAndMetadata {
    OffsetAndMetadata {
        offset: position.offset,
        leader_epoch: (position.leader_epoch >= 0).then_some(position.leader_epoch),
        metadata: String::new(),
    }
}

/// Commits, and tries again until a request's time is over.
pub(crate) async fn commit(shared: &Shared, group: &Group, which: Which) -> Result<(), Error> {
    let deadline = deadline(shared);
    let _turn = group.committing.lock().await;
    let mut failures = 0_u32;
    loop {
        let Some((membership, offsets)) = look(shared, group, &which)? else {
            return Ok(());
        };
        let identity = identity(group, &membership);
        let stored = store(shared, &identity, membership.coordinator, &offsets).await;
        let error = match stored {
            Ok(()) => return Ok(()),
            Err(Fault::Final(error)) => return Err(error),
            Err(Fault::Moved(error) | Fault::Again(error)) => error,
            Err(Fault::Rebalance) => refused(group, ErrorCode::RebalanceInProgress),
            Err(Fault::StaleGeneration) => refused(group, ErrorCode::IllegalGeneration),
            Err(Fault::UnknownMember | Fault::TakeId(_)) => {
                refused(group, ErrorCode::UnknownMemberId)
            }
        };
        failures = failures.saturating_add(1);
        if shared.cluster.host().clock.now().mono >= deadline {
            return Err(error);
        }
        tracing::debug!(%error, "offsets can't be committed yet");
        shared.cluster.pause(failures).await;
    }
}

/// Commits what was given up a moment ago, until it is stored, refused, or a request's time is over.
pub(super) async fn commit_given_up(
    shared: &Shared,
    group: &Group,
    membership: &Membership,
    offsets: &Offsets,
) {
    if offsets.is_empty() {
        return;
    }
    let deadline = deadline(shared);
    let _turn = group.committing.lock().await;
    let identity = identity(group, membership);
    let (mut coordinator, mut failures) = (membership.coordinator, 0_u32);
    loop {
        match store(shared, &identity, coordinator, offsets).await {
            Ok(()) => return,
            Err(Fault::Moved(_)) => coordinator = None,
            Err(Fault::Again(_)) => {}
            Err(fault) => {
                tracing::warn!(
                    group = group.options.group,
                    ?fault,
                    "offsets aren't committed"
                );
                return;
            }
        }
        failures = failures.saturating_add(1);
        if shared.cluster.host().clock.now().mono >= deadline {
            tracing::warn!(
                group = group.options.group,
                "offsets aren't committed in time"
            );
            return;
        }
        shared.cluster.pause(failures).await;
    }
}

/// The group's offsets of partitions; one without is left out.
pub(crate) async fn committed(
    shared: &Shared,
    group: &Group,
    partitions: &Partitions,
) -> Result<Offsets, Error> {
    let deadline = deadline(shared);
    let mut failures = 0_u32;
    let mut coordinator = shared
        .core()
        .membership
        .as_ref()
        .and_then(|told| told.coordinator);
    loop {
        let fetched = fetch(shared, &group.options.group, coordinator, partitions).await;
        let error = match fetched {
            Ok(offsets) => return Ok(offsets),
            Err(Fault::Final(error)) => return Err(error),
            Err(Fault::Moved(error)) => {
                coordinator = None;
                error
            }
            Err(Fault::Again(error)) => error,
            Err(_) => refused(group, ErrorCode::UnknownMemberId),
        };
        failures = failures.saturating_add(1);
        if shared.cluster.host().clock.now().mono >= deadline {
            return Err(error);
        }
        shared.cluster.pause(failures).await;
    }
}

/// Reads offsets at the coordinator, which is looked for if it isn't known.
pub(super) async fn fetch(
    shared: &Shared,
    group: &str,
    coordinator: Option<i32>,
    partitions: &Partitions,
) -> Result<Offsets, Fault> {
    let id = match coordinator {
        Some(id) => id,
        None => requests::find(&shared.cluster, group).await?,
    };
    let client = shared.cluster.broker(id, Use::Coordinate).await;
    offsets::fetch(&client.map_err(Fault::of)?, group, partitions).await
}

/// What to commit, and as whom; nothing when all is committed.
fn look(
    shared: &Shared,
    group: &Group,
    which: &Which,
) -> Result<Option<(Membership, Offsets)>, Error> {
    let core = shared.core();
    let offsets = match which {
        Which::These(offsets) => {
            if let Some((lost, _)) = offsets.iter().find(|(one, _)| !core.reads(&key(one))) {
                return Err(Error::Broker {
                    what: format!("the offset of {lost}, which isn't this member's (any more)"),
                    code: ErrorCode::IllegalGeneration,
                });
            }
            offsets.clone()
        }
        Which::Processed => {
            let uncommitted = core.uncommitted().into_iter();
            uncommitted
                .map(|(key, position)| (partition(&key), offset_of(position)))
                .collect()
        }
    };
    if offsets.is_empty() {
        return Ok(None);
    }
    let membership = core.membership.clone();
    let membership = membership.ok_or_else(|| refused(group, ErrorCode::UnknownMemberId))?;
    Ok(Some((membership, offsets)))
}

async fn store(
    shared: &Shared,
    identity: &Identity,
    coordinator: Option<i32>,
    offsets: &Offsets,
) -> Result<(), Fault> {
    let id = match coordinator {
        Some(id) => id,
        None => requests::find(&shared.cluster, &identity.group).await?,
    };
    let client = shared.cluster.broker(id, Use::Coordinate).await;
    let refused = offsets::commit(&client.map_err(Fault::of)?, identity, offsets).await?;
    let mut core = shared.core();
    let refused: BTreeMap<_, _> = refused.into_iter().collect();
    for (partition, offset) in offsets {
        if !refused.contains_key(partition) {
            core.committed(&key(partition), offset.offset);
        }
    }
    match refused.into_values().next() {
        Some(error) => Err(Fault::Final(error)),
        None => Ok(()),
    }
}

pub(super) fn identity(group: &Group, membership: &Membership) -> Identity {
    Identity {
        group: group.options.group.clone(),
        instance_id: group.options.instance_id.clone(),
        member_id: membership.member_id.clone(),
        generation: membership.generation,
    }
}

fn refused(group: &Group, code: ErrorCode) -> Error {
    Error::Broker {
        what: format!("offsets of group {}", group.options.group),
        code,
    }
}

fn deadline(shared: &Shared) -> Mono {
    let cluster = &shared.cluster;
    cluster.host().clock.now().mono + cluster.options().connection.request_timeout
}
