//! The language of the group scripts: one command a line, `name key=value flag`.
//!
//! The group is `g` unless `group=` says otherwise. Records lie in a log; what is printed as
//! `write` went into it, what is printed as `N:` is the answer under token N, `after M` that the
//! record at offset M must be committed before it leaves. `reload` loads what the log holds, as it
//! was encoded, and compares the hard state with the live one.

mod show;

use std::fmt::Write as _;
use std::sync::Arc;

use millrace_core::Now;
use millrace_core::group::{
    Commit, CommitPartition, Event, Groups, Join, Leaving, Membership, Protocol, Record, Request,
    Settings, Sync, Text,
};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::ids::TopicId;

use crate::Script;
use crate::args::Args;

/// A coordinator, its log, and the clock it is told.
pub(crate) struct World {
    now: Now,
    settings: Settings,
    groups: Groups,
    log: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    next_id: u32,
}

impl Default for World {
    fn default() -> Self {
        Self {
            now: Now {
                mono_ns: 0,
                wall_ms: 1_000_000,
            },
            settings: Settings::default(),
            groups: Groups::new(),
            log: Vec::new(),
            next_id: 1,
        }
    }
}

impl Script for World {
    const DIRECTORY: &str = "group";

    fn command(&mut self, line: &str) -> String {
        let args = Args::parse(line);
        let out = match args.name() {
            "settings" => self.set(&args),
            "time" => self.time(&args),
            "gone" => self.event(&args, Event::Gone(args.token())),
            "expire" => self.event(&args, Event::Expire(self.now.wall_ms)),
            "topics-deleted" => {
                let topics = args.texts("topics").into_iter();
                let topics = topics.map(|topic| (topic, TopicId::ZERO));
                self.event(&args, Event::TopicsDeleted(topics.collect()))
            }
            "refused-append" => self.refused_append(&args),
            "describe" => show::description(self.groups.describe(args.group())),
            "list" => self
                .groups
                .list()
                .map(|listed| show::listed(&listed))
                .collect(),
            "offsets" => self.groups.offsets(args.group()).map(show::kept).collect(),
            "reload" => self.reload(),
            _ => {
                let request = self.request(&args);
                self.event(&args, Event::Request(args.token(), request))
            }
        };
        args.assert_all_used();
        out
    }
}

impl World {
    fn set(&mut self, args: &Args) -> String {
        let default = self.settings;
        self.settings = Settings {
            initial_rebalance_delay_ms: args
                .unsigned("initial-delay-ms", default.initial_rebalance_delay_ms),
            members_max: args.count("members-max", default.members_max),
            offset_metadata_bytes_max: args
                .count("metadata-bytes", default.offset_metadata_bytes_max),
            offsets_retention_ms: args.number("retention-ms", default.offsets_retention_ms),
            ..default
        };
        "ok\n".to_owned()
    }

    fn request(&mut self, args: &Args) -> Request {
        match args.name() {
            "join" => Request::Join(self.join(args)),
            "sync" => Request::Sync(Sync {
                member: args.membership(),
                protocol_type: args.text("type"),
                protocol: args.text("protocol"),
                assignments: args
                    .pairs_of("assign")
                    .map(|(id, bytes)| (id.into(), bytes.as_bytes().into()))
                    .collect(),
            }),
            "heartbeat" => Request::Heartbeat(args.membership()),
            "leave" => Request::Leave(leaving(args)),
            "commit" => Request::Commit(Commit {
                member: args.membership(),
                absent: ErrorCode::IllegalGeneration,
                retention_ms: args.optional("keep-ms").map(|_| args.number("keep-ms", 0)),
                offsets: commits(args),
            }),
            "delete-offsets" => Request::DeleteOffsets(partitions(args)),
            "delete" => Request::Delete,
            other => panic!("no such command: {other}"),
        }
    }

    fn join(&mut self, args: &Args) -> Join {
        let protocol = |(name, topics): (&str, &str)| Protocol {
            name: name.into(),
            metadata: show::subscription(topics).into(),
        };
        let new_member_id = format!("m{}", self.next_id);
        let member_id = args.optional("id").unwrap_or_default();
        self.next_id += u32::from(member_id.is_empty());
        Join {
            member_id: member_id.into(),
            group_instance_id: args.text("instance"),
            new_member_id: new_member_id.into(),
            client_id: "client".into(),
            client_host: "/127.0.0.1".into(),
            session_timeout_ms: args.int("session-ms", 10_000),
            rebalance_timeout_ms: args.int("rebalance-ms", 60_000),
            protocol_type: args.optional("type").unwrap_or("consumer").into(),
            protocols: args
                .pairs_of_or("protocols", "range:t")
                .map(protocol)
                .collect(),
            known_member_id_required: args.flag("known"),
            may_skip_assignment: args.flag("skip"),
        }
    }

    /// Decides, appends, replays, applies.
    fn event(&mut self, args: &Args, event: Event) -> String {
        let group = Text::from(args.group());
        self.happens(&group, event)
    }

    fn happens(&mut self, group: &Text, event: Event) -> String {
        let decision = self.groups.decide(self.now, &self.settings, group, event);
        let mut out = String::new();
        for record in &decision.records {
            let offset = i64::try_from(self.log.len()).expect("a script is short");
            writeln!(out, "write {}", show::record(record)).expect("a string takes text");
            self.log.push(record.encode());
            self.groups.replay(offset, record);
        }
        let (replies, after) = self.groups.apply(decision);
        for (token, reply) in replies {
            let after = if after < 0 {
                String::new()
            } else {
                format!(", after {after}")
            };
            writeln!(out, "{}: {}{after}", token.0, show::reply(&reply))
                .expect("a string takes text");
        }
        out
    }

    /// The decision comes to nothing: its records could not be written.
    fn refused_append(&mut self, args: &Args) -> String {
        let request = Request::Sync(Sync {
            member: args.membership(),
            protocol_type: None,
            protocol: None,
            assignments: Vec::new(),
        });
        let event = Event::Request(args.token(), request);
        let group = Text::from(args.group());
        let decision = self.groups.decide(self.now, &self.settings, &group, event);
        format!("{} records are dropped\n", decision.records.len())
    }

    /// Time passes; what becomes due on the way happens then.
    fn time(&mut self, args: &Args) -> String {
        let to_ns = self.now.mono_ns + args.unsigned("ms", 0) * 1_000_000;
        let mut out = String::new();
        while let Some(due_ns) = self.groups.next_due_ns().filter(|due_ns| *due_ns <= to_ns) {
            self.pass_to(due_ns.max(self.now.mono_ns));
            let group = self.groups.due(self.now).expect("it is due").clone();
            out.push_str(&self.happens(&group, Event::Timer));
        }
        self.pass_to(to_ns);
        self.now.wall_ms += args.number("wall-jump-ms", 0);
        out
    }

    fn pass_to(&mut self, to_ns: u64) {
        let ms = (to_ns - self.now.mono_ns) / 1_000_000;
        self.now.wall_ms += i64::try_from(ms).expect("a script is short");
        self.now.mono_ns = to_ns;
    }

    fn reload(&mut self) -> String {
        let mut groups = Groups::new();
        for (offset, (key, value)) in (0..).zip(&self.log) {
            let record = Record::decode(key, value.as_deref()).expect("it was written so");
            groups.replay(offset, &record.expect("its kind is known"));
        }
        self.groups.committed(i64::MAX);
        groups.loaded(self.now);
        assert!(
            groups.keeps_the_same(&self.groups),
            "what is loaded is what was live"
        );
        self.groups = groups;
        format!("{} records\n", self.log.len())
    }
}

impl Args {
    fn group(&self) -> &str {
        self.optional("group").unwrap_or("g")
    }

    fn text(&self, key: &str) -> Option<Text> {
        self.optional(key).map(Text::from)
    }

    fn texts(&self, key: &str) -> Vec<Text> {
        let texts = self.optional(key).unwrap_or_default().split(',');
        texts
            .filter(|text| !text.is_empty())
            .map(Text::from)
            .collect()
    }

    /// `a:b,c:d`.
    fn pairs_of(&self, key: &str) -> impl Iterator<Item = (&str, &str)> {
        self.pairs_of_or(key, "")
    }

    fn pairs_of_or<'a>(
        &'a self,
        key: &str,
        default: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        let pairs = self.optional(key).unwrap_or(default).split(',');
        let pairs = pairs.filter(|pair| !pair.is_empty());
        pairs.map(|pair| pair.split_once(':').unwrap_or((pair, "")))
    }

    fn membership(&self) -> Membership {
        Membership {
            member_id: self.optional("id").unwrap_or_default().into(),
            group_instance_id: self.text("instance"),
            generation: self.int("generation", -1),
        }
    }
}

fn leaving(args: &Args) -> Vec<Leaving> {
    let instance = args.text("instance");
    let mut ids = args.texts("ids");
    if ids.is_empty() {
        ids.push(Text::from(""));
    }
    let leaving = ids.into_iter().map(|member_id| Leaving {
        member_id,
        group_instance_id: instance.clone(),
    });
    leaving.collect()
}

/// `topic:partition=offset` as `t:0:5`.
fn commits(args: &Args) -> Vec<CommitPartition> {
    let metadata: Text = args.optional("metadata").unwrap_or_default().into();
    let commit = |(topic, rest): (&str, &str)| {
        let (partition, offset) = rest
            .split_once(':')
            .expect("an offset is topic:partition:offset");
        CommitPartition {
            topic: topic.into(),
            topic_id: TopicId::ZERO,
            partition: partition.parse().expect("a partition is a number"),
            offset: offset.parse().expect("an offset is a number"),
            leader_epoch: -1,
            metadata: Arc::clone(&metadata),
        }
    };
    args.pairs_of("offsets").map(commit).collect()
}

fn partitions(args: &Args) -> Vec<(Text, i32)> {
    let partition = |(topic, number): (&str, &str)| {
        let number = number.parse().expect("a partition is a number");
        (Text::from(topic), number)
    };
    args.pairs_of("offsets").map(partition).collect()
}
