//! Assigning as evenly as subscriptions allow, with as little moved as that takes.
//!
//! What always holds: of two members that claim a partition the one of the later generation keeps it;
//! between two of one generation nobody does. In the outcome nobody has two partitions more than
//! somebody to whom it could hand one, directly or through others: no assignment is more even. An
//! assignment that was even already stays as it is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::{Applicant, Claim, Counts, Shares};
use crate::TopicPartition;
use crate::group::protocol::Subscription;

/// Members and topics by number; topics with the same subscribers are one kind.
struct Board {
    /// Of each kind, its subscribers in order.
    subscribers: Vec<Vec<usize>>,
    /// Of each member and each kind, what it has.
    has: Vec<BTreeMap<usize, BTreeSet<TopicPartition>>>,
    /// How many each member has.
    load: Vec<usize>,
    /// What each member had from the start.
    claimed: Vec<BTreeSet<TopicPartition>>,
}

/// Assigns, going on from what members claim.
pub(super) fn assign(
    members: &BTreeMap<String, Applicant>,
    counts: &Counts,
    claim: impl Fn(&Subscription) -> Claim,
) -> Shares {
    let kinds = kinds(members, counts);
    let mut board = Board {
        subscribers: kinds.subscribers,
        has: vec![BTreeMap::new(); members.len()],
        load: vec![0; members.len()],
        claimed: claims(members, &claim),
    };
    let mut owner_of = BTreeMap::new();
    for (member, claimed) in board.claimed.iter().enumerate() {
        owner_of.extend(claimed.iter().map(|partition| (partition.clone(), member)));
    }
    let mut free = Vec::new();
    for (topic, kind) in &kinds.of_topic {
        for index in 0..counts.get(topic).copied().unwrap_or(0) {
            let partition = TopicPartition::new(Arc::clone(topic), index);
            match owner_of.get(&partition) {
                Some(owner) if board.subscribers[*kind].binary_search(owner).is_ok() => {
                    board.give(*owner, *kind, partition);
                }
                _ => free.push((*kind, partition)),
            }
        }
    }
    for (kind, partition) in free {
        let least = board.subscribers[kind].iter().copied();
        if let Some(member) = least.min_by_key(|member| (board.load[*member], *member)) {
            board.give(member, kind, partition);
        }
    }
    board.even_out();
    let shares = board
        .has
        .into_iter()
        .map(|kinds| kinds.into_values().flatten().collect());
    members.keys().cloned().zip(shares).collect()
}

/// Leaves out what somebody else still owns: it is given when that one has let go of it (KIP-429).
pub(super) fn withhold(members: &BTreeMap<String, Applicant>, shares: &mut Shares) {
    let mut owners = BTreeMap::<_, BTreeSet<&String>>::new();
    for (id, member) in members {
        for partition in &member.subscription.owned {
            owners.entry(partition).or_default().insert(id);
        }
    }
    for (id, share) in shares {
        share.retain(|partition| {
            owners
                .get(partition)
                .is_none_or(|owners| owners.contains(id))
        });
    }
}

struct Kinds {
    subscribers: Vec<Vec<usize>>,
    of_topic: BTreeMap<Arc<str>, usize>,
}

fn kinds(members: &BTreeMap<String, Applicant>, counts: &Counts) -> Kinds {
    let mut subscribers_of = BTreeMap::<&str, Vec<usize>>::new();
    for (number, member) in members.values().enumerate() {
        for topic in &member.subscription.topics {
            subscribers_of.entry(topic).or_default().push(number);
        }
    }
    let mut known = BTreeMap::<Vec<usize>, usize>::new();
    let mut of_topic = BTreeMap::new();
    for topic in counts.keys() {
        let Some(subscribers) = subscribers_of.remove(&**topic) else {
            continue;
        };
        let next = known.len();
        let kind = *known.entry(subscribers).or_insert(next);
        of_topic.insert(Arc::clone(topic), kind);
    }
    let mut subscribers = vec![Vec::new(); known.len()];
    for (members, kind) in known {
        subscribers[kind] = members;
    }
    Kinds {
        subscribers,
        of_topic,
    }
}

/// What each member keeps of what it claims, so that nothing is claimed twice.
fn claims(
    members: &BTreeMap<String, Applicant>,
    claim: &impl Fn(&Subscription) -> Claim,
) -> Vec<BTreeSet<TopicPartition>> {
    let mut best = BTreeMap::<TopicPartition, (Option<i32>, Option<usize>)>::new();
    for (number, member) in members.values().enumerate() {
        let (owned, generation) = claim(&member.subscription);
        for partition in owned {
            let claimed = best.entry(partition).or_insert((generation, Some(number)));
            if claimed.1 == Some(number) {
                continue;
            }
            if claimed.0 < generation {
                *claimed = (generation, Some(number));
            } else if claimed.0 == generation {
                claimed.1 = None;
            }
        }
    }
    let mut claims = vec![BTreeSet::new(); members.len()];
    for (partition, (_, owner)) in best {
        if let Some(owner) = owner {
            claims[owner].insert(partition);
        }
    }
    claims
}

impl Board {
    fn give(&mut self, member: usize, kind: usize, partition: TopicPartition) {
        self.has[member].entry(kind).or_default().insert(partition);
        self.load[member] += 1;
    }

    /// Hands partitions on until that makes nothing more even. Ends: each time the sum of the squares
    /// of the loads falls.
    fn even_out(&mut self) {
        let mut settled = BTreeSet::new();
        loop {
            let open = (0..self.load.len()).filter(|member| !settled.contains(member));
            let Some(from) = open.max_by_key(|member| (self.load[*member], *member)) else {
                return;
            };
            let least = self.load.iter().min().copied().unwrap_or(0);
            if self.load[from] <= least + 1 {
                return;
            }
            match self.way_out(from) {
                Some(steps) => {
                    for (giver, kind, taker) in steps {
                        self.hand_over(giver, kind, taker);
                    }
                    settled.clear();
                }
                None => {
                    settled.insert(from);
                }
            }
        }
    }

    /// The shortest way to hand one partition from a member to one that has two less, as steps from
    /// giver to taker, the last first.
    fn way_out(&self, from: usize) -> Option<Vec<(usize, usize, usize)>> {
        let enough = self.load[from].checked_sub(2)?;
        let mut came_by = BTreeMap::<usize, (usize, usize)>::new();
        let mut kinds_seen = BTreeSet::new();
        let mut queue = VecDeque::from([from]);
        while let Some(giver) = queue.pop_front() {
            let mut found = None;
            for kind in self.has[giver].keys() {
                if !kinds_seen.insert(*kind) {
                    continue;
                }
                for taker in &self.subscribers[*kind] {
                    if *taker == from || came_by.contains_key(taker) {
                        continue;
                    }
                    came_by.insert(*taker, (giver, *kind));
                    queue.push_back(*taker);
                    let better = (self.load[*taker], *taker);
                    if better.0 <= enough && found.is_none_or(|found| better < found) {
                        found = Some(better);
                    }
                }
            }
            if let Some((_, last)) = found {
                return Some(way_back(&came_by, last));
            }
        }
        None
    }

    /// Hands over one partition, rather one that the giver didn't have before.
    fn hand_over(&mut self, giver: usize, kind: usize, taker: usize) {
        let claims = &self.claimed;
        let Some(has) = self.has[giver].get_mut(&kind) else {
            return;
        };
        let best = has.iter().rev().min_by_key(|partition| {
            let comes_home = claims[taker].contains(*partition);
            (!comes_home, claims[giver].contains(*partition))
        });
        let Some(partition) = best.cloned() else {
            return;
        };
        has.remove(&partition);
        if has.is_empty() {
            self.has[giver].remove(&kind);
        }
        self.load[giver] -= 1;
        self.give(taker, kind, partition);
    }
}

fn way_back(came_by: &BTreeMap<usize, (usize, usize)>, last: usize) -> Vec<(usize, usize, usize)> {
    let mut steps = Vec::new();
    let mut at = last;
    while let Some((giver, kind)) = came_by.get(&at) {
        steps.push((*giver, *kind, at));
        at = *giver;
    }
    steps
}
