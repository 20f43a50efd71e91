//! How a member takes its place: it joins, leads if it is to, and gets its part.

use std::collections::{BTreeMap, BTreeSet};

use millrace_client::Error;
use millrace_protocol::error_code::ErrorCode;

use super::{Member, Next, Session};
use crate::groups::assign::{self, Shares};
use crate::groups::book::{ANSWER, convict};
use crate::groups::calls::{self, Joined, Joining, Seat};
use crate::groups::seats::{Claimant, Given};
use crate::groups::wire::{Assignment, Place, Subscription};

impl Member {
    /// Joins and gets its part.
    pub(super) async fn enter(&mut self, session: Session<'_>) -> Result<Next, Error> {
        if session.progress.is_stopping() && self.may_finish(session) {
            self.finish(session, None).await?;
            return Ok(Next::HangUp);
        }
        self.hold_on(session.now());
        if !self.plan.cooperative {
            self.lose();
        }
        let begin = self.book.tick(session.life);
        let sent = session.now();
        let joining = self.joining();
        let claimed = self.owned.clone();
        let Some(joined) = self.join(session, &joining).await? else {
            return Ok(Next::HangUp);
        };
        self.beat(session);
        if joined.code == ErrorCode::MemberIdRequired {
            // Now and then it never comes back with it.
            if !session.happens(8) {
                self.id = joined.member_id;
            }
            return Ok(Next::On);
        }
        if joined.code != ErrorCode::None {
            let next = self.told(session, "a join", joined.code);
            session.pause(5).await;
            return Ok(if next == Next::HangUp { next } else { Next::On });
        }
        self.lives_until(sent);
        self.id.clone_from(&joined.member_id);
        let seat = Seat {
            member_id: joined.member_id.clone(),
            generation: joined.generation,
            joined: (begin, self.book.tick(session.life)),
            ..joining.seat
        };
        self.book.joined(&seat, session.progress);
        if session.happens(40) {
            self.vanish(session);
            return Ok(Next::HangUp);
        }
        if session.happens(25) {
            // Nor does it ask for its part.
            return self.linger(session, &seat).await;
        }
        let shares = self.shares(session, &seat, &joined);
        let next = self.sync(session, seat, &shares, &claimed).await?;
        if next == Next::On {
            self.arrive(session).await?;
        }
        Ok(next)
    }

    pub(super) fn joining(&self) -> Joining {
        let topics = self.book.topics();
        let subscription = Subscription {
            topics: topics.into_iter().map(|topic| topic.name).collect(),
            mark: self.mark,
            owned: self.owned.clone(),
        };
        Joining {
            seat: Seat {
                group: self.plan.name.clone(),
                member_id: self.id.clone(),
                instance: self.instance.clone(),
                generation: -1,
                protocol: self.plan.protocol().to_owned(),
                joined: (0, 0),
            },
            session_ms: i32::try_from(self.plan.session_ms).unwrap_or(i32::MAX),
            rebalance_ms: i32::try_from(self.plan.rebalance_ms).unwrap_or(i32::MAX),
            subscription: subscription.encode(self.plan.cooperative),
        }
    }

    /// `None`: it has gone while it waited.
    async fn join(
        &mut self,
        session: Session<'_>,
        joining: &Joining,
    ) -> Result<Option<Joined>, Error> {
        let (goes, after_ms) = (session.happens(30), session.draw() % 300);
        // Until it is answered.
        let before = self.unanswered.replace(session.life);
        let join = calls::join(session.client, joining, session.draw());
        let joined = tokio::select! {
            biased;
            joined = join => joined,
            () = session.pause(after_ms), if goes => {
                self.vanish(session);
                return Ok(None);
            }
        };
        if joined.is_err() {
            self.book.gives_up(&self.plan.name, self.task, &self.owned);
        } else {
            self.unanswered = before;
        }
        joined.map(Some)
    }

    /// What the leader gives everyone; nothing if it is another one.
    fn shares(
        &self,
        session: Session<'_>,
        seat: &Seat,
        joined: &Joined,
    ) -> BTreeMap<String, Vec<u8>> {
        if joined.leader != seat.member_id || joined.skip_assignment {
            return BTreeMap::new();
        }
        let mut held = Shares::new();
        let mut names = BTreeSet::new();
        for (id, instance, said) in &joined.members {
            let said = Subscription::decode(said);
            let is_twice = instance.as_ref().is_some_and(|name| !names.insert(name));
            let Some(said) = said.filter(|_| !is_twice) else {
                let why = format!("{seat:?} is to lead {:?}", joined.members);
                convict(session.progress, ANSWER, why);
                continue;
            };
            held.insert(id.clone(), said.owned);
        }
        if !held.contains_key(&seat.member_id) {
            let why = format!("{seat:?} is to lead those without it: {held:?}");
            convict(session.progress, ANSWER, why);
        }
        let topics = self.book.topics().into_iter();
        let topics: Vec<(String, i32)> =
            topics.map(|topic| (topic.name, topic.partitions)).collect();
        let shares = if self.plan.cooperative {
            assign::cooperative(&held, &topics)
        } else {
            let ids: Vec<String> = held.into_keys().collect();
            assign::range(&ids, &topics)
        };
        let turn = self.book.number();
        let all = shares.values().cloned().collect();
        self.book.shares(&seat.group, turn, all);
        let shares = shares.into_iter().map(|(id, places)| {
            let bytes = Assignment { turn, places }.encode();
            (id, bytes)
        });
        shares.collect()
    }

    /// Gets its part. It said that it held what is `claimed`, which it may have lost since.
    async fn sync(
        &mut self,
        session: Session<'_>,
        seat: Seat,
        shares: &BTreeMap<String, Vec<u8>>,
        claimed: &BTreeSet<Place>,
    ) -> Result<Next, Error> {
        let begin = self.book.tick(session.life);
        let sent = session.now();
        let answer = calls::sync(session.client, &seat, shares, session.draw());
        let (code, bytes) = answer.await?;
        self.beat(session);
        if code != ErrorCode::None {
            return Ok(self.told(session, "an assignment", code));
        }
        let Some(Assignment { turn, places }) = Assignment::decode(&bytes) else {
            let why = format!("{seat:?} is assigned {bytes:?}");
            convict(session.progress, ANSWER, why);
            return Ok(Next::Join);
        };
        let given = Given { turn, places };
        self.hold_on(session.now());
        self.lives_until(sent);
        self.book.synced(&seat, begin, &given, session.of());
        let revoked: BTreeSet<Place> = self.owned.difference(&given.places).cloned().collect();
        self.book.gives_up(&seat.group, self.task, &revoked);
        self.owned.clone_from(&given.places);
        // One of its joins that is heard late would be taken for its newest.
        if self.unanswered.is_none_or(|life| life < session.life) && !self.is_doubled {
            let of = Claimant {
                task: self.task,
                now: session.now(),
                until: self.until,
            };
            self.book.claims(&seat, &of, &self.owned, session.progress);
        }
        self.seat = Some(seat);
        if self.plan.cooperative && !claimed.is_subset(&self.owned) {
            // What was taken from it others get when it has said that it gave it up, also when it had
            // lost it by itself meanwhile.
            return Ok(Next::Join);
        }
        let rest = Some((given, session.now()));
        self.rests(rest);
        Ok(Next::On)
    }
}
