//! What a consumer can do in a group.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_protocol::error_code::ErrorCode;

use super::fetcher::Shared;
use super::options::ConsumerOptions;
use super::{Consumer, Handle, Membership};
use crate::cluster::{Cluster, Use};
use crate::group::{self, Group, GroupOptions, OffsetAndMetadata, Which};
use crate::{Error, OffsetOf, Topic, TopicPartition};

/// The application asks for records for as long as it lives.
pub(super) struct Asks<'a>(&'a Shared);

impl<'a> Asks<'a> {
    /// `None` where that makes no difference.
    pub(super) fn begin(shared: &'a Shared) -> Option<Self> {
        let group = shared.group.as_ref()?;
        if shared.core().begin_asking() {
            group.wake.notify_one();
        }
        Some(Self(shared))
    }
}

impl Drop for Asks<'_> {
    fn drop(&mut self) {
        let now = self.0.cluster.host().clock.now().mono;
        self.0.core().asking.end(now);
    }
}

impl Consumer {
    /// A consumer that is a member of a group, and reads what the group assigns to it. It joins at
    /// once. An error when the options contradict each other.
    ///
    /// ```no_run
    /// # use millrace_client::{Cluster, Consumer, ConsumerOptions, Error, GroupOptions, Records, Reset};
    /// # async fn example(cluster: &Cluster) -> Result<(), Error> {
    /// let options = ConsumerOptions { reset: Reset::Earliest, ..ConsumerOptions::default() };
    /// let group = GroupOptions::new("billing", ["orders"]);
    /// let consumer = Consumer::subscribe(cluster, options, group)?;
    /// for _ in 0..10 {
    ///     let records = consumer.next().await?;
    ///     records.read_records(&mut Records::scratch(), |record| println!("{:?}", record.value))?;
    /// }
    /// consumer.close().await?;
    /// # Ok(()) }
    /// ```
    pub fn subscribe(
        cluster: &Cluster,
        options: ConsumerOptions,
        group: GroupOptions,
    ) -> Result<Self, Error> {
        group.check()?;
        let group = Some(Group::new(group));
        let shared = Shared::start(cluster.clone(), options, group);
        shared.attend(group::attend(Arc::clone(&shared)));
        Ok(Self(Arc::new(Handle(shared))))
    }

    /// The partitions that it reads.
    pub fn assignment(&self) -> Vec<TopicPartition> {
        let core = self.0.0.core();
        let keys = core.keys();
        keys.map(|(topic, partition)| TopicPartition::new(Arc::clone(topic), *partition))
            .collect()
    }

    /// What it is in its group; `None` while it is in no generation of it.
    pub fn membership(&self) -> Option<Membership> {
        self.0.0.core().membership.clone()
    }

    /// Commits the offsets behind all that was given out, by all clones: say so when it is done with.
    /// Tries again until a request's time is over. An error when some of it is no longer this
    /// member's; what still is, is committed then.
    pub async fn commit(&self) -> Result<(), Error> {
        let (shared, group) = self.grouped()?;
        let lost = shared.core().process_given();
        group::commit(shared, group, Which::Processed).await?;
        match lost {
            None => Ok(()),
            Some((topic, partition)) => Err(Error::Broker {
                what: format!(
                    "the offset of {topic}-{partition}, which isn't this member's any more"
                ),
                code: ErrorCode::IllegalGeneration,
            }),
        }
    }

    /// The same without waiting: the consumer's task does it. What fails is in the log, and goes with
    /// the next commit.
    pub fn commit_soon(&self) -> Result<(), Error> {
        let (shared, group) = self.grouped()?;
        // What is lost has a new owner, who gives it out again.
        drop(shared.core().process_given());
        group.commit_soon();
        Ok(())
    }

    /// Commits these offsets as they are, which may lie before or behind what was given out. Tries
    /// again until a request's time is over. An error when one of the partitions isn't this member's;
    /// then none is committed.
    pub async fn commit_offsets(
        &self,
        offsets: impl IntoIterator<Item = (TopicPartition, OffsetAndMetadata)>,
    ) -> Result<(), Error> {
        let (shared, group) = self.grouped()?;
        let offsets = Which::These(offsets.into_iter().collect());
        group::commit(shared, group, offsets).await
    }

    /// The group's offsets of partitions, whoever reads them; one without is left out. What a
    /// transaction is about to commit is waited for, at most for a request's time.
    pub async fn committed(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>, Error> {
        let (shared, group) = self.grouped()?;
        group::committed(shared, group, &partitions.into_iter().collect()).await
    }

    /// How many offsets lie between what comes next of a partition and its end, as it was told last;
    /// `None` while one of them isn't known. An error when the partition is not assigned.
    pub fn lag(&self, topic: &str, partition: i32) -> Result<Option<i64>, Error> {
        self.with(topic, partition, |reading| reading.lag())
    }

    /// An offset of any partition; `None` when no record is that late. Tries again until a request's
    /// time is over.
    pub async fn offset_of(
        &self,
        topic: &str,
        partition: i32,
        of: OffsetOf,
    ) -> Result<Option<i64>, Error> {
        let cluster = &self.0.0.cluster;
        let clock = &cluster.host().clock;
        let deadline = clock.now().mono + cluster.options().connection.request_timeout;
        let mut failures = 0_u32;
        loop {
            let asked = async {
                let about = cluster.topic(topic).await?;
                let known = about.partition(partition);
                let leader = known.and_then(|partition| partition.leader);
                let leader = leader.ok_or_else(|| Error::Broker {
                    what: format!("to tell an offset of {topic}-{partition}"),
                    code: if known.is_some() {
                        ErrorCode::LeaderNotAvailable
                    } else {
                        ErrorCode::UnknownTopicOrPartition
                    },
                })?;
                let client = cluster.broker(leader, Use::Ask).await?;
                let topic = Topic {
                    name: about.name.to_string(),
                    id: about.id,
                    partitions: partition + 1,
                };
                client.list_offset(&topic, partition, of).await
            };
            match asked.await {
                Err(error) if error.is_retriable() && clock.now().mono < deadline => {
                    failures = failures.saturating_add(1);
                    cluster.pause(failures).await;
                    if error.asks_for_metadata() {
                        drop(cluster.refresh(cluster.metadata().generation).await);
                    }
                }
                told => return told,
            }
        }
    }

    /// Ends the consumer. In a group: commits what was given out, by all clones, if that is automatic,
    /// tells the listener, and says that it leaves, unless it is a static member. An error when the
    /// membership had been ended by one.
    pub async fn close(&self) -> Result<(), Error> {
        let shared = &self.0.0;
        let closed = match &shared.group {
            Some(group) => {
                drop(shared.core().process_given());
                group.close().await
            }
            None => Ok(()),
        };
        shared.core().ended = Some(Error::Closed);
        shared.news.notify_one();
        shared.end();
        closed
    }

    fn grouped(&self) -> Result<(&Shared, &Group), Error> {
        let shared = &*self.0.0;
        match &shared.group {
            Some(group) => Ok((shared, group)),
            None => Err(Error::Options {
                reason: "the consumer is no member of a group: make one that subscribes".to_owned(),
            }),
        }
    }
}
