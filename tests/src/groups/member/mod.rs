//! One member of a group: it joins, gets its part, says that it lives and commits how far it came;
//! and does all that members do wrong.
//!
//! What always holds: it takes partitions for its own only as long as the coordinator leaves them to
//! it: until a session after the last sign of life that was answered had been sent. An eager member
//! gives everything up before it joins again, a cooperative one what it is told to.

mod commits;
mod enter;
mod ghost;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use millrace_client::{Client, Error};
use millrace_host::Mono;
use millrace_protocol::error_code::ErrorCode;

use super::GroupPlan;
use super::assign;
use super::book::{ANSWER, Book, UNSETTLED, convict};
use super::calls::{self, Seat};
use super::seats::Given;
use super::wire::Place;
use crate::ledger::Progress;
use crate::pulse::Pulse;
use crate::workload::Reach;

pub(super) use commits::{how, rows};

/// Beats between two acts, about.
const BEATS_PER_ACT: u64 = 6;
/// One who is away looks so often whether the others are.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// One of so many times that a process goes, those of all of its group do...
const ALL_GO: u64 = 3;
/// ... for so long at most.
const ALL_AWAY_MS_MAX: u64 = 5000;
/// Within this time of the end of all faults a group comes to rest.
const REST_WITHIN: Duration = Duration::from_mins(1);

/// One member.
#[derive(Debug)]
pub(super) struct Member {
    task: u64,
    plan: Arc<GroupPlan>,
    book: Arc<Book>,
    instance: Option<String>,
    id: String,
    /// What it says besides its topics.
    mark: u8,
    seat: Option<Seat>,
    /// The seat before.
    old: Option<Seat>,
    owned: BTreeSet<Place>,
    until: Mono,
    /// A join of this life had no answer: it may be heard late.
    unanswered: Option<usize>,
    positions: BTreeMap<Place, i64>,
    /// When it got on last.
    since: Mono,
    stop_seen: Option<Mono>,
    is_over: bool,
    /// How long it stays away when it has hung up.
    away_ms: u64,
    /// It is the second process of its name.
    is_twin: bool,
    /// There is another process of its name.
    is_doubled: bool,
}

/// A connection, and the broker's life that it was made in.
#[derive(Clone, Copy)]
struct Session<'a> {
    client: &'a Client,
    reach: &'a Reach,
    progress: &'a Progress,
    pulse: &'a Pulse,
    life: usize,
}

impl<'a> Session<'a> {
    fn draw(self) -> u64 {
        self.reach.host.rng.next_u64()
    }

    /// True once in so many times, while the workload lasts.
    fn happens(self, once_in: u64) -> bool {
        self.draw().is_multiple_of(once_in) && !self.progress.is_stopping()
    }

    fn now(self) -> Mono {
        self.reach.host.clock.now().mono
    }

    async fn pause(self, ms: u64) {
        let until = self.now() + Duration::from_millis(ms);
        self.reach.host.clock.sleep_until(until).await;
    }

    fn of(self) -> (usize, &'a Progress) {
        (self.life, self.progress)
    }
}

/// What a member does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// It goes on.
    On,
    /// It joins, or joins again.
    Join,
    /// It hangs up.
    HangUp,
}

impl Member {
    pub(super) fn new(task: u64, plan: &Arc<GroupPlan>, nth: u32, book: &Arc<Book>) -> Self {
        let instance = (nth < plan.statics).then(|| format!("{}-{nth}", plan.name));
        book.begins();
        Self {
            task,
            plan: Arc::clone(plan),
            book: Arc::clone(book),
            instance,
            id: String::new(),
            mark: 0,
            seat: None,
            old: None,
            owned: BTreeSet::new(),
            until: Mono(0),
            unanswered: None,
            positions: BTreeMap::new(),
            since: Mono(0),
            stop_seen: None,
            is_over: false,
            away_ms: 0,
            is_twin: false,
            is_doubled: plan.is_doubled && nth == 0,
        }
    }

    /// Another process of the same name. Each takes the other's place when it joins, and nobody goes
    /// by what it takes for its own.
    pub(super) fn twin(&self) -> Self {
        Self {
            is_twin: true,
            is_doubled: true,
            ..Self::new(self.task, &self.plan, 0, &self.book)
        }
    }

    /// Is a member until the workload stops and its group has come to rest.
    pub(super) async fn run(
        mut self,
        reach: &Reach,
        progress: &Progress,
        pulse: &Pulse,
    ) -> Result<(), String> {
        // Whoever joins may wait for all others.
        let reach = &reach.waiting(Duration::from_millis(self.plan.rebalance_ms) * 2);
        self.since = reach.host.clock.now().mono;
        let clock = &reach.host.clock;
        while !self.is_over {
            let (book, plan) = (Arc::clone(&self.book), Arc::clone(&self.plan));
            let ended = tokio::select! {
                biased;
                () = book.away.begins(&plan.name, || clock.now().mono) => Ok(()),
                ended = self.connect(reach, progress, pulse) => ended,
            };
            if let Err(error) = ended {
                self.hold_on(clock.now().mono);
                reach.bear(&error, &mut self.since).await?;
            }
            let away = Duration::from_millis(std::mem::take(&mut self.away_ms));
            clock.sleep_until(clock.now().mono + away).await;
            self.sit_out(reach, progress, pulse).await;
        }
        self.book.ends();
        Ok(())
    }

    /// Stays away as long as everybody of its group does; for good when the workload stops meanwhile.
    async fn sit_out(&mut self, reach: &Reach, progress: &Progress, pulse: &Pulse) {
        let clock = &reach.host.clock;
        loop {
            let (now, stops) = (clock.now().mono, progress.is_stopping());
            if self.is_over || !self.book.away.is(&self.plan.name, now, stops) {
                return;
            }
            self.forget();
            self.is_over = stops;
            // There is nobody who could get on.
            pulse.beat();
            self.since = now;
            clock.sleep_until(now + LOOK_AGAIN).await;
        }
    }

    async fn connect(
        &mut self,
        reach: &Reach,
        progress: &Progress,
        pulse: &Pulse,
    ) -> Result<(), Error> {
        let client = reach.connect().await?;
        let session = Session {
            client: &client,
            reach,
            progress,
            pulse,
            life: progress.life(),
        };
        self.session(session).await
    }

    async fn session(&mut self, session: Session<'_>) -> Result<(), Error> {
        while self.book.topics().is_empty() {
            session.pause(20).await;
            self.since = session.now();
        }
        calls::find(session.client, &self.plan.name, session.draw()).await?;
        while !self.is_over {
            let next = if self.seat.is_some() {
                self.live(session).await?
            } else {
                self.enter(session).await?
            };
            match next {
                Next::On => {}
                Next::Join => self.stand_up(),
                Next::HangUp => return Ok(()),
            }
        }
        Ok(())
    }

    /// It got on.
    fn beat(&mut self, session: Session<'_>) {
        session.progress.operation();
        session.pulse.beat();
        self.since = session.now();
    }

    /// Lets go of what is its own no longer, by its own clock.
    fn hold_on(&mut self, now: Mono) {
        if now >= self.until {
            self.lose();
        }
    }

    /// Nothing is its own any more.
    fn lose(&mut self) {
        let owned = std::mem::take(&mut self.owned);
        self.book.gives_up(&self.plan.name, self.task, &owned);
        self.rests(None);
    }

    /// It has come to rest, or has to begin again. One who may be pushed out by its own kind is not
    /// waited for.
    fn rests(&self, rest: Option<(Given, Mono)>) {
        if !self.is_twin {
            self.book.rests(&self.plan.name, self.task, rest);
        }
    }

    /// It has no place any more, until it joins again.
    fn stand_up(&mut self) {
        if let Some(seat) = self.seat.take() {
            self.old = Some(seat);
        }
        self.rests(None);
    }

    /// It is no member any more.
    fn forget(&mut self) {
        self.lose();
        self.stand_up();
        self.id.clear();
    }

    /// What a code says that ends a seat.
    fn told(&mut self, session: Session<'_>, what: &str, code: ErrorCode) -> Next {
        let is_none_any_more = [
            ErrorCode::UnknownMemberId,
            ErrorCode::FencedInstanceId,
            ErrorCode::GroupIdNotFound,
        ];
        if code == ErrorCode::None {
            return Next::On;
        } else if code == ErrorCode::IllegalGeneration {
            self.lose();
        } else if code != ErrorCode::RebalanceInProgress {
            if !is_none_any_more.contains(&code) {
                let why = format!("{}: {what} is answered {code:?}", self.plan.name);
                convict(session.progress, ANSWER, why);
            }
            self.forget();
        }
        if code == ErrorCode::FencedInstanceId && !session.progress.is_stopping() {
            // Another process has its name: it ends, and is started again some time.
            self.away_ms = session.draw() % (4 * self.plan.session_ms);
            return Next::HangUp;
        }
        Next::Join
    }

    /// A sign of life that was answered had been sent then.
    fn lives_until(&mut self, sent: Mono) {
        self.until = self
            .until
            .max(sent + Duration::from_millis(self.plan.session_ms));
        self.book.extends(&self.plan.name, self.task, self.until);
    }

    fn counts(&self) -> Vec<(String, i32)> {
        let topics = self.book.topics().into_iter();
        topics.map(|topic| (topic.name, topic.partitions)).collect()
    }

    async fn fetch(&mut self, session: Session<'_>) -> Result<(), Error> {
        let begin = self.book.tick(session.life);
        let topics = self.book.topics();
        let kept = super::asks::fetch(session.client, &self.plan.name, &topics, session.draw());
        let kept = kept.await?;
        self.book
            .fetched(&self.plan.name, begin, &kept, session.of());
        for (place, (offset, _)) in kept {
            self.positions.insert(place, offset);
        }
        Ok(())
    }

    /// Says that it lives, commits, and does something else now and then.
    async fn live(&mut self, session: Session<'_>) -> Result<Next, Error> {
        let beat = self.plan.beat_ms;
        session.pause(beat / 2 + session.draw() % beat.max(1)).await;
        if session.now() >= self.until {
            self.lose();
            return Ok(Next::Join);
        }
        if session.progress.is_stopping() && self.may_finish(session) {
            let seat = self.seat.clone();
            self.finish(session, seat).await?;
            return Ok(Next::HangUp);
        }
        if session.happens(BEATS_PER_ACT) {
            return self.act(session).await;
        }
        let Some(seat) = self.seat.clone() else {
            return Ok(Next::Join);
        };
        let sent = session.now();
        let code = calls::heartbeat(session.client, &seat, session.draw()).await?;
        self.beat(session);
        if code == ErrorCode::RebalanceInProgress && session.happens(8) {
            return self.linger(session, &seat).await;
        }
        if code != ErrorCode::None {
            return Ok(self.told(session, "a heartbeat", code));
        }
        if session.now() >= self.until {
            // It came too late to be believed.
            self.lose();
            return Ok(Next::Join);
        }
        self.lives_until(sent);
        if session.draw().is_multiple_of(2) {
            let owned = self.owned.clone();
            self.commit(session, &seat, &owned).await?;
        }
        Ok(Next::On)
    }

    /// Says that it lives and does nothing else that a member has to, until it is none any more.
    async fn linger(&mut self, session: Session<'_>, seat: &Seat) -> Result<Next, Error> {
        let until = session.now() + Duration::from_millis(2 * self.plan.rebalance_ms);
        while session.now() < until && !session.progress.is_stopping() {
            session.pause(self.plan.beat_ms).await;
            self.hold_on(session.now());
            let code = calls::heartbeat(session.client, seat, session.draw()).await?;
            self.beat(session);
            if ![ErrorCode::None, ErrorCode::RebalanceInProgress].contains(&code) {
                return Ok(self.told(session, "a heartbeat", code));
            }
        }
        Ok(Next::Join)
    }

    async fn act(&mut self, session: Session<'_>) -> Result<Next, Error> {
        let session_ms = self.plan.session_ms;
        let Some(seat) = self.seat.clone() else {
            return Ok(Next::Join);
        };
        match session.draw() % 8 {
            0 => {
                // It never comes back as the same: this may be heard late.
                self.forget();
                calls::leave(session.client, &seat, session.draw()).await?;
                session.pause(session.draw() % session_ms).await;
                return Ok(Next::Join);
            }
            1..=2 => {
                self.vanish(session);
                if session.happens(ALL_GO) {
                    let ms = session.draw() % ALL_AWAY_MS_MAX;
                    let until = session.now() + Duration::from_millis(ms);
                    self.book.away.begin(&self.plan.name, until);
                }
                return Ok(Next::HangUp);
            }
            3 => {
                // For longer than a session; then it goes on as if nothing had happened.
                session
                    .pause(session_ms + session.draw() % session_ms)
                    .await;
                self.lose();
                let places = assign::all_places(&self.counts());
                self.commit(session, &seat, &places).await?;
                return Ok(Next::Join);
            }
            4 => {
                self.mark = self.mark.wrapping_add(1);
                return Ok(Next::Join);
            }
            5 => self.fetch(session).await?,
            6 => {
                // It starts anew with the id that it has, on another connection.
                self.lose();
                self.stand_up();
                return Ok(Next::HangUp);
            }
            _ => {
                self.commit(session, &seat, &self.owned.clone()).await?;
                self.fetch(session).await?;
            }
        }
        Ok(Next::On)
    }

    /// Its process is gone; another one comes, which knows its static name only.
    fn vanish(&mut self, session: Session<'_>) {
        self.forget();
        let ms = session.draw() % (2 * self.plan.session_ms);
        self.away_ms = if session.draw().is_multiple_of(2) {
            ms
        } else {
            0
        };
    }

    /// Whether its group has been at rest for long enough, or never will be.
    fn may_finish(&mut self, session: Session<'_>) -> bool {
        let (now, name) = (session.now(), &self.plan.name);
        if self.is_twin {
            return true;
        }
        let stop_seen = *self.stop_seen.get_or_insert(now);
        if self.book.is_finished(name) {
            return true;
        }
        let since = self.book.at_rest(name, self.plan.members as usize);
        let calm = Duration::from_millis(2 * self.plan.session_ms);
        if since.is_some_and(|since| now.since(since) >= calm) {
            self.book.finish(name);
            return true;
        }
        if now.since(stop_seen) > REST_WITHIN {
            let why = format!("{name}: {}", self.book.unrest(name));
            convict(session.progress, UNSETTLED, why);
            self.book.finish(name);
            return true;
        }
        false
    }

    /// Looks at the offsets once more and leaves.
    async fn finish(&mut self, session: Session<'_>, seat: Option<Seat>) -> Result<(), Error> {
        self.fetch(session).await?;
        self.lose();
        let seat = seat.unwrap_or_else(|| self.joining().seat);
        if !seat.member_id.is_empty() {
            calls::leave(session.client, &seat, session.draw()).await?;
        }
        self.forget();
        self.is_over = true;
        Ok(())
    }
}
