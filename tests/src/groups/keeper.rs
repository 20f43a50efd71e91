//! Somebody who looks after groups: reads what they keep, describes and lists them, sets the offsets
//! of groups without members, removes offsets and groups; and removes everything in the end.
//!
//! What always holds: one request at a time; what was answered is in the book.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use millrace_client::{Client, Error, NewTopic, Topic};
use millrace_protocol::error_code::ErrorCode;

use super::asks::{self, Described};
use super::book::{ANSWER, Book, UNSETTLED, Wish, convict};
use super::calls::{self, Seat};
use super::member::{how, rows};
use super::{Crowd, TOPICS, loner, passer};
use crate::ledger::Progress;
use crate::pulse::Pulse;
use crate::workload::{Reach, make_topic};

/// Groups that never have members.
const TOOLS: [&str; 2] = ["tool-0", "tool-1"];
/// Within this time of the last member's end all groups are gone.
const GONE_WITHIN: Duration = Duration::from_mins(1);
/// Between two looks at whether they are.
const LOOK_AGAIN_MS: u64 = 50;

/// One who looks after groups.
#[derive(Debug)]
pub(super) struct Keeper {
    crowd: Crowd,
    book: Arc<Book>,
}

/// A connection, and the broker's life that it was made in.
#[derive(Clone, Copy)]
struct Session<'a> {
    client: &'a Client,
    reach: &'a Reach,
    progress: &'a Progress,
    life: usize,
}

impl<'a> Session<'a> {
    fn draw(self) -> u64 {
        self.reach.host.rng.next_u64()
    }

    fn of(self) -> (usize, &'a Progress) {
        (self.life, self.progress)
    }
}

impl Keeper {
    pub(super) fn new(crowd: &Crowd, book: &Arc<Book>) -> Self {
        Self {
            crowd: crowd.clone(),
            book: Arc::clone(book),
        }
    }

    /// Looks after groups until the workload stops and they have no members any more.
    pub(super) async fn run(
        self,
        reach: &Reach,
        progress: &Progress,
        pulse: &Pulse,
    ) -> Result<(), String> {
        let clock = &reach.host.clock;
        self.make_topics(reach).await?;
        let mut since = clock.now().mono;
        let mut alone_since = None;
        loop {
            let connected = reach.connect().await;
            let life = progress.life();
            let is_alone = progress.is_stopping() && self.book.members() == 0;
            let ended = match &connected {
                Ok(client) => {
                    let session = Session {
                        client,
                        reach,
                        progress,
                        life,
                    };
                    if is_alone {
                        self.clear(session).await
                    } else {
                        self.look_after(session, pulse).await.map(|()| false)
                    }
                }
                Err(error) => Err(error.clone()),
            };
            let now = clock.now().mono;
            match ended {
                Ok(true) => return Ok(()),
                Ok(false) => since = now,
                Err(error) => reach.bear(&error, &mut since).await?,
            }
            if is_alone && now.since(*alone_since.get_or_insert(now)) > GONE_WITHIN {
                let why = "groups without members can't be removed".to_owned();
                convict(progress, UNSETTLED, why);
                return Ok(());
            }
            if is_alone {
                let again = Duration::from_millis(LOOK_AGAIN_MS);
                clock.sleep_until(now + again).await;
            }
        }
    }

    async fn make_topics(&self, reach: &Reach) -> Result<(), String> {
        let mut topics = Vec::new();
        for (name, partitions) in TOPICS.iter().zip(self.crowd.partitions) {
            let made = reach
                .retry(|client| make_topic(client, NewTopic::new(*name, partitions)))
                .await?;
            topics.push(made);
        }
        self.book.set_topics(topics);
        Ok(())
    }

    /// Some acts on one connection.
    async fn look_after(&self, session: Session<'_>, pulse: &Pulse) -> Result<(), Error> {
        let clock = &session.reach.host.clock;
        calls::find(session.client, TOOLS[0], session.draw()).await?;
        for _ in 0..20 {
            if session.progress.is_stopping() && self.book.members() == 0 {
                return Ok(());
            }
            self.act(session).await?;
            session.progress.operation();
            pulse.beat();
            let pause = Duration::from_millis(self.crowd.pause_ms);
            clock.sleep_until(clock.now().mono + pause).await;
        }
        Ok(())
    }

    async fn act(&self, session: Session<'_>) -> Result<(), Error> {
        let draw = session.draw();
        let tool = TOOLS[usize::try_from(draw / 16 % 2).unwrap_or(0)];
        let groups = &self.crowd.groups;
        let at = usize::try_from(draw / 32).unwrap_or(0) % groups.len().max(1);
        let group = groups.get(at).map_or(tool, |group| group.name.as_str());
        let any = if (draw / 1024).is_multiple_of(2) {
            tool
        } else {
            group
        };
        match draw % 16 {
            0..4 => self.fetch(session, any).await,
            4..6 => self.describe(session, group).await,
            6 => self.list(session).await,
            7..11 => self.commit(session, tool).await,
            11 => self.commit(session, group).await,
            12..14 => self.delete_offset(session, any).await,
            14 => self.delete(session, tool).await.map(|_| ()),
            _ if session.progress.is_stopping() => Ok(()),
            _ => self.delete(session, group).await.map(|_| ()),
        }
    }

    async fn fetch(&self, session: Session<'_>, group: &str) -> Result<(), Error> {
        let begin = self.book.tick(session.life);
        let topics = self.book.topics();
        let kept = asks::fetch(session.client, group, &topics, session.draw()).await?;
        self.book.fetched(group, begin, &kept, session.of());
        Ok(())
    }

    async fn describe(&self, session: Session<'_>, group: &str) -> Result<(), Error> {
        let begin = self.book.tick(session.life);
        let described = asks::describe(session.client, group, session.draw()).await?;
        let judged = match described {
            Some((state, members)) => judge(&state, &members),
            None if self.book.is_kept(group, begin) => Err("it is not there".to_owned()),
            None => Ok(()),
        };
        if let Err(why) = judged {
            convict(session.progress, ANSWER, format!("{group}: {why}"));
        }
        Ok(())
    }

    async fn list(&self, session: Session<'_>) -> Result<(), Error> {
        let begin = self.book.tick(session.life);
        let listed = asks::list(session.client, session.draw()).await?;
        self.book.listed(begin, &listed, session.of());
        Ok(())
    }

    /// Nobody's seat in a group.
    fn nobody(group: &str) -> Seat {
        Seat {
            group: group.to_owned(),
            generation: -1,
            ..Seat::default()
        }
    }

    fn some_place(topics: &[Topic], draw: u64) -> Option<(&Topic, i32)> {
        let at = usize::try_from(draw % 64).unwrap_or(0) % topics.len().max(1);
        let topic = topics.get(at)?;
        let count = u64::from(topic.partitions.unsigned_abs()).max(1);
        Some((topic, i32::try_from(draw / 64 % count).unwrap_or(0)))
    }

    /// Sets an offset from outside: only where there are no members.
    async fn commit(&self, session: Session<'_>, group: &str) -> Result<(), Error> {
        let topics = self.book.topics();
        let draw = session.draw();
        let Some((topic, number)) = Self::some_place(&topics, draw) else {
            return Ok(());
        };
        let seat = Self::nobody(group);
        let offset = i64::try_from(draw / 4096 % 1000).unwrap_or(0);
        let expires = self.crowd.expires() && session.draw().is_multiple_of(2);
        let wish = Wish {
            seat: &seat,
            life: session.life,
            offsets: vec![((topic.name.clone(), number), Some(offset))],
            expires,
        };
        let asked = self.book.wishes(&wish);
        let how = how(session.draw(), expires);
        let rows = rows(&topics, &wish, &asked, session.draw());
        let codes = calls::commit(session.client, &seat, how, &rows).await?;
        self.book.wished(&seat, &asked, &codes, session.of());
        let may = [
            ErrorCode::None,
            ErrorCode::OffsetMetadataTooLarge,
            ErrorCode::UnknownMemberId,
        ];
        Self::may_be(session, (group, "a commit by nobody"), (codes[0], &may))
    }

    /// Whether an answer may be so, and not only for now.
    fn may_be(
        session: Session<'_>,
        (group, what): (&str, &str),
        (code, may): (ErrorCode, &[ErrorCode]),
    ) -> Result<(), Error> {
        calls::bear(what, code)?;
        let is_tool = TOOLS.contains(&group);
        let has_members = [ErrorCode::UnknownMemberId, ErrorCode::NonEmptyGroup];
        if !may.contains(&code) || is_tool && has_members.contains(&code) {
            let why = format!("{group}: {what} is answered {code:?}");
            convict(session.progress, ANSWER, why);
        }
        Ok(())
    }

    async fn delete_offset(&self, session: Session<'_>, group: &str) -> Result<(), Error> {
        let topics = self.book.topics();
        let Some((topic, number)) = Self::some_place(&topics, session.draw()) else {
            return Ok(());
        };
        let seat = Self::nobody(group);
        let wish = Wish {
            seat: &seat,
            life: session.life,
            offsets: vec![((topic.name.clone(), number), None)],
            expires: false,
        };
        let asked = self.book.wishes(&wish);
        let code = asks::delete_offset(session.client, group, (topic, number)).await?;
        self.book.wished(&seat, &asked, &[code], session.of());
        let may = [
            ErrorCode::None,
            ErrorCode::GroupIdNotFound,
            ErrorCode::GroupSubscribedToTopic,
        ];
        Self::may_be(session, (group, "to remove an offset"), (code, &may))
    }

    /// Whether the group is gone.
    async fn delete(&self, session: Session<'_>, group: &str) -> Result<bool, Error> {
        let asked = self.book.removes(group, session.life);
        let code = asks::delete(session.client, group, session.draw()).await?;
        self.book.removed(group, &asked, code, session.life);
        let may = [
            ErrorCode::None,
            ErrorCode::GroupIdNotFound,
            ErrorCode::NonEmptyGroup,
        ];
        Self::may_be(session, (group, "to remove a group"), (code, &may))?;
        Ok(code != ErrorCode::NonEmptyGroup)
    }

    /// Removes all groups; whether nothing is left of any.
    async fn clear(&self, session: Session<'_>) -> Result<bool, Error> {
        let groups = self.crowd.groups.iter().map(|group| group.name.as_str());
        let groups: Vec<&str> = groups.chain(TOOLS).chain([loner::GROUP]).collect();
        for group in &groups {
            if !self.delete(session, group).await? {
                return Ok(false);
            }
        }
        for group in groups {
            self.fetch(session, group).await?;
        }
        self.list(session).await?;
        let mut left = asks::list(session.client, session.draw()).await?;
        // Whose offsets go with their topic, which may still be there.
        left.remove(passer::GROUP);
        if !left.is_empty() {
            let why = format!("all groups were removed, and {left:?} are there");
            convict(session.progress, ANSWER, why);
        }
        Ok(true)
    }
}

/// What a description may say.
fn judge(state: &str, members: &[Described]) -> Result<(), String> {
    let mut names = BTreeSet::new();
    let mut owned = BTreeSet::new();
    for member in members {
        if member
            .instance
            .as_ref()
            .is_some_and(|name| !names.insert(name))
        {
            return Err(format!("two members have one name: {members:?}"));
        }
        if let Some(place) = member.places.iter().find(|place| !owned.insert(*place)) {
            return Err(format!("two members have {place:?}: {members:?}"));
        }
    }
    let is_empty = ["Empty", "Dead"].contains(&state);
    if is_empty != members.is_empty() && state != "PreparingRebalance" {
        return Err(format!("it is {state} with {members:?}"));
    }
    Ok(())
}
