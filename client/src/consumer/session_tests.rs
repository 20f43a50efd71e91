//! The session against a model of the broker's side of KIP-227, while requests and answers are lost
//! and the broker forgets sessions.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;

fn part(key: &Key, topic_id: u8, leader_epoch: i32, offset: i64) -> Part<i64> {
    Part {
        key: key.clone(),
        topic_id: TopicId::from_bytes([topic_id; 16]),
        leader_epoch,
        turn: 0,
        want: offset,
    }
}

type Row = (TopicId, i32, i64);

/// What is asked of each partition, which is known by its topic's id.
type Known = BTreeMap<(TopicId, i32), (i32, i64)>;

/// What a broker keeps of one client's sessions.
#[derive(Debug, Default)]
struct Broker {
    sessions: BTreeMap<i32, (i32, Known)>,
    next_id: i32,
}

impl Broker {
    /// As `FetchManager` of Kafka answers, and our broker.
    fn hear(&mut self, ask: &Ask, parts: &[Part<i64>], keeps: bool) -> (ErrorCode, i32) {
        let rows = |parts: &[&Part<i64>]| -> BTreeMap<_, _> {
            let row = |part: &&Part<i64>| {
                let place = (part.topic_id, part.key.1);
                (place, (part.leader_epoch, part.want))
            };
            parts.iter().map(row).collect()
        };
        let named: Vec<_> = ask.named.iter().map(|at| &parts[*at]).collect();
        if ask.epoch == 0 {
            assert!(ask.forgotten.is_empty(), "a full request forgets nothing");
            self.sessions.remove(&ask.id);
            if !keeps {
                return (ErrorCode::None, 0);
            }
            self.next_id += 1;
            self.sessions.insert(self.next_id, (1, rows(&named)));
            return (ErrorCode::None, self.next_id);
        }
        let Some((epoch, known)) = self.sessions.get_mut(&ask.id) else {
            return (ErrorCode::FetchSessionIdNotFound, 0);
        };
        if *epoch != ask.epoch {
            return (ErrorCode::InvalidFetchSessionEpoch, 0);
        }
        *epoch = epoch.checked_add(1).unwrap_or(1);
        for ((_, partition), topic_id) in ask.forgotten.iter().chain(&ask.replaced) {
            let gone = known.remove(&(*topic_id, *partition));
            assert!(gone.is_some(), "{ask:?} forgets what isn't known");
        }
        known.extend(rows(&named));
        (ErrorCode::None, ask.id)
    }

    fn knows(&self, id: i32) -> Vec<Row> {
        let known = self
            .sessions
            .get(&id)
            .into_iter()
            .flat_map(|(_, rows)| rows);
        let row = |((topic_id, partition), (_, offset)): (&(TopicId, i32), &(i32, i64))| {
            (*topic_id, *partition, *offset)
        };
        known.map(row).collect()
    }
}

fn wanted(parts: &[Part<i64>]) -> Vec<Row> {
    let mut rows: Vec<_> = parts
        .iter()
        .map(|part| (part.topic_id, part.key.1, part.want))
        .collect();
    rows.sort();
    rows
}

/// What happens to one request.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// It is answered.
    Answered,
    /// It never reaches the broker.
    Lost,
    /// Its answer never reaches the client.
    AnswerLost,
    /// The broker forgets all sessions before it.
    Forgotten,
    /// The broker keeps no session of it.
    Refused,
}

fn way() -> impl Strategy<Value = Way> {
    prop_oneof![
        6 => Just(Way::Answered),
        1 => Just(Way::Lost),
        1 => Just(Way::AnswerLost),
        1 => Just(Way::Forgotten),
        1 => Just(Way::Refused),
    ]
}

proptest! {
    #[test]
    fn the_broker_goes_by_what_is_wanted(
        steps in prop::collection::vec(
            (prop::collection::btree_map(0..6_i32, (1..3_u8, 0..3_i32, 0..3_i64), 0..6), way()),
            1..60,
        ),
    ) {
        let topic: Arc<str> = "t".into();
        let (mut session, mut broker) = (Session::default(), Broker::default());
        // How many answers in a row said that the session isn't there.
        let mut refused = 0;
        for (parts, way) in steps {
            let parts: Vec<_> = parts
                .into_iter()
                .map(|(index, (id, epoch, offset))| part(&(topic.clone(), index), id, epoch, offset))
                .collect();
            if matches!(way, Way::Forgotten) {
                broker.sessions.clear();
            }
            let ask = session.ask(&parts);
            prop_assert!(ask.named.len() <= parts.len());
            match way {
                Way::Lost => session.lost(),
                Way::AnswerLost => {
                    broker.hear(&ask, &parts, true);
                    session.lost();
                }
                Way::Answered | Way::Forgotten | Way::Refused => {
                    let keeps = !matches!(way, Way::Refused);
                    let (code, id) = broker.hear(&ask, &parts, keeps);
                    if code == ErrorCode::None {
                        refused = 0;
                        if id != 0 {
                            prop_assert_eq!(broker.knows(id), wanted(&parts));
                        } else {
                            prop_assert_eq!(ask.named.len(), parts.len());
                        }
                    } else {
                        refused += 1;
                        prop_assert!(is_of_session(code) && !ask.is_full());
                        prop_assert_eq!(refused, 1, "the second request is a full one");
                    }
                    session.answered(code, id);
                }
            }
            // A client that loses answers leaves no session behind that it could know of.
            prop_assert!(broker.sessions.len() <= 60);
        }
    }
}

#[test]
fn what_has_not_changed_is_not_named_again() {
    let key = |index| (Arc::from("t"), index);
    let mut session = Session::default();
    let mut parts = vec![part(&key(0), 1, 0, 5), part(&key(1), 1, 0, 7)];
    assert_eq!(session.ask(&parts).named, [0, 1]);
    session.answered(ErrorCode::None, 9);
    let ask = session.ask(&parts);
    assert_eq!((ask.id, ask.epoch, ask.named.len()), (9, 1, 0));
    session.answered(ErrorCode::None, 9);
    parts[1].want = 8;
    assert_eq!(session.ask(&parts).named, [1]);
    session.answered(ErrorCode::None, 9);
    let ask = session.ask(&parts[1..]);
    assert_eq!(ask.forgotten, [(key(0), TopicId::from_bytes([1; 16]))]);
    assert_eq!((ask.epoch, ask.named.len()), (3, 0));
}

#[test]
fn an_epoch_wraps_to_one() {
    let mut session = Session {
        id: 4,
        epoch: i32::MAX,
        ..Session::default()
    };
    session.ask(&[]);
    session.answered(ErrorCode::None, 4);
    assert_eq!(session.epoch, 1);
}

#[test]
fn an_answer_of_another_session_ends_it() {
    let mut session = Session::default();
    session.ask(&[]);
    session.answered(ErrorCode::None, 4);
    session.ask(&[]);
    session.answered(ErrorCode::None, 5);
    let ask = session.ask(&[]);
    assert!(ask.is_full());
    assert_eq!(ask.id, 4, "the session that is left is closed");
}
