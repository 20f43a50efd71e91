//! Consumer groups against a whole broker on the simulated machine: members join, leave, die, are held
//! up beyond their session, while the broker is killed and loses power. Every record is given to the
//! group at least once, nobody skips one, and what is committed was given out before.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod node;
#[path = "runs/grouping.rs"]
mod runs;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millrace_client::{
    Assignor, Cluster, ClusterOptions, Consumer, ConsumerOptions, Error, GroupOptions,
    OffsetAndMetadata, OffsetOf, Records, Reset, TopicPartition,
};
use millrace_host::Pool;
use node::{PARTITIONS, cluster, run, topic};
use runs::{Journal, Life, from_the_start, group, is_fenced, produce, quick};

#[test]
fn every_record_is_given_to_the_group_whatever_happens() {
    for seed in 300..312 {
        group(seed);
    }
}

/// Takes records until that many came; how many of each partition.
async fn take(consumer: &Consumer, count: usize) -> BTreeMap<i32, usize> {
    let mut taken = BTreeMap::new();
    let mut left = count;
    while left > 0 {
        let records = consumer.next().await.unwrap();
        let mut here = 0;
        let each = |_: &millrace_protocol::records::Record<'_>| here += 1;
        records.read_records(&mut Records::scratch(), each).unwrap();
        left = left.checked_sub(here).expect("no more than there are");
        *taken.entry(records.partition()).or_default() += here;
    }
    taken
}

fn all() -> impl Iterator<Item = TopicPartition> {
    (0..PARTITIONS).map(|partition| TopicPartition::new("t", partition))
}

#[test]
fn who_comes_back_goes_on_behind_what_was_committed() {
    run(1, async |_world, host, _broker| {
        let cluster = cluster(&host).await;
        topic(&cluster, "t", &[]).await;
        produce(&cluster, "t", 0..30).await;
        let first = Consumer::subscribe(&cluster, from_the_start(), quick("g")).unwrap();
        assert_eq!(
            take(&first, 30).await,
            BTreeMap::from([(0, 10), (1, 10), (2, 10)])
        );
        assert_eq!(first.assignment(), all().collect::<Vec<_>>());
        assert_eq!(first.lag("t", 1).unwrap(), Some(0));
        assert_eq!(first.membership().unwrap().generation, 1);
        first.close().await.unwrap();
        let error = first.next().await.unwrap_err();
        assert!(matches!(error, Error::Closed), "{error}");
        produce(&cluster, "t", 30..33).await;
        let second = Consumer::subscribe(&cluster, from_the_start(), quick("g")).unwrap();
        assert_eq!(
            take(&second, 3).await,
            BTreeMap::from([(0, 1), (1, 1), (2, 1)])
        );
        let of_start = second.offset_of("t", 0, OffsetOf::Start).await.unwrap();
        let of_end = second.offset_of("t", 0, OffsetOf::End).await.unwrap();
        assert_eq!((of_start, of_end), (Some(0), Some(11)));
        let committed = second.committed(all()).await.unwrap();
        let offsets: Vec<_> = committed
            .values()
            .map(|committed| committed.offset)
            .collect();
        assert_eq!(offsets, [10, 10, 10], "what was just given isn't done with");
        second.commit().await.unwrap();
        let committed = second.committed(all()).await.unwrap();
        assert!(committed.values().all(|committed| committed.offset == 11));
        assert!(
            committed
                .values()
                .all(|committed| committed.leader_epoch == Some(0))
        );
        second.close().await.unwrap();
    });
}

#[test]
fn offsets_are_committed_by_hand_with_what_stands_beside_them() {
    run(2, async |world, host, _broker| {
        let cluster = cluster(&host).await;
        topic(&cluster, "t", &[]).await;
        produce(&cluster, "t", 0..30).await;
        let group = GroupOptions {
            commit_interval: None,
            ..quick("g")
        };
        let consumer = Consumer::subscribe(&cluster, from_the_start(), group.clone()).unwrap();
        take(&consumer, 30).await;
        world.pause(Duration::from_secs(10)).await;
        assert_eq!(consumer.committed(all()).await.unwrap(), BTreeMap::new());
        let beside = OffsetAndMetadata {
            offset: 4,
            leader_epoch: Some(0),
            metadata: "up to the fourth".to_owned(),
        };
        let one = TopicPartition::new("t", 1);
        let offsets = [(one.clone(), beside.clone())];
        consumer.commit_offsets(offsets.clone()).await.unwrap();
        let committed = consumer.committed(all()).await.unwrap();
        assert_eq!(committed, BTreeMap::from(offsets));
        let foreign = (
            TopicPartition::new("t", PARTITIONS),
            OffsetAndMetadata::at(1),
        );
        let error = consumer.commit_offsets([foreign]).await.unwrap_err();
        let text = "the broker refused the offset of t-3, which isn't this member's (any more): ";
        assert!(error.to_string().starts_with(text), "{error}");
        consumer.close().await.unwrap();
        let again = Consumer::subscribe(&cluster, from_the_start(), group).unwrap();
        assert_eq!(
            take(&again, 26).await,
            BTreeMap::from([(0, 10), (1, 6), (2, 10)])
        );
        again.commit_soon().unwrap();
        while again
            .committed(all())
            .await
            .unwrap()
            .values()
            .any(|kept| kept.offset < 10)
        {
            world.pause(Duration::from_millis(10)).await;
        }
        again.close().await.unwrap();
    });
}

#[test]
fn a_cooperative_member_keeps_what_stays_its_own() {
    run(3, async |world, host, _broker| {
        let cluster = cluster(&host).await;
        topic(&cluster, "t", &[]).await;
        let journal = Arc::new(Mutex::new(Journal::default()));
        let group = |number| GroupOptions {
            assignors: vec![Assignor::CooperativeSticky],
            listener: Some(Arc::new(Life {
                journal: Arc::clone(&journal),
                number,
                instance_id: None,
            })),
            ..quick("g")
        };
        let subscribe = |number| {
            let consumer = Consumer::subscribe(&cluster, from_the_start(), group(number)).unwrap();
            let asking = consumer.clone();
            let ask = async move { while asking.next().await.is_ok() {} };
            host.spawn.spawn(Pool::Data, "asking", Box::pin(ask));
            consumer
        };
        let first = subscribe(1);
        while first.assignment().len() < 3 {
            world.pause(Duration::from_millis(10)).await;
        }
        let second = subscribe(2);
        while first.assignment().len() + second.assignment().len() < 3
            || second.assignment().is_empty()
        {
            assert!(
                first.assignment().len() >= 2,
                "it gave up what stays its own"
            );
            world.pause(Duration::from_millis(10)).await;
        }
        assert_eq!(
            (first.assignment().len(), second.assignment().len()),
            (2, 1)
        );
        second.close().await.unwrap();
        while first.assignment().len() < 3 {
            world.pause(Duration::from_millis(10)).await;
        }
        first.close().await.unwrap();
    });
}

#[test]
fn a_static_member_comes_back_without_a_rebalance_and_fences_its_double() {
    run(4, async |world, host, _broker| {
        let cluster = cluster(&host).await;
        topic(&cluster, "t", &[]).await;
        produce(&cluster, "t", 0..30).await;
        let group = || GroupOptions {
            instance_id: Some("one".to_owned()),
            ..quick("g")
        };
        let first = Consumer::subscribe(&cluster, from_the_start(), group()).unwrap();
        take(&first, 30).await;
        first.commit().await.unwrap();
        let double = Consumer::subscribe(&cluster, from_the_start(), group()).unwrap();
        produce(&cluster, "t", 30..33).await;
        take(&double, 3).await;
        assert_eq!(double.membership().unwrap().generation, 1);
        let error = loop {
            match first.next().await {
                Ok(_) => world.pause(Duration::from_millis(10)).await,
                Err(error) => break error,
            }
        };
        assert!(is_fenced(&error), "{error}");
        assert!(!error.is_retriable());
        let again = first.next().await.unwrap_err();
        assert_eq!(again.to_string(), error.to_string());
        assert_eq!(
            first.close().await.unwrap_err().to_string(),
            error.to_string()
        );
        double.close().await.unwrap();
    });
}

#[test]
fn topics_that_match_are_read_also_when_they_come_later() {
    run(5, async |world, host, _broker| {
        let cluster = {
            let mut options = ClusterOptions::new(["127.0.0.1:9092"]);
            options.metadata_age_max = Duration::from_secs(2);
            Cluster::connect(&host, options).await.unwrap()
        };
        topic(&cluster, "logs-a", &[]).await;
        topic(&cluster, "other", &[]).await;
        produce(&cluster, "logs-a", 0..3).await;
        produce(&cluster, "other", 0..3).await;
        let group = GroupOptions {
            heartbeat_interval: Duration::from_secs(1),
            ..GroupOptions::matching("g", |name| name.starts_with("logs-"))
        };
        let consumer = Consumer::subscribe(&cluster, from_the_start(), group).unwrap();
        take(&consumer, 3).await;
        topic(&cluster, "logs-b", &[]).await;
        produce(&cluster, "logs-b", 0..6).await;
        assert_eq!(
            take(&consumer, 6).await,
            BTreeMap::from([(0, 2), (1, 2), (2, 2)])
        );
        let topics: BTreeSet<_> = consumer
            .assignment()
            .into_iter()
            .map(|one| one.topic)
            .collect();
        assert_eq!(topics, BTreeSet::from(["logs-a".into(), "logs-b".into()]));
        world.pause(Duration::from_secs(1)).await;
        consumer.close().await.unwrap();
    });
}

#[test]
fn without_an_offset_the_reset_policy_decides() {
    run(6, async |_world, host, _broker| {
        let cluster = cluster(&host).await;
        topic(&cluster, "t", &[]).await;
        produce(&cluster, "t", 0..30).await;
        let failing = ConsumerOptions {
            reset: Reset::Fail,
            ..ConsumerOptions::default()
        };
        let consumer = Consumer::subscribe(&cluster, failing, quick("g")).unwrap();
        let error = consumer.next().await.unwrap_err();
        let text = "the broker refused to say where to begin with t-0: group g has no offset of it";
        assert!(error.to_string().starts_with(text), "{error}");
        consumer.close().await.unwrap();
        let error = consumer
            .assign([("t", 0, millrace_client::OffsetOrFind::Offset(0))])
            .await;
        assert!(error.unwrap_err().to_string().contains("member of a group"));
    });
}
