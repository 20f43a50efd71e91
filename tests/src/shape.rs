//! What a simulated run looks like: which promises are judged, what the clients do, how the broker
//! is configured. All of it is drawn from the seed.

use std::net::SocketAddr;
use std::time::Duration;

use millrace_client::{Acks, FetchOptions};
use millrace_protocol::records::Codec;
use millrace_sim::World;

use crate::consumer::Reading;
use crate::planted::Bug;
use crate::producer::Sending;
use crate::workload::Plan;

/// Where the broker listens in the simulated network.
pub(crate) const ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9092);
/// The topic's name.
pub(crate) const TOPIC: &str = "simulated";

/// Which promises a run judges; each row is drawn by some of the seeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Row {
    /// acks=all on a durable topic.
    AcksAll,
    /// acks=all, 1 and 0 beside each other on a durable topic.
    AcksMixed,
    /// acks=all, 1 and 0 on a topic of the page cache.
    PageCache,
    /// A topic with `retention.ms`.
    RetentionMs,
    /// A topic with `retention.bytes`.
    RetentionBytes,
    /// A topic that is removed and made again.
    Churn,
    /// A log directory of which a sync fails.
    SyncError,
    /// A topic of which records are deleted.
    DeleteRecords,
}

impl Row {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::AcksAll,
        Self::AcksMixed,
        Self::PageCache,
        Self::RetentionMs,
        Self::RetentionBytes,
        Self::Churn,
        Self::SyncError,
        Self::DeleteRecords,
    ];

    /// One of them; the plainest is drawn most.
    pub(crate) fn draw(world: &World) -> Self {
        match world.draw(20) {
            0..=3 => Self::AcksAll,
            4..=5 => Self::DeleteRecords,
            6..=8 => Self::AcksMixed,
            9..=11 => Self::PageCache,
            12..=13 => Self::RetentionMs,
            14..=15 => Self::RetentionBytes,
            16..=17 => Self::Churn,
            _ => Self::SyncError,
        }
    }
}

/// A number between two, both included.
pub(crate) fn between(world: &World, least: u64, most: u64) -> u64 {
    least + world.draw(most - least + 1)
}

/// What the clients do. Indexes are so short that segments roll after a few batches.
pub(crate) fn plan(world: &World, row: Row, bug: Option<Bug>) -> Plan {
    let draw = |least, most| between(world, least, most);
    let mut plan = Plan::new(TOPIC, draw(1, 5) as i32);
    plan.producers = draw(1, 4) as u32;
    (plan.batch_records, plan.record_bytes) = batches(world);
    plan.pause = Duration::from_millis(draw(0, 10));
    plan.patience = Duration::from_mins(3);
    plan.request_timeout = Duration::from_secs(draw(2, 8));
    plan.time_spread_ms = [0, 0, 40, 1000, 100_000][world.draw(5) as usize];
    // The clients' clocks and the broker's may be far apart.
    let any_ms = i64::MAX.to_string();
    plan.topic = plan.topic.with("message.timestamp.after.max.ms", any_ms);
    plan.asks = Some(Duration::from_millis(draw(2, 60)));
    plan.sides = (world.draw(3) > 0).then(|| Duration::from_millis(draw(10, 300)));
    plan.consumers = (0..draw(1, 3)).map(|_| reading(world)).collect();
    let rows = [Row::RetentionMs, Row::RetentionBytes, Row::DeleteRecords];
    let retention = rows.contains(&row);
    if retention || world.draw(3) > 0 {
        let entries = draw(1, 30);
        plan.topic = plan
            .topic
            .with("index.interval.bytes", draw(1, 4000).to_string())
            .with("segment.index.bytes", (entries * 12).to_string());
    }
    shape(world, row, &mut plan);
    if let Some(bug) = bug {
        // It need not survive what is done to it.
        plan.patience = Duration::from_secs(20);
        for (key, value) in bug.told() {
            plan.topic.configs.retain(|(known, _)| known != key);
            plan.topic = plan.topic.with(*key, *value);
        }
    }
    plan
}

/// Most records of a batch, and the bytes of each: few or many small ones, or some large.
fn batches(world: &World) -> (u32, usize) {
    let most = [2, 3, 7, 7, 12, 12, 60, 400][world.draw(8) as usize];
    let bytes = if most > 12 {
        [32, 60][world.draw(2) as usize]
    } else {
        [32, 32, 100, 100, 400, 400, 5000, 20_000][world.draw(8) as usize]
    };
    (between(world, 1, most) as u32, bytes)
}

/// One consumer.
fn reading(world: &World) -> Reading {
    let some = |values: [i32; 4]| values[world.draw(4) as usize];
    let of = 1 + world.draw(3) as u32 / 2;
    let waits_ms = [0, 20, 200, 1000, 30_000][world.draw(5) as usize];
    Reading {
        session: world.draw(2) == 0,
        options: FetchOptions {
            max_wait: Duration::from_millis(waits_ms),
            min_bytes: some([0, 1, 1, 2000]),
            max_bytes: some([1, 3000, 100_000, 50 << 20]),
            partition_max_bytes: some([1, 700, 20_000, 1 << 20]),
        },
        assigned: (of, world.draw(u64::from(of)) as u32),
        rewinds: world.draw(4) == 0,
        twice: false,
        rests_after: (world.draw(3) == 0).then(|| between(world, 1, 40)),
    }
}

/// How one producer sends.
fn sending(world: &World, acks: Acks) -> Sending {
    let codec = match world.draw(12) {
        0 => Codec::Gzip,
        1 => Codec::Snappy,
        2 => Codec::Lz4,
        3 => Codec::Zstd,
        _ => Codec::None,
    };
    Sending {
        idempotent: acks != Acks::None && world.draw(4) > 0,
        codec,
        ..Sending::new(acks)
    }
}

/// What makes the row.
fn shape(world: &World, row: Row, plan: &mut Plan) {
    let mixed = |plan: &mut Plan| {
        let acks: &[Acks] = match world.draw(3) {
            0 => &[Acks::Leader],
            1 => &[Acks::Leader, Acks::All],
            _ => &[Acks::Leader, Acks::None, Acks::All],
        };
        plan.sendings = acks.iter().map(|acks| sending(world, *acks)).collect();
        plan.producers = plan.producers.max(plan.sendings.len() as u32);
    };
    plan.sendings = (0..plan.producers)
        .map(|_| sending(world, Acks::All))
        .collect();
    let topic = plan.topic.clone();
    match row {
        Row::AcksAll => {}
        Row::AcksMixed => mixed(plan),
        Row::PageCache => {
            mixed(plan);
            plan.terms.page_cache = true;
            plan.topic = topic.with("durability", "page-cache");
        }
        Row::RetentionMs => {
            let ms = between(world, 100, 3000);
            plan.terms.retention_ms = i64::try_from(ms).ok();
            plan.time_spread_ms = plan.time_spread_ms.min(ms / 2);
            plan.topic = topic.with("retention.ms", ms.to_string());
        }
        Row::RetentionBytes => {
            let bytes = between(world, 500, 20_000);
            plan.terms.retention_bytes = Some(bytes);
            plan.topic = topic.with("retention.bytes", bytes.to_string());
        }
        Row::Churn => {
            plan.terms.churns = true;
            plan.churn = Some(Duration::from_millis(between(world, 100, 2000)));
            if world.draw(3) == 0 {
                mixed(plan);
            }
        }
        Row::DeleteRecords => {
            plan.trims = Some(Duration::from_millis(between(world, 5, 300)));
            if world.draw(3) == 0 {
                mixed(plan);
            }
        }
        Row::SyncError => {
            if world.draw(3) == 0 {
                mixed(plan);
            }
        }
    }
    let rows = [Row::RetentionMs, Row::RetentionBytes, Row::DeleteRecords];
    if rows.contains(&row) {
        let delay_ms = [0, 100, 60_000][world.draw(3) as usize];
        plan.topic = plan
            .topic
            .clone()
            .with("file.delete.delay.ms", delay_ms.to_string());
    }
}

/// The broker's log directories.
pub(crate) fn directories(world: &World) -> Vec<String> {
    let count = [1, 1, 1, 2, 3][world.draw(5) as usize];
    (0..count).map(|number| format!("/data{number}")).collect()
}

/// A setting with one of three values.
fn pick(world: &World, key: &'static str, values: [u64; 3]) -> (&'static str, String) {
    (key, values[world.draw(3) as usize].to_string())
}

/// How the broker is configured: limits small enough to be met.
pub(crate) fn settings(world: &World, directories: &[String]) -> Vec<(&'static str, String)> {
    vec![
        ("listeners", format!("PLAINTEXT://{ADDRESS}")),
        ("admin.listener", String::new()),
        ("log.dirs", directories.join(",")),
        ("log.dir.reserve.bytes", "0".to_owned()),
        (
            "log.direct.sync.bytes",
            [4096, 16_384, 65_536][world.draw(3) as usize].to_string(),
        ),
        (
            "log.journal.file.bytes.max",
            (1 << between(world, 20, 24)).to_string(),
        ),
        ("message.max.bytes", "290000".to_owned()),
        ("socket.request.max.bytes", "300000".to_owned()),
        pick(
            world,
            "log.unflushed.bytes.max",
            [1 << 20, 2 << 20, 64 << 20],
        ),
        pick(
            world,
            "queued.max.request.bytes",
            [300_000, 1 << 20, 256 << 20],
        ),
        pick(
            world,
            "queued.response.bytes.max",
            [1 << 20, 2 << 20, 128 << 20],
        ),
        pick(world, "connection.requests.max", [1, 3, 64]),
        pick(
            world,
            "max.incremental.fetch.session.cache.slots",
            [0, 1, 1000],
        ),
        pick(world, "fetch.session.partitions.max", [1, 4, 1_000_000]),
        ("log.open.files.max", between(world, 16, 64).to_string()),
        (
            "log.retention.check.interval.ms",
            between(world, 50, 1000).to_string(),
        ),
    ]
}
