//! What is known of all groups, by everybody who uses them: what was asked and answered, in the order
//! of one count, and what no answer may say.
//!
//! What always holds: the count moves on with each thing that is noted, so that of two things it is
//! known which was over before the other began; a conviction is certain, whatever the faults.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use millrace_client::Topic;
use millrace_host::Mono;
use millrace_protocol::error_code::ErrorCode;
use tokio::sync::watch;

use super::away::Away;
use super::calls::{Kept, Seat};
use super::register::{Register, State, Write, Wrong};
use super::seats::{Given, Seats};
use super::wire::Place;
use crate::anomaly::Anomaly;
use crate::ledger::Progress;

/// What groups break, by the catalogue.
pub const DOUBLE: &str = "double assignment";
/// A partition that nobody has, or a group that doesn't come to rest.
pub const UNSETTLED: &str = "group unsettled";
/// A member that is none any more was let in.
pub const STALE: &str = "stale member";
/// An offset that is lost, or back again.
pub const OFFSET: &str = "group offset";
/// An offset that expired while its group had it in use.
pub const EXPIRED: &str = "offset expired";
/// Anything else that an answer about groups may not say.
pub const ANSWER: &str = "group answer";

/// Codes of a commit or deletion of which nothing is known.
const OPEN: [ErrorCode; 4] = [
    ErrorCode::NotCoordinator,
    ErrorCode::CoordinatorNotAvailable,
    ErrorCode::RequestTimedOut,
    ErrorCode::UnknownServerError,
];

/// What is known.
#[derive(Debug, Default)]
pub(super) struct Book {
    inner: Mutex<Inner>,
    /// The group of which somebody began to change offsets last.
    changed: watch::Sender<String>,
    /// Groups that everybody has left.
    pub(super) away: Away,
}

#[derive(Debug, Default)]
struct Inner {
    now: u64,
    /// The broker's life when something was noted last.
    life: usize,
    numbers: u64,
    topics: Vec<Topic>,
    groups: BTreeMap<String, Group>,
    /// Members that have not ended.
    members: usize,
    /// Groups of which nothing is kept any more may end by themselves.
    vanish: bool,
    /// Any offset may be too old at once, as the clock leaps.
    all_expire: bool,
}

/// What is known of one group.
#[derive(Debug, Default)]
struct Group {
    offsets: BTreeMap<Place, Register>,
    seats: Seats,
    /// When it may have been removed, each time: its numbers begin anew.
    removals: Vec<Write>,
    /// Who missed an offset that may have expired only if this member is none any more, and when.
    missed: BTreeMap<String, (u64, String)>,
    /// It may end by itself when it is empty.
    vanishes: bool,
    /// It has been at rest.
    finished: bool,
    /// The broker's life in which something of it was told last.
    served: Option<usize>,
    /// The broker's life in which a list lacked it. One whose directory is away, or was lost, is
    /// served by nobody and in no list: if it is served again in that life, it should have been there.
    unlisted: Option<usize>,
}

impl Inner {
    /// The next moment, in a life of the broker.
    fn tick(&mut self, life: usize) -> u64 {
        self.now += 1;
        if life > self.life {
            let (now, before) = (self.now, life - 1);
            for group in self.groups.values_mut() {
                for register in group.offsets.values_mut() {
                    register.life_ended(before, now);
                }
                let open = group.removals.iter_mut();
                for removal in open.filter(|one| one.end == u64::MAX) {
                    removal.end = now;
                }
            }
            self.life = life;
        }
        self.now
    }

    fn group(&mut self, name: &str) -> &mut Group {
        let vanishes = self.vanish;
        let group = self.groups.entry(name.to_owned()).or_default();
        group.vanishes = vanishes;
        group
    }

    /// The topics, and how many partitions each has.
    fn counts(&self) -> Vec<(String, i32)> {
        let topics = self.topics.iter();
        topics
            .map(|topic| (topic.name.clone(), topic.partitions))
            .collect()
    }
}

impl Group {
    /// Whether it may have been removed, and so begun anew, after that moment.
    fn may_have_ended_after(&self, moment: u64) -> bool {
        let mut removals = self.removals.iter();
        self.vanishes || removals.any(|one| one.state != State::Refused && one.end > moment)
    }
}

/// What a commit or deletion is to be, before it is asked for.
pub(super) struct Wish<'a> {
    pub(super) seat: &'a Seat,
    pub(super) life: usize,
    /// Places, and the offset to be kept there; `None` takes it away.
    pub(super) offsets: Vec<(Place, Option<i64>)>,
    /// Whether they were given a time to live.
    pub(super) expires: bool,
}

/// A wish under way: when it began, and the number of each offset.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) begin: u64,
    pub(super) numbers: Vec<(Place, u64)>,
}

impl Book {
    /// Nothing yet; whether groups may end by themselves, and whether any offset may expire.
    pub(super) fn new(vanish: bool, all_expire: bool) -> Self {
        let inner = Inner {
            vanish,
            all_expire,
            ..Inner::default()
        };
        Self {
            inner: Mutex::new(inner),
            ..Self::default()
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next moment.
    pub(super) fn tick(&self, life: usize) -> u64 {
        self.lock().tick(life)
    }

    /// A number that nobody else has.
    pub(super) fn number(&self) -> u64 {
        let mut inner = self.lock();
        inner.numbers += 1;
        inner.numbers
    }

    /// The topics that groups read, once they are made.
    pub(super) fn topics(&self) -> Vec<Topic> {
        self.lock().topics.clone()
    }

    pub(super) fn set_topics(&self, topics: Vec<Topic>) {
        self.lock().topics = topics;
    }

    /// There may be a group of that name, of which nothing else is noted here.
    pub(super) fn knows(&self, group: &str) {
        self.lock().group(group);
    }

    /// One member more, or one less.
    pub(super) fn begins(&self) {
        self.lock().members += 1;
    }

    pub(super) fn ends(&self) {
        self.lock().members -= 1;
    }

    pub(super) fn members(&self) -> usize {
        self.lock().members
    }

    /// Somebody is about to change offsets.
    pub(super) fn wishes(&self, wish: &Wish<'_>) -> Asked {
        self.changed.send_replace(wish.seat.group.clone());
        let mut inner = self.lock();
        let begin = inner.tick(wish.life);
        let mut numbers = Vec::new();
        for (place, offset) in &wish.offsets {
            inner.numbers += 1;
            let number = inner.numbers;
            let write = Write {
                number,
                offset: *offset,
                state: State::Unknown,
                begin,
                end: u64::MAX,
                life: wish.life,
                expires: wish.expires || inner.all_expire,
                member_id: wish.seat.member_id.clone(),
            };
            let group = inner.group(&wish.seat.group);
            group.offsets.entry(place.clone()).or_default().push(write);
            numbers.push((place.clone(), number));
        }
        Asked { begin, numbers }
    }

    /// Tells of each group of which somebody begins to change offsets.
    pub(super) fn changes(&self) -> watch::Receiver<String> {
        self.changed.subscribe()
    }

    /// What became of it: a code for each, in the same order.
    pub(super) fn wished(
        &self,
        seat: &Seat,
        asked: &Asked,
        codes: &[ErrorCode],
        (life, progress): (usize, &Progress),
    ) {
        let mut inner = self.lock();
        let now = inner.tick(life);
        let group = inner.group(&seat.group);
        for ((place, number), code) in asked.numbers.iter().zip(codes) {
            let state = state(*code, &[ErrorCode::None]);
            let register = group.offsets.entry(place.clone()).or_default();
            register.answered(*number, state, now);
        }
        if codes.contains(&ErrorCode::None) {
            group.serves(&seat.group, life, progress);
        }
        let is_member = seat.generation >= 0;
        if is_member && codes.contains(&ErrorCode::None) {
            group.lives(seat, asked.begin, progress);
            group.judge(seat, asked.begin, "commits", progress);
        }
    }

    /// Somebody is about to remove a group, with all of its offsets.
    pub(super) fn removes(&self, group: &str, life: usize) -> Asked {
        let mut inner = self.lock();
        let begin = inner.tick(life);
        inner.numbers += 1;
        let number = inner.numbers;
        let write = Write {
            number,
            offset: None,
            state: State::Unknown,
            begin,
            end: u64::MAX,
            life,
            expires: false,
            member_id: String::new(),
        };
        // Of a place that nobody committed yet somebody may while this is under way.
        let places = super::assign::all_places(&inner.counts());
        let group = inner.group(group);
        for place in &places {
            let register = group.offsets.entry(place.clone()).or_default();
            register.push(write.clone());
        }
        group.removals.push(write);
        let numbers = places.into_iter().map(|place| (place, number)).collect();
        Asked { begin, numbers }
    }

    /// What became of it.
    pub(super) fn removed(&self, name: &str, asked: &Asked, code: ErrorCode, life: usize) {
        let mut inner = self.lock();
        let now = inner.tick(life);
        // Where there is none, nothing is kept of it.
        let state = state(code, &[ErrorCode::None, ErrorCode::GroupIdNotFound]);
        let group = inner.group(name);
        for (place, number) in &asked.numbers {
            let register = group.offsets.entry(place.clone()).or_default();
            register.answered(*number, state, now);
        }
        let removals = group.removals.iter_mut();
        for removal in removals.filter(|one| one.begin == asked.begin) {
            removal.state = state;
            if state == State::Happened {
                removal.end = now;
            }
        }
    }

    /// A group's offsets were shown to whoever asked at `begin`.
    pub(super) fn fetched(
        &self,
        name: &str,
        begin: u64,
        kept: &Kept,
        (life, progress): (usize, &Progress),
    ) {
        let mut inner = self.lock();
        let now = inner.tick(life);
        let mut all = super::assign::all_places(&inner.counts());
        all.extend(kept.keys().cloned());
        let group = inner.group(name);
        group.serves(name, life, progress);
        for place in all {
            let found = kept.get(&place).map(|(offset, beside)| {
                let number = beside.split(' ').next().unwrap_or_default();
                (*offset, number.parse().unwrap_or(0))
            });
            let register = group.offsets.entry(place.clone()).or_default();
            let member = register.expiring_member(begin);
            let (rule, why) = match register.seen((begin, now), found) {
                Ok(()) => continue,
                Err(Wrong::Expired(why)) => {
                    // Its group may be empty; if its member lives, it isn't.
                    let member = member.filter(|id| !id.is_empty());
                    if let Some(member) = member {
                        group
                            .missed
                            .insert(member, (now, format!("{place:?}: {why}")));
                    }
                    continue;
                }
                Err(Wrong::Altered(why)) => (ANSWER, why),
                Err(Wrong::Refused(why)) => (STALE, why),
                Err(Wrong::Lost(why)) => (OFFSET, why),
            };
            convict(progress, rule, format!("{name} {place:?}: {why}"));
        }
    }

    /// All groups were listed for whoever asked at `begin`.
    pub(super) fn listed(
        &self,
        begin: u64,
        groups: &BTreeSet<String>,
        (life, progress): (usize, &Progress),
    ) {
        let mut inner = self.lock();
        inner.tick(life);
        for (name, group) in &mut inner.groups {
            let mut offsets = group.offsets.values();
            let was_served = group.served == Some(life);
            if was_served
                && !groups.contains(name)
                && offsets.any(|register| register.is_kept(begin))
            {
                group.unlisted = Some(life);
            }
        }
        let known = |name: &&String| !inner.groups.contains_key(*name);
        if let Some(name) = groups.iter().find(known) {
            convict(
                progress,
                ANSWER,
                format!("{name} is listed, nobody made it"),
            );
        }
    }

    /// Somebody asked at `begin` as the member of a seat, and was let in.
    pub(super) fn let_in(&self, seat: &Seat, begin: u64, progress: &Progress) {
        let mut inner = self.lock();
        let group = inner.group(&seat.group);
        group.judge(seat, begin, "is let in", progress);
    }

    /// A member was told the group's generation.
    pub(super) fn joined(&self, seat: &Seat, progress: &Progress) {
        let mut inner = self.lock();
        let group = inner.group(&seat.group);
        let Some((moment, newest)) = group.seats.newest_before(seat.joined.0) else {
            return;
        };
        if seat.generation < newest && !group.may_have_ended_after(moment) {
            let why = format!("{seat:?} after generation {newest} was served");
            convict(progress, DOUBLE, why);
        }
    }

    /// A leader is about to share partitions out.
    pub(super) fn shares(&self, group: &str, turn: u64, shares: BTreeSet<BTreeSet<Place>>) {
        self.lock().group(group).seats.shares(turn, shares);
    }

    /// A member was given its assignment; it asked at `begin`.
    pub(super) fn synced(
        &self,
        seat: &Seat,
        begin: u64,
        given: &Given,
        (life, progress): (usize, &Progress),
    ) {
        let mut inner = self.lock();
        let now = inner.tick(life);
        let group = inner.group(&seat.group);
        group.lives(seat, begin, progress);
        group.judge(seat, begin, "is assigned", progress);
        let others = group.seats.others_of(seat.generation, given);
        if let Some((other, first)) = others
            && !group.may_have_ended_after(first)
        {
            let why = format!("{seat:?} has turn {}, others have {other}", given.turn);
            convict(progress, DOUBLE, why);
        }
        if let Err(why) = group.seats.give(seat, given, now) {
            convict(progress, DOUBLE, format!("{seat:?}: {why}"));
        }
    }

    /// A member takes partitions for its own until then.
    pub(super) fn claims(
        &self,
        seat: &Seat,
        of: &super::seats::Claimant,
        places: &BTreeSet<Place>,
        progress: &Progress,
    ) {
        let mut inner = self.lock();
        let group = inner.group(&seat.group);
        if let Err(why) = group.seats.claim(of, places) {
            convict(progress, DOUBLE, format!("{seat:?}: {why}"));
        }
    }

    /// It lives for longer.
    pub(super) fn extends(&self, group: &str, task: u64, until: Mono) {
        self.lock().group(group).seats.extend(task, until);
    }

    /// It gives them up.
    pub(super) fn gives_up(&self, group: &str, task: u64, places: &BTreeSet<Place>) {
        self.lock().group(group).seats.give_up(task, places);
    }

    /// A member has come to rest with what it was given, or has to begin again.
    pub(super) fn rests(&self, group: &str, task: u64, rest: Option<(Given, Mono)>) {
        self.lock().group(group).seats.rest(task, rest);
    }

    /// Since when a group of so many members is at rest, with every partition.
    pub(super) fn at_rest(&self, group: &str, members: usize) -> Option<Mono> {
        let mut inner = self.lock();
        let places = super::assign::all_places(&inner.counts());
        inner.group(group).seats.at_rest(members, &places)
    }

    /// What keeps a group from rest, in words.
    pub(super) fn unrest(&self, group: &str) -> String {
        self.lock().group(group).seats.unrest()
    }

    /// A group has come to rest, or never will: its members may go.
    pub(super) fn finish(&self, group: &str) {
        self.lock().group(group).finished = true;
    }

    pub(super) fn is_finished(&self, group: &str) -> bool {
        self.lock().group(group).finished
    }

    /// Whether a group keeps an offset for certain, for whoever asks at `begin`.
    pub(super) fn is_kept(&self, group: &str, begin: u64) -> bool {
        let mut inner = self.lock();
        let mut offsets = inner.group(group).offsets.values();
        offsets.any(|register| register.is_kept(begin))
    }
}

impl Group {
    /// Its coordinator answered in that life of the broker.
    fn serves(&mut self, name: &str, life: usize, progress: &Progress) {
        self.served = Some(life);
        if self.unlisted.take() == Some(life) {
            let why = format!("{name} keeps offsets and was not in a list of all groups");
            convict(progress, ANSWER, why);
        }
    }

    /// A member of that id was one when it was asked for at `begin`.
    fn lives(&mut self, seat: &Seat, begin: u64, progress: &Progress) {
        if let Some((moment, why)) = self.missed.get(&seat.member_id)
            && *moment < begin
        {
            convict(progress, EXPIRED, format!("{}: {why}", seat.group));
            self.missed.clear();
        }
    }

    /// Whether somebody who was let in may have been a member.
    fn judge(&self, seat: &Seat, begin: u64, what: &str, progress: &Progress) {
        let newer = self.seats.newer_than(seat, begin);
        if let Some(newer) = newer {
            let why = format!("{seat:?} {what}, asked for at {begin}; {newer}");
            convict(progress, STALE, why);
        }
    }
}

/// What an answer says of a change.
pub(super) fn state(code: ErrorCode, done: &[ErrorCode]) -> State {
    if done.contains(&code) {
        State::Happened
    } else if OPEN.contains(&code) {
        State::Unknown
    } else {
        State::Refused
    }
}

/// Something is wrong with a group.
pub(super) fn convict(progress: &Progress, rule: &'static str, why: String) {
    progress.convict(Anomaly::Group { rule, why });
}
