//! Topics beside the workload's own, made and deleted all the time: what was acknowledged of them is
//! there after every end of the broker (A16).
//!
//! What always holds: one task changes them, one request at a time, so that what may be there is
//! known: after an answer one thing; after none, that or what was there before, until the broker's
//! next life, for a request may still take effect when its connection is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millrace_client::{Client, Error, NewTopic, Topic};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::ids::TopicId;
use millrace_protocol::messages::DeleteTopicsRequest;
use millrace_protocol::messages::delete_topics_request::DeleteTopicState;

use crate::anomaly::Anomaly;
use crate::ledger::Progress;
use crate::pulse::Pulse;
use crate::workload::Reach;

/// How many names there are.
const NAMES: u64 = 3;
/// Most partitions of a topic.
const PARTITIONS_MAX: u64 = 3;

/// A topic that is there: its partitions, and its id once it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Side {
    partitions: i32,
    id: Option<TopicId>,
}

impl Side {
    fn of(topic: &Topic) -> Self {
        Self {
            partitions: topic.partitions,
            id: Some(topic.id),
        }
    }

    /// Whether what is there may be what should be.
    fn fits(self, there: &Self) -> bool {
        self.partitions == there.partitions && self.id.is_none_or(|id| Some(id) == there.id)
    }
}

/// A change that may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Create(i32),
    Delete,
}

/// What may be there under one name.
#[derive(Clone, Debug)]
pub struct Register {
    /// What may be there, `None` for no topic.
    states: BTreeSet<Option<Side>>,
    /// What was asked and never answered, in a life.
    pending: Vec<(Change, usize)>,
}

impl Default for Register {
    fn default() -> Self {
        Self {
            states: BTreeSet::from([None]),
            pending: Vec::new(),
        }
    }
}

impl Register {
    /// All that may be there in a life, with what may have happened late.
    fn possible(&mut self, life: usize) -> BTreeSet<Option<Side>> {
        let mut all = self.states.clone();
        loop {
            let mut more = all.clone();
            for (change, _) in &self.pending {
                more.insert(match change {
                    Change::Create(partitions) if all.contains(&None) => Some(Side {
                        partitions: *partitions,
                        id: None,
                    }),
                    Change::Create(_) => continue,
                    Change::Delete => None,
                });
            }
            if more == all {
                break;
            }
            all = more;
        }
        if self.pending.iter().any(|(_, then)| *then != life) {
            // They have happened by now or never will; what came of them is among all these.
            self.states.clone_from(&all);
            self.pending.retain(|(_, then)| *then == life);
        }
        all
    }

    /// Something was seen: nothing else is there, but for what may yet happen.
    fn seen(&mut self, there: Option<Side>, life: usize) -> Result<(), String> {
        let possible = self.possible(life);
        let fits = |may: &Option<Side>| match (may, &there) {
            (None, None) => true,
            (Some(may), Some(there)) => may.fits(there),
            _ => false,
        };
        if !possible.iter().any(fits) {
            return Err(format!("{there:?} is there, {possible:?} may be"));
        }
        self.states = BTreeSet::from([there]);
        Ok(())
    }

    /// It is not known whether this happened or will.
    fn unknown(&mut self, change: Change, life: usize) {
        self.pending.push((change, life));
    }

    /// It was acknowledged that this is there now; `before` says what must have been.
    fn changed(
        &mut self,
        to: Option<Side>,
        before: impl Fn(&Option<Side>) -> bool,
        life: usize,
    ) -> Result<(), String> {
        let possible = self.possible(life);
        if !possible.iter().any(before) {
            return Err(format!("it came to {to:?}, from one of {possible:?}"));
        }
        self.states = BTreeSet::from([to]);
        Ok(())
    }
}

/// One who makes and deletes topics beside.
#[derive(Debug, Default)]
pub struct Sides {
    registers: BTreeMap<String, Register>,
    pause: Duration,
}

impl Sides {
    /// Changes something, or looks, about once each `pause`.
    pub fn new(pause: Duration) -> Self {
        let names = (0..NAMES).map(|number| format!("beside-{number}"));
        Self {
            registers: names.map(|name| (name, Register::default())).collect(),
            pause,
        }
    }

    /// Makes, deletes and looks until the workload stops, then looks once more.
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
            let ended = match connected {
                Ok(client) if is_last => self.look(&client, progress, life).await,
                Ok(client) => self.go_on(&client, (reach, progress), life).await,
                Err(error) => Err(error),
            };
            match ended {
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

    async fn go_on(
        &mut self,
        client: &Client,
        (reach, progress): (&Reach, &Progress),
        life: usize,
    ) -> Result<(), Error> {
        let draw = reach.host.rng.next_u64();
        let name = format!("beside-{}", draw / 8 % NAMES);
        match draw % 4 {
            0 => self.look(client, progress, life).await,
            1 => self.delete(client, name, progress, life).await,
            _ => {
                let partitions = 1 + i32::try_from(draw / 64 % PARTITIONS_MAX).unwrap_or(0);
                let new = NewTopic::new(name, partitions);
                self.create(client, &new, progress, life).await
            }
        }
    }

    async fn create(
        &mut self,
        client: &Client,
        new: &NewTopic,
        progress: &Progress,
        life: usize,
    ) -> Result<(), Error> {
        let register = self.registers.entry(new.name.clone()).or_default();
        let judged = match client.create_topic(new).await {
            Ok(topic) => {
                let made = Side::of(&topic);
                let is_asked = made.partitions == new.partitions;
                // What is made late may be what a request before asked for.
                let judged = register.changed(Some(made), Option::is_none, life);
                judged.and_then(|()| is_asked.then_some(()).ok_or(format!("{made:?} was made")))
            }
            Err(Error::Broker {
                code: ErrorCode::TopicAlreadyExists,
                ..
            }) => {
                let possible = register.possible(life);
                let there = possible.iter().any(Option::is_some);
                there
                    .then_some(())
                    .ok_or(format!("it is there already; {possible:?} may be"))
            }
            Err(error) => {
                register.unknown(Change::Create(new.partitions), life);
                return Err(error);
            }
        };
        note(progress, &new.name, judged);
        Ok(())
    }

    async fn delete(
        &mut self,
        client: &Client,
        name: String,
        progress: &Progress,
        life: usize,
    ) -> Result<(), Error> {
        let register = self.registers.entry(name.clone()).or_default();
        let judged = match remove(client, &name).await {
            Ok(()) => register.changed(None, Option::is_some, life),
            Err(Error::Broker {
                code: ErrorCode::UnknownTopicOrPartition,
                ..
            }) => register.changed(None, Option::is_none, life),
            Err(error) => {
                register.unknown(Change::Delete, life);
                return Err(error);
            }
        };
        note(progress, &name, judged);
        Ok(())
    }

    /// Looks at all names.
    async fn look(
        &mut self,
        client: &Client,
        progress: &Progress,
        life: usize,
    ) -> Result<(), Error> {
        let names: Vec<&str> = self.registers.keys().map(String::as_str).collect();
        let answer = client.metadata(Some(&names)).await?;
        let mut found = Vec::new();
        for topic in answer.read()?.topics {
            let name = topic.name.unwrap_or_default().to_owned();
            let side = match ErrorCode::from_code(topic.error_code) {
                Some(ErrorCode::UnknownTopicOrPartition) => None,
                Some(ErrorCode::None) => Some(Side {
                    partitions: i32::try_from(topic.partitions.len()).unwrap_or(-1),
                    id: Some(topic.topic_id),
                }),
                code => {
                    return Err(Error::Broker {
                        what: format!("to describe {name}"),
                        code: code.unwrap_or(ErrorCode::UnknownServerError),
                    });
                }
            };
            found.push((name, side));
        }
        for (name, register) in &mut self.registers {
            let there = found.iter().find(|(of, _)| of == name);
            let judged = match there {
                Some((_, side)) => register.seen(*side, life),
                None => Err("nothing is said of it".to_owned()),
            };
            note(progress, name, judged);
        }
        Ok(())
    }
}

fn note(progress: &Progress, name: &str, judged: Result<(), String>) {
    if let Err(why) = judged {
        progress.convict(Anomaly::Topic(format!("{name}: {why}")));
    }
}

/// Removes a topic.
pub(crate) async fn remove(client: &Client, name: &str) -> Result<(), Error> {
    let mut topic = DeleteTopicState::default();
    topic.name = Some(name.into());
    let mut request = DeleteTopicsRequest::default();
    request.topics = vec![topic];
    request.timeout_ms = 10_000;
    let answer = client.call(&request).await?;
    let mut results = answer.read()?.responses.into_iter();
    let code = results
        .next()
        .and_then(|result| ErrorCode::from_code(result.error_code))
        .unwrap_or(ErrorCode::UnknownServerError);
    if code == ErrorCode::None {
        return Ok(());
    }
    Err(Error::Broker {
        what: format!("to remove topic {name}"),
        code,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(partitions: i32, id: u8) -> Side {
        let id = Some(TopicId::from_bytes([id; 16]));
        Side { partitions, id }
    }

    #[test]
    fn what_was_acknowledged_is_there() {
        let mut register = Register::default();
        assert!(register.seen(Some(side(1, 1)), 0).is_err(), "from nowhere");
        let made = register.changed(Some(side(2, 1)), Option::is_none, 0);
        assert!(made.is_ok());
        assert!(register.clone().seen(None, 1).is_err(), "lost");
        assert!(register.clone().seen(Some(side(2, 2)), 1).is_err());
        assert!(register.clone().seen(Some(side(1, 1)), 1).is_err());
        assert!(register.seen(Some(side(2, 1)), 1).is_ok());
        assert!(register.changed(None, Option::is_some, 1).is_ok());
        assert!(register.seen(Some(side(2, 1)), 1).is_err(), "back again");
    }

    #[test]
    fn what_was_not_answered_may_happen_until_the_next_life() {
        let mut register = Register::default();
        register.unknown(Change::Create(2), 0);
        assert!(register.seen(None, 0).is_ok(), "not yet");
        assert!(register.seen(Some(side(2, 1)), 0).is_ok(), "now");
        assert!(register.seen(None, 0).is_err(), "nobody deleted it");
        let mut register = Register::default();
        register.unknown(Change::Create(2), 0);
        assert!(register.seen(None, 1).is_ok(), "it ended with the life");
        assert!(register.seen(Some(side(2, 1)), 1).is_err(), "never");
    }
}
