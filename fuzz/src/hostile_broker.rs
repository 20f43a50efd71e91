//! Target: the whole client against a broker that sends anything.
//!
//! An input is what each side of a network does: which connections come about, and what is answered to
//! each request: honestly, with another correlation id, with a length that lies, with bytes of its own, in
//! pieces of any size, or not at all. Held: no panic in any of the client's tasks; what is held at once is at
//! most [`BOUND`] for what was received; whatever is asked ends, by itself or by its deadline.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use millrace_client::{
    Admin, Cluster, ClusterOptions, Consumer, ConsumerOptions, Error, GroupOptions, OffsetOf,
    OffsetOrFind, Producer, ProducerOptions, Record, Records, Sasl,
};
use millrace_host::{
    BoxFuture, Completion, Connection, Host, Listener, Net, Piece, ReadHalf, Rope, WriteHalf,
};
use millrace_protocol::api::{Api, TABLE, Versions};
use millrace_protocol::messages::api_versions_response::ApiVersion;
use millrace_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use millrace_protocol::messages::{ApiVersionsResponse, MetadataResponse, encode};
use millrace_sim::Sim;

use crate::allocation::{Bound, peak};
use crate::disk;
use crate::input::Input;
use crate::progress;

/// What the client may hold: what every reader of foreign bytes may, beside what it holds anyway.
const BOUND: Bound = Bound::with_fixed(CLIENT_BYTES);

/// The client itself: tasks, its connections, their counts by API, one chunk of each to be read.
const CLIENT_BYTES: usize = 192 * 1024;

/// Connections that come about in one input; further ones are refused.
const CONNECTIONS_MAX: usize = 16;

/// What the client waits for one answer, and what it is given for all it does.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
const DEADLINE: Duration = Duration::from_secs(20);

/// How much arrives at once.
const PIECES: [usize; 4] = [usize::MAX, 1, 7, 300];

const TOPIC: &str = "t";
const PORT: u16 = 9092;

/// One input: what is done, how much arrives at once, then the network's part.
pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let act = input.byte();
    let piece = *input.choice(&PIECES);
    let sim = Sim::with_options(disk::still());
    let script = Arc::new(Mutex::new(Script {
        rest: input.0.to_vec(),
        received: 0,
        answers: 0,
        connections: 0,
        piece,
    }));
    let mut host = sim.node("client");
    host.net = Arc::new(Hostile(Arc::clone(&script)));
    let ((), held) = peak(|| {
        sim.block_on(async {
            let ends = host.clock.now().mono + DEADLINE;
            let clock = Arc::clone(&host.clock);
            // What was refused was refused; what is asked here is only whether it ends well.
            let done = until(clock.sleep_until(ends), work(&host, act)).await;
            drop(done);
        });
    });
    let panics = sim.panics();
    assert!(panics.is_empty(), "{panics:?}");
    let (received, answers) = {
        let script = lock(&script);
        (script.received, script.answers)
    };
    BOUND.hold(held, received);
    if answers > 1 {
        progress::past_the_header();
    }
}

/// What the client does.
async fn work(host: &Host, act: u8) -> Result<(), Error> {
    let mut options = ClusterOptions::new([format!("broker:{PORT}")]);
    options.connection.request_timeout = REQUEST_TIMEOUT;
    options.connection.connect_timeout = REQUEST_TIMEOUT;
    if act & 0x80 != 0 {
        options.connection.security.sasl = Some(Sasl::scram_sha_256("user", "password"));
    }
    let cluster = Cluster::connect(host, options).await?;
    match act & 0x7 {
        0 => produce(&cluster).await,
        1 => {
            let consumer = Consumer::new(&cluster, ConsumerOptions::default());
            let from = OffsetOrFind::Find(OffsetOf::Start);
            consumer.assign([(TOPIC, 0, from)]).await?;
            read(&consumer).await
        }
        2 => {
            let group = GroupOptions::new("g", [TOPIC]);
            let member = Consumer::subscribe(&cluster, ConsumerOptions::default(), group)?;
            read(&member).await
        }
        3 => Admin::new(&cluster).describe_cluster().await.map(drop),
        4 => Admin::new(&cluster).list_groups().await.map(drop),
        5 => Admin::new(&cluster).describe_quorum().await.map(drop),
        6 => Admin::new(&cluster).describe_log_dirs().await.map(drop),
        _ => cluster.topic(TOPIC).await.map(drop),
    }
}

async fn produce(cluster: &Cluster) -> Result<(), Error> {
    let options = ProducerOptions {
        delivery_timeout: REQUEST_TIMEOUT * 4,
        ..ProducerOptions::default()
    };
    let producer = Producer::new(cluster, &options)?;
    let record = Record::to(TOPIC).value("v");
    producer.send(&record).await?.wait().await.map(drop)
}

async fn read(consumer: &Consumer) -> Result<(), Error> {
    let mut scratch = Records::scratch();
    for _ in 0..4 {
        let records = consumer.next().await?;
        records.read_records(&mut scratch, |record| {
            std::hint::black_box(record.value);
        })?;
    }
    Ok(())
}

/// What `work` gives, unless `end` comes before.
async fn until<T>(end: impl Future<Output = ()>, work: impl Future<Output = T>) -> Option<T> {
    let (mut end, mut work) = (pin!(end), pin!(work));
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => end.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// What the network and the broker behind it do next.
#[derive(Debug)]
struct Script {
    rest: Vec<u8>,
    received: usize,
    answers: usize,
    connections: usize,
    piece: usize,
}

impl Script {
    /// Takes from the front of the input.
    fn draw<T>(&mut self, draw: impl FnOnce(&mut Input<'_>) -> T) -> T {
        let mut input = Input(&self.rest);
        let drawn = draw(&mut input);
        let taken = self.rest.len() - input.0.len();
        self.rest.drain(..taken);
        drawn
    }

    /// What comes back to a request; `None` ends the connection.
    fn answer(&mut self, request: &[u8]) -> Option<Vec<u8>> {
        if self.rest.is_empty() {
            return None;
        }
        let mut head = request;
        let (key, version, correlation_id) = (head.get_i16(), head.get_i16(), head.get_i32());
        let has_tags = Api::from_key(key)
            .is_some_and(|api| api != Api::ApiVersions && api.row().is_flexible(version));
        self.answers += 1;
        let honest = |correlation_id: i32, body: &[u8]| {
            let mut frame = Vec::new();
            frame.put_i32(body.len() as i32 + 4 + i32::from(has_tags));
            frame.put_i32(correlation_id);
            frame.extend(has_tags.then_some(0));
            frame.extend_from_slice(body);
            frame
        };
        let body = |input: &mut Input<'_>| {
            let len = usize::from(input.short() % 4096);
            input.take(len).to_vec()
        };
        Some(match self.draw(|input| input.byte() % 8) {
            0 | 1 => honest(correlation_id, &sensible(key, version)?),
            2 | 3 => honest(correlation_id, &self.draw(body)),
            4 => honest(correlation_id.wrapping_add(1), &self.draw(body)),
            5 => self.draw(body),
            6 => {
                let mut frame = honest(correlation_id, &self.draw(body));
                let lie = self.draw(|input| [input.byte(), input.byte(), input.byte()]);
                frame[1..4].copy_from_slice(&lie);
                frame
            }
            _ => return None,
        })
    }
}

/// What a broker would say, where that leads the client on.
fn sensible(key: i16, version: i16) -> Option<Bytes> {
    let api = Api::from_key(key)?;
    if api == Api::ApiVersions {
        let mut response = ApiVersionsResponse::default();
        let rows = TABLE.iter().map(|row| {
            let Versions { min, max } = row.served;
            let mut served = ApiVersion::default();
            (served.api_key, served.min_version, served.max_version) = (row.api.key(), min, max);
            served
        });
        response.api_keys = rows.collect();
        return encode(&response, version).ok();
    }
    if api == Api::Metadata {
        let mut broker = MetadataResponseBroker::default();
        broker.host = "broker".into();
        broker.port = i32::from(PORT);
        let mut topic = MetadataResponseTopic::default();
        topic.name = Some(TOPIC.into());
        topic.partitions = vec![MetadataResponsePartition::default()];
        let mut response = MetadataResponse::default();
        response.brokers = vec![broker];
        response.topics = vec![topic];
        return encode(&response, version).ok();
    }
    // Zeros are an answer without an error for most.
    Some(Bytes::from_static(&[0; 24]))
}

/// The network.
#[derive(Debug)]
struct Hostile(Arc<Mutex<Script>>);

/// One connection.
#[derive(Debug, Default)]
struct Pipe {
    coming: VecDeque<Vec<u8>>,
    ended: bool,
    reader: Option<Waker>,
}

#[derive(Debug)]
struct Coming {
    pipe: Arc<Mutex<Pipe>>,
    script: Arc<Mutex<Script>>,
}

#[derive(Debug)]
struct Going {
    pipe: Arc<Mutex<Pipe>>,
    script: Arc<Mutex<Script>>,
    buf: BytesMut,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Net for Hostile {
    fn listen(&self, _addr: SocketAddr, _backlog: u32) -> Completion<Box<dyn Listener>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }

    fn connect(&self, addr: SocketAddr) -> Completion<Connection> {
        let mut script = lock(&self.0);
        script.connections += 1;
        if script.rest.is_empty() || script.connections > CONNECTIONS_MAX {
            return Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) });
        }
        let pipe = Arc::<Mutex<Pipe>>::default();
        let connection = Connection {
            read: Box::new(Coming {
                pipe: Arc::clone(&pipe),
                script: Arc::clone(&self.0),
            }),
            write: Box::new(Going {
                pipe,
                script: Arc::clone(&self.0),
                buf: BytesMut::new(),
            }),
            peer: addr,
            local: addr,
        };
        Box::pin(async { Ok(connection) })
    }

    fn resolve(&self, host: &str, port: u16) -> Completion<Vec<SocketAddr>> {
        // Brokers advertise whatever they like.
        let known = host == "broker";
        Box::pin(async move {
            if known {
                Ok(vec![([127, 0, 0, 1], port).into()])
            } else {
                Err(io::ErrorKind::NotFound.into())
            }
        })
    }
}

impl ReadHalf for Coming {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut BytesMut,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        let mut pipe = lock(&self.pipe);
        let mut script = lock(&self.script);
        let Some(front) = pipe.coming.front_mut() else {
            if pipe.ended {
                return Poll::Ready(Ok(0));
            }
            pipe.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let taken = front.len().min(limit).min(script.piece);
        buf.extend_from_slice(&front[..taken]);
        front.drain(..taken);
        if front.is_empty() {
            pipe.coming.pop_front();
        }
        script.received += taken;
        Poll::Ready(Ok(taken))
    }
}

impl WriteHalf for Going {
    fn send(&mut self, rope: Rope) -> BoxFuture<'_, io::Result<()>> {
        for piece in rope {
            if let Piece::Bytes(bytes) = piece {
                self.buf.extend_from_slice(&bytes);
            }
        }
        let mut pipe = lock(&self.pipe);
        while let Some(length) = self.buf.first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            if self.buf.len() < 4 + length {
                break;
            }
            self.buf.advance(4);
            let request = self.buf.split_to(length);
            match lock(&self.script).answer(&request) {
                Some(answer) if !answer.is_empty() => pipe.coming.push_back(answer),
                Some(_) => {}
                None => pipe.ended = true,
            }
        }
        if let Some(reader) = pipe.reader.take() {
            reader.wake();
        }
        let ended = pipe.ended;
        Box::pin(async move {
            if ended {
                Err(io::ErrorKind::BrokenPipe.into())
            } else {
                Ok(())
            }
        })
    }

    fn shutdown(&mut self) -> BoxFuture<'_, io::Result<()>> {
        lock(&self.pipe).ended = true;
        Box::pin(async { Ok(()) })
    }
}
