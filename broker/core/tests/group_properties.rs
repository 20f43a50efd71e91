//! Any sequence of requests, hang-ups and time, with appends that fail now and then: every request
//! is answered exactly once, what is loaded from the log is what was live, an offset is the last
//! one that was committed, and a group whose members have all fallen silent is empty.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millrace_core::Now;
use millrace_core::group::{
    Commit, CommitPartition, Event, Groups, Join, Leaving, Membership, Protocol, Record, Reply,
    Request, Settings, Sync, Text, Token,
};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::ids::TopicId;
use proptest::prelude::*;

/// What happens next. Members are named by how many ids ago theirs was given out.
#[derive(Clone, Debug)]
enum Step {
    Join {
        ago: Option<u8>,
        instance: Option<bool>,
        sticky: bool,
        known: bool,
    },
    Sync {
        ago: u8,
        behind: bool,
    },
    Heartbeat {
        ago: u8,
    },
    Leave {
        ago: u8,
    },
    Commit {
        ago: u8,
        offset: i64,
    },
    Gone {
        nth: u8,
    },
    Time {
        ms: u64,
    },
    FailAppend,
    Reload,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ago = 0..4_u8;
    let join = (
        prop::option::of(ago.clone()),
        prop::option::weighted(0.3, any::<bool>()),
        any::<bool>(),
        any::<bool>(),
    );
    let step = prop_oneof![
        6 => join.prop_map(|(ago, instance, sticky, known)| Step::Join { ago, instance, sticky, known }),
        5 => (ago.clone(), prop::bool::weighted(0.1)).prop_map(|(ago, behind)| Step::Sync { ago, behind }),
        3 => ago.clone().prop_map(|ago| Step::Heartbeat { ago }),
        1 => ago.clone().prop_map(|ago| Step::Leave { ago }),
        2 => (ago, 0..100_i64).prop_map(|(ago, offset)| Step::Commit { ago, offset }),
        1 => any::<u8>().prop_map(|nth| Step::Gone { nth }),
        4 => prop_oneof![Just(0), Just(3_000), 0..20_000_u64].prop_map(|ms| Step::Time { ms }),
        1 => Just(Step::FailAppend),
        1 => Just(Step::Reload),
    ];
    prop::collection::vec(step, 1..60)
}

#[derive(Default)]
struct World {
    now: Now,
    groups: Groups,
    log: Vec<Record>,
    ids: Vec<Text>,
    waiting: BTreeSet<Token>,
    next_token: u64,
    generation: i32,
    committed: BTreeMap<Token, i64>,
    newest_offset: Option<i64>,
    fail_next: bool,
}

impl World {
    fn member(&self, ago: u8) -> Membership {
        let at = self.ids.len().checked_sub(usize::from(ago) + 1);
        Membership {
            member_id: at.map_or_else(|| "nobody".into(), |at| Arc::clone(&self.ids[at])),
            group_instance_id: None,
            generation: self.generation,
        }
    }

    fn ask(&mut self, request: Request) {
        self.next_token += 1;
        let token = Token(self.next_token);
        if let Request::Commit(commit) = &request {
            self.committed.insert(token, commit.offsets[0].offset);
        }
        self.waiting.insert(token);
        let refused = request.refused(ErrorCode::CoordinatorNotAvailable);
        if !self.happens(Event::Request(token, request)) {
            self.answered(token, &refused);
        }
    }

    fn log_end(&self) -> i64 {
        i64::try_from(self.log.len()).expect("a run is short")
    }

    /// Whether it could be written.
    fn happens(&mut self, event: Event) -> bool {
        let group = Text::from("g");
        let decision = self
            .groups
            .decide(self.now, &Settings::default(), &group, event);
        if !decision.records.is_empty() && std::mem::take(&mut self.fail_next) {
            return false;
        }
        for record in &decision.records {
            let (key, value) = record.encode();
            let read = Record::decode(&key, value.as_deref());
            assert_eq!(read, Ok(Some(record.clone())), "what is written is read");
            self.groups.replay(self.log_end(), record);
            self.log.push(record.clone());
        }
        let (replies, after) = self.groups.apply(decision);
        assert!(after < self.log_end(), "it waits for what is written");
        for (token, reply) in replies {
            self.answered(token, &reply);
        }
        true
    }

    fn answered(&mut self, token: Token, reply: &Reply) {
        assert!(
            self.waiting.remove(&token),
            "{token:?} is answered once: {reply:?}"
        );
        match reply {
            Reply::Join(joined) if joined.error == ErrorCode::None => {
                assert!(
                    joined.generation >= self.generation,
                    "generations only rise"
                );
                self.generation = joined.generation;
            }
            Reply::Offsets(Ok(codes)) if codes == &[ErrorCode::None] => {
                self.newest_offset = self.committed.get(&token).copied();
            }
            Reply::Join(_)
            | Reply::Sync(_)
            | Reply::Code(_)
            | Reply::Leave(_)
            | Reply::Offsets(_) => {}
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Join {
                ago,
                instance,
                sticky,
                known,
            } => self.join(ago, instance, sticky, known),
            Step::Sync { ago, behind } => {
                let mut member = self.member(ago);
                member.generation -= i32::from(behind);
                let assignments = self
                    .ids
                    .iter()
                    .map(|id| (Arc::clone(id), id.as_bytes().into()));
                let assignments = assignments.collect();
                let (protocol_type, protocol) = (None, None);
                self.ask(Request::Sync(Sync {
                    member,
                    protocol_type,
                    protocol,
                    assignments,
                }));
            }
            Step::Heartbeat { ago } => self.ask(Request::Heartbeat(self.member(ago))),
            Step::Leave { ago } => {
                let member_id = self.member(ago).member_id;
                self.ask(Request::Leave(vec![Leaving {
                    member_id,
                    group_instance_id: None,
                }]));
            }
            Step::Commit { ago, offset } => self.commit(ago, offset),
            Step::Gone { nth } => {
                let nth = self.waiting.iter().nth(usize::from(nth)).copied();
                if let Some(token) = nth {
                    self.waiting.remove(&token);
                    assert!(self.happens(Event::Gone(token)) || self.waiting.insert(token));
                }
            }
            Step::Time { ms } => self.pass(ms),
            Step::FailAppend => self.fail_next = true,
            Step::Reload => self.reload(),
        }
        let left = self
            .groups
            .offsets("g")
            .next()
            .map(|(_, _, kept)| kept.offset);
        assert_eq!(
            left, self.newest_offset,
            "the offset is the last one that was committed"
        );
    }

    fn join(&mut self, ago: Option<u8>, instance: Option<bool>, sticky: bool, known: bool) {
        let protocol = |name: &str| Protocol {
            name: name.into(),
            metadata: [0; 10].into(),
        };
        let names: &[&str] = if sticky {
            &["sticky", "range"]
        } else {
            &["range"]
        };
        let known_id = ago.map(|ago| self.member(ago).member_id);
        let new_member_id = Text::from(format!("m{}", self.next_token));
        if known_id.is_none() {
            self.ids.push(Arc::clone(&new_member_id));
        }
        self.ask(Request::Join(Join {
            member_id: known_id.unwrap_or_else(|| "".into()),
            group_instance_id: instance.map(|first| if first { "a".into() } else { "b".into() }),
            new_member_id,
            client_id: "c".into(),
            client_host: "/h".into(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 20_000,
            protocol_type: "consumer".into(),
            protocols: names.iter().map(|name| protocol(name)).collect(),
            known_member_id_required: known,
            may_skip_assignment: sticky,
        }));
    }

    fn commit(&mut self, ago: u8, offset: i64) {
        self.ask(Request::Commit(Commit {
            member: self.member(ago),
            absent: ErrorCode::GroupIdNotFound,
            retention_ms: None,
            offsets: vec![CommitPartition {
                topic: "t".into(),
                topic_id: TopicId::ZERO,
                partition: 0,
                offset,
                leader_epoch: -1,
                metadata: "".into(),
            }],
        }));
    }

    fn pass(&mut self, ms: u64) {
        let to_ns = self.now.mono_ns + ms * 1_000_000;
        while let Some(due_ns) = self.groups.next_due_ns().filter(|due_ns| *due_ns <= to_ns) {
            self.now.mono_ns = due_ns.max(self.now.mono_ns);
            let group = self.groups.due(self.now).expect("it is due").clone();
            if !self.happens(Event::Timer) {
                self.groups.postpone(&group, self.now.mono_ns + 1_000_000);
            }
        }
        self.now.mono_ns = to_ns;
    }

    fn reload(&mut self) {
        let mut groups = Groups::new();
        for (offset, record) in (0..).zip(&self.log) {
            groups.replay(offset, record);
        }
        self.groups.committed(i64::MAX);
        groups.loaded(self.now);
        assert!(
            groups.keeps_the_same(&self.groups),
            "what is loaded is what was live"
        );
        let before = self
            .groups
            .describe("g")
            .filter(|group| group.state == "Stable");
        if before.is_some() {
            assert_eq!(
                groups.describe("g"),
                before,
                "whoever has an assignment keeps it"
            );
        }
        self.groups = groups;
        // Whoever waited is told that the coordinator moved. A generation that was not written down
        // is begun again.
        self.waiting.clear();
        self.generation = self
            .groups
            .describe("g")
            .map_or(0, |group| group.generation);
    }
}

proptest! {
    #[test]
    fn requests_are_answered_once_and_what_is_loaded_is_what_was_live(steps in steps()) {
        let mut world = World { groups: Groups::new(), ..World::default() };
        for step in steps {
            world.step(&step);
        }
        world.fail_next = false;
        world.pass(400_000);
        prop_assert!(world.waiting.is_empty(), "never answered: {:?}", world.waiting);
        let group = world.groups.describe("g");
        prop_assert!(group.is_none_or(|group| group.members.is_empty() && group.state == "Empty"));
        world.reload();
        // The group's two entries, its generation, an offset and its topic.
        let most = if world.groups.describe("g").is_some() { 3_000 } else { 0 };
        prop_assert!(world.groups.held_bytes() <= most, "nothing else is held");
    }
}

#[test]
fn whoever_asks_for_a_group_that_is_gone_waits_until_that_is_committed() {
    let mut world = World {
        groups: Groups::new(),
        ..World::default()
    };
    world.generation = -1;
    world.commit(0, 5);
    world.ask(Request::Delete);
    assert_eq!(world.groups.newest_offset("g"), 1);
    world.groups.committed(1);
    assert_eq!(
        world.groups.newest_offset("g"),
        1,
        "its end is not committed yet"
    );
    world.groups.committed(2);
    assert_eq!(world.groups.newest_offset("g"), -1);
    assert_eq!(world.groups.kept().count(), 0);
}
