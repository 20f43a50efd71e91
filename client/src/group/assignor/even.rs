//! Assigning without a memory: by range, and in turn.
//!
//! What always holds: static members come first, in the order of what they call themselves, so that
//! their shares don't change with their member ids (KIP-345).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Applicant, Counts, Shares};
use crate::TopicPartition;

/// Each topic on its own.
pub(super) fn range(members: &BTreeMap<String, Applicant>, counts: &Counts) -> Shares {
    let mut shares = none_yet(members);
    let in_order = in_order(members);
    for (topic, count) in counts {
        let subscribers: Vec<_> = in_order
            .iter()
            .filter(|id| subscribes(members, id, topic))
            .collect();
        let Ok(subscriber_count) = i32::try_from(subscribers.len()) else {
            continue;
        };
        if subscriber_count == 0 {
            continue;
        }
        let (each, more) = (count / subscriber_count, count % subscriber_count);
        let mut next = 0;
        for (at, id) in (0..).zip(subscribers) {
            let end = next + each + i32::from(at < more);
            let partitions = (next..end).map(|index| partition(topic, index));
            shares.entry((*id).clone()).or_default().extend(partitions);
            next = end;
        }
    }
    shares
}

/// All partitions in turn; whoever doesn't subscribe to a topic is passed over.
pub(super) fn round_robin(members: &BTreeMap<String, Applicant>, counts: &Counts) -> Shares {
    let mut shares = none_yet(members);
    let in_order = in_order(members);
    let mut turn = 0;
    for (topic, count) in counts {
        if !in_order.iter().any(|id| subscribes(members, id, topic)) {
            continue;
        }
        for index in 0..*count {
            while !subscribes(members, in_order[turn % in_order.len()], topic) {
                turn += 1;
            }
            let id = in_order[turn % in_order.len()].clone();
            turn += 1;
            shares
                .entry(id)
                .or_default()
                .insert(partition(topic, index));
        }
    }
    shares
}

fn none_yet(members: &BTreeMap<String, Applicant>) -> Shares {
    let empty = |id: &String| (id.clone(), std::collections::BTreeSet::new());
    members.keys().map(empty).collect()
}

fn in_order(members: &BTreeMap<String, Applicant>) -> Vec<&String> {
    let mut ids: Vec<_> = members.iter().collect();
    ids.sort_by_key(|(id, member)| (member.instance_id.is_none(), &member.instance_id, *id));
    ids.into_iter().map(|(id, _)| id).collect()
}

fn subscribes(members: &BTreeMap<String, Applicant>, id: &str, topic: &str) -> bool {
    let member = members.get(id);
    member.is_some_and(|member| member.subscription.topics.contains(topic))
}

fn partition(topic: &Arc<str>, partition: i32) -> TopicPartition {
    TopicPartition {
        topic: Arc::clone(topic),
        partition,
    }
}
