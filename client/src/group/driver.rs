//! The task of a member: does what `member` decides, and tells it what came of it.
//!
//! What always holds: what the consumer reads changes with what the member owns, under one lock with
//! the membership that commits go by; one call to the listener at a time; joining and hearing what is
//! assigned go over a connection of the member's own, since they wait for others.

mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millrace_host::{BoxFuture, Mono};
use tokio::sync::watch;

use super::Group;
use super::assignor::Counts;
use super::committing::{self, Which, key};
use super::member::{Effect, Event, Fault, Member, Partitions, Present, Rules};
use super::offsets::Offsets;
use super::options::{GroupOptions, Rebalance, Topics};
use super::protocol::NO_GENERATION;
use super::requests::{self, Identity, Joined};
use crate::Error;
use crate::cluster::{Link, Metadata, lock};
use crate::consumer::{Membership, Shared};
use steps::{count_of, subscribed};

/// Between two looks at whether a topic that isn't there has been made.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_secs(5);

/// What came of a step.
enum Done {
    /// The event, and nothing else.
    Told(Event),
    /// The generation that was joined, with the topics subscribed to.
    Joined(Result<Joined, Fault>, BTreeSet<String>),
    /// What is assigned, and for the leader how many partitions the topics have.
    Synced(Result<Partitions, Fault>, Option<Counts>),
    /// The group's offsets of new partitions.
    Located(Result<Offsets, Fault>),
}

type Slot<T> = Option<BoxFuture<'static, T>>;

struct Driver {
    shared: Arc<Shared>,
    member: Member,
    step: Slot<Done>,
    beat: Slot<Event>,
    commit: Slot<()>,
    /// There is more to commit than what is under way.
    commits_again: bool,
    look: Slot<Result<BTreeSet<String>, Error>>,
    /// The member's own connection.
    link: Arc<Link>,
    joined: Option<Joined>,
    /// What it subscribed to when it joined.
    topics: BTreeSet<String>,
    /// What the leader counted when it assigned.
    counts: Option<Counts>,
    /// What was assigned last, and in which generation.
    last: (Partitions, i32),
    located: Offsets,
    next_commit: Option<Mono>,
    next_look: Mono,
}

/// Takes part in the group until the application closes the consumer or a fault ends it.
pub(crate) async fn attend(shared: Arc<Shared>) {
    let Some(group) = &shared.group else { return };
    let options = &group.options;
    let rules = Rules {
        heartbeat_interval: options.heartbeat_interval,
        poll_interval_max: options.poll_interval_max,
        cooperative: options
            .assignors
            .iter()
            .all(|offered| offered.is_cooperative()),
        is_static: options.instance_id.is_some(),
    };
    if let Topics::Named(names) = &options.topics {
        *lock(&group.interest) = requests::names(names);
    }
    let now = shared.cluster.host().clock.now().mono;
    let images = shared.cluster.watch();
    let mut driver = Driver {
        member: Member::new(rules),
        step: None,
        beat: None,
        commit: None,
        commits_again: false,
        look: None,
        link: Arc::default(),
        joined: None,
        topics: BTreeSet::new(),
        counts: None,
        last: (Partitions::new(), NO_GENERATION),
        located: Offsets::new(),
        next_commit: options.commit_interval.map(|interval| now + interval),
        next_look: now,
        shared: Arc::clone(&shared),
    };
    driver.run(images).await;
    let error = driver.member.error().cloned();
    group.ended.send_replace(Some(error.map_or(Ok(()), Err)));
}

impl Driver {
    async fn run(&mut self, mut images: watch::Receiver<Arc<Metadata>>) {
        let shared = Arc::clone(&self.shared);
        let mut event = Event::Looked;
        while let Some(group) = &shared.group {
            let at = self.at();
            for effect in self.member.decide(at, event) {
                self.carry_out(effect);
            }
            self.publish(at.asking);
            if self.member.has_ended() {
                return;
            }
            let next_at = self.next_at(self.at());
            event = tokio::select! {
                biased;
                done = ready(&mut self.step) => self.stepped(done),
                event = ready(&mut self.beat) => event,
                () = ready(&mut self.commit) => self.committed(),
                looked = ready(&mut self.look) => self.looked(looked),
                () = group.wake.notified() => self.wished(group),
                changed = images.changed() => match changed {
                    Ok(()) => self.compare(&images.borrow_and_update().clone()),
                    Err(_) => std::future::pending().await,
                },
                () = shared.cluster.sleep_until(Some(next_at)) => self.timed(group),
            };
        }
    }

    fn at(&self) -> Present {
        let cluster = &self.shared.cluster;
        let now = cluster.host().clock.now().mono;
        let failures = self.member.failures().saturating_add(1);
        let wait = cluster.backoff().after(failures, &*cluster.host().rng);
        let core = self.shared.core();
        Present {
            now,
            retry_at: now + wait,
            asking: core.asking.is_on(),
            asked_at: core.asking.since(),
        }
    }

    fn next_at(&self, at: Present) -> Mono {
        let commit = self.next_commit.filter(|_| self.commit.is_none());
        let look = self.look.is_none().then_some(self.next_look);
        let times = [commit, look, self.member.next_at(at)];
        let next = times.into_iter().flatten().min();
        next.unwrap_or(at.now + LOOK_AGAIN)
    }

    /// Shows the consumer what the member is now. `asked` is what was known of the application.
    fn publish(&self, asked: bool) {
        let member = &self.member;
        let is_member = member.generation() != NO_GENERATION;
        let membership = is_member.then(|| Membership {
            member_id: member.id().to_owned(),
            generation: member.generation(),
            coordinator: member.coordinator(),
        });
        let mut core = self.shared.core();
        core.membership = membership;
        core.asking.awaited = member.awaits_application();
        let began = core.asking.awaited && core.asking.is_on() && !asked;
        if let Some(error) = member.error() {
            core.ended = Some(error.clone());
            self.shared.news.notify_one();
        }
        drop(core);
        if let Some(group) = self.shared.group.as_ref().filter(|_| began) {
            // It began meanwhile, when nobody had said that this is waited for.
            group.wake.notify_one();
        }
    }

    /// What the application wants.
    fn wished(&mut self, group: &Group) -> Event {
        let (commits, closes) = {
            let mut wishes = lock(&group.wishes);
            (
                std::mem::take(&mut wishes.commits),
                std::mem::take(&mut wishes.closes),
            )
        };
        if commits {
            self.commit();
        }
        if closes { Event::Close } else { Event::Looked }
    }

    /// What is due.
    fn timed(&mut self, group: &Group) -> Event {
        let now = self.shared.cluster.host().clock.now().mono;
        if self.next_commit.is_some_and(|due| due <= now) && self.commit.is_none() {
            self.next_commit = group.options.commit_interval.map(|interval| now + interval);
            self.commit();
        }
        if self.next_look <= now && self.look.is_none() {
            self.look_for_topics(now, group);
        }
        Event::Looked
    }

    fn commit(&mut self) {
        self.commits_again = self.commit.is_some();
        if self.commits_again {
            return;
        }
        let shared = Arc::clone(&self.shared);
        self.commit = Some(Box::pin(async move {
            let Some(group) = &shared.group else { return };
            if let Err(error) = committing::commit(&shared, group, Which::Processed).await {
                tracing::warn!(group = group.options.group, %error, "offsets aren't committed");
            }
        }));
    }

    fn committed(&mut self) -> Event {
        if self.commits_again {
            self.commit();
        }
        Event::Looked
    }

    /// Sees whether there are other topics than there were.
    fn look_for_topics(&mut self, now: Mono, group: &Group) {
        match &group.options.topics {
            Topics::Named(names) => {
                let image = self.shared.cluster.metadata();
                if names.iter().any(|name| image.topic(name).is_err()) {
                    self.shared.stale.notify_one();
                }
                self.next_look = now + LOOK_AGAIN;
            }
            Topics::Matching(_) => {
                let cluster = self.shared.cluster.clone();
                let topics = group.options.topics.clone();
                self.next_look = now + cluster.options().metadata_age_max;
                self.look = Some(Box::pin(async move { subscribed(&cluster, &topics).await }));
            }
        }
    }

    fn looked(&mut self, looked: Result<BTreeSet<String>, Error>) -> Event {
        match looked {
            Ok(topics) if topics != self.topics && self.joined.is_some() => Event::Changed,
            Ok(_) => Event::Looked,
            Err(error) => {
                tracing::debug!(%error, "the topics can't be listed");
                Event::Looked
            }
        }
    }

    /// Whether a topic has other partitions than when they were assigned.
    fn compare(&mut self, image: &Metadata) -> Event {
        let Some(counts) = &self.counts else {
            return Event::Looked;
        };
        if counts
            .iter()
            .all(|(topic, count)| count_of(image, topic) == *count)
        {
            return Event::Looked;
        }
        // Once: what is assigned next is counted anew.
        self.counts = None;
        Event::Changed
    }

    fn stepped(&mut self, done: Done) -> Event {
        match done {
            Done::Told(event) => event,
            Done::Joined(joined, topics) => {
                self.topics = topics;
                match joined {
                    Ok(joined) => {
                        let told = (joined.member_id.clone(), joined.generation);
                        self.joined = Some(joined);
                        Event::Joined(Ok(told))
                    }
                    Err(fault) => Event::Joined(Err(fault)),
                }
            }
            Done::Synced(assigned, counts) => {
                self.counts = counts;
                self.be_interested();
                if let Ok(assigned) = &assigned {
                    self.last = (assigned.clone(), self.member.generation());
                }
                Event::Synced(assigned)
            }
            Done::Located(Ok(offsets)) => {
                self.located = offsets;
                Event::Located(Ok(()))
            }
            Done::Located(Err(fault)) => Event::Located(Err(fault)),
        }
    }

    /// Goes on hearing of the topics that matter to it.
    fn be_interested(&self) {
        let Some(group) = &self.shared.group else {
            return;
        };
        let own = requests::names(&self.topics);
        let counted = self.counts.iter().flat_map(BTreeMap::keys).cloned();
        let mut interest: Vec<_> = own.into_iter().chain(counted).collect();
        interest.sort();
        interest.dedup();
        *lock(&group.interest) = interest;
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Abandon => {
                self.step = None;
                // A request that waits for others would hold up what is asked next.
                self.link = Arc::default();
            }
            Effect::Forget(partitions) => {
                let mut core = self.shared.core();
                for partition in &partitions {
                    core.give_up(&key(partition));
                }
            }
            Effect::Beat => self.beat = Some(self.beating()),
            Effect::Find => {
                let shared = Arc::clone(&self.shared);
                let group = self.options().group.clone();
                self.step = Some(Box::pin(async move {
                    let found = requests::find(&shared.cluster, &group).await;
                    Done::Told(Event::Found(found))
                }));
            }
            Effect::Join => self.step = Some(self.joining()),
            Effect::Sync => self.step = Some(self.syncing()),
            Effect::Locate(new) => {
                let shared = Arc::clone(&self.shared);
                let (group, at) = (self.options().group.clone(), self.member.coordinator());
                self.step = Some(Box::pin(async move {
                    Done::Located(committing::fetch(&shared, &group, at, &new).await)
                }));
            }
            Effect::Revoke(partitions) => self.step = Some(self.revoking(partitions)),
            Effect::Adopt(new) => self.step = Some(self.adopting(new)),
            Effect::TellLost(partitions) => {
                let lost = self.rebalance(partitions, NO_GENERATION);
                let listener = self.options().listener.clone();
                self.step = Some(Box::pin(async move {
                    if let Some(listener) = listener {
                        listener.lost(&lost).await;
                    }
                    Done::Told(Event::Told)
                }));
            }
            Effect::Leave => self.step = Some(self.leaving()),
        }
    }

    fn options(&self) -> &GroupOptions {
        let group = self.shared.group.as_ref();
        &group
            .expect("only a consumer in a group has this task")
            .options
    }

    fn identity(&self) -> Identity {
        Identity {
            group: self.options().group.clone(),
            instance_id: self.options().instance_id.clone(),
            member_id: self.member.id().to_owned(),
            generation: self.member.generation(),
        }
    }

    fn rebalance(&self, partitions: Partitions, generation: i32) -> Rebalance {
        Rebalance {
            member_id: self.member.id().to_owned(),
            generation,
            partitions,
        }
    }
}

/// Completes when what is in the slot does; never while it is empty. Cancel-safe.
async fn ready<T>(slot: &mut Slot<T>) -> T {
    match slot {
        Some(work) => {
            let done = work.await;
            *slot = None;
            done
        }
        None => std::future::pending().await,
    }
}
