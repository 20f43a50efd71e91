//! Consumer groups beside the workload: members that join, share, commit, leave, vanish, are away for
//! longer than their sessions and start again, alone or all of a group at once, or twice under one
//! static name, under all that happens to the broker; somebody who looks after the groups, somebody who
//! watches how far they came, one who keeps offsets without members, and one whose topic comes and goes
//! (G1–G7 of the catalogue).
//!
//! What always holds: all that is known stands in one book ([`book`]). When the workload stops nobody
//! does anything wrong any more, and every group comes to rest, each partition with one member, but for
//! those that everybody has left, which end as their sessions do; then the members leave, the groups
//! are removed, and nothing of them is left.

use std::sync::Arc;

use crate::faults::schedule::Draw;
use crate::ledger::Progress;
use crate::pulse::Pulse;
use crate::workload::Reach;

mod asks;
mod assign;
mod away;
pub mod book;
mod calls;
mod keeper;
mod loner;
mod lookout;
mod member;
mod passed;
mod passer;
mod register;
mod seats;
mod wire;

use book::Book;
use keeper::Keeper;
use loner::Loner;
use lookout::Lookout;
use member::Member;
use passer::Passer;

/// The topics that groups read; nobody writes there.
const TOPICS: [&str; 2] = ["grouped-0", "grouped-1"];

/// The groups of a run.
#[derive(Clone, Debug)]
pub struct Crowd {
    /// Each of them.
    groups: Vec<GroupPlan>,
    /// Partitions of each topic.
    partitions: [i32; 2],
    /// Between two acts of whoever looks after them, in milliseconds.
    pause_ms: u64,
    /// Between two commits of one who reads alone.
    alone_ms: u64,
    /// The clock is moved by more than offsets are kept.
    clock_leaps: bool,
}

/// How long offsets are kept that say nothing of it: the default of `offsets.retention.minutes`.
const OFFSETS_KEPT_MS: i64 = 7 * 24 * 3600 * 1000;

/// One group.
#[derive(Clone, Debug)]
struct GroupPlan {
    name: String,
    /// It gives up only what it is told to.
    cooperative: bool,
    members: u32,
    /// So many of them have static names.
    statics: u32,
    session_ms: u64,
    rebalance_ms: u64,
    /// Between two signs of life, about.
    beat_ms: u64,
    /// Some of its offsets have a time to live.
    expires: bool,
    /// The first of its static members is two processes, each of which takes the other's place.
    is_doubled: bool,
}

impl GroupPlan {
    fn protocol(&self) -> &'static str {
        if self.cooperative {
            "cooperative-sticky"
        } else {
            "range"
        }
    }
}

impl Crowd {
    /// The groups of a seed, and what the broker is told of groups.
    pub fn draw(seed: u64) -> (Self, Vec<(&'static str, String)>) {
        let mut draw = Draw::new(seed ^ 0x67_726f_7570);
        let expires = draw.below(3) == 0;
        let count = 1 + draw.below(3);
        let groups = (0..count)
            .map(|nth| group(&mut draw, nth, expires))
            .collect();
        let mut some = |values: [u64; 3]| values[draw.below(3) as usize].to_string();
        let settings = vec![
            ("group.min.session.timeout.ms", "1".to_owned()),
            ("group.initial.rebalance.delay.ms", some([0, 20, 300])),
            ("offsets.topic.num.partitions", some([1, 2, 5])),
            (
                "offsets.topic.segment.bytes",
                some([1_048_576, 1_048_576, 104_857_600]),
            ),
            ("offsets.load.buffer.size", some([1, 1000, 5_242_880])),
            (
                "offsets.retention.check.interval.ms",
                if expires {
                    some([10, 50, 300])
                } else {
                    // No run lasts that long.
                    "360000000".to_owned()
                },
            ),
        ];
        let partitions = [1 + draw.below(4) as i32, draw.below(3) as i32];
        let crowd = Self {
            groups,
            partitions: partitions.map(|count| count.max(1)),
            pause_ms: 5 + draw.below(100),
            alone_ms: draw.below(20),
            clock_leaps: false,
        };
        (crowd, settings)
    }

    /// Whether a clock that is off by so much makes a fresh offset look too old to be kept.
    pub fn is_a_leap(&self, off_ms: i64) -> bool {
        off_ms.abs() >= OFFSETS_KEPT_MS
    }

    /// The clock leaps in this run: what is committed while it is wrong may expire once it is right.
    pub fn set_clock_leaps(&mut self, leaps: bool) {
        self.clock_leaps = leaps;
    }

    fn expires(&self) -> bool {
        self.groups.iter().any(|group| group.expires)
    }
}

fn group(draw: &mut Draw, nth: u64, expires: bool) -> GroupPlan {
    let members = 1 + draw.below(4) as u32;
    let session_ms = 300 + draw.below(1500);
    let cooperative = draw.below(2) == 0;
    let statics = if draw.below(2) == 0 {
        draw.below(u64::from(members) + 1) as u32
    } else {
        0
    };
    GroupPlan {
        name: format!("group-{nth}"),
        cooperative,
        members,
        statics,
        is_doubled: statics > 0 && nth == 1,
        session_ms,
        rebalance_ms: session_ms + draw.below(1500),
        beat_ms: session_ms / 4,
        expires,
    }
}

/// A task of a workload: what it is called, and what it does.
pub(crate) type Task = (String, Role);

/// Somebody who has to do with groups.
#[derive(Debug)]
pub(crate) struct Role(Part);

#[derive(Debug)]
enum Part {
    Member(Box<Member>),
    Keeper(Box<Keeper>),
    Lookout(Lookout),
    Loner(Loner),
    Passer(Box<Passer>),
}

impl Role {
    /// Does it until the workload stops.
    pub(crate) async fn run(
        self,
        reach: &Reach,
        progress: &Progress,
        pulse: &Pulse,
    ) -> Result<(), String> {
        match self.0 {
            Part::Member(member) => member.run(reach, progress, pulse).await,
            Part::Keeper(keeper) => keeper.run(reach, progress, pulse).await,
            Part::Lookout(lookout) => lookout.run(reach, progress, pulse).await,
            Part::Loner(loner) => loner.run(reach, progress, pulse).await,
            Part::Passer(passer) => passer.run(reach, progress, pulse).await,
        }
    }
}

/// Everybody of a crowd.
pub(crate) fn tasks(crowd: &Crowd) -> Vec<Task> {
    let all_expire = crowd.expires() && crowd.clock_leaps;
    let book = Arc::new(Book::new(crowd.expires(), all_expire));
    let (mut tasks, mut doubles) = (Vec::new(), Vec::new());
    for plan in &crowd.groups {
        let plan = Arc::new(plan.clone());
        for nth in 0..plan.members {
            let number = tasks.len() as u64;
            let member = Member::new(number, &plan, nth, &book);
            let name = format!("member {nth} of {}", plan.name);
            if plan.is_doubled && nth == 0 {
                let twin = Role(Part::Member(Box::new(member.twin())));
                doubles.push((format!("{name}, once more"), twin));
            }
            tasks.push((name, Role(Part::Member(Box::new(member)))));
        }
    }
    tasks.extend(doubles);
    let keeper = Keeper::new(crowd, &book);
    let role = Role(Part::Keeper(Box::new(keeper)));
    tasks.push(("keeper of groups".to_owned(), role));
    let lookout = Role(Part::Lookout(Lookout::new(crowd, &book)));
    tasks.push(("lookout of groups".to_owned(), lookout));
    let loner = Role(Part::Loner(Loner::new(crowd.alone_ms, &book)));
    tasks.push(("one who reads alone".to_owned(), loner));
    // What a crash leaves of a topic's offsets goes at the next look for what expired.
    if crowd.expires() {
        let passer = Passer::new(crowd.alone_ms, all_expire, &book);
        let role = Role(Part::Passer(Box::new(passer)));
        tasks.push(("one whose topic comes and goes".to_owned(), role));
    }
    tasks
}

/// What is left in a broker of groups that were all removed, by its own metrics; `Ok` for nothing.
pub(crate) fn nothing_left(metrics: &str) -> Result<(), String> {
    let gauge = "millrace_groups_bytes ";
    let value = metrics.lines().find_map(|line| line.strip_prefix(gauge));
    match value.map(str::trim) {
        Some("0") => Ok(()),
        other => Err(format!("groups that are gone hold {other:?} bytes")),
    }
}
