//! What becomes of a group's offsets when topics are deleted: those of the topics that were go, those
//! of a later topic of the name, committed before anybody looked, stay.

use std::sync::Arc;

use millrace_core::Now;
use millrace_core::group::{Committed, Event, Groups, Record, Settings, Text};
use millrace_protocol::ids::TopicId;

const OLD: TopicId = TopicId::from_bytes([1; 16]);
const NEW: TopicId = TopicId::from_bytes([2; 16]);

fn offset(group: &Text, partition: i32, topic_id: TopicId) -> Record {
    Record::Offset {
        group: Arc::clone(group),
        topic: "t".into(),
        partition,
        value: Some(Committed {
            offset: 7,
            leader_epoch: -1,
            metadata: "".into(),
            committed_at_ms: 0,
            expires_at_ms: None,
            topic_id,
        }),
    }
}

/// The partitions of which offsets are removed.
fn removed(groups: &Groups, group: &Text, deleted: &[(&str, TopicId)]) -> Vec<i32> {
    let deleted = deleted.iter().map(|(name, id)| (Text::from(*name), *id));
    let event = Event::TopicsDeleted(deleted.collect());
    let now = Now {
        mono_ns: 0,
        wall_ms: 0,
    };
    let decision = groups.decide(now, &Settings::default(), group, event);
    let records = decision.records.iter();
    records
        .filter_map(|record| match record {
            Record::Offset {
                partition,
                value: None,
                ..
            } => Some(*partition),
            Record::Group(..) | Record::Offset { .. } => None,
        })
        .collect()
}

#[test]
fn offsets_go_with_their_topic_and_those_of_the_next_of_its_name_stay() {
    let group = Text::from("g");
    let mut groups = Groups::new();
    for (at, id) in (0..).zip([OLD, NEW, TopicId::ZERO]) {
        groups.replay(i64::from(at), &offset(&group, at, id));
    }
    assert_eq!(removed(&groups, &group, &[("t", OLD)]), [0]);
    assert_eq!(removed(&groups, &group, &[("t", TopicId::ZERO)]), [2]);
    assert_eq!(removed(&groups, &group, &[("t", OLD), ("t", NEW)]), [0, 1]);
    assert_eq!(removed(&groups, &group, &[("u", OLD)]), [] as [i32; 0]);
}
