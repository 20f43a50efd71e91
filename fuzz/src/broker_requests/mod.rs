//! Target: requests one after the other to one broker, beside a model of what it must answer.
//!
//! The whole server runs, on a simulated machine; an input is a list of requests, stops, kills and
//! power cuts. Held: every answer is the model's: error codes, offsets, duplicates, records to the
//! last byte of their values, log starts, leader epochs, fetch sessions, the offsets that groups keep
//! and who their members are; a restart loses nothing but what a power cut may; what is no request ends its own connection and nothing else.

mod fetch;
mod flaw;
mod garbage;
mod groups;
mod model;
mod offsets;
mod produce;
mod sessions;
mod topics;
mod wire;

use std::time::Duration;

use millrace_config::BrokerConfig;
use millrace_host::Host;
use millrace_protocol::api::Api;
use millrace_protocol::ids::TopicId;
use millrace_protocol::messages::{StrBytes, Uuid};
use millrace_server::{Broker, StartError};
use millrace_sim::{NetOptions, Sim, SimOptions};

use crate::allocation::{Bound, within};
use crate::disk;
use crate::input::Input;
use crate::progress;
use model::{Kind, Model, Topic};
use wire::{PORT, Wire};

/// Requests of one input, at most.
const STEPS_MAX: usize = 64;

/// A step's first byte from here on says that it is about groups.
const GROUPS_FROM: u8 = 0xd0;

/// Journal files (two of 1 MiB for each start, zeroed), the cached and the durable pages of the
/// simulated disk, the tables of up to as many brokers as there are steps, one after the other.
const RUNNING: Bound = Bound::with_fixed(64 << 20);

const NODE: &str = "n";

/// After so long without requests nothing is under way any more.
const SETTLING: Duration = Duration::from_secs(3);

/// Names that requests speak of; the last can't be a topic's, the two before can't both be there.
const NAMES: [&str; 8] = ["a", "a", "a", "b", "b", "c.d", "c_d", "z y"];
const PARTITIONS: [i32; 8] = [0, 0, 0, 1, 1, 2, 0, -1];

/// One input: whether the end is looked at, then steps, each its kind and what it is made of.
pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let look_back = input.byte() & 1 != 0;
    let sim = Sim::with_options(SimOptions {
        net: NetOptions {
            latency_us: (0, 0),
            ..NetOptions::default()
        },
        ..disk::still()
    });
    within(RUNNING, bytes.len(), || {
        sim.block_on(async {
            let mut run = Run::begin(&sim).await;
            run.steps(input).await;
            if look_back {
                run.restart(End::Stop).await;
            }
        });
    });
    let panics = sim.panics();
    assert!(panics.is_empty(), "{panics:?}");
}

/// How one life of the broker ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Stop,
    Kill,
    PowerCut,
}

struct Run<'a> {
    sim: &'a Sim,
    client: Host,
    broker: Option<Broker>,
    wire: Wire,
    model: Model,
}

/// Partitions of the topic that keeps groups.
const KEEPING: usize = 2;

async fn start(host: Host) -> Result<Broker, StartError> {
    let listeners = format!("PLAINTEXT://127.0.0.1:{PORT}");
    let keeping = KEEPING.to_string();
    let pairs = [
        ("listeners", listeners.as_str()),
        ("log.dirs", "/data"),
        ("admin.listener", ""),
        ("log.dir.reserve.bytes", "0"),
        ("offsets.topic.num.partitions", &keeping),
    ];
    let config = BrokerConfig::from_pairs(pairs).expect("these may be set");
    Broker::start(config, host).await
}

impl<'a> Run<'a> {
    /// A broker with one topic.
    async fn begin(sim: &'a Sim) -> Self {
        let client = sim.node("client");
        let broker = start(sim.node(NODE)).await.expect("an empty disk");
        let wire = Wire::connect(&client).await;
        let mut run = Self {
            sim,
            client,
            broker: Some(broker),
            wire,
            model: Model::default(),
        };
        run.create(&mut Input(&[7, 0, 0, 1])).await;
        run
    }

    async fn steps(&mut self, mut input: Input<'_>) {
        for _ in 0..STEPS_MAX {
            if input.0.is_empty() {
                return;
            }
            progress::past_the_header();
            let kind = input.byte();
            if kind >= GROUPS_FROM {
                self.ask_groups(&mut input).await;
                continue;
            }
            match kind % 32 {
                0..=10 => self.produce(&mut input).await,
                11..=16 => self.fetch(&mut input).await,
                17..=19 => self.fetch_in_session(&mut input).await,
                20 | 21 => self.list_offsets(&mut input).await,
                22 => self.epoch_ends(&mut input).await,
                23 => self.create(&mut input).await,
                24 => self.delete_topics(&mut input).await,
                25 => self.metadata(&mut input).await,
                26 => self.delete_records(&mut input).await,
                27 => self.settle().await,
                28 => {
                    let ends = [End::Stop, End::Kill, End::PowerCut];
                    self.restart(*input.choice(&ends)).await;
                }
                29 => self.producer_id(&mut input).await,
                30 => self.ask_for_others(&mut input).await,
                _ => self.send_garbage(&mut input).await,
            }
        }
    }

    /// Lets the broker do what it does by itself.
    async fn settle(&mut self) {
        self.sim.pause(SETTLING).await;
        for topic in self.model.topics.values_mut() {
            topic.logs.iter_mut().for_each(model::Log::settled);
        }
    }

    /// Ends the broker, starts it again, and looks whether all is there.
    async fn restart(&mut self, end: End) {
        wire::show(|| format!("{end:?}"));
        let broker = self.broker.take().expect("it runs");
        match end {
            End::Stop => {
                broker.stop().await;
                self.sim.kill(NODE);
            }
            End::Kill => {
                self.sim.kill(NODE);
                drop(broker);
            }
            End::PowerCut => {
                self.sim.crash(NODE);
                drop(broker);
            }
        }
        let started = start(self.sim.node(NODE)).await;
        self.broker = Some(started.expect("what it wrote it can read"));
        self.wire = Wire::connect(&self.client).await;
        self.model.session = None;
        let now = self.client.clock.now().mono;
        let groups = self.model.groups.values_mut();
        groups.for_each(|group| group.restarted(now));
        self.all_topics().await;
        self.all_ends(end != End::PowerCut).await;
    }

    fn now_ms(&self) -> i64 {
        self.client.clock.now().wall_ms
    }

    /// The connection ended, as it had to.
    async fn reconnect(&mut self) {
        self.wire = Wire::connect(&self.client).await;
    }

    /// The id that stands for a topic in a request: its own, that of one that is gone, or nobody's.
    fn id_of(&self, name: &str) -> Uuid {
        let own = self.model.topics.get(name).and_then(|topic| topic.id);
        let gone = || self.model.removed.last().copied();
        own.or_else(gone)
            .unwrap_or_else(|| TopicId::from_bytes([9; 16]).into())
    }

    fn topic(&mut self, name: &str) -> Option<&mut Topic> {
        self.model.topics.get_mut(name)
    }
}

/// A partition that a request names, by one byte.
fn place(input: &mut Input<'_>) -> (&'static str, i32) {
    let byte = input.byte();
    (
        NAMES[usize::from(byte % 8)],
        PARTITIONS[usize::from(byte / 8 % 8)],
    )
}

/// A version of an API, by one byte.
fn version(api: Api, input: &mut Input<'_>) -> i16 {
    let served = api.row().served;
    served.min + i16::from(input.byte()) % (served.max - served.min + 1)
}

fn text(text: &str) -> StrBytes {
    StrBytes::from(text)
}

fn no_id() -> Uuid {
    TopicId::ZERO.into()
}
