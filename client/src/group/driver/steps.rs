//! The steps of a member, each as the work that does it.
//!
//! What always holds: what changes at once, changes when the work is made; the rest is owned by the
//! work, which can be dropped at any time.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use millrace_host::BoxFuture;
use millrace_protocol::error_code::ErrorCode;

use super::{Done, Driver};
use crate::cluster::{Cluster, Follower, Metadata, Use};
use crate::consumer::{Membership, Position, Reset, Start};
use crate::group::assignor::{Assignor, Counts, Shares};
use crate::group::committing::{self, key};
use crate::group::member::{Event, Fault, Partitions};
use crate::group::offsets::Offsets;
use crate::group::options::Topics;
use crate::group::protocol::{NO_GENERATION, Subscription};
use crate::group::requests;
use crate::{Error, OffsetOf, TopicPartition};

impl Driver {
    pub(super) fn beating(&self) -> BoxFuture<'static, Event> {
        let (shared, identity) = (Arc::clone(&self.shared), self.identity());
        let coordinator = self.member.coordinator();
        Box::pin(async move {
            let answered = async {
                let id = coordinator.unwrap_or(-1);
                let client = shared.cluster.broker(id, Use::Coordinate).await;
                requests::heartbeat(&client.map_err(Fault::of)?, &identity).await
            };
            Event::Beat(identity.generation, answered.await)
        })
    }

    pub(super) fn leaving(&self) -> BoxFuture<'static, Done> {
        let (shared, identity) = (Arc::clone(&self.shared), self.identity());
        let coordinator = self.member.coordinator();
        Box::pin(async move {
            let left = async {
                let id = coordinator.unwrap_or(-1);
                let client = shared.cluster.broker(id, Use::Coordinate).await;
                requests::leave(&client.map_err(Fault::of)?, &identity).await
            };
            if let Err(fault) = left.await {
                // Its session ends by itself.
                tracing::debug!(?fault, "a member couldn't say that it leaves");
            }
            Done::Told(Event::Left)
        })
    }

    pub(super) fn joining(&self) -> BoxFuture<'static, Done> {
        let (shared, link) = (Arc::clone(&self.shared), Arc::clone(&self.link));
        let (identity, last) = (self.identity(), self.last.clone());
        let coordinator = self.member.coordinator();
        let owned = self.member.owned().clone();
        Box::pin(async move {
            let group = shared.group.as_ref();
            let options = &group.expect("it is in a group").options;
            let topics = match subscribed(&shared.cluster, &options.topics).await {
                Ok(topics) => topics,
                Err(error) => return Done::Joined(Err(Fault::of(error)), BTreeSet::new()),
            };
            let offer = |assignor: &Assignor| {
                let subscription = Subscription {
                    topics: topics.clone(),
                    user_data: assignor.user_data(&last.0, last.1),
                    owned: owned.clone(),
                    generation: (identity.generation != NO_GENERATION)
                        .then_some(identity.generation),
                    rack: options.rack.clone(),
                };
                (*assignor, subscription.encode())
            };
            let offers: Vec<(Assignor, Bytes)> = options.assignors.iter().map(offer).collect();
            let joined = async {
                let client = shared
                    .cluster
                    .broker_by(coordinator.unwrap_or(-1), &link)
                    .await;
                requests::join(&client.map_err(Fault::of)?, &identity, options, &offers).await
            };
            Done::Joined(joined.await, topics)
        })
    }

    pub(super) fn syncing(&mut self) -> BoxFuture<'static, Done> {
        let (shared, link) = (Arc::clone(&self.shared), Arc::clone(&self.link));
        let (identity, coordinator) = (self.identity(), self.member.coordinator());
        let patience = self.options().poll_interval_max;
        let joined = self.joined.as_mut();
        let (assignor, members) = joined.map_or((Assignor::Range, None), |joined| {
            (joined.assignor, joined.members.take())
        });
        Box::pin(async move {
            let (mut shares, mut counts) = (Shares::new(), None);
            if let Some(members) = members {
                let topics = members
                    .values()
                    .flat_map(|member| &member.subscription.topics);
                let topics: BTreeSet<&String> = topics.collect();
                let counted = count(&shared.cluster, &requests::names(topics)).await;
                let counted = match counted {
                    Ok(counted) => counted,
                    Err(error) => return Done::Synced(Err(Fault::of(error)), None),
                };
                shares = assignor.assign(&members, &counted);
                counts = Some(counted);
            }
            let synced = async {
                let client = shared
                    .cluster
                    .broker_by(coordinator.unwrap_or(-1), &link)
                    .await;
                let client = client.map_err(Fault::of)?;
                requests::sync(&client, &identity, assignor, &shares, patience).await
            };
            Done::Synced(synced.await, counts)
        })
    }

    /// Stops reading partitions, at once; then keeps their offsets and tells the listener.
    pub(super) fn revoking(&self, partitions: Partitions) -> BoxFuture<'static, Done> {
        let options = self.options();
        let listener = options.listener.clone();
        let commits = options.commit_interval.is_some();
        let mut offsets = Offsets::new();
        {
            let mut core = self.shared.core();
            for partition in &partitions {
                let uncommitted = core.give_up(&key(partition));
                if let Some(position) = uncommitted.filter(|_| commits) {
                    offsets.insert(partition.clone(), committing::offset_of(position));
                }
            }
        }
        let revoked = self.rebalance(partitions, self.member.generation());
        let membership = Membership {
            member_id: revoked.member_id.clone(),
            generation: revoked.generation,
            coordinator: self.member.coordinator(),
        };
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let group = shared.group.as_ref().expect("it is in a group");
            committing::commit_given_up(&shared, group, &membership, &offsets).await;
            if let Some(listener) = listener {
                let back = listener.revoked(&revoked).await.into_iter();
                let back = back.filter(|(partition, _)| revoked.partitions.contains(partition));
                let back: Offsets = back.collect();
                committing::commit_given_up(&shared, group, &membership, &back).await;
            }
            Done::Told(Event::Revoked)
        })
    }

    /// Reads new partitions, at once; gives them out when the listener was told.
    pub(super) fn adopting(&mut self, new: Partitions) -> BoxFuture<'static, Done> {
        let listener = self.options().listener.clone();
        let located = std::mem::take(&mut self.located);
        // Commits go by the generation that these partitions came with.
        self.publish(true);
        {
            let mut core = self.shared.core();
            for partition in &new {
                let start = self.start_of(partition, &located);
                core.adopt(key(partition), start, &self.shared.options);
            }
            core.held = listener.is_some();
        }
        self.shared.lead(&self.shared.cluster.metadata());
        if self.shared.lacks_leaders() {
            self.shared.stale.notify_one();
        }
        // That one of them can't be begun is news.
        self.shared.news.notify_one();
        let assigned = self.rebalance(new, self.member.generation());
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            if let Some(listener) = listener {
                listener.assigned(&assigned).await;
                shared.core().held = false;
                shared.news.notify_one();
            }
            Done::Told(Event::Told)
        })
    }

    fn start_of(&self, partition: &TopicPartition, located: &Offsets) -> Start {
        if let Some(committed) = located.get(partition) {
            return Start::Committed(Position {
                offset: committed.offset,
                leader_epoch: committed.leader_epoch.unwrap_or(-1),
            });
        }
        match self.shared.options.reset {
            Reset::Earliest => Start::Find(OffsetOf::Start),
            Reset::Latest => Start::Find(OffsetOf::End),
            Reset::Fail => Start::Nowhere(Error::Broker {
                what: format!(
                    "to say where to begin with {partition}: group {} has no offset of it",
                    self.options().group
                ),
                code: ErrorCode::OffsetOutOfRange,
            }),
        }
    }
}

/// The topics that are subscribed to now.
pub(super) async fn subscribed(
    cluster: &Cluster,
    topics: &Topics,
) -> Result<BTreeSet<String>, Error> {
    let passes = match topics {
        Topics::Named(names) => return Ok(names.clone()),
        Topics::Matching(passes) => passes,
    };
    let client = cluster.any_broker().await?;
    let answer = client.metadata(None).await?;
    let told = answer.read()?.topics.into_iter();
    let told = told.filter(|topic| topic.error_code == 0 && !topic.is_internal);
    let named = told.filter_map(|topic| topic.name);
    Ok(named
        .filter(|name| passes(name))
        .map(str::to_owned)
        .collect())
}

/// How many partitions topics have; the cluster is asked for those that aren't known.
async fn count(cluster: &Cluster, topics: &[Arc<str>]) -> Result<Counts, Error> {
    cluster.keep(topics);
    let mut image = cluster.metadata();
    if topics.iter().any(|topic| image.topic(topic).is_err()) {
        image = cluster.refresh(image.generation).await?;
    }
    let counted = topics
        .iter()
        .map(|topic| (Arc::clone(topic), count_of(&image, topic)));
    Ok(counted.collect())
}

pub(super) fn count_of(image: &Metadata, topic: &str) -> i32 {
    let partitions = image.topic(topic).map_or(0, |topic| topic.partitions.len());
    i32::try_from(partitions).unwrap_or(i32::MAX)
}
