//! Keys of Apache Kafka 4.x that exist and have no effect here yet. They are refused, never
//! swallowed: who sets one expects it to do something.

/// A key without effect, and what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Absent {
    pub(crate) key: &'static str,
    pub(crate) advice: &'static str,
}

/// A key of Kafka's that this version does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbsentKey {
    /// Its name.
    pub name: &'static str,
    /// Whether it is a topic's; else it is a broker's.
    pub is_topics: bool,
    /// Why it is refused, and what to do instead.
    pub reason: &'static str,
}

/// Every key of Kafka's that this version does not take: those of brokers, then those of topics.
pub fn absent_keys() -> impl Iterator<Item = AbsentKey> {
    let rows = |keys: &'static [&'static str], is_topics| {
        keys.iter().map(move |name| AbsentKey {
            name,
            is_topics,
            reason: advice(name),
        })
    };
    rows(BROKER, false).chain(rows(TOPIC, true))
}

/// The broker key of this name, if Kafka has it and it has no effect here.
pub(crate) fn broker(name: &str) -> Option<Absent> {
    find(BROKER, name)
}

/// The topic key of this name, if Kafka has it and it has no effect here.
pub(crate) fn topic(name: &str) -> Option<Absent> {
    find(TOPIC, name)
}

fn find(keys: &'static [&'static str], name: &str) -> Option<Absent> {
    let key = keys.iter().copied().find(|key| *key == name)?;
    Some(Absent {
        key,
        advice: advice(key),
    })
}

fn advice(key: &str) -> &'static str {
    match key {
        "broker.id" => "give node.id instead",
        "process.roles" | "controller.listener.names" | "controller.quorum.voters" => {
            "a node is broker and controller of its own cluster; leave the key out"
        }
        "zookeeper.connect" => "there is no ZooKeeper; leave the key out",
        "metadata.log.dir" => {
            "the metadata lie in the first of log.dirs that a node was begun with; leave the key out"
        }
        "num.network.threads"
        | "num.io.threads"
        | "background.threads"
        | "num.recovery.threads.per.data.dir" => {
            "threads follow the number of processors; leave the key out"
        }
        "queued.max.requests" => {
            "requests are bounded by queued.max.request.bytes and, on each connection, by \
             connection.requests.max; give these instead"
        }
        "log.flush.scheduler.interval.ms" => "give log.flush.lag.ms instead",
        "socket.send.buffer.bytes" | "socket.receive.buffer.bytes" => {
            "the machine sizes the buffers of sockets; leave the key out"
        }
        _ => FAMILIES
            .iter()
            .find(|(beginning, _)| key.starts_with(beginning))
            .map_or("leave it out", |(_, reason)| reason),
    }
}

/// What the keys that begin so are for, where this version does without; the first that fits counts.
const FAMILIES: &[(&str, &str)] = &[
    ("ssl.", "there is no encryption yet; leave it out"),
    ("sasl.", NO_AUTHENTICATION),
    ("delegation.token.", NO_AUTHENTICATION),
    ("connections.max.reauth.ms", NO_AUTHENTICATION),
    ("connection.failed.authentication", NO_AUTHENTICATION),
    ("principal.builder", NO_AUTHENTICATION),
    ("super.users", NO_AUTHORISATION),
    ("authorizer.class.name", NO_AUTHORISATION),
    ("allow.everyone", NO_AUTHORISATION),
    ("security.inter.broker", ONE_NODE),
    ("group.", NO_GROUPS),
    ("offset.metadata.", NO_GROUPS),
    ("offsets.", NO_GROUPS),
    ("share.", NO_GROUPS),
    ("errors.deadletterqueue", NO_GROUPS),
    ("transaction", NO_TRANSACTIONS),
    ("add.partitions.to.txn", NO_TRANSACTIONS),
    ("remote.", NO_TIERS),
    ("log.remote.", NO_TIERS),
    ("follower.fetch.last.tiered", NO_TIERS),
    ("client.quota.", NO_QUOTAS),
    ("quota.", NO_QUOTAS),
    ("controller.quota.", NO_QUOTAS),
    ("alter.log.dirs.replication.quota", NO_QUOTAS),
    ("replica.alter.log.dirs.io", NO_QUOTAS),
    ("replication.quota.", NO_QUOTAS),
    ("leader.replication.throttled", ONE_NODE),
    ("follower.replication.throttled", ONE_NODE),
    ("replica.", ONE_NODE),
    ("num.replica.fetchers", ONE_NODE),
    ("auto.leader.rebalance", ONE_NODE),
    ("leader.imbalance", ONE_NODE),
    ("unclean.leader.election.interval", ONE_NODE),
    ("controlled.shutdown", ONE_NODE),
    ("controller.", ONE_NODE),
    ("broker.heartbeat", ONE_NODE),
    ("broker.session", ONE_NODE),
    ("initial.broker.registration", ONE_NODE),
    ("inter.broker.", ONE_NODE),
    ("metric", OWN_METRICS),
    ("kafka.metrics.", OWN_METRICS),
    (
        "telemetry.",
        "no metrics are taken from clients yet; leave it out",
    ),
];

const NO_AUTHENTICATION: &str = "there is no authentication yet; leave it out";
const NO_AUTHORISATION: &str = "there is no authorisation yet; leave it out";
const NO_GROUPS: &str = "there are no groups yet; leave it out";
const NO_TRANSACTIONS: &str = "there are no transactions yet; leave it out";
const NO_TIERS: &str = "there is no tiered storage yet; leave it out";
const NO_QUOTAS: &str = "there are no quotas yet; leave it out";
const ONE_NODE: &str = "a cluster is one node yet; leave it out";
const OWN_METRICS: &str = "metrics are shown over HTTP (admin.listener); leave it out";

/// Broker keys, sorted.
const BROKER: &[&str] = &[
    "add.partitions.to.txn.retry.backoff.max.ms",
    "add.partitions.to.txn.retry.backoff.ms",
    "allow.everyone.if.no.acl.found",
    "alter.config.policy.class.name",
    "alter.log.dirs.replication.quota.window.num",
    "alter.log.dirs.replication.quota.window.size.seconds",
    "authorizer.class.name",
    "auto.leader.rebalance.enable",
    "background.threads",
    "broker.heartbeat.interval.ms",
    "broker.id",
    "broker.session.timeout.ms",
    "client.quota.callback.class",
    "config.providers",
    "connection.failed.authentication.delay.ms",
    "connections.max.reauth.ms",
    "controlled.shutdown.enable",
    "controller.listener.names",
    "controller.performance.always.log.threshold.ms",
    "controller.performance.sample.period.ms",
    "controller.quorum.append.linger.ms",
    "controller.quorum.auto.join.enable",
    "controller.quorum.bootstrap.servers",
    "controller.quorum.election.backoff.max.ms",
    "controller.quorum.election.timeout.ms",
    "controller.quorum.fetch.max.bytes",
    "controller.quorum.fetch.snapshot.max.bytes",
    "controller.quorum.fetch.timeout.ms",
    "controller.quorum.request.timeout.ms",
    "controller.quorum.retry.backoff.ms",
    "controller.quorum.voters",
    "controller.quota.window.num",
    "controller.quota.window.size.seconds",
    "controller.socket.timeout.ms",
    "cordoned.log.dirs",
    "create.topic.policy.class.name",
    "delegation.token.expiry.check.interval.ms",
    "delegation.token.expiry.time.ms",
    "delegation.token.max.lifetime.ms",
    "delegation.token.secret.key",
    "delete.records.purgatory.purge.interval.requests",
    "early.start.listeners",
    "errors.deadletterqueue.auto.create.topics.enable",
    "errors.deadletterqueue.topic.name.prefix",
    "fetch.purgatory.purge.interval.requests",
    "follower.fetch.last.tiered.offset.enable",
    "follower.replication.throttled.rate",
    "group.consumer.assignment.interval.ms",
    "group.consumer.assignor.offload.enable",
    "group.consumer.assignors",
    "group.consumer.heartbeat.interval.ms",
    "group.consumer.max.assignment.interval.ms",
    "group.consumer.max.heartbeat.interval.ms",
    "group.consumer.max.session.timeout.ms",
    "group.consumer.max.size",
    "group.consumer.migration.policy",
    "group.consumer.min.assignment.interval.ms",
    "group.consumer.min.heartbeat.interval.ms",
    "group.consumer.min.session.timeout.ms",
    "group.consumer.regex.refresh.interval.ms",
    "group.consumer.session.timeout.ms",
    "group.coordinator.append.linger.ms",
    "group.coordinator.background.threads",
    "group.coordinator.cached.buffer.max.bytes",
    "group.coordinator.rebalance.protocols",
    "group.coordinator.threads",
    "group.share.assignment.interval.ms",
    "group.share.assignor.offload.enable",
    "group.share.assignors",
    "group.share.delivery.count.limit",
    "group.share.dlq.manager.class.name",
    "group.share.heartbeat.interval.ms",
    "group.share.initialize.retry.interval.ms",
    "group.share.max.assignment.interval.ms",
    "group.share.max.delivery.count.limit",
    "group.share.max.heartbeat.interval.ms",
    "group.share.max.partition.max.record.locks",
    "group.share.max.record.lock.duration.ms",
    "group.share.max.session.timeout.ms",
    "group.share.max.share.sessions",
    "group.share.max.size",
    "group.share.min.assignment.interval.ms",
    "group.share.min.delivery.count.limit",
    "group.share.min.heartbeat.interval.ms",
    "group.share.min.partition.max.record.locks",
    "group.share.min.record.lock.duration.ms",
    "group.share.min.session.timeout.ms",
    "group.share.partition.max.record.locks",
    "group.share.persister.class.name",
    "group.share.record.lock.duration.ms",
    "group.share.session.timeout.ms",
    "group.streams.acceptable.recovery.lag",
    "group.streams.assignment.interval.ms",
    "group.streams.assignor.offload.enable",
    "group.streams.assignors",
    "group.streams.heartbeat.interval.ms",
    "group.streams.initial.rebalance.delay.ms",
    "group.streams.max.assignment.interval.ms",
    "group.streams.max.heartbeat.interval.ms",
    "group.streams.max.session.timeout.ms",
    "group.streams.max.size",
    "group.streams.max.standby.replicas",
    "group.streams.max.warmup.replicas",
    "group.streams.min.assignment.interval.ms",
    "group.streams.min.heartbeat.interval.ms",
    "group.streams.min.session.timeout.ms",
    "group.streams.min.task.offset.interval.ms",
    "group.streams.num.standby.replicas",
    "group.streams.num.warmup.replicas",
    "group.streams.rack.aware.assignment.tags",
    "group.streams.session.timeout.ms",
    "group.streams.task.offset.interval.ms",
    "group.streams.topology.description.plugin.class",
    "initial.broker.registration.timeout.ms",
    "inter.broker.listener.name",
    "internal.metadata.delete.delay.millis",
    "internal.metadata.log.segment.bytes",
    "internal.metadata.max.batch.size.in.bytes",
    "kafka.metrics.polling.interval.secs",
    "kafka.metrics.reporters",
    "leader.imbalance.check.interval.seconds",
    "leader.replication.throttled.rate",
    "log.dir.failure.timeout.ms",
    "log.flush.offset.checkpoint.interval.ms",
    "log.flush.scheduler.interval.ms",
    "log.flush.start.offset.checkpoint.interval.ms",
    "log.initial.task.delay.ms",
    "log.remote.copy.lag.bytes",
    "log.remote.copy.lag.ms",
    "max.request.partition.size.limit",
    "metadata.log.dir",
    "metadata.log.segment.bytes",
    "metadata.log.segment.ms",
    "metadata.max.idle.interval.ms",
    "metadata.max.retention.bytes",
    "metadata.max.retention.ms",
    "metric.reporters",
    "metrics.num.samples",
    "metrics.recording.level",
    "metrics.sample.window.ms",
    "num.io.threads",
    "num.network.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
    "offsets.topic.compression.codec",
    "principal.builder.class",
    "process.roles",
    "producer.id.expiration.check.interval.ms",
    "producer.purgatory.purge.interval.requests",
    "queued.max.requests",
    "quota.window.num",
    "quota.window.size.seconds",
    "remote.fetch.max.wait.ms",
    "remote.list.offsets.request.timeout.ms",
    "remote.log.index.file.cache.total.size.bytes",
    "remote.log.index.file.cache.ttl.ms",
    "remote.log.manager.copier.thread.pool.size",
    "remote.log.manager.copy.max.bytes.per.second",
    "remote.log.manager.copy.quota.window.num",
    "remote.log.manager.copy.quota.window.size.seconds",
    "remote.log.manager.expiration.thread.pool.size",
    "remote.log.manager.fetch.max.bytes.per.second",
    "remote.log.manager.fetch.quota.window.num",
    "remote.log.manager.fetch.quota.window.size.seconds",
    "remote.log.manager.follower.thread.pool.size",
    "remote.log.manager.task.interval.ms",
    "remote.log.manager.task.retry.backoff.max.ms",
    "remote.log.manager.task.retry.backoff.ms",
    "remote.log.manager.task.retry.jitter",
    "remote.log.manager.thread.pool.size",
    "remote.log.metadata.consume.wait.ms",
    "remote.log.metadata.custom.metadata.max.bytes",
    "remote.log.metadata.initialization.retry.interval.ms",
    "remote.log.metadata.initialization.retry.max.timeout.ms",
    "remote.log.metadata.manager.class.name",
    "remote.log.metadata.manager.class.path",
    "remote.log.metadata.manager.impl.prefix",
    "remote.log.metadata.manager.listener.name",
    "remote.log.metadata.topic.min.isr",
    "remote.log.metadata.topic.num.partitions",
    "remote.log.metadata.topic.replication.factor",
    "remote.log.metadata.topic.retention.ms",
    "remote.log.reader.max.pending.tasks",
    "remote.log.reader.threads",
    "remote.log.storage.manager.class.name",
    "remote.log.storage.manager.class.path",
    "remote.log.storage.manager.impl.prefix",
    "remote.log.storage.system.enable",
    "replica.fetch.backoff.ms",
    "replica.fetch.max.bytes",
    "replica.fetch.min.bytes",
    "replica.fetch.response.max.bytes",
    "replica.fetch.wait.max.ms",
    "replica.high.watermark.checkpoint.interval.ms",
    "replica.lag.time.max.ms",
    "replica.selector.class",
    "replica.socket.receive.buffer.bytes",
    "replica.socket.timeout.ms",
    "replication.quota.window.num",
    "replication.quota.window.size.seconds",
    "request.timeout.ms",
    "sasl.enabled.mechanisms",
    "sasl.jaas.config",
    "sasl.mechanism.controller.protocol",
    "sasl.mechanism.inter.broker.protocol",
    "sasl.oauthbearer.allow.unverified.audience",
    "sasl.oauthbearer.allow.unverified.issuer",
    "sasl.oauthbearer.clock.skew.seconds",
    "sasl.oauthbearer.expected.audience",
    "sasl.oauthbearer.expected.issuer",
    "sasl.oauthbearer.jwks.endpoint.refresh.ms",
    "sasl.oauthbearer.jwks.endpoint.url",
    "sasl.oauthbearer.scope.claim.name",
    "sasl.oauthbearer.sub.claim.name",
    "sasl.server.max.receive.size",
    "security.inter.broker.protocol",
    "server.max.startup.time.ms",
    "share.coordinator.append.linger.ms",
    "share.coordinator.cached.buffer.max.bytes",
    "share.coordinator.cold.partition.snapshot.interval.ms",
    "share.coordinator.load.buffer.size",
    "share.coordinator.snapshot.update.records.per.snapshot",
    "share.coordinator.state.topic.compression.codec",
    "share.coordinator.state.topic.min.isr",
    "share.coordinator.state.topic.num.partitions",
    "share.coordinator.state.topic.prune.interval.ms",
    "share.coordinator.state.topic.replication.factor",
    "share.coordinator.state.topic.segment.bytes",
    "share.coordinator.threads",
    "share.coordinator.write.timeout.ms",
    "share.fetch.purgatory.purge.interval.requests",
    "socket.connection.setup.timeout.max.ms",
    "socket.connection.setup.timeout.ms",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "ssl.allow.dn.changes",
    "ssl.allow.san.changes",
    "ssl.cipher.suites",
    "ssl.client.auth",
    "ssl.enabled.protocols",
    "ssl.endpoint.identification.algorithm",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.keystore.location",
    "ssl.keystore.type",
    "ssl.principal.mapping.rules",
    "ssl.protocol",
    "ssl.truststore.certificates",
    "ssl.truststore.location",
    "super.users",
    "telemetry.max.bytes",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms",
    "transaction.max.timeout.ms",
    "transaction.partition.verification.enable",
    "transaction.remove.expired.transaction.cleanup.interval.ms",
    "transaction.state.log.load.buffer.size",
    "transaction.state.log.min.isr",
    "transaction.state.log.num.partitions",
    "transaction.state.log.replication.factor",
    "transaction.state.log.segment.bytes",
    "transaction.two.phase.commit.enable",
    "transactional.id.expiration.ms",
    "unclean.leader.election.interval.ms",
    "unstable.api.versions.enable",
    "unstable.feature.versions.enable",
    "zookeeper.connect",
];

/// Topic keys, sorted.
const TOPIC: &[&str] = &[
    "errors.deadletterqueue.group.enable",
    "internal.segment.bytes",
    "remote.copy.lag.bytes",
    "remote.copy.lag.ms",
];
