//! Somebody who administers the cluster beside the workload: topics that grow, are deleted and made
//! again under their names; configurations of topics and of brokers; and all that can be asked.
//!
//! What always holds: one task does it, one request at a time, so that what may be there is known
//! ([`model`]). What was acknowledged is seen by whoever asks afterwards, outlives every end of the
//! broker and is obeyed by records; what was refused or only validated changes nothing (A16).

use std::time::Duration;

use millrace_client::{Client, Error, Topic};
use millrace_protocol::error_code::ErrorCode;

use crate::anomaly::Anomaly;
use crate::ledger::Progress;
use crate::pulse::Pulse;
use crate::workload::{Incarnation, Plan, Reach};

mod calls;
mod draws;
pub mod model;
mod questions;
mod records;

use calls::Refused;
use draws::{BEHIND, Draw, Kind};
use model::{Change, Configs, Register, State, There};
use questions::Quorum;
use records::{GoesBy, Records};

/// Names of its own topics.
const NAMES: [&str; 2] = ["admin-0", "admin-1"];
/// Most partitions of a topic.
const PARTITIONS_MAX: usize = 5;
/// The broker's own name, as its configuration has it when it says nothing; the empty one is of all.
const BROKER: &str = "1";

/// Codes that say for certain what a change came to.
const SAID: [ErrorCode; 5] = [
    ErrorCode::UnknownTopicOrPartition,
    ErrorCode::TopicAlreadyExists,
    ErrorCode::InvalidPartitions,
    ErrorCode::InvalidConfig,
    ErrorCode::InvalidRequest,
];

/// Something with a configuration.
#[derive(Debug)]
struct Subject {
    kind: Kind,
    name: String,
    register: Register,
}

/// One who administers.
#[derive(Debug)]
pub struct Admin {
    subjects: Vec<Subject>,
    records: Records,
    quorum: Quorum,
    pause: Duration,
}

/// A connection, and the broker's life that it was made in.
#[derive(Clone, Copy)]
struct Session<'a> {
    client: &'a Client,
    reach: &'a Reach,
    progress: &'a Progress,
    life: usize,
}

impl Session<'_> {
    fn note(self, name: &str, judged: Result<(), String>) {
        if let Err(why) = judged {
            self.progress
                .convict(Anomaly::Topic(format!("{name}: {why}")));
        }
    }
}

impl Admin {
    /// Beside a workload; does something about once each `pause`.
    pub fn new(pause: Duration, plan: &Plan, topic: &Incarnation) -> Self {
        let subject = |kind, name: &str, state| Subject {
            kind,
            name: name.to_owned(),
            register: Register::of(state),
        };
        let nothing = || There {
            partitions: 0,
            id: None,
            configs: Configs::new(),
        };
        let mut subjects = vec![
            subject(Kind::Broker, "", Some(nothing())),
            subject(Kind::Broker, BROKER, Some(nothing())),
        ];
        subjects.extend(NAMES.map(|name| subject(Kind::Topic, name, None)));
        if plan.churn.is_none() {
            let there = There {
                partitions: topic.topic.partitions,
                id: Some(topic.topic.id),
                configs: plan.topic.configs.iter().cloned().collect(),
            };
            subjects.push(subject(Kind::Workload, &topic.topic.name, Some(there)));
        }
        Self {
            subjects,
            records: Records::default(),
            quorum: Quorum::default(),
            pause,
        }
    }

    /// Administers until the workload stops, then looks at everything once more.
    pub async fn run(
        mut self,
        reach: &Reach,
        progress: &Progress,
        pulse: &Pulse,
    ) -> Result<(), String> {
        let clock = &reach.host.clock;
        let mut since = clock.now().mono;
        loop {
            let is_last = progress.is_stopping();
            let connected = reach.connect().await;
            let life = progress.life();
            let ended = match &connected {
                Ok(client) => {
                    let session = Session {
                        client,
                        reach,
                        progress,
                        life,
                    };
                    if is_last {
                        self.look_at_all(session).await
                    } else {
                        self.go_on(session).await
                    }
                }
                Err(_) => Ok(()),
            };
            match connected.map(|_| ()).and(ended) {
                Ok(()) if is_last => return Ok(()),
                Ok(()) => {
                    progress.operation();
                    pulse.beat();
                    since = clock.now().mono;
                    clock.sleep_until(since + self.pause).await;
                }
                Err(error) => reach.bear(&error, &mut since).await?,
            }
        }
    }

    async fn go_on(&mut self, session: Session<'_>) -> Result<(), Error> {
        let mut draw = Draw(session.reach.host.rng.next_u64());
        let at = draw.below(self.subjects.len());
        match draw.below(16) {
            4..10 if self.subjects[at].register.may_change(session.life) => {
                self.change(at, session, &mut draw).await
            }
            0..10 => self.look(at, session, &mut draw).await,
            action => {
                let Some((topic, there)) = self.some_topic(session.life, &mut draw) else {
                    return self.look(at, session, &mut draw).await;
                };
                self.use_topic(action, (topic, there), session, &mut draw)
                    .await
            }
        }
    }

    /// A topic of its own that is there for certain, and what is known of it.
    fn some_topic(&mut self, life: usize, draw: &mut Draw) -> Option<(Topic, There)> {
        let own = self
            .subjects
            .iter_mut()
            .filter(|one| one.kind == Kind::Topic);
        let mut there = Vec::new();
        for subject in own {
            if let Some(Some(state)) = subject.register.certain(life)
                && let Some(id) = state.id
            {
                let topic = Topic {
                    name: subject.name.clone(),
                    id,
                    partitions: state.partitions,
                };
                there.push((topic, state));
            }
        }
        let at = draw.below(there.len());
        there.into_iter().nth(at)
    }

    async fn use_topic(
        &mut self,
        action: usize,
        (topic, there): (Topic, There),
        session: Session<'_>,
        draw: &mut Draw,
    ) -> Result<(), Error> {
        // What was added last is used most.
        let last = draw.below(3) == 0;
        let some = i32::try_from(draw.below(topic.partitions.unsigned_abs() as usize));
        let partition = if last {
            topic.partitions - 1
        } else {
            some.unwrap_or(0)
        };
        let (client, life) = (session.client, session.life);
        let goes_by = self.goes_by(&there, life);
        let judged = match action {
            10..13 => {
                let by = (client, &session.reach.host, life);
                let produced = self
                    .records
                    .produce(by, (&topic, partition), &goes_by, draw);
                produced.await?
            }
            13 => {
                let trimmed = self
                    .records
                    .trim(client, (&topic, partition), &goes_by, draw);
                trimmed.await?
            }
            14 => {
                let of = (session.progress, life);
                self.records.read(client, (&topic, partition), of).await?
            }
            _ => questions::ask(client, &topic, &mut self.quorum, draw).await?,
        };
        session.note(&topic.name, judged);
        Ok(())
    }

    /// What a topic's records show of its configuration.
    fn goes_by(&mut self, there: &There, life: usize) -> GoesBy {
        let most = self.in_force(there, "max.message.bytes", life);
        let is = |key: &str, value: &str| there.configs.get(key).is_some_and(|set| set == value);
        GoesBy {
            compression: self.in_force(there, "compression.type", life),
            batch_bytes_max: most.and_then(|most| most.parse().ok()),
            stamped: is("message.timestamp.type", "LogAppendTime"),
            durable: !is("durability", "page-cache"),
            deletes: !is("cleanup.policy", "compact"),
        }
    }

    /// What a topic's key is, its own or from the brokers; `None` where that is not certain.
    fn in_force(&mut self, there: &There, key: &str, life: usize) -> Option<String> {
        let (_, behind, default) = BEHIND.iter().find(|(of_topic, ..)| *of_topic == key)?;
        if let Some(own) = there.configs.get(key) {
            return Some(own.clone());
        }
        let mut found = None;
        // Those of one broker win over those of all.
        for name in ["", BROKER] {
            let mut all = self.subjects.iter_mut();
            let subject = all.find(|one| one.kind == Kind::Broker && one.name == name)?;
            let set = subject.register.certain(life)??.configs;
            found = set.get(*behind).cloned().or(found);
        }
        Some(found.unwrap_or_else(|| (*default).to_owned()))
    }

    async fn change(
        &mut self,
        at: usize,
        session: Session<'_>,
        draw: &mut Draw,
    ) -> Result<(), Error> {
        let life = session.life;
        let subject = &mut self.subjects[at];
        let wanted = wanted(subject, draw, life);
        let validate_only = wanted != Change::Delete && draw.below(5) == 0;
        let of = (subject.kind, subject.name.as_str());
        let answer = calls::change(session.client, of, &wanted, validate_only).await;
        let said: Result<Refused, Error> = match answer {
            Ok(Err(code)) if !SAID.contains(&code) => Err(calls::refused("a change", code)),
            said => said,
        };
        match said {
            Ok(said) => {
                let how = (validate_only, life);
                let judged = subject.register.answered(&wanted, said, how);
                session.note(&subject.name, judged);
                Ok(())
            }
            Err(error) => {
                if !validate_only {
                    subject.register.unknown(wanted, life);
                }
                Err(error)
            }
        }
    }

    /// Looks at what is there under one name, and at its configuration.
    async fn look(
        &mut self,
        at: usize,
        session: Session<'_>,
        draw: &mut Draw,
    ) -> Result<(), Error> {
        let (client, life) = (session.client, session.life);
        let subject = &mut self.subjects[at];
        let (kind, name) = (subject.kind, subject.name.clone());
        if kind != Kind::Broker {
            let found = calls::topic(client, &name, draw.below(2) == 0).await?;
            let judged = subject.register.seen(life, |state| match (state, found) {
                (None, None) => Some(None),
                (Some(there), Some((id, partitions))) => {
                    let fits = there.partitions == partitions && there.id.is_none_or(|it| it == id);
                    fits.then(|| {
                        Some(There {
                            id: Some(id),
                            ..there.clone()
                        })
                    })
                }
                _ => None,
            });
            session.note(
                &name,
                judged.map_err(|why| format!("{found:?} is there, {why}")),
            );
        }
        let told = calls::configs(client, (kind, &name)).await?;
        let set = told.as_ref().map(|told| &told.set);
        let fits = |state: &State| {
            let configs = state.as_ref().map(|there| &there.configs);
            (configs == set).then(|| state.clone())
        };
        let judged = subject.register.seen(life, fits);
        session.note(
            &name,
            judged.map_err(|why| format!("{set:?} is set, {why}")),
        );
        let certain = subject.register.certain(life).flatten();
        if let (Kind::Topic, Some(there), Some(told)) = (kind, certain, told) {
            let judged = self.follows(&there, &told.all, life);
            session.note(&name, judged);
        }
        Ok(())
    }

    /// What a topic says nothing of is as brokers are configured.
    fn follows(&mut self, there: &There, told: &Configs, life: usize) -> Result<(), String> {
        for (key, ..) in BEHIND {
            let wanted = self.in_force(there, key, life);
            if wanted.is_some() && told.get(*key) != wanted.as_ref() {
                return Err(format!("{key} is {:?}, not {wanted:?}", told.get(*key)));
            }
        }
        Ok(())
    }

    async fn look_at_all(&mut self, session: Session<'_>) -> Result<(), Error> {
        let mut draw = Draw(session.reach.host.rng.next_u64());
        for at in 0..self.subjects.len() {
            self.look(at, session, &mut draw).await?;
        }
        let mut topics = Vec::new();
        for subject in &mut self.subjects {
            if subject.kind == Kind::Topic
                && let Some(Some(there)) = subject.register.certain(session.life)
                && let Some(id) = there.id
            {
                topics.push(Topic {
                    name: subject.name.clone(),
                    id,
                    partitions: there.partitions,
                });
            }
        }
        for topic in topics {
            for partition in 0..topic.partitions {
                let of = (session.progress, session.life);
                let read = self.records.read(session.client, (&topic, partition), of);
                let judged = read.await?;
                session.note(&topic.name, judged);
            }
        }
        Ok(())
    }
}

/// A change that fits what is there, mostly.
fn wanted(subject: &mut Subject, draw: &mut Draw, life: usize) -> Change {
    if subject.kind != Kind::Topic {
        return draws::alter(subject.kind, draw);
    }
    let is_there = subject
        .register
        .certain(life)
        .is_none_or(|state| state.is_some());
    let choice = draw.below(10);
    match choice {
        0 if is_there => Change::Delete,
        1..4 if is_there => Change::Grow {
            count: i32::try_from(1 + draw.below(PARTITIONS_MAX)).unwrap_or(1),
        },
        4..9 if is_there => draws::alter(subject.kind, draw),
        1 if !is_there => draws::alter(subject.kind, draw),
        _ => Change::Create {
            partitions: i32::try_from(1 + draw.below(3)).unwrap_or(1),
            configs: draws::configs(draw),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_always_set_is_never_changed() {
        for seed in 0..500 {
            let mut draw = Draw(0x1234_5678_9abc_def1_u64.wrapping_mul(seed));
            let Change::Alter { keys, replaces, .. } = draws::alter(Kind::Topic, &mut draw) else {
                panic!("not a change of a configuration");
            };
            assert_eq!(keys.contains_key(draws::ALWAYS.0), replaces, "seed {seed}");
            assert!(draws::configs(&mut draw).contains_key(draws::ALWAYS.0));
        }
    }
}
