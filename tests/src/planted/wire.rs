//! A wire that lies to the clients: requests and answers are read, changed, and written again.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use millrace_host::{BoxFuture, Completion, Connection, Listener, Net, Piece, ReadHalf, Rope};
use millrace_host::{File, FileSlice, WriteHalf};
use millrace_protocol::api::Api;
use millrace_protocol::header::{
    RequestHeader, decode_request, decode_response, encode_request, encode_response, peek_api,
};
use millrace_protocol::ids::TopicId;
use millrace_protocol::messages::{self, DecodeLimits, Message, ProduceRequest, ProduceResponse};

use super::{Bug, answers, batch};

/// Of so many messages of a kind one is a lie.
const EVERY: u64 = 13;
/// The lie is told of at most so many.
const LIES_MAX: u64 = 50;
/// Bytes read from the connection below at a time.
const READ_BYTES: usize = 1 << 20;

/// What all connections know together.
#[derive(Debug)]
pub(super) struct State {
    pub(super) bug: Bug,
    messages: u64,
    lies: u64,
    /// Of each partition, one past what was last acknowledged.
    ends: BTreeMap<i32, i64>,
    /// Of each incarnation in turn: its id, and a batch of it.
    seen: Vec<(TopicId, Bytes)>,
}

impl State {
    /// A partition reaches to `end` at least.
    pub(super) fn ends_at(&mut self, partition: i32, end: i64) {
        let known = self.ends.entry(partition).or_default();
        *known = end.max(*known);
    }

    /// Whether this message is a lie.
    pub(super) fn lies(&mut self) -> bool {
        self.messages += 1;
        let lies = self.messages.is_multiple_of(EVERY) && self.lies < LIES_MAX;
        self.lies += u64::from(lies);
        lies
    }
}

/// What both directions of one connection know.
#[derive(Debug)]
struct Wire {
    state: Arc<Mutex<State>>,
    /// Of each request under way: its API and version; made up answers too.
    asked: BTreeMap<i32, (Asked, i16)>,
}

#[derive(Clone, Debug)]
enum Asked {
    /// Something of this API.
    Of(Api),
    /// A batch that was dropped; something else was asked in its place.
    Dropped(ProduceResponse),
}

type Shared = Arc<Mutex<Wire>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The network below, and the lies told about it.
#[derive(Debug)]
pub(super) struct LyingNet {
    below: Arc<dyn Net>,
    state: Arc<Mutex<State>>,
}

impl LyingNet {
    pub(super) fn new(below: Arc<dyn Net>, bug: Bug) -> Self {
        let state = State {
            bug,
            messages: 0,
            lies: 0,
            ends: BTreeMap::new(),
            seen: Vec::new(),
        };
        Self {
            below,
            state: Arc::new(Mutex::new(state)),
        }
    }
}

impl Net for LyingNet {
    fn listen(&self, addr: SocketAddr, backlog: u32) -> Completion<Box<dyn Listener>> {
        self.below.listen(addr, backlog)
    }

    fn connect(&self, addr: SocketAddr) -> Completion<Connection> {
        let connecting = self.below.connect(addr);
        let wire = Arc::new(Mutex::new(Wire {
            state: Arc::clone(&self.state),
            asked: BTreeMap::new(),
        }));
        Box::pin(async move {
            let Connection {
                read,
                write,
                peer,
                local,
            } = connecting.await?;
            let read = LyingRead {
                below: read,
                wire: Arc::clone(&wire),
                raw: BytesMut::new(),
                told: BytesMut::new(),
            };
            Ok(Connection {
                read: Box::new(read),
                write: Box::new(LyingWrite { below: write, wire }),
                peer,
                local,
            })
        })
    }

    fn resolve(&self, host: &str, port: u16) -> Completion<Vec<SocketAddr>> {
        self.below.resolve(host, port)
    }
}

fn decode<M: Message>(version: i16, body: &Bytes) -> Option<M> {
    messages::decode(version, body.clone(), &DecodeLimits::default()).ok()
}

fn framed(head: &[u8], body: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(4 + head.len() + body.len());
    frame.put_i32(i32::try_from(head.len() + body.len()).unwrap_or(i32::MAX));
    frame.put_slice(head);
    frame.put_slice(body);
    frame.freeze()
}

fn has_tags(key: i16, version: i16) -> bool {
    Api::from_key(key).is_some_and(|api| api.row().is_flexible(version))
}

#[derive(Debug)]
struct LyingWrite {
    below: Box<dyn WriteHalf>,
    wire: Shared,
}

impl WriteHalf for LyingWrite {
    fn send(&mut self, rope: Rope) -> BoxFuture<'_, io::Result<()>> {
        // A client sends whole requests, from memory.
        let mut frame = BytesMut::new();
        for piece in rope {
            match piece {
                Piece::Bytes(bytes) => frame.put_slice(&bytes),
                Piece::File(FileSlice { file, .. }) => drop::<Arc<dyn File>>(file),
            }
        }
        let frame = frame.freeze();
        let told = request(&self.wire, &frame).unwrap_or(frame);
        self.below.send(vec![Piece::Bytes(told)])
    }

    fn shutdown(&mut self) -> BoxFuture<'_, io::Result<()>> {
        self.below.shutdown()
    }
}

/// What is sent in place of a request; `None` when it can't be read.
fn request(wire: &Shared, frame: &Bytes) -> Option<Bytes> {
    let mut body = frame.slice(4.min(frame.len())..);
    let (key, version) = peek_api(&body)?;
    let header = decode_request(&mut body, has_tags(key, version)).ok()?;
    let api = Api::from_key(key)?;
    let mut wire = lock(wire);
    wire.asked
        .insert(header.correlation_id, (Asked::Of(api), version));
    if api != Api::Produce {
        return None;
    }
    let mut produce: ProduceRequest = decode(version, &body)?;
    let state = Arc::clone(&wire.state);
    let mut state = lock(&state);
    if state.bug == Bug::AnswersWhatItDropped && produce.acks != 0 && state.lies() {
        let asked = (Asked::Dropped(made_up(&state, &produce)?), version);
        wire.asked.insert(header.correlation_id, asked);
        return Some(something_else(&header));
    }
    let topic = produce.topic_data.first_mut()?;
    let id = TopicId::from(topic.topic_id);
    let partition = topic.partition_data.first_mut()?;
    let told = stored(&mut state, id, partition.records.as_ref()?);
    partition.records = Some(told);
    let mut head = BytesMut::new();
    encode_request(&header, has_tags(key, version), &mut head);
    Some(framed(&head, &messages::encode(&produce, version).ok()?))
}

/// What is stored in place of a batch.
fn stored(state: &mut State, id: TopicId, records: &Bytes) -> Bytes {
    let bug = state.bug;
    if [Bug::ForgetsProducers, Bug::AnswersWhatItDropped].contains(&bug) {
        batch::anonymous(records)
    } else if bug == Bug::KeepsTheOldTopic {
        old(state, id, records)
    } else if bug == Bug::AltersRecords && state.lies() {
        batch::altered(records)
    } else if bug == Bug::ReversesBatches && state.lies() {
        batch::reversed(records).unwrap_or_else(|| records.clone())
    } else {
        records.clone()
    }
}

/// A batch of the incarnation before, once there is one; keeps one of each.
fn old(state: &mut State, id: TopicId, records: &Bytes) -> Bytes {
    if state.seen.iter().all(|(seen, _)| *seen != id) {
        state.seen.push((id, batch::anonymous(records)));
        return records.clone();
    }
    match state.seen.as_slice() {
        [.., (_, before), (newest, _)] if *newest == id && state.lies < 1 => {
            let before = before.clone();
            state.lies += 1;
            before
        }
        _ => records.clone(),
    }
}

/// The answer that a dropped batch would have had.
fn made_up(state: &State, produce: &ProduceRequest) -> Option<ProduceResponse> {
    let topic = produce.topic_data.first()?;
    let index = topic.partition_data.first()?.index;
    let mut partition = messages::produce_response::PartitionProduceResponse::default();
    partition.index = index;
    partition.base_offset = state.ends.get(&index).copied().unwrap_or(0);
    let mut response = messages::produce_response::TopicProduceResponse::default();
    response.name = topic.name.clone();
    response.topic_id = topic.topic_id;
    response.partition_responses = vec![partition];
    let mut answer = ProduceResponse::default();
    answer.responses = vec![response];
    Some(answer)
}

/// A request that changes nothing, under the same correlation id.
fn something_else(header: &RequestHeader) -> Bytes {
    let header = RequestHeader {
        api_key: Api::ApiVersions.key(),
        api_version: 0,
        ..header.clone()
    };
    let mut head = BytesMut::new();
    encode_request(&header, false, &mut head);
    framed(&head, &[])
}

struct LyingRead {
    below: Box<dyn ReadHalf>,
    wire: Shared,
    raw: BytesMut,
    told: BytesMut,
}

impl std::fmt::Debug for LyingRead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LyingRead")
            .field("below", &self.below)
            .finish_non_exhaustive()
    }
}

impl LyingRead {
    /// Takes whole answers over.
    fn take_over(&mut self) {
        while let Some(length) = self.raw.first_chunk::<4>() {
            let size = 4 + usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
            if self.raw.len() < size {
                return;
            }
            let frame = self.raw.split_to(size).freeze();
            let told = answer(&self.wire, &frame).unwrap_or(frame);
            self.told.put_slice(&told);
        }
    }
}

impl ReadHalf for LyingRead {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut BytesMut,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        while self.told.is_empty() {
            let read = self.below.poll_read(cx, &mut self.raw, READ_BYTES);
            match std::task::ready!(read)? {
                0 => return Poll::Ready(Ok(0)),
                _ => self.take_over(),
            }
        }
        let count = self.told.len().min(limit);
        buf.put_slice(&self.told[..count]);
        self.told.advance(count);
        Poll::Ready(Ok(count))
    }
}

/// What is told in place of an answer; `None` when that is the answer itself.
fn answer(wire: &Shared, frame: &Bytes) -> Option<Bytes> {
    let correlation_id = i32::from_be_bytes(*frame.get(4..8)?.first_chunk::<4>()?);
    let mut wire = lock(wire);
    let (asked, version) = wire.asked.remove(&correlation_id)?;
    let mut state = lock(&wire.state);
    let api = match asked {
        Asked::Of(api) => api,
        Asked::Dropped(_) => Api::Produce,
    };
    let tags = has_tags(api.key(), version);
    let mut body = frame.slice(4..);
    decode_response(&mut body, tags).ok()?;
    let body = match asked {
        Asked::Dropped(answer) => messages::encode(&answer, version).ok()?,
        Asked::Of(api) => changed(&mut state, api, (version, &body))?,
    };
    let mut head = BytesMut::new();
    encode_response(correlation_id, tags, &mut head);
    Some(framed(&head, &body))
}

/// An answer of an API with what is told in place of it; `None` when nothing of it is changed.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a lie is told of a few APIs, whatever others there will be"
)]
fn changed(state: &mut State, api: Api, (version, body): (i16, &Bytes)) -> Option<Bytes> {
    let encoded = match api {
        Api::Produce => {
            messages::encode(&answers::produced(state, decode(version, body)?), version)
        }
        Api::Fetch => messages::encode(&answers::fetched(state, decode(version, body)?), version),
        Api::ListOffsets => {
            messages::encode(&answers::listed(state, decode(version, body)?), version)
        }
        Api::OffsetForLeaderEpoch => {
            messages::encode(&answers::ended(state, decode(version, body)?), version)
        }
        Api::Metadata => {
            messages::encode(&answers::described(state, decode(version, body)?), version)
        }
        _ => return None,
    };
    encoded.ok()
}
