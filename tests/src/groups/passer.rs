//! Somebody who commits for a topic that comes and goes: it is removed and made again under its name,
//! by one connection, while others commit for it, by its name and by its id.
//!
//! What always holds: nobody else commits under its group's name. When a removal was answered the
//! offsets are gone soon, and none is ever that of the next topic; one that was acknowledged for a
//! topic stays as long as that topic does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millrace_client::{Client, Error, NewTopic, Topic};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::{OffsetCommitRequest, OffsetFetchRequest};

use super::asks;
use super::book::{ANSWER, Book, OFFSET, convict};
use super::calls::{self, Seat};
use super::passed::Passed;
use crate::churn;
use crate::ledger::Progress;
use crate::pulse::Pulse;
use crate::workload::{Reach, make_topic};

/// The group, and the topic.
pub(super) const GROUP: &str = "passing";
const TOPIC: &str = "passing-topic";
const PARTITIONS: i32 = 2;
/// First version of both requests that says the topic's id in the place of its name.
const BY_ID_FROM: i16 = 10;
/// Within this time of a removal, in one life of the broker, nothing is shown of it any more.
const GONE_WITHIN: Duration = Duration::from_secs(20);
/// While the workload goes on it waits for that so long, at most.
const WAITED: Duration = Duration::from_millis(300);
/// So often it looks for that, at most: each look may lose its connection.
const LOOKS_MAX: u32 = 60;
/// Most commits while a topic is removed.
const COMMITS_MAX: u32 = 30;

/// One who commits for a topic that comes and goes.
#[derive(Debug)]
pub(super) struct Passer {
    pause: Duration,
    book: Arc<Book>,
    passed: Mutex<Passed>,
}

/// Connections, and the broker's life that they were made in.
#[derive(Clone, Copy)]
struct Session<'a> {
    /// For whoever makes and removes the topic, and commits in between.
    client: &'a Client,
    /// For whoever commits meanwhile.
    commits: &'a Client,
    /// For whoever makes it again meanwhile.
    makes: &'a Client,
    reach: &'a Reach,
    progress: &'a Progress,
    life: usize,
}

impl Session<'_> {
    fn draw(self) -> u64 {
        self.reach.host.rng.next_u64()
    }

    async fn pause(self, span: Duration) {
        let clock = &self.reach.host.clock;
        clock.sleep_until(clock.now().mono + span).await;
    }
}

impl Passer {
    pub(super) fn new(pause_ms: u64, all_expire: bool, book: &Arc<Book>) -> Self {
        Self {
            pause: Duration::from_millis(pause_ms),
            book: Arc::clone(book),
            passed: Mutex::new(Passed::new(all_expire)),
        }
    }

    fn passed(&self) -> MutexGuard<'_, Passed> {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits until the workload stops; then the topic goes for good, and its offsets with it.
    pub(super) async fn run(
        self,
        reach: &Reach,
        progress: &Progress,
        pulse: &Pulse,
    ) -> Result<(), String> {
        self.book.knows(GROUP);
        let mut since = reach.host.clock.now().mono;
        loop {
            let rounds = pulse.count();
            let ended = self.session(reach, progress, pulse).await;
            if pulse.count() > rounds {
                since = reach.host.clock.now().mono;
            }
            match ended {
                Ok(()) => return Ok(()),
                Err(error) => reach.bear(&error, &mut since).await?,
            }
        }
    }

    async fn session(
        &self,
        reach: &Reach,
        progress: &Progress,
        pulse: &Pulse,
    ) -> Result<(), Error> {
        let client = reach.connect().await?;
        let (commits, makes) = (reach.connect().await?, reach.connect().await?);
        // Behind the connections: what is sent on one of an earlier life never happens.
        let life = progress.life();
        let session = Session {
            client: &client,
            commits: &commits,
            makes: &makes,
            reach,
            progress,
            life,
        };
        calls::find(&client, GROUP, session.draw()).await?;
        while !progress.is_stopping() {
            let Some((of, topic)) = self.make(session).await? else {
                return Ok(());
            };
            for _ in 0..session.draw() % 5 {
                let is_open = self.passed().unanswered() == Some(session.life);
                let commit = self.commit(session, session.client, (of, &topic), is_open);
                commit.await?;
                self.look(session, (of, &topic)).await?;
                session.pause(self.pause).await;
            }
            self.pass(session, (of, &topic)).await?;
            progress.operation();
            pulse.beat();
        }
        self.end(session).await
    }

    /// The topic as it is, made if it isn't there; `None` when it must not be there.
    async fn make(&self, session: Session<'_>) -> Result<Option<(usize, Topic)>, Error> {
        let before = self.asks(session);
        let made = make_topic(session.client.clone(), new_topic()).await?;
        self.passed().is_answered(before);
        Ok(self.is_there(session, &made).map(|of| (of, made)))
    }

    /// Something is asked that makes or removes a topic; what was not answered before.
    fn asks(&self, session: Session<'_>) -> Option<usize> {
        let mut passed = self.passed();
        let before = passed.unanswered();
        passed.asks(session.life);
        before
    }

    fn is_there(&self, session: Session<'_>, topic: &Topic) -> Option<usize> {
        let is_there = self.passed().is_there(topic);
        match is_there {
            Ok(of) => Some(of),
            Err((rule, why)) => {
                convict(session.progress, rule, why);
                None
            }
        }
    }

    /// Commits for some partitions of a topic; another may take its place meanwhile, or not.
    async fn commit(
        &self,
        session: Session<'_>,
        client: &Client,
        (of, topic): (usize, &Topic),
        may_meet_another: bool,
    ) -> Result<(), Error> {
        let draw = session.draw();
        let version = calls::version::<OffsetCommitRequest>(draw);
        let offset = |nth: u64| i64::try_from(draw / 4096 % 1000 + nth).unwrap_or(0);
        let partitions = match draw / 256 % 4 {
            0 => 0..1,
            1 => 1..2,
            _ => 0..PARTITIONS,
        };
        let offsets: Vec<(i32, i64)> = partitions.zip((0..).map(offset)).collect();
        let sent = {
            let how = (version < BY_ID_FROM, may_meet_another);
            self.passed().sends(of, &offsets, how, session.life)
        };
        let numbered = offsets.iter().zip(&sent.numbers);
        let rows: Vec<_> = numbered
            .map(|((partition, offset), number)| (topic, *partition, *offset, format!("{number} ")))
            .collect();
        let seat = Seat {
            group: GROUP.to_owned(),
            generation: -1,
            ..Seat::default()
        };
        let codes = calls::commit(client, &seat, (version, -1), &rows).await?;
        self.passed().answered(&sent, &codes, session.life);
        let may = [
            ErrorCode::None,
            ErrorCode::UnknownTopicOrPartition,
            ErrorCode::UnknownTopicId,
        ];
        for code in codes {
            if !may.contains(&calls::bear("a commit for a topic that passes", code)?) {
                let why = format!("{GROUP}: a commit for {topic:?} is answered {code:?}");
                convict(session.progress, ANSWER, why);
            }
        }
        Ok(())
    }

    /// Holds what is shown of a topic against what is known.
    async fn look(&self, session: Session<'_>, (of, topic): (usize, &Topic)) -> Result<(), Error> {
        let begin = self.passed().tick(session.life);
        let topics = [topic.clone()];
        let kept = asks::fetch(session.client, GROUP, &topics, session.draw()).await;
        let may_be_another = self.passed().unanswered() == Some(session.life);
        if may_be_another {
            // What was asked on another connection may have happened only now.
            let now = session.client.topic(TOPIC).await;
            if !now.is_ok_and(|now| now.id == topic.id) {
                return Ok(());
            }
        }
        let broken = self.passed().seen(of, begin, &kept?, session.life);
        for (rule, why) in broken {
            convict(session.progress, rule, why);
        }
        Ok(())
    }

    /// Removes the topic while others commit for it, and now and then while it is made again.
    async fn pass(&self, session: Session<'_>, (of, topic): (usize, &Topic)) -> Result<(), Error> {
        let is_replaced = session.draw().is_multiple_of(2);
        let ended = AtomicBool::new(false);
        let before = self.asks(session);
        self.passed().removes(of, session.life);
        let removing = async {
            let removed = churn::remove(session.client.clone(), topic.id).await;
            ended.store(true, Ordering::Relaxed);
            if removed.is_ok() {
                self.passed().removed(of);
            }
            removed
        };
        let may_meet_another = is_replaced || before == Some(session.life);
        let committing = async {
            for _ in 0..COMMITS_MAX {
                let commit = self.commit(session, session.commits, (of, topic), may_meet_another);
                commit.await?;
                if ended.load(Ordering::Relaxed) {
                    break;
                }
            }
            Ok::<(), Error>(())
        };
        let making = async {
            if is_replaced {
                self.make_again(session, &ended).await?;
            }
            Ok::<(), Error>(())
        };
        let (removed, committed, made) = tokio::join!(removing, committing, making);
        removed?;
        made?;
        self.passed().is_answered(before);
        committed?;
        if is_replaced {
            return Ok(());
        }
        self.is_gone(session, WAITED).await
    }

    /// Makes the topic as soon as its name is free.
    async fn make_again(&self, session: Session<'_>, ended: &AtomicBool) -> Result<(), Error> {
        loop {
            let was_ended = ended.load(Ordering::Relaxed);
            match session.makes.create_topic(&new_topic()).await {
                Err(Error::Broker {
                    code: ErrorCode::TopicAlreadyExists,
                    ..
                }) if !was_ended => session.pause(Duration::from_millis(1)).await,
                // A removal without an answer may come later, or never.
                Err(Error::Broker {
                    code: ErrorCode::TopicAlreadyExists,
                    ..
                }) => return Ok(()),
                made => {
                    self.is_there(session, &made?);
                    return Ok(());
                }
            }
        }
    }

    /// Waits for so long until nothing is shown of a topic that was removed.
    async fn is_gone(&self, session: Session<'_>, span: Duration) -> Result<(), Error> {
        let gone = Topic {
            name: TOPIC.to_owned(),
            id: millrace_protocol::ids::TopicId::ZERO,
            partitions: PARTITIONS,
        };
        let clock = &session.reach.host.clock;
        let until = clock.now().mono + span;
        loop {
            let mut draw = session.draw();
            while calls::version::<OffsetFetchRequest>(draw) >= BY_ID_FROM {
                draw = session.draw();
            }
            let topics = [gone.clone()];
            let kept = asks::fetch(session.client, GROUP, &topics, draw).await?;
            if kept.is_empty() {
                return Ok(());
            }
            if clock.now().mono >= until {
                if span == GONE_WITHIN {
                    let why = format!("{TOPIC} was removed, and {GROUP} keeps {kept:?}");
                    convict(session.progress, OFFSET, why);
                }
                return Ok(());
            }
            session.pause(span / LOOKS_MAX).await;
        }
    }

    /// The topic goes for good.
    async fn end(&self, session: Session<'_>) -> Result<(), Error> {
        loop {
            match session.client.topic(TOPIC).await {
                Ok(topic) => {
                    let before = self.asks(session);
                    churn::remove(session.client.clone(), topic.id).await?;
                    self.passed().is_answered(before);
                }
                Err(Error::Broker {
                    code: ErrorCode::UnknownTopicOrPartition,
                    ..
                }) => break,
                Err(error) => return Err(error),
            }
        }
        self.is_gone(session, GONE_WITHIN).await?;
        let code = asks::delete(session.client, GROUP, session.draw()).await?;
        let may = [ErrorCode::None, ErrorCode::GroupIdNotFound];
        if !may.contains(&calls::bear("to remove a group", code)?) {
            let why = format!("{GROUP}: to remove it is answered {code:?}");
            convict(session.progress, ANSWER, why);
        }
        Ok(())
    }
}

fn new_topic() -> NewTopic {
    NewTopic::new(TOPIC, PARTITIONS)
}
