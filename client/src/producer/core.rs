//! All lanes of a producer: which one a record goes to, and what goes to which broker next.
//!
//! What always holds: pure; what it says is done by `sender`. A lane's number never changes. Lanes
//! with something in them take turns, so that none waits behind a busy one for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millrace_host::{Mono, Rng};

use super::batch::Content;
use super::buffers::Buffers;
use super::delivery::{Delivery, Fate};
use super::lane::{Entry, Lane, Next, Rules, Sending, Verdict};
use super::partitioner::{Sticky, of_key};
use super::queue::Queue;
use crate::cluster::{Metadata, TopicPartitions};
use crate::{Error, ProducerIdentity};

/// The lanes.
#[derive(Debug)]
pub(super) struct Core {
    rules: Rules,
    buffers: Buffers,
    topics: BTreeMap<Arc<str>, Topic>,
    lanes: Vec<Slot>,
    /// Lanes that aren't empty.
    busy: BTreeSet<usize>,
    /// Where the next turn begins.
    turn: usize,
    /// What new lanes begin with.
    identity: Option<ProducerIdentity>,
    /// A lane can't go on without a new one.
    needs_identity: bool,
    /// Nothing is taken in any more.
    closed: bool,
    /// Where records' fates are left, if somebody reads them.
    reports: Option<Arc<Queue>>,
}

#[derive(Debug)]
struct Topic {
    about: Arc<TopicPartitions>,
    /// The lane of each partition.
    lanes: Vec<usize>,
    sticky: Sticky,
}

#[derive(Debug)]
struct Slot {
    lane: Lane,
    topic: Arc<str>,
    leader: Option<i32>,
}

/// Why a record was not taken in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unplaced {
    /// Nothing is known of its topic yet.
    UnknownTopic,
    /// Its topic has no such partition, as of this number of partitions.
    NoPartition(usize),
    /// The producer was closed.
    Closed,
}

/// A record that was taken in.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) delivery: Delivery,
    /// The broker that has more to do by it.
    pub(super) wakes: Option<i32>,
}

/// A batch that goes to a broker now.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) lane: usize,
    pub(super) about: Arc<TopicPartitions>,
    pub(super) partition: i32,
    pub(super) sending: Sending,
}

/// What a broker gets next.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// One batch each of several partitions.
    pub(super) batches: Vec<Planned>,
    /// When there may be more, if nothing else happens.
    pub(super) next_at: Option<Mono>,
    /// A producer id must be had before some lanes can go on.
    pub(super) needs_identity: bool,
}

impl Core {
    pub(super) fn new(rules: Rules, buffer_bytes_max: usize, reports: Option<Arc<Queue>>) -> Self {
        Self {
            rules,
            buffers: Buffers::new(rules.batch_bytes, buffer_bytes_max),
            topics: BTreeMap::new(),
            lanes: Vec::new(),
            busy: BTreeSet::new(),
            turn: 0,
            identity: None,
            needs_identity: false,
            closed: false,
            reports,
        }
    }

    /// Takes a record in, for a partition of its own choice or ours.
    pub(super) fn place(
        &mut self,
        now: Mono,
        topic: &str,
        partition: Option<i32>,
        entry: &Entry<'_>,
        rng: &dyn Rng,
    ) -> Result<Placed, Unplaced> {
        if self.closed {
            return Err(Unplaced::Closed);
        }
        let topic = self.topics.get_mut(topic).ok_or(Unplaced::UnknownTopic)?;
        let partitions = topic.lanes.len();
        let index = match (partition, entry.key) {
            (Some(partition), _) => usize::try_from(partition).unwrap_or(usize::MAX),
            (None, _) if partitions == 0 => 0,
            (None, Some(key)) => of_key(key, partitions),
            (None, None) => {
                let bytes = entry.bytes_max();
                topic
                    .sticky
                    .next(bytes, self.rules.batch_bytes, partitions, rng)
            }
        };
        let lane = *topic
            .lanes
            .get(index)
            .ok_or(Unplaced::NoPartition(partitions))?;
        let slot = &mut self.lanes[lane];
        if slot.lane.is_empty() {
            self.busy.insert(lane);
        }
        let appended = slot.lane.append(now, entry, &self.rules, &mut self.buffers);
        Ok(Placed {
            delivery: appended.delivery,
            wakes: slot.leader.filter(|_| appended.wakes),
        })
    }

    /// Takes a topic in, or what became of those that are in.
    pub(super) fn learn(&mut self, image: &Metadata, wanted: Option<&Arc<TopicPartitions>>) {
        if let Some(about) = wanted {
            self.topics
                .entry(Arc::clone(&about.name))
                .or_insert_with(|| Topic {
                    about: Arc::clone(about),
                    lanes: Vec::new(),
                    sticky: Sticky::default(),
                });
        }
        for (name, topic) in &mut self.topics {
            // A topic that is gone for now keeps its lanes: what is in them waits for it.
            let Ok(about) = image.topic(name) else {
                continue;
            };
            topic.about = Arc::clone(about);
            for partition in &about.partitions {
                let at = usize::try_from(partition.index).expect("partitions are numbered from 0");
                if at == topic.lanes.len() {
                    let reports = self.reports.clone();
                    let mut lane = Lane::new(Arc::clone(name), partition.index, reports);
                    if let Some(identity) = self.identity {
                        lane.identify(identity);
                    }
                    topic.lanes.push(self.lanes.len());
                    self.lanes.push(Slot {
                        lane,
                        topic: Arc::clone(name),
                        leader: None,
                    });
                }
                self.lanes[topic.lanes[at]].leader = partition.leader;
            }
        }
    }

    /// Whether a topic has lanes.
    pub(super) fn knows(&self, topic: &str) -> bool {
        self.topics.contains_key(topic)
    }

    /// The topics with lanes.
    pub(super) fn topic_names(&self) -> Vec<Arc<str>> {
        self.topics.keys().cloned().collect()
    }

    /// Whether records wait for a partition that nobody leads.
    pub(super) fn lacks_leaders(&self) -> bool {
        self.busy
            .iter()
            .any(|lane| self.lanes[*lane].leader.is_none())
    }

    /// Whether a broker leads a partition with something in it.
    pub(super) fn has_work(&self, broker: i32) -> bool {
        self.busy
            .iter()
            .any(|lane| self.lanes[*lane].leader == Some(broker))
    }

    /// Why a broker can't be asked, for those of whom it is said when they are given up.
    pub(super) fn not_reached(&mut self, broker: i32, error: &Error) {
        for lane in &self.busy {
            let slot = &mut self.lanes[*lane];
            if slot.leader == Some(broker) {
                slot.lane.not_reached(error);
            }
        }
    }

    /// The brokers that lead a partition with something in it.
    pub(super) fn leaders(&self) -> BTreeSet<i32> {
        self.busy
            .iter()
            .filter_map(|lane| self.lanes[*lane].leader)
            .collect()
    }

    /// Gives lanes that need one a fresh identity.
    pub(super) fn identify(&mut self, identity: ProducerIdentity) {
        self.identity = Some(identity);
        self.needs_identity = false;
        for slot in &mut self.lanes {
            slot.lane.identify(identity);
        }
    }

    /// Whether a lane waits for an identity.
    pub(super) fn needs_identity(&self) -> bool {
        self.needs_identity
    }

    /// One batch each of as many partitions that a broker leads as fit a request.
    pub(super) fn plan(&mut self, now: Mono, broker: i32) -> Plan {
        let mut plan = Plan::default();
        let mut bytes = 0;
        let turn = self.turn;
        let order: Vec<_> = self
            .busy
            .range(turn..)
            .chain(self.busy.range(..turn))
            .copied()
            .collect();
        for lane in order {
            let slot = &mut self.lanes[lane];
            if slot.leader != Some(broker) {
                continue;
            }
            if bytes >= self.rules.request_bytes_max {
                break;
            }
            match slot.lane.next(now, &self.rules) {
                Next::Send(sending) => {
                    bytes += sending.content.len();
                    self.turn = lane + 1;
                    let topic = &self.topics[&slot.topic];
                    plan.batches.push(Planned {
                        lane,
                        about: Arc::clone(&topic.about),
                        partition: slot.lane.partition(),
                        sending,
                    });
                }
                Next::At(at) => {
                    plan.next_at = Some(plan.next_at.map_or(at, |other| other.min(at)));
                }
                Next::Nothing => {}
                Next::NeedsIdentity => plan.needs_identity = true,
            }
        }
        self.needs_identity |= plan.needs_identity;
        plan
    }

    /// Failed attempts in a row of a lane.
    pub(super) fn failures(&self, lane: usize) -> u32 {
        self.lanes[lane].lane.failures()
    }

    /// What became of a batch; gives the bytes that are free again.
    pub(super) fn answered(
        &mut self,
        lane: usize,
        ticket: u64,
        content: Content,
        verdict: Verdict,
        retry_at: Mono,
    ) -> usize {
        let lane_of = &mut self.lanes[lane].lane;
        let by = (&self.rules, &mut self.buffers);
        let freed = lane_of.answered(ticket, content, verdict, retry_at, by);
        self.settle_busy(lane);
        freed
    }

    /// Sends everything without waiting for more; gives the fates of what waits.
    pub(super) fn flush(&mut self) -> Vec<Arc<Fate>> {
        let mut fates = Vec::new();
        for lane in &self.busy {
            fates.extend(self.lanes[*lane].lane.flush());
        }
        fates
    }

    /// Gives up what took too long: the bytes that are free again, and when to look next.
    pub(super) fn expire(&mut self, now: Mono) -> (usize, Option<Mono>) {
        let mut freed = 0;
        let mut next: Option<Mono> = None;
        for lane in self.busy.clone() {
            let lane_of = &mut self.lanes[lane].lane;
            freed += lane_of.expire(now, &self.rules);
            if let Some(at) = lane_of.gives_up_at(&self.rules) {
                next = Some(next.map_or(at, |other| other.min(at)));
            }
            self.settle_busy(lane);
        }
        (freed, next)
    }

    /// Takes nothing in any more and gives up what is left.
    pub(super) fn close(&mut self) -> usize {
        self.closed = true;
        let mut freed = 0;
        for lane in std::mem::take(&mut self.busy) {
            freed += self.lanes[lane].lane.abandon();
        }
        if let Some(reports) = &self.reports {
            reports.end();
        }
        freed
    }

    fn settle_busy(&mut self, lane: usize) {
        if self.lanes[lane].lane.is_empty() {
            self.busy.remove(&lane);
        }
    }
}
