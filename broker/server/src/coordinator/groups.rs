//! Consumer groups on this node: which shard keeps which group, and the topic that keeps them all.
//!
//! What always holds: a group is in the partition that its id's hash names, for as long as the topic
//! lives; a topic that was made anew has shards of its own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millrace_config::BrokerConfig;
use millrace_core::Now;
use millrace_core::cluster::{CreateTopic, Image, Topic};
use millrace_core::group::{
    Decision, Event, Groups, OFFSETS_TOPIC, Record, Reply, Request, Settings, Text, Token,
    partition_of,
};
use millrace_host::Pool;
use millrace_log::mark::Incarnation;
use millrace_log::partition::WallGuard;
use millrace_probe::{Branch, Bug, planted, reached};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::ids::TopicId;
use tokio_util::sync::CancellationToken;

use super::shard::{Shard, Unavailable};
use super::{Asked, Coordinate};
use crate::cluster::MetadataError;
use crate::context::Node;

/// How long a request waits for the load of its shard; then the client is told to try again.
const LOAD_WAIT: Duration = Duration::from_millis(500);
/// How long after a failed load the next one begins, at a start.
const RELOAD: Duration = Duration::from_secs(1);

impl Coordinate for Groups {
    type Request = Request;
    type Event = Event;
    type Reply = Reply;
    type Record = Record;
    type Settings = Settings;
    type Decision = Decision;

    fn empty() -> Self {
        Self::new()
    }

    fn request(token: Token, request: Request) -> Event {
        Event::Request(token, request)
    }

    fn gone(token: Token) -> Event {
        Event::Gone(token)
    }

    fn timer() -> Event {
        Event::Timer
    }

    fn decide(&self, now: Now, settings: &Settings, key: &Text, event: Event) -> Decision {
        Self::decide(self, now, settings, key, event)
    }

    fn records(decision: &Decision) -> &[Record] {
        &decision.records
    }

    fn encode(record: &Record) -> (Vec<u8>, Option<Vec<u8>>) {
        record.encode()
    }

    fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<Record>, String> {
        Record::decode(key, value)
    }

    fn replay(&mut self, offset: i64, record: &Record) {
        Self::replay(self, offset, record);
    }

    fn apply(&mut self, decision: Decision) -> (Vec<(Token, Reply)>, i64) {
        Self::apply(self, decision)
    }

    fn loaded(&mut self, now: Now) {
        Self::loaded(self, now);
    }

    fn held_bytes(&self) -> usize {
        Self::held_bytes(self)
    }

    fn committed(&mut self, upto: i64) {
        Self::committed(self, upto);
    }

    fn next_due_ns(&self) -> Option<u64> {
        Self::next_due_ns(self)
    }

    fn due(&self, now: Now) -> Option<Text> {
        Self::due(self, now).cloned()
    }

    fn postpone(&mut self, key: &Text, until_ns: u64) {
        Self::postpone(self, key, until_ns);
    }
}

/// What a broker's configuration says of groups.
fn settings(config: &BrokerConfig) -> Settings {
    let groups = &config.groups;
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Settings {
        session_timeout_min_ms: groups.session_timeout_min_ms,
        session_timeout_max_ms: groups.session_timeout_max_ms,
        initial_rebalance_delay_ms: ms(groups.initial_rebalance_delay),
        members_max: groups.members_max as usize,
        offset_metadata_bytes_max: groups.offset_metadata_bytes_max as usize,
        offsets_retention_ms: i64::try_from(ms(groups.offsets_retention)).unwrap_or(i64::MAX),
    }
}

/// The shard of a group.
pub(crate) type GroupShard = Arc<Shard<Groups>>;

/// All shards of a node.
#[derive(Debug)]
pub(crate) struct GroupShards {
    shards: Mutex<BTreeMap<Incarnation, GroupShard>>,
    held: Arc<AtomicU64>,
    stopping: CancellationToken,
}

impl GroupShards {
    /// None yet.
    pub(crate) fn new(stopping: CancellationToken) -> Self {
        Self {
            shards: Mutex::default(),
            held: Arc::default(),
            stopping,
        }
    }

    fn of(&self, node: &Node, topic: &Topic, partition: i32) -> GroupShard {
        let incarnation = Incarnation {
            topic_id: topic.id.to_bytes(),
            partition,
        };
        let mut shards = self.lock();
        if let Some(shard) = shards.get(&incarnation) {
            return Arc::clone(shard);
        }
        // One of a topic that is gone keeps nothing that anybody may ask for.
        shards.retain(|known, _| known.topic_id == incarnation.topic_id);
        let name = format!("{}-{partition}", topic.name);
        let held = Arc::clone(&self.held);
        let shard = Shard::new(node.host.clone(), name, held, self.stopping.clone());
        shards.insert(incarnation, Arc::clone(&shard));
        shard
    }

    /// What all groups take in memory, in bytes, about.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Incarnation, GroupShard>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at a shard, and tells what was seen once it is committed.
pub(crate) async fn look_at<R>(
    shard: &GroupShard,
    look: impl FnOnce(&Groups) -> (R, i64),
) -> Result<R, ErrorCode> {
    let answer = Reply::Code(ErrorCode::None);
    let told = shard.look_to_tell(look, answer);
    let (seen, told) = told.map_err(Unavailable::code)?;
    if planted(Bug::UncommittedOffsetShown) {
        return Ok(seen);
    }
    told.await.map_err(|_| ErrorCode::NotCoordinator)?;
    Ok(seen)
}

/// The topics of which a group keeps offsets, as they were when it committed, and that are no more.
fn gone(groups: &Groups, group: &str, image: &Image) -> Vec<(Text, TopicId)> {
    let mut gone = Vec::new();
    let mut last = None;
    for (topic, _, kept) in groups.offsets(group) {
        let of = (topic, kept.topic_id);
        if last.replace(of) == Some(of) {
            continue;
        }
        let is_there =
            |now: &Topic| of.1.is_zero() || now.id == of.1 || planted(Bug::OffsetsInherited);
        if !image.topic_named(topic).is_some_and(is_there) {
            gone.push((Arc::clone(topic), of.1));
        }
    }
    if !gone.is_empty() && planted(Bug::OffsetsOutliveTopic) {
        gone.clear();
    }
    gone
}

impl Node {
    /// Asks the shard of a group. What can't be asked now has a code that clients try again on.
    pub(crate) async fn ask_group(
        self: &Arc<Self>,
        group: &str,
        request: Request,
    ) -> Result<Asked<Groups>, ErrorCode> {
        let shard = self.group_shard(group).await?;
        shard.ask(&group.into(), request).map_err(Unavailable::code)
    }

    /// Looks at the groups of a shard: `look` says what is seen and the offset that must be
    /// committed before it is told; it is told then.
    pub(crate) async fn look_at_group<R>(
        self: &Arc<Self>,
        group: &str,
        look: impl FnOnce(&Groups) -> (R, i64),
    ) -> Result<R, ErrorCode> {
        let shard = self.group_shard(group).await?;
        look_at(&shard, look).await
    }

    /// The shards in which there may be groups.
    pub(crate) fn written_group_shards(self: &Arc<Self>) -> Vec<GroupShard> {
        let image = self.cluster.image();
        let Some(topic) = image.topic_named(OFFSETS_TOPIC) else {
            return Vec::new();
        };
        let shards = topic.partitions.keys().map(|index| {
            let shard = self.groups.of(self, topic, *index);
            let may_hold =
                shard.check_loaded().is_ok() || self.partitions.was_written(topic, *index);
            (shard, may_hold)
        });
        let written = shards.filter(|(_, may_hold)| *may_hold);
        written.map(|(shard, _)| shard).collect()
    }

    /// The shard of a group, loaded; one that nobody loads begins to be, and is waited for a little.
    async fn group_shard(self: &Arc<Self>, group: &str) -> Result<GroupShard, ErrorCode> {
        let image = self.cluster.image();
        let topic = image.topic_named(OFFSETS_TOPIC);
        let topic = topic.ok_or(ErrorCode::NotCoordinator)?;
        let partition = partition_of(group, topic.partitions.size());
        let own_id = self.config.node.id;
        if topic
            .partitions
            .get(&partition)
            .is_none_or(|one| one.leader != own_id)
        {
            return Err(ErrorCode::NotCoordinator);
        }
        let shard = self.groups.of(self, topic, partition);
        if let Err(why) = shard.check_loaded() {
            reached(Branch::GroupAskedWhileLoading);
            self.begin_load(&shard, topic, partition);
            let clock = &self.host.clock;
            tokio::select! {
                biased;
                () = shard.until_settled() => {}
                () = clock.sleep_until(clock.now().mono + LOAD_WAIT) => return Err(why.code()),
            }
        }
        Ok(shard)
    }

    /// Loads a shard in a task of its own, unless that is under way or done.
    fn begin_load(self: &Arc<Self>, shard: &GroupShard, topic: &Topic, partition: i32) {
        let Some(life) = shard.begin_load() else {
            return;
        };
        let (node, shard, topic) = (Arc::clone(self), Arc::clone(shard), topic.clone());
        let loading = async move {
            if let Err(reason) = node.load_groups(&shard, life, &topic, partition).await {
                tracing::warn!(partition, reason, "groups can't be loaded for now");
                shard.load_failed(life);
            }
        };
        drop(
            self.host
                .spawn
                .spawn(Pool::Data, "group load", Box::pin(loading)),
        );
    }

    async fn load_groups(
        self: &Arc<Self>,
        shard: &GroupShard,
        life: u64,
        topic: &Topic,
        partition: i32,
    ) -> Result<(), String> {
        // A log stays open when its directory fails; what is there serves nobody any more (F1).
        let placed = self.partitions.is_placed(topic, partition);
        placed.map_err(|why| why.message.to_string())?;
        let open = self.partitions.get(topic, partition).await;
        let open = open.map_err(|why| why.message.to_string())?;
        let scratch = self.scratches.take();
        let read_bytes = self.config.groups.load_bytes as usize;
        let settings = settings(&self.config);
        shard
            .load(life, open, settings, (read_bytes, scratch))
            .await
    }

    /// The topic that keeps groups, made if need be.
    pub(crate) async fn offsets_topic(self: &Arc<Self>) -> Result<Arc<Image>, MetadataError> {
        let image = self.cluster.image();
        if image.topic_named(OFFSETS_TOPIC).is_some() {
            return Ok(image);
        }
        let config = self.live_config();
        let brokers = image.brokers().filter(|broker| !broker.fenced).count();
        let replicas = (config.groups.topic_replication_factor as usize).min(brokers.max(1));
        let settings = [
            ("cleanup.policy", "compact".to_owned()),
            ("compression.type", "producer".to_owned()),
            (
                "segment.bytes",
                config.groups.topic_segment_bytes.to_string(),
            ),
        ];
        let wish = CreateTopic {
            name: OFFSETS_TOPIC.to_owned(),
            partitions: i32::try_from(config.groups.topic_partitions).unwrap_or(i32::MAX),
            replication_factor: i16::try_from(replicas).unwrap_or(1),
            configs: settings
                .map(|(key, value)| (key.to_owned(), Some(value)))
                .into(),
            ..CreateTopic::default()
        };
        let outcomes = self
            .cluster
            .create_topics(&self.host, &config, &[wish], false)
            .await?;
        for refusal in outcomes.into_iter().filter_map(Result::err) {
            if refusal.code != ErrorCode::TopicAlreadyExists {
                tracing::warn!(reason = refusal.message, "{OFFSETS_TOPIC} can't be made");
            }
        }
        Ok(self.cluster.image())
    }

    /// Loads every shard at a start, and looks now and then for offsets that are too old, or of
    /// topics that are gone.
    pub(crate) async fn keep_groups(self: Arc<Self>) {
        let clock = Arc::clone(&self.host.clock);
        let mut guard = WallGuard::new(
            "expiry of offsets",
            clock.now(),
            self.partitions.last_wall_ms(),
        );
        let interval = self.config.groups.retention_check_interval;
        let mut check_at = clock.now().mono + interval;
        loop {
            let all_loaded = self.load_all();
            let now = clock.now().mono;
            let next = if all_loaded {
                check_at
            } else {
                check_at.min(now + RELOAD)
            };
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => return,
                () = clock.sleep_until(next) => {}
            }
            let now = clock.now();
            if now.mono >= check_at {
                check_at = now.mono + interval;
                for shard in self.written_group_shards() {
                    self.expire(&shard, guard.allows(now).then_some(now.wall_ms));
                }
            }
        }
    }

    /// Begins to load what was written and nobody loads; whether nothing is left to.
    fn load_all(self: &Arc<Self>) -> bool {
        let image = self.cluster.image();
        let Some(topic) = image.topic_named(OFFSETS_TOPIC) else {
            return true;
        };
        let mut all_loaded = true;
        for index in topic.partitions.keys() {
            let shard = self.groups.of(self, topic, *index);
            if shard.check_loaded().is_err() && self.partitions.was_written(topic, *index) {
                all_loaded = false;
                self.begin_load(&shard, topic, *index);
            }
        }
        all_loaded
    }

    fn expire(&self, shard: &GroupShard, at_ms: Option<i64>) {
        let image = self.cluster.image();
        let kept = shard.look(|groups| {
            let all = groups.kept();
            let all = all.map(|group| (Arc::clone(group), gone(groups, group, &image)));
            all.collect::<Vec<_>>()
        });
        // One that isn't loaded is looked at the next time.
        for (group, gone) in kept.unwrap_or_default() {
            let events = [
                (!gone.is_empty()).then_some(Event::TopicsDeleted(gone)),
                at_ms.map(Event::Expire),
            ];
            for event in events.into_iter().flatten() {
                if let Err(why) = shard.happen(&group, event) {
                    tracing::debug!(?why, "offsets stay for now");
                }
            }
        }
    }

    /// Topics were deleted: no group keeps an offset of them any more.
    pub(crate) fn forget_offsets(self: &Arc<Self>) {
        for shard in self.written_group_shards() {
            self.expire(&shard, None);
        }
    }
}
