//! The administrator against a whole broker on the simulated machine: each thing asked for gets its own
//! outcome, what is refused for a moment is asked again, and what it says is what is there.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod node;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use millrace_client::{
    Acl, AclFilter, AclOperation, AclResource, Admin, Cluster, ConfigChange, ConfigResource,
    ConfigSource, Election, Error, Isolation, ListedOffset, NewDelegationToken, NewTopic,
    OffsetAndMetadata, OffsetOf, Producer, ProducerOptions, Record, TopicPartition,
};
use millrace_host::Pool;
use millrace_protocol::error_code::ErrorCode;
use node::{PARTITIONS, cluster, run, topic, trouble};

fn code<T>(outcome: &Result<T, Error>) -> ErrorCode {
    match outcome {
        Err(Error::Broker { code, .. }) => *code,
        Err(error) => panic!("{error}"),
        Ok(_) => ErrorCode::None,
    }
}

/// Records with these times in partition 0 of a topic.
async fn produce(cluster: &Cluster, name: &str, times_ms: &[i64]) {
    let producer = Producer::new(cluster, &ProducerOptions::default()).unwrap();
    let mut deliveries = Vec::new();
    for ms in times_ms {
        let record = Record::to(name).partition(0).value(b"v").timestamp_ms(*ms);
        deliveries.push(producer.send(&record).await.unwrap());
    }
    for delivery in deliveries {
        delivery.wait().await.unwrap();
    }
}

async fn offset(admin: &Admin, item: &TopicPartition, of: OffsetOf) -> ListedOffset {
    let asked = [(item.clone(), of)];
    let listed = admin.list_offsets(asked, Isolation::ReadUncommitted).await;
    listed.unwrap().remove(item).unwrap().unwrap()
}

#[test]
fn each_topic_has_an_outcome_of_its_own() {
    run(1, |_, host, broker| async move {
        let admin = Admin::new(&cluster(&host).await);
        let topics = [
            NewTopic::new("good", 2).with("retention.ms", "1000"),
            NewTopic::new("none", 0),
            NewTopic::new("odd name", 1),
        ];
        let checked = admin.check_new_topics(&topics).await.unwrap();
        assert_eq!(checked["good"].as_ref().unwrap().partitions, Some(2));
        assert!(admin.list_topics().await.unwrap().is_empty());

        let made = admin.create_topics(&topics).await.unwrap();
        assert!(!made["good"].as_ref().unwrap().id.is_zero());
        assert_eq!(code(&made["none"]), ErrorCode::InvalidPartitions);
        assert_eq!(code(&made["odd name"]), ErrorCode::InvalidTopicException);
        let again = admin.create_topics(&topics[..1]).await.unwrap();
        assert_eq!(code(&again["good"]), ErrorCode::TopicAlreadyExists);
        let advice = again["good"].as_ref().unwrap_err().advice();
        assert!(advice.unwrap().contains("another name"));

        let added = admin.add_partitions(&[("good", 3), ("gone", 3)], false);
        let added = added.await.unwrap();
        assert!(added["good"].is_ok());
        assert_eq!(code(&added["gone"]), ErrorCode::UnknownTopicOrPartition);
        let fewer = admin.add_partitions(&[("good", 1)], false).await.unwrap();
        assert_eq!(code(&fewer["good"]), ErrorCode::InvalidPartitions);

        let began = host.clock.now().mono;
        let described = admin.describe_topics(&["good", "gone"]).await.unwrap();
        assert_eq!(described["good"].as_ref().unwrap().partitions.len(), 3);
        assert_eq!(code(&described["gone"]), ErrorCode::UnknownTopicOrPartition);
        // What isn't there is told at once.
        assert!(host.clock.now().mono.since(began) < Duration::from_secs(1));

        let deleted = admin.delete_topics(&["good", "gone"]).await.unwrap();
        assert!(deleted["good"].is_ok());
        assert_eq!(code(&deleted["gone"]), ErrorCode::UnknownTopicOrPartition);
        assert!(admin.list_topics().await.unwrap().is_empty());
        drop(broker);
    });
}

#[test]
fn configurations_change_key_by_key() {
    run(2, |_, host, broker| async move {
        let cluster = cluster(&host).await;
        topic(&cluster, "t", &[("retention.ms", "1000")]).await;
        let admin = Admin::new(&cluster);
        let of = ConfigResource::Topic("t".to_owned());
        let gone = ConfigResource::Topic("gone".to_owned());
        let set = |key: &str, value: &str| ConfigChange::Set(key.to_owned(), value.to_owned());
        let append =
            |key: &str, value: &str| ConfigChange::Append(key.to_owned(), value.to_owned());
        let changes = vec![
            set("max.message.bytes", "5000"),
            append("cleanup.policy", "compact"),
            ConfigChange::Delete("retention.ms".to_owned()),
        ];
        let bad = vec![set("max.message.bytes", "many")];
        let asked = BTreeMap::from([(of.clone(), changes.clone()), (gone.clone(), changes)]);
        for validate_only in [true, false] {
            let outcomes = admin.alter_configs(&asked, validate_only).await.unwrap();
            assert!(outcomes[&of].is_ok());
            assert_eq!(code(&outcomes[&gone]), ErrorCode::UnknownTopicOrPartition);
            let keys = ["max.message.bytes", "cleanup.policy", "retention.ms"];
            let one = std::slice::from_ref(&of);
            let described = admin.describe_configs(one, Some(&keys), false).await;
            let described = described.unwrap().remove(&of).unwrap().unwrap();
            let of_key = |key: &str| described.iter().find(|entry| entry.name == key).unwrap();
            let is_changed = of_key("max.message.bytes").value.as_deref() == Some("5000");
            assert_eq!(is_changed, !validate_only);
            if !validate_only {
                let cleanup = of_key("cleanup.policy").value.as_deref();
                assert_eq!(cleanup, Some("delete,compact"));
                assert_eq!(of_key("max.message.bytes").source, ConfigSource::Topic);
                assert_eq!(of_key("retention.ms").source, ConfigSource::Default);
            }
        }
        let bad = BTreeMap::from([(of.clone(), bad)]);
        let refused = admin.alter_configs(&bad, false).await.unwrap();
        assert_eq!(code(&refused[&of]), ErrorCode::InvalidConfig);

        let id = admin.describe_cluster().await.unwrap().brokers[0].id;
        let own = ConfigResource::Broker(Some(id));
        let described = admin.describe_configs(std::slice::from_ref(&own), None, true);
        let described = described.await.unwrap().remove(&own).unwrap().unwrap();
        let dirs = described
            .iter()
            .find(|entry| entry.name == "log.dirs")
            .unwrap();
        assert_eq!(dirs.value.as_deref(), Some("/data"));
        assert!(dirs.documentation.is_some());
        let resources = admin.list_config_resources().await.unwrap();
        assert!(resources.contains(&of), "{resources:?}");
        drop(broker);
    });
}

#[test]
fn offsets_of_partitions_and_groups_are_told_set_and_forgotten() {
    run(3, |_, host, broker| async move {
        let cluster = cluster(&host).await;
        topic(&cluster, "t", &[]).await;
        let admin = Admin::new(&cluster);
        let item = TopicPartition::new("t", 0);
        let other = TopicPartition::new("t", 1);
        produce(&cluster, "t", &[10, 20, 30, 40]).await;
        assert_eq!(offset(&admin, &item, OffsetOf::End).await.offset, Some(4));
        let found = offset(&admin, &item, OffsetOf::Time(25)).await;
        assert_eq!((found.offset, found.timestamp_ms), (Some(2), Some(30)));
        assert_eq!(offset(&admin, &item, OffsetOf::Time(41)).await.offset, None);
        let left = BTreeMap::from([(item.clone(), Some(1)), (other.clone(), None)]);
        let left = admin.delete_records(left).await.unwrap();
        assert_eq!(*left[&item].as_ref().unwrap(), 1);
        assert_eq!(*left[&other].as_ref().unwrap(), 0);
        assert_eq!(offset(&admin, &item, OffsetOf::Start).await.offset, Some(1));
        let behind = BTreeMap::from([(item.clone(), Some(5))]);
        let refused = admin.delete_records(behind).await.unwrap();
        assert_eq!(code(&refused[&item]), ErrorCode::OffsetOutOfRange);
        let unknown = TopicPartition::new("t", PARTITIONS);
        let asked = [
            (unknown.clone(), OffsetOf::End),
            (item.clone(), OffsetOf::End),
        ];
        let listed = admin
            .list_offsets(asked, Isolation::ReadCommitted)
            .await
            .unwrap();
        assert_eq!(code(&listed[&unknown]), ErrorCode::UnknownTopicOrPartition);
        assert_eq!(listed[&item].as_ref().unwrap().offset, Some(4));

        let commit = |offset| OffsetAndMetadata {
            metadata: "by hand".to_owned(),
            ..OffsetAndMetadata::at(offset)
        };
        let commits = BTreeMap::from([(item.clone(), commit(3)), (other.clone(), commit(0))]);
        let set = admin.alter_offsets("g", &commits).await.unwrap();
        assert!(set.values().all(Result::is_ok), "{set:?}");
        let committed = admin.committed_offsets(&["g", "none"]).await.unwrap();
        let of_group = committed["g"].as_ref().unwrap();
        assert_eq!((of_group[&item].offset, of_group[&other].offset), (3, 0));
        assert_eq!(of_group[&item].metadata, "by hand");
        assert!(committed["none"].as_ref().unwrap().is_empty());
        let listed = admin.list_groups().await.unwrap();
        assert_eq!(
            listed
                .iter()
                .map(|one| one.group.as_str())
                .collect::<Vec<_>>(),
            ["g"]
        );
        assert_eq!(listed[0].state, "Empty");
        let described = admin.describe_groups(&["g", "none"]).await.unwrap();
        assert!(described["g"].as_ref().unwrap().members.is_empty());
        assert_eq!(code(&described["none"]), ErrorCode::GroupIdNotFound);

        let forgotten = admin
            .delete_offsets("g", std::slice::from_ref(&other))
            .await;
        assert!(forgotten.unwrap()[&other].is_ok());
        let committed = admin.committed_offsets(&["g"]).await.unwrap();
        assert_eq!(committed["g"].as_ref().unwrap().len(), 1);
        let deleted = admin.delete_groups(&["g", "none"]).await.unwrap();
        assert!(deleted["g"].is_ok());
        assert_eq!(code(&deleted["none"]), ErrorCode::GroupIdNotFound);
        assert!(admin.list_groups().await.unwrap().is_empty());
        drop(broker);
    });
}

#[test]
fn the_cluster_tells_its_brokers_disks_quorum_features_and_producers() {
    run(4, |_, host, broker| async move {
        let cluster = cluster(&host).await;
        topic(&cluster, "t", &[]).await;
        produce(&cluster, "t", &[1]).await;
        let admin = Admin::new(&cluster);
        let item = TopicPartition::new("t", 0);
        let described = admin.describe_cluster().await.unwrap();
        let [own] = described.brokers.as_slice() else {
            panic!("{described:?}");
        };
        assert_eq!((described.controller, own.port), (Some(own.id), 9092));
        let dirs = admin.describe_log_dirs().await.unwrap();
        assert_eq!((dirs[0].broker, dirs[0].path.as_str()), (own.id, "/data"));
        let replica = dirs[0]
            .replicas
            .iter()
            .find(|replica| replica.partition == item);
        assert!(replica.unwrap().bytes > 0);
        let quorum = admin.describe_quorum().await.unwrap();
        assert_eq!((quorum.leader, quorum.voters.len()), (Some(own.id), 1));
        // A node that agrees on no feature with anybody lists none.
        for feature in admin.describe_features().await.unwrap() {
            assert!(feature.finalized.unwrap_or(0) <= feature.supported.1);
        }

        let producers = admin.describe_producers([item.clone()]).await.unwrap();
        assert_eq!(producers[&item].as_ref().unwrap().len(), 1);
        let elected = admin.elect_leaders(Election::Preferred, Some(std::slice::from_ref(&item)));
        assert_eq!(
            code(&elected.await.unwrap()[&item]),
            ErrorCode::ElectionNotNeeded
        );
        assert!(admin.list_reassignments().await.unwrap().is_empty());
        let targets = BTreeMap::from([(item.clone(), None)]);
        let stopped = admin.alter_reassignments(&targets).await.unwrap();
        assert_eq!(code(&stopped[&item]), ErrorCode::NoReassignmentInProgress);
        let targets = BTreeMap::from([(item.clone(), "/elsewhere".to_owned())]);
        let moved = admin.alter_log_dirs(own.id, &targets).await.unwrap();
        assert_eq!(code(&moved[&item]), ErrorCode::LogDirNotFound);
        drop(broker);
    });
}

/// Reads, and changes that can be made twice, are asked again until the broker is back.
#[test]
fn what_can_be_asked_again_is_while_the_broker_comes_and_goes() {
    for seed in 0..8 {
        run(seed, |world, host, broker| async move {
            let cluster = cluster(&host).await;
            topic(&cluster, "t", &[]).await;
            produce(&cluster, "t", &[1, 2, 3]).await;
            let admin = Admin::new(&cluster);
            let item = TopicPartition::new("t", 0);
            let disturbed = host.spawn.spawn(
                Pool::Data,
                "administrator",
                Box::pin({
                    let (admin, item) = (admin.clone(), item.clone());
                    async move {
                        for round in 0..20 {
                            let commit = OffsetAndMetadata::at(round);
                            let commits = BTreeMap::from([(item.clone(), commit)]);
                            let set = patient(|| admin.alter_offsets("g", &commits)).await;
                            assert!(set[&item].is_ok(), "{set:?}");
                            let told = patient(|| admin.committed_offsets(&["g"])).await;
                            assert_eq!(told["g"].as_ref().unwrap()[&item].offset, round);
                            let asked = || [(item.clone(), OffsetOf::End)];
                            let isolation = Isolation::ReadUncommitted;
                            let ends = patient(|| admin.list_offsets(asked(), isolation)).await;
                            assert_eq!(ends[&item].as_ref().unwrap().offset, Some(3));
                        }
                    }
                }),
            );
            let broker = trouble(world, broker, 6).await;
            assert!(disturbed.join().await, "seed {seed}");
            drop(broker);
        });
    }
}

/// Again for as long as that can help: a cut may take longer than one request's time.
async fn patient<K: Ord, V, F>(ask: impl Fn() -> F) -> BTreeMap<K, Result<V, Error>>
where
    F: Future<Output = Result<BTreeMap<K, Result<V, Error>>, Error>>,
{
    loop {
        match ask().await {
            Ok(told) => {
                let may_pass =
                    |outcome: &Result<V, Error>| outcome.as_ref().is_err_and(Error::is_retriable);
                if !told.values().any(may_pass) {
                    return told;
                }
            }
            Err(error) => assert!(error.is_retriable(), "{error}"),
        }
    }
}

/// A node of ours has no authorizer and knows nobody: it says so, in Kafka's words.
#[test]
fn access_control_is_refused_where_there_is_none() {
    run(9, |_, host, broker| async move {
        let admin = Admin::new(&cluster(&host).await);
        let acls = ["one", "other"]
            .map(|name| Acl::allow("User:alice", AclOperation::Read, AclResource::Topic, name));
        let made = admin.create_acls(&acls).await.unwrap();
        assert_eq!(made.len(), 2);
        assert!(
            acls.iter()
                .all(|acl| code(&made[acl]) == ErrorCode::SecurityDisabled)
        );
        let described = admin.describe_acls(&AclFilter::default()).await;
        assert_eq!(code(&described), ErrorCode::SecurityDisabled);
        let filter = AclFilter::default();
        let deleted = admin
            .delete_acls(std::slice::from_ref(&filter))
            .await
            .unwrap();
        assert_eq!(code(&deleted[&filter]), ErrorCode::SecurityDisabled);

        let refused = ErrorCode::DelegationTokenRequestNotAllowed;
        let new = NewDelegationToken::default();
        let token = admin.create_delegation_token(&new).await;
        assert_eq!(code(&token), refused);
        assert_eq!(code(&admin.describe_delegation_tokens(None).await), refused);
        let hmac = Bytes::from_static(b"nobody's");
        assert_eq!(
            code(&admin.renew_delegation_token(&hmac, None).await),
            refused
        );
        assert_eq!(
            code(&admin.expire_delegation_token(&hmac, None).await),
            refused
        );
        drop(broker);
    });
}
