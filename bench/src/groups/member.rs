//! One member: joins, is assigned, says that it lives, commits.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hdrhistogram::Histogram;
use millrace_client::{Call, Client, Topic};
use millrace_host::{Host, Mono};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use millrace_protocol::messages::{HeartbeatRequest, StrBytes, SyncGroupRequest};
use tokio::sync::{mpsc, watch};

use super::board::Synced;
use super::wire::{self, Owner, code};
use super::{Plan, new_histogram};
use crate::text;

/// How long after an answer that says so a member asks again.
const AGAIN_MS: u64 = 20;

/// What all members do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// They connect.
    Connecting,
    /// They join, and stay.
    Joining,
    /// What they do is measured from then until then; then they are done.
    Measured(Mono, Mono),
}

/// What a member tells.
#[derive(Debug)]
pub(super) enum Told {
    Connected,
    Synced(Synced),
    Done(Done),
    Failed(String),
}

/// What became of a member.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) group: usize,
    pub(super) member: usize,
    /// The offset of its newest commit that was acknowledged; 0 for none.
    pub(super) committed: i64,
    /// Commits that were acknowledged while it was measured.
    pub(super) commits: u64,
    /// How often it was told that it is no member any more.
    pub(super) expelled: u64,
    /// How often it had to join again while it was measured.
    pub(super) rejoined: u64,
}

/// What members share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) host: Host,
    pub(super) plan: Plan,
    pub(super) topic: Topic,
    pub(super) heartbeats: Mutex<Histogram<u64>>,
    pub(super) commits: Mutex<Histogram<u64>>,
}

impl Shared {
    pub(super) fn new(host: &Host, plan: Plan, topic: Topic) -> Result<Self, String> {
        Ok(Self {
            host: host.clone(),
            plan,
            topic,
            heartbeats: Mutex::new(new_histogram()?),
            commits: Mutex::new(new_histogram()?),
        })
    }

    fn now(&self) -> Mono {
        self.host.clock.now().mono
    }
}

/// One member.
pub(super) struct Member {
    pub(super) shared: Arc<Shared>,
    pub(super) client: Client,
    pub(super) group: usize,
    pub(super) number: usize,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) told: mpsc::Sender<Told>,
}

/// A place in a generation.
struct Place {
    member_id: String,
    generation: i32,
    heartbeat: (Call, Bytes),
}

/// Whether a member goes on.
enum Ended {
    Rejoins,
    Expelled,
    Done,
}

impl Member {
    /// From the first join to the end of the measurement.
    pub(super) async fn run(mut self) {
        let told = match self.live().await {
            Ok(done) => Told::Done(done),
            Err(reason) => Told::Failed(format!("group {} {}: {reason}", self.group, self.number)),
        };
        // Nobody listens any more when another one failed first.
        self.told.send(told).await.ok();
    }

    async fn live(&mut self) -> Result<Done, String> {
        self.told.send(Told::Connected).await.ok();
        let phases = self.phase.wait_for(|phase| *phase != Phase::Connecting);
        phases.await.map_err(text)?;
        let mut done = Done {
            group: self.group,
            member: self.number,
            committed: 0,
            commits: 0,
            expelled: 0,
            rejoined: 0,
        };
        let mut member_id = String::new();
        loop {
            let place = self.join(&member_id).await?;
            let ended = self.stay(&place, &mut done).await?;
            if matches!(*self.phase.borrow(), Phase::Measured(..)) {
                done.rejoined += 1;
            }
            match ended {
                Ended::Rejoins => member_id = place.member_id,
                Ended::Expelled => {
                    done.expelled += 1;
                    member_id = String::new();
                }
                Ended::Done => {
                    done.rejoined -= 1;
                    return Ok(done);
                }
            }
        }
    }

    fn group_id(&self) -> String {
        group_id(&self.shared.plan.prefix, self.group)
    }

    /// Joins until it has an assignment.
    async fn join(&self, member_id: &str) -> Result<Place, String> {
        let plan = &self.shared.plan;
        let topic = &self.shared.topic.name;
        let mut member_id = member_id.to_owned();
        loop {
            let request = wire::join(&self.group_id(), &member_id, topic, plan.session_ms);
            let answer = self.client.call(&request).await.map_err(text)?;
            let view = answer.read().map_err(text)?;
            let code = code(view.error_code)?;
            if code == ErrorCode::MemberIdRequired {
                member_id = view.member_id.to_owned();
                continue;
            } else if code == ErrorCode::UnknownMemberId {
                member_id = String::new();
                continue;
            } else if code == ErrorCode::RebalanceInProgress || wire::is_passing(code) {
                self.pause().await;
                continue;
            } else if code != ErrorCode::None {
                return Err(format!("a join was refused: {code:?}"));
            }
            member_id = view.member_id.to_owned();
            let generation = view.generation_id;
            // Members in the order of their ids, each a partition.
            let mut ids: Vec<&str> = view.members.into_iter().map(|one| one.member_id).collect();
            ids.sort_unstable();
            let assignments = (0..).zip(ids).map(|(partition, id)| {
                let mut assignment = SyncGroupRequestAssignment::default();
                assignment.member_id = StrBytes::from(id);
                assignment.assignment = wire::assignment(topic, partition);
                assignment
            });
            let mut sync = SyncGroupRequest::default();
            sync.group_id = self.group_id().into();
            sync.generation_id = generation;
            sync.member_id = member_id.as_str().into();
            sync.protocol_type = Some("consumer".into());
            sync.protocol_name = Some(wire::PROTOCOL.into());
            sync.assignments = assignments.collect();
            if let Some(partition) = self.sync(&sync).await? {
                self.tell_synced(generation, partition).await;
                return self.place(member_id, generation);
            }
        }
    }

    /// The partition that it is assigned; `None` when it must join again.
    async fn sync(&self, sync: &SyncGroupRequest) -> Result<Option<i32>, String> {
        let answer = self.client.call(sync).await.map_err(text)?;
        let view = answer.read().map_err(text)?;
        let code = code(view.error_code)?;
        if code == ErrorCode::None {
            return wire::assigned(view.assignment).map(Some);
        }
        let joins_again = [
            ErrorCode::RebalanceInProgress,
            ErrorCode::IllegalGeneration,
            ErrorCode::UnknownMemberId,
        ];
        if wire::is_passing(code) {
            self.pause().await;
        } else if !joins_again.contains(&code) {
            return Err(format!("an assignment was refused: {code:?}"));
        }
        Ok(None)
    }

    async fn tell_synced(&self, generation: i32, partition: i32) {
        let synced = Synced {
            group: self.group,
            member: self.number,
            generation,
            partition,
            at: self.shared.now(),
        };
        self.told.send(Told::Synced(synced)).await.ok();
    }

    fn place(&self, member_id: String, generation: i32) -> Result<Place, String> {
        let mut request = HeartbeatRequest::default();
        request.group_id = self.group_id().into();
        request.generation_id = generation;
        request.member_id = member_id.as_str().into();
        let heartbeat = self.client.encode(&request).map_err(text)?;
        Ok(Place {
            member_id,
            generation,
            heartbeat,
        })
    }

    async fn pause(&self) {
        let clock = &self.shared.host.clock;
        let until = clock.now().mono + std::time::Duration::from_millis(AGAIN_MS);
        clock.sleep_until(until).await;
    }

    /// Says that it lives, and commits, each when it is due.
    async fn stay(&mut self, place: &Place, done: &mut Done) -> Result<Ended, String> {
        let shared = Arc::clone(&self.shared);
        let plan = &shared.plan;
        let all = plan.groups * plan.members;
        let at = self.group * plan.members + self.number;
        let share = |span: std::time::Duration| span.mul_f64(at as f64 / all as f64);
        let mut heartbeat_due = shared.now() + share(plan.heartbeat_every);
        let mut commit_due: Option<Mono> = None;
        loop {
            let phase = *self.phase.borrow_and_update();
            let mut due = heartbeat_due;
            let mut measured = None;
            if let Phase::Measured(from, until) = phase {
                measured = Some(from);
                if shared.now() >= until {
                    return Ok(Ended::Done);
                }
                if let Some(every) = plan.commit_every {
                    let commit_due = *commit_due.get_or_insert_with(|| from + share(every));
                    due = due.min(commit_due);
                }
                due = due.min(until);
            }
            tokio::select! {
                biased;
                changed = self.phase.changed() => {
                    changed.map_err(text)?;
                    continue;
                }
                () = shared.host.clock.sleep_until(due) => {}
            }
            let ended = if due == heartbeat_due {
                heartbeat_due = heartbeat_due + plan.heartbeat_every;
                self.heartbeat(place, due, measured).await?
            } else if let (Some(at), Some(every)) =
                (commit_due.filter(|at| *at == due), plan.commit_every)
            {
                commit_due = Some(at + every);
                self.commit(place, due, done).await?
            } else {
                None
            };
            if let Some(ended) = ended {
                return Ok(ended);
            }
        }
    }

    async fn heartbeat(
        &self,
        place: &Place,
        due: Mono,
        measured: Option<Mono>,
    ) -> Result<Option<Ended>, String> {
        let (call, body) = &place.heartbeat;
        let connection = self.client.connection();
        let body = connection.call(*call, body.clone()).await.map_err(text)?;
        if measured.is_some_and(|from| due >= from) {
            record(&self.shared.heartbeats, self.shared.now(), due);
        }
        let answer = self.client.answer::<HeartbeatRequest>(*call, body);
        ended(code(answer.read().map_err(text)?.error_code)?)
    }

    async fn commit(
        &self,
        place: &Place,
        due: Mono,
        done: &mut Done,
    ) -> Result<Option<Ended>, String> {
        let offset = done.committed + 1;
        let group = self.group_id();
        let owner = Owner {
            group: &group,
            member_id: &place.member_id,
            generation: place.generation,
        };
        let partitions = self.shared.plan.partitions_of(self.number);
        let count = partitions.len();
        let offsets = partitions.map(|partition| (partition, offset));
        let request = wire::commit(&self.client, &owner, &self.shared.topic, offsets);
        let request = request.map_err(text)?;
        let answer = self.client.call(&request).await.map_err(text)?;
        let now = self.shared.now();
        let code = wire::committed(&answer, count)?;
        if code == ErrorCode::None {
            record(&self.shared.commits, now, due);
            done.committed = offset;
            done.commits += 1;
        }
        ended(code)
    }
}

impl Plan {
    /// The partitions that a member commits.
    pub(super) fn partitions_of(&self, member: usize) -> std::ops::Range<i32> {
        let first = i32::try_from(member * self.commit_partitions).unwrap_or(i32::MAX);
        let count = i32::try_from(self.commit_partitions).unwrap_or(i32::MAX);
        first..first.saturating_add(count)
    }
}

/// A group's id.
pub(super) fn group_id(prefix: &str, number: usize) -> String {
    format!("{prefix}-{number:05}")
}

/// What a code that a member was told means for it.
fn ended(code: ErrorCode) -> Result<Option<Ended>, String> {
    let expelled = [ErrorCode::UnknownMemberId, ErrorCode::IllegalGeneration];
    if code == ErrorCode::None {
        Ok(None)
    } else if code == ErrorCode::RebalanceInProgress {
        Ok(Some(Ended::Rejoins))
    } else if expelled.contains(&code) {
        Ok(Some(Ended::Expelled))
    } else {
        Err(format!("a member was told {code:?}"))
    }
}

fn record(latencies: &Mutex<Histogram<u64>>, now: Mono, due: Mono) {
    let us = u64::try_from(now.since(due).as_micros()).unwrap_or(u64::MAX);
    let mut latencies = latencies.lock().unwrap_or_else(PoisonError::into_inner);
    latencies.saturating_record(us);
}
