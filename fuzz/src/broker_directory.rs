//! Target: the start of a whole broker on a directory with anything in one of its files, or small
//! damage in several: hard state, metadata log, snapshots of it, a topic's log, and all that lies
//! below them; under a fault of the disk where the input says so.
//!
//! Held: it starts or an error says why, and so does its next start; what is held in memory follows
//! what is on disk; no task of it panics.

use std::cell::OnceCell;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use millrace_config::BrokerConfig;
use millrace_host::{Host, Piece};
use millrace_protocol::api::Api;
use millrace_protocol::header::{self, RequestHeader};
use millrace_protocol::messages::create_topics_request::CreatableTopic;
use millrace_protocol::messages::{CreateTopicsRequest, encode};
use millrace_server::{Broker, StartError};
use millrace_sim::Sim;

use crate::allocation::{Bound, within};
use crate::disk::{self, Files};
use crate::dumps;
use crate::edits;
use crate::faults;
use crate::input::Input;
use crate::progress;

/// Journal files of the new start (two of 1 MiB, zeroed), the cached and the durable pages of the
/// simulated disk, the broker's own tables.
const STARTING: Bound = Bound::with_fixed(24 << 20);

const ROOT: &str = "/data";
const PORT: u16 = 9092;

const BOOTED: u8 = 1;
const STOPPED: u8 = 1 << 1;
const SEVERAL: u8 = 1 << 2;
const LOOKED_AT: u8 = 1 << 3;
const RECORDS: u8 = 1 << 5;
const FAULTY: u8 = 1 << 6;

/// One input: which image, then the change of one file, or a list of small ones.
pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let flags = input.byte();
    let node = if flags & BOOTED == 0 { "n" } else { "m" };
    let mut files = image(flags & STOPPED != 0);
    let fault = (flags & FAULTY != 0).then(|| faults::drawn(&mut input));
    if flags & SEVERAL == 0 {
        edits::apply(&mut files, &mut input);
    } else {
        edits::several(&mut files, &mut input);
    }
    let machine = if fault.is_some() {
        disk::cold()
    } else {
        disk::still()
    };
    let sim = Sim::with_options(machine);
    let host = sim.node(node);
    let mut total = 0;
    sim.block_on(async {
        for (path, bytes) in &files {
            total += bytes.len();
            disk::put(&host.disk, path, bytes).await;
        }
    });
    if flags & LOOKED_AT != 0 {
        if let Some(fault) = &fault {
            sim.inject(node, fault.clone());
        }
        let records = flags & RECORDS != 0;
        within(STARTING, total, || {
            sim.block_on(dumps::all(&host, &files, records));
        });
        sim.heal_disk(node, None);
        dumps::changed_nothing(&sim, &host, &files);
        sim.kill(node);
    }
    drop(files);
    if let Some(fault) = fault {
        sim.inject(node, fault);
    }
    let started = within(STARTING, total, || sim.block_on(start(host)));
    match started {
        Err(error) => assert!(!error.to_string().is_empty(), "an error has words"),
        Ok(broker) => {
            progress::past_the_header();
            sim.block_on(broker.stop());
            sim.kill(node);
            sim.heal_disk(node, None);
            // Damage below what the first start had to read may meet the second.
            if let Err(error) = sim.block_on(start(sim.node(node))) {
                assert!(!error.to_string().is_empty(), "an error has words");
            }
        }
    }
    let panics = sim.panics();
    assert!(panics.is_empty(), "{panics:?}");
}

/// The files of a broker that has a topic and two snapshots of its metadata.
pub fn image(stopped: bool) -> Files {
    thread_local! {
        static IMAGES: [OnceCell<Files>; 2] = const { [OnceCell::new(), OnceCell::new()] };
    }
    IMAGES.with(|images| {
        let image = &images[usize::from(stopped)];
        image.get_or_init(|| make(stopped)).clone()
    })
}

async fn start(host: Host) -> Result<Broker, StartError> {
    let listeners = format!("PLAINTEXT://127.0.0.1:{PORT}");
    let pairs = [
        ("listeners", listeners.as_str()),
        ("log.dirs", ROOT),
        ("admin.listener", ""),
        ("log.dir.reserve.bytes", "0"),
        ("metadata.log.max.snapshot.interval.ms", "60000"),
    ];
    let config = BrokerConfig::from_pairs(pairs).expect("these may be set");
    Broker::start(config, host).await
}

fn make(stopped: bool) -> Files {
    let sim = Sim::with_options(disk::still());
    for topic in ["first", "second"] {
        let host = sim.node("n");
        sim.block_on(async {
            let broker = start(host).await.expect("its own directory");
            create(&sim.node("client"), topic).await;
            sim.pause(Duration::from_secs(90)).await;
            if stopped {
                broker.stop().await;
            }
        });
        sim.kill("n");
    }
    let host = sim.node("n");
    let files = sim.block_on(disk::take(&host.disk, Path::new(ROOT)));
    let snapshots = files
        .iter()
        .filter(|(path, _)| path.extension().is_some_and(|end| end == "checkpoint"));
    assert!(snapshots.count() > 0, "there is a snapshot of the metadata");
    files
}

/// Makes a topic, as a client does, and waits for the answer.
async fn create(client: &Host, topic: &str) {
    let mut wanted = CreatableTopic::default();
    wanted.name = topic.into();
    wanted.num_partitions = 2;
    wanted.replication_factor = 1;
    let mut request = CreateTopicsRequest::default();
    request.topics = vec![wanted];
    request.timeout_ms = 1000;
    let (api, version) = (Api::CreateTopics, 5);
    let header = RequestHeader {
        api_key: api.key(),
        api_version: version,
        correlation_id: 1,
        client_id: Some(Bytes::from_static(b"fuzz")),
    };
    let mut frame = BytesMut::new();
    header::encode_request(&header, api.row().is_flexible(version), &mut frame);
    frame.put_slice(&encode(&request, version).expect("the version has the fields"));
    let mut bytes = BytesMut::new();
    bytes.put_u32(frame.len() as u32);
    bytes.put_slice(&frame);
    let address = SocketAddr::from(([127, 0, 0, 1], PORT));
    let connected = client.net.connect(address).await;
    let mut connection = connected.expect("the broker listens");
    let sent = connection
        .write
        .send(vec![Piece::Bytes(bytes.freeze())])
        .await;
    sent.expect("the connection stands");
    let mut reply = BytesMut::new();
    let read = connection.read.read(&mut reply, 1 << 16).await;
    assert!(read.is_ok_and(|read| read > 0), "there is an answer");
}
