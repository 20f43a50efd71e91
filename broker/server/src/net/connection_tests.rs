//! The rules of a connection, each on a scripted service and a wire in memory, polled by hand: no
//! socket, no runtime, no time but the one the test sets.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use millrace_config::{BrokerConfig, NetworkConfig};
use millrace_host::{
    BoxFuture, Clock, Connection, Host, Mono, Now, Piece, ReadHalf, Rope, WriteHalf, real,
};
use proptest::prelude::*;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::budget::FREE_BYTES;
use super::{Request, Route, Service, Shared, connection};
use crate::context::{ConnectionInfo, Endpoint, Principal};
use crate::metrics::Metrics;
use crate::outcome::{Close, CloseReason, Outcome, Reply};

/// API keys of the scripted service.
const OVERLAPS: i16 = 0;
const BARRIER: i16 = 1;
const UNKNOWN: i16 = 9;

#[derive(Debug, Default)]
struct ManualClock(Mutex<Mono>);

#[derive(Debug)]
struct SharedClock(Arc<ManualClock>);

impl Clock for SharedClock {
    fn now(&self) -> Now {
        Now {
            mono: *self.0.0.lock().unwrap(),
            wall_ms: 0,
        }
    }

    fn sleep_until(&self, deadline: Mono) -> BoxFuture<'static, ()> {
        let clock = Arc::clone(&self.0);
        Box::pin(std::future::poll_fn(move |_| {
            if *clock.0.lock().unwrap() >= deadline {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }))
    }
}

/// The client's end of a connection.
#[derive(Debug, Default)]
struct Wire {
    input: VecDeque<u8>,
    hung_up: bool,
    output: Vec<u8>,
    takes_no_replies: bool,
    ended: bool,
    capacity_max: usize,
}

#[derive(Debug)]
struct WireRead(Arc<Mutex<Wire>>);

impl ReadHalf for WireRead {
    fn poll_read(
        &mut self,
        _: &mut Context<'_>,
        buf: &mut BytesMut,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        assert!(limit > 0);
        let mut wire = self.0.lock().unwrap();
        if wire.input.is_empty() {
            return if wire.hung_up {
                Poll::Ready(Ok(0))
            } else {
                Poll::Pending
            };
        }
        let count = limit.min(wire.input.len()).min(buf.capacity() - buf.len());
        assert!(count > 0, "the reader makes room itself");
        let bytes: Vec<u8> = wire.input.drain(..count).collect();
        buf.put_slice(&bytes);
        wire.capacity_max = wire.capacity_max.max(buf.capacity());
        Poll::Ready(Ok(count))
    }
}

#[derive(Debug)]
struct WireWrite(Arc<Mutex<Wire>>);

impl WriteHalf for WireWrite {
    fn send(&mut self, rope: Rope) -> BoxFuture<'_, io::Result<()>> {
        let mut rope = Some(rope);
        Box::pin(std::future::poll_fn(move |_| {
            let mut wire = self.0.lock().unwrap();
            if wire.takes_no_replies {
                return Poll::Pending;
            }
            for piece in rope.take().unwrap() {
                let Piece::Bytes(bytes) = piece else {
                    panic!("replies of these tests are bytes")
                };
                wire.output.extend_from_slice(&bytes);
            }
            Poll::Ready(Ok(()))
        }))
    }

    fn shutdown(&mut self) -> BoxFuture<'_, io::Result<()>> {
        self.0.lock().unwrap().ended = true;
        Box::pin(std::future::ready(Ok(())))
    }
}

/// A body is `name how`. An effect that is to wait, or a wait, ends when the gate of that name is
/// opened; the reply is the name.
#[derive(Debug, Default)]
struct Script {
    events: Mutex<Vec<String>>,
    gates: Mutex<BTreeMap<String, Arc<Semaphore>>>,
    metrics: Option<Arc<crate::metrics::ApiMetrics>>,
    addresses: Mutex<Vec<usize>>,
}

impl Script {
    fn tell(&self, event: String) {
        self.events.lock().unwrap().push(event);
    }

    fn gate(&self, name: &str) -> Arc<Semaphore> {
        let mut gates = self.gates.lock().unwrap();
        Arc::clone(
            gates
                .entry(name.to_owned())
                .or_insert_with(|| Arc::new(Semaphore::new(0))),
        )
    }

    fn open(&self, name: &str) {
        self.gate(name).add_permits(1);
    }

    fn events(&self) -> Vec<String> {
        self.events.lock().unwrap().clone()
    }
}

/// Tells when a wait was dropped before its end.
struct Dropped(Arc<Scripted>, Option<String>);

impl Drop for Dropped {
    fn drop(&mut self) {
        if let Some(name) = self.1.take() {
            self.0.0.tell(format!("dropped {name}"));
        }
    }
}

#[derive(Debug)]
struct Scripted(Script);

#[derive(Debug)]
struct ScriptedService(Arc<Scripted>);

impl Service for ScriptedService {
    fn route(&self, api_key: i16, _: i16) -> Result<Route, Close> {
        if api_key == UNKNOWN {
            return Err(Close::new(CloseReason::Unsupported, "unknown"));
        }
        Ok(Route {
            request_tags: false,
            response_tags: false,
            overlaps: api_key == OVERLAPS,
            metrics: Arc::clone(self.0.0.metrics.as_ref().unwrap()),
        })
    }

    fn handle(&self, request: Request) -> BoxFuture<'_, Result<Outcome, Close>> {
        Box::pin(async move {
            let script = &self.0.0;
            script
                .addresses
                .lock()
                .unwrap()
                .push(request.body.as_ptr().addr());
            let text = String::from_utf8_lossy(&request.body).into_owned();
            let body = request.body;
            let mut words = text.split_whitespace();
            let (name, how) = (words.next().unwrap().to_owned(), words.next().unwrap());
            script.tell(format!("begin {name}"));
            let outcome = match how {
                "now" => Ok(Outcome::bytes(name.clone())),
                "slow" => {
                    drop(script.gate(&name).acquire().await.unwrap());
                    Ok(Outcome::bytes(name.clone()))
                }
                "wait" | "hold" => {
                    // Whether the wait goes on to read the request's bytes.
                    let held = (how == "hold").then(|| body.clone());
                    let mut dropped = Dropped(Arc::clone(&self.0), Some(name.clone()));
                    Ok(Outcome::Wait(Box::pin(async move {
                        let name = dropped.1.clone().unwrap();
                        let gate = dropped.0.0.gate(&name);
                        gate.acquire().await.unwrap().forget();
                        drop((dropped.1.take(), held));
                        Reply::bytes(name)
                    })))
                }
                "room" => {
                    request.room.take(1 << 20).await;
                    Ok(Outcome::bytes(name.clone()))
                }
                "quiet" => Ok(Outcome::NoReply),
                "fail" => Err(Close::failed_without_reply("failed")),
                other => panic!("no such way: {other}"),
            };
            script.tell(format!("end {name}"));
            outcome
        })
    }
}

/// A node with nothing but connections.
struct Bench {
    clock: Arc<ManualClock>,
    metrics: Arc<Metrics>,
    script: Arc<Scripted>,
    shared: Arc<Shared>,
    stopping: CancellationToken,
}

type Serving = Pin<Box<dyn Future<Output = (Close, Arc<str>)>>>;

struct Client {
    wire: Arc<Mutex<Wire>>,
    serving: Option<Serving>,
    ended: Option<CloseReason>,
    script: Arc<Scripted>,
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut NetworkConfig)) -> Self {
        let mut limits = BrokerConfig::default().network;
        change(&mut limits);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let clock = Arc::new(ManualClock::default());
        let machine = runtime
            .block_on(async { real::host(&real::Options::default()) })
            .unwrap();
        let host = Host {
            clock: Arc::new(SharedClock(Arc::clone(&clock))),
            ..machine
        };
        let metrics = Arc::new(Metrics::new());
        let stopping = CancellationToken::new();
        let (shared, _) = Shared::new(
            host,
            limits,
            Arc::clone(&metrics),
            stopping.clone(),
            CancellationToken::new(),
        );
        let script = Script {
            metrics: Some(Arc::new(metrics.api("scripted"))),
            ..Script::default()
        };
        Self {
            clock,
            metrics,
            script: Arc::new(Scripted(script)),
            shared,
            stopping,
        }
    }

    fn connect(&self) -> Client {
        let wire = Arc::<Mutex<Wire>>::default();
        let peer = "10.0.0.1:1000".parse().unwrap();
        let connection = Connection {
            read: Box::new(WireRead(Arc::clone(&wire))),
            write: Box::new(WireWrite(Arc::clone(&wire))),
            peer,
            local: peer,
        };
        let info = ConnectionInfo {
            principal: Principal::anonymous(),
            listener: Arc::from("PLAINTEXT"),
            advertised: Arc::new(Endpoint {
                host: "h".to_owned(),
                port: 1,
            }),
            peer,
            id: 1,
        };
        let service: Arc<dyn Service> = Arc::new(ScriptedService(Arc::clone(&self.script)));
        let serving = connection::serve(
            Arc::clone(&self.shared),
            service,
            (connection, self.shared.stopping.clone()),
            Arc::new(info),
        );
        let script = Arc::clone(&self.script);
        Client {
            wire,
            serving: Some(Box::pin(serving)),
            ended: None,
            script,
        }
    }

    fn pass(&self, time: Duration) {
        let mut now = self.clock.0.lock().unwrap();
        *now = *now + time;
    }

    fn open(&self, name: &str) {
        self.script.0.open(name);
    }

    fn events(&self) -> Vec<String> {
        self.script.0.events()
    }

    fn began(&self) -> Vec<String> {
        self.events()
            .iter()
            .filter_map(|e| e.strip_prefix("begin ").map(str::to_owned))
            .collect()
    }
}

fn frame(api_key: i16, correlation_id: i32, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.put_u32(u32::try_from(8 + 3 + body.len()).unwrap());
    frame.put_i16(api_key);
    frame.put_i16(0);
    frame.put_i32(correlation_id);
    frame.put_slice(b"\x00\x01c");
    frame.put_slice(body);
    frame
}

/// A body of `len` bytes that says `text`.
fn long(text: &str, len: usize) -> Vec<u8> {
    let mut body = text.as_bytes().to_vec();
    body.resize(len, b' ');
    body
}

impl Client {
    /// Sends a request; its correlation id is the number in its name.
    fn ask(&mut self, api_key: i16, body: &str) {
        let id = body.split(' ').next().unwrap().parse().unwrap();
        self.send(&frame(api_key, id, body.as_bytes()));
    }

    fn send(&mut self, bytes: &[u8]) {
        self.wire.lock().unwrap().input.extend(bytes);
        self.run();
    }

    fn hang_up(&mut self) {
        self.wire.lock().unwrap().hung_up = true;
        self.run();
    }

    /// Polls until nothing more happens without the test.
    fn run(&mut self) {
        for _ in 0..4 {
            let state = |client: &Self| {
                let wire = client.wire.lock().unwrap();
                (
                    wire.input.len(),
                    wire.output.len(),
                    client.script.0.events().len(),
                )
            };
            loop {
                let before = state(self);
                let Some(serving) = &mut self.serving else {
                    return;
                };
                let polled = serving
                    .as_mut()
                    .poll(&mut Context::from_waker(Waker::noop()));
                if let Poll::Ready((close, _)) = polled {
                    self.ended = Some(close.reason);
                    self.serving = None;
                }
                if state(self) == before {
                    break;
                }
            }
        }
    }

    /// The replies so far: correlation id and body.
    fn replies(&self) -> Vec<String> {
        let wire = self.wire.lock().unwrap();
        let mut rest = &wire.output[..];
        let mut replies = Vec::new();
        while let Some((len, after)) = rest.split_first_chunk::<4>() {
            let (reply, after) = after.split_at(u32::from_be_bytes(*len) as usize);
            let (id, body) = reply.split_first_chunk::<4>().unwrap();
            let body = std::str::from_utf8(body).unwrap();
            assert_eq!(
                i32::from_be_bytes(*id).to_string(),
                body,
                "the id is the request's"
            );
            replies.push(body.to_owned());
            rest = after;
        }
        replies
    }

    fn unread(&self) -> usize {
        self.wire.lock().unwrap().input.len()
    }
}

#[test]
fn effects_of_overlapping_requests_run_on_while_replies_wait_in_order() {
    let bench = Bench::new();
    let mut client = bench.connect();
    client.ask(OVERLAPS, "1 wait");
    client.ask(OVERLAPS, "2 wait");
    client.ask(OVERLAPS, "3 now");
    assert_eq!(bench.began(), ["1", "2", "3"]);
    bench.open("2");
    client.run();
    assert_eq!(
        client.replies(),
        [""; 0],
        "the first reply holds back the others"
    );
    bench.open("1");
    client.run();
    assert_eq!(client.replies(), ["1", "2", "3"]);
}

#[test]
fn an_effect_begins_when_the_one_before_it_has_ended() {
    let bench = Bench::new();
    let mut client = bench.connect();
    client.ask(OVERLAPS, "1 slow");
    client.ask(OVERLAPS, "2 now");
    assert_eq!(bench.began(), ["1"]);
    bench.open("1");
    client.run();
    assert_eq!(bench.events(), ["begin 1", "end 1", "begin 2", "end 2"]);
    assert_eq!(client.replies(), ["1", "2"]);
}

#[test]
fn a_barrier_begins_after_the_replies_before_it_and_holds_back_what_follows() {
    let bench = Bench::new();
    let mut client = bench.connect();
    client.ask(OVERLAPS, "1 wait");
    client.ask(BARRIER, "2 wait");
    client.ask(OVERLAPS, "3 now");
    assert_eq!(bench.began(), ["1"]);
    bench.open("1");
    client.run();
    assert_eq!(client.replies(), ["1"]);
    assert_eq!(
        bench.began(),
        ["1", "2"],
        "the barrier's wait holds back the next effect"
    );
    bench.open("2");
    client.run();
    assert_eq!(client.replies(), ["1", "2", "3"]);
}

#[test]
fn while_a_barrier_waits_the_socket_is_not_read_and_a_hang_up_drops_the_wait() {
    let bench = Bench::new();
    let mut client = bench.connect();
    client.ask(BARRIER, "1 wait");
    client.run();
    assert_eq!(client.ended, None);
    client.hang_up();
    assert_eq!(client.ended, Some(CloseReason::PeerGone));
    assert_eq!(bench.events(), ["begin 1", "end 1", "dropped 1"]);

    let bench = Bench::new();
    let mut client = bench.connect();
    client.ask(BARRIER, "1 wait");
    let flood = frame(OVERLAPS, 2, &long("2 now", 1 << 20));
    client.send(&flood);
    assert!(
        client.unread() > flood.len() - 16 * 1024,
        "read ahead: {}",
        client.unread()
    );
}

#[test]
fn an_effect_that_was_begun_ends_although_the_client_hung_up() {
    let bench = Bench::new();
    let mut client = bench.connect();
    client.ask(BARRIER, "1 slow");
    client.hang_up();
    assert_eq!(client.ended, None);
    bench.open("1");
    client.run();
    assert_eq!(client.ended, Some(CloseReason::PeerGone));
    assert_eq!(bench.events(), ["begin 1", "end 1"]);
}

#[test]
fn a_failed_request_without_reply_closes_after_the_replies_before_it() {
    let bench = Bench::new();
    let mut client = bench.connect();
    client.ask(OVERLAPS, "1 wait");
    client.ask(OVERLAPS, "2 quiet");
    client.ask(OVERLAPS, "3 fail");
    client.ask(OVERLAPS, "4 now");
    assert_eq!(client.ended, None);
    bench.open("1");
    client.run();
    assert_eq!(client.replies(), ["1"]);
    assert_eq!(client.ended, Some(CloseReason::FailedWithoutReply));
    assert_eq!(bench.began(), ["1", "2", "3"]);
    assert!(client.wire.lock().unwrap().ended);
}

#[test]
fn what_is_not_served_or_not_readable_closes_without_a_reply() {
    let mut negative_client_id = frame(OVERLAPS, 2, b"2 now");
    negative_client_id[12..14].copy_from_slice(&(-2i16).to_be_bytes());
    let mut long_client_id = frame(OVERLAPS, 2, b"2 now");
    long_client_id[12..14].copy_from_slice(&i16::MAX.to_be_bytes());
    let cases: [(Vec<u8>, CloseReason); 7] = [
        (frame(UNKNOWN, 2, b"2 now"), CloseReason::Unsupported),
        (negative_client_id, CloseReason::Unparsable),
        (long_client_id, CloseReason::Unparsable),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), CloseReason::FrameLength),
        (vec![0xff, 0xff, 0xff, 0xff], CloseReason::FrameLength),
        (vec![0, 0, 0, 0], CloseReason::FrameLength),
        (vec![0x7f, 0xff, 0xff, 0xff], CloseReason::FrameLength),
    ];
    for (bytes, reason) in cases {
        let bench = Bench::new();
        let mut client = bench.connect();
        client.ask(OVERLAPS, "1 now");
        client.send(&bytes);
        assert_eq!(client.ended, Some(reason), "{bytes:?}");
        assert_eq!(client.replies(), ["1"], "{bytes:?}");
    }
}

#[test]
fn memory_grows_with_the_bytes_sent_not_with_the_length_claimed() {
    let bench = Bench::new();
    let mut client = bench.connect();
    let mut claim = frame(OVERLAPS, 1, b"1 now");
    claim[..4].copy_from_slice(&(100u32 << 20).to_be_bytes());
    client.send(&claim);
    assert!(client.wire.lock().unwrap().capacity_max <= FREE_BYTES);
    assert_eq!(
        bench.metrics.budget_bytes.get(),
        0,
        "nothing is reserved for a few bytes"
    );
    client.send(&vec![b' '; FREE_BYTES]);
    assert_eq!(bench.metrics.budget_bytes.get(), (100 << 20) + 1024);
    client.send(&vec![b' '; 8 << 20]);
    let capacity_max = client.wire.lock().unwrap().capacity_max;
    assert!(capacity_max <= 20 << 20, "{capacity_max} for 8 MiB sent");
}

#[test]
fn a_request_that_does_not_arrive_in_time_closes() {
    let bench = Bench::new();
    let mut client = bench.connect();
    let request = frame(OVERLAPS, 1, &long("1 now", 100));
    for byte in &request[..60] {
        client.send(&[*byte]);
        bench.pass(Duration::from_millis(499));
        client.run();
        assert_eq!(client.ended, None);
    }
    bench.pass(Duration::from_secs(1));
    client.run();
    assert_eq!(client.ended, Some(CloseReason::ReadTimeout));
}

#[test]
fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let bench = Bench::new();
    let mut client = bench.connect();
    client.run();
    for id in 1..5 {
        bench.pass(Duration::from_secs(599));
        client.ask(OVERLAPS, &format!("{id} now"));
        assert_eq!(client.ended, None);
    }
    bench.pass(Duration::from_secs(599));
    client.run();
    assert_eq!(client.ended, None);
    bench.pass(Duration::from_secs(1));
    client.run();
    assert_eq!(client.ended, Some(CloseReason::Idle));
}

#[test]
fn half_sent_frames_do_not_stop_complete_ones() {
    let bench = Bench::with(|limits| {
        limits.queued_bytes_max = 4 << 20;
        limits.request_bytes_max = 4 << 20;
    });
    let whole = frame(OVERLAPS, 1, &long("1 now", 3 << 20));
    // Half-sent, each within what needs no reservation: any number of them holds nothing.
    let mut half_sent: Vec<_> = (0..50).map(|_| bench.connect()).collect();
    for client in &mut half_sent {
        client.send(&whole[..FREE_BYTES - 1]);
    }
    let mut complete = bench.connect();
    complete.send(&whole);
    assert_eq!(complete.replies(), ["1"]);
    // One that holds a reservation and brings nothing more goes as soon as another one waits.
    let mut holder = bench.connect();
    holder.send(&whole[..=FREE_BYTES]);
    bench.pass(Duration::from_secs(2));
    holder.run();
    assert_eq!(holder.ended, None, "nobody else wants the room");
    let mut waiter = bench.connect();
    waiter.send(&whole);
    assert_eq!(waiter.replies(), [""; 0]);
    let mut short = bench.connect();
    short.ask(OVERLAPS, "1 now");
    assert_eq!(short.replies(), ["1"], "short frames need no room");
    bench.pass(Duration::from_secs(2));
    holder.run();
    assert_eq!(holder.ended, Some(CloseReason::ReadTimeout));
    waiter.run();
    assert_eq!(waiter.replies(), ["1"]);
    assert_eq!(bench.metrics.budget_bytes.get(), 0);
}

#[test]
fn the_wait_for_room_has_a_deadline() {
    let bench = Bench::with(|limits| {
        limits.queued_bytes_max = 1 << 20;
        limits.request_bytes_max = 1 << 20;
    });
    let mut holder = bench.connect();
    holder.send(&frame(OVERLAPS, 1, &long("1 slow", 900 << 10)));
    let mut waiter = bench.connect();
    waiter.send(&frame(OVERLAPS, 2, &long("2 now", 900 << 10)));
    bench.pass(Duration::from_secs(30));
    waiter.run();
    assert_eq!(waiter.ended, Some(CloseReason::ReadTimeout));
    bench.open("1");
    holder.run();
    assert_eq!(holder.replies(), ["1"]);
    assert_eq!(bench.metrics.budget_bytes.get(), 0);
}

#[test]
fn a_client_that_takes_no_answer_for_whose_room_others_wait_is_closed() {
    let bench = Bench::with(|limits| limits.response_bytes_max = 1 << 20);
    let mut holder = bench.connect();
    holder.wire.lock().unwrap().takes_no_replies = true;
    holder.ask(BARRIER, "1 room");
    assert_eq!(
        bench.metrics.answers_bytes.get(),
        1024,
        "no more is held than the answer's bytes"
    );
    bench.pass(Duration::from_secs(31));
    holder.run();
    assert_eq!(holder.ended, None, "nobody else wants the room");
    let mut waiter = bench.connect();
    waiter.ask(BARRIER, "2 room");
    assert_eq!(waiter.replies(), [""; 0]);
    let mut short = bench.connect();
    short.ask(BARRIER, "3 now");
    assert_eq!(short.replies(), ["3"], "short answers need no room");
    bench.pass(Duration::from_secs(30));
    holder.run();
    assert_eq!(holder.ended, Some(CloseReason::SendTimeout));
    waiter.run();
    assert_eq!(waiter.replies(), ["2"]);
    assert_eq!(bench.metrics.answers_waits.get(), 1);
    assert_eq!(bench.metrics.answers_bytes.get(), 0);
}

#[test]
fn a_client_that_takes_no_replies_is_not_read_and_in_the_end_closed() {
    let bench = Bench::with(|limits| limits.connection_requests_max = 4);
    let mut client = bench.connect();
    client.wire.lock().unwrap().takes_no_replies = true;
    for id in 1..=10 {
        client.ask(OVERLAPS, &format!("{id} now"));
    }
    assert_eq!(bench.began(), ["1", "2", "3", "4"]);
    client.wire.lock().unwrap().takes_no_replies = false;
    client.run();
    assert_eq!(client.replies().len(), 10);
    client.wire.lock().unwrap().takes_no_replies = true;
    client.ask(OVERLAPS, "11 now");
    bench.pass(Duration::from_mins(10));
    client.run();
    assert_eq!(client.ended, Some(CloseReason::SendTimeout));
}

#[test]
fn no_more_requests_are_in_progress_than_the_limit() {
    let bench = Bench::with(|limits| limits.connection_requests_max = 3);
    let mut client = bench.connect();
    for id in 1..=5 {
        client.ask(OVERLAPS, &format!("{id} wait"));
    }
    assert_eq!(bench.began(), ["1", "2", "3"]);
    bench.open("1");
    client.run();
    assert_eq!(bench.began(), ["1", "2", "3", "4"]);
}

#[test]
fn a_stop_ends_idle_connections_at_once_and_others_after_their_replies() {
    let bench = Bench::new();
    let (mut idle, mut waiting, mut busy) = (bench.connect(), bench.connect(), bench.connect());
    idle.run();
    waiting.ask(OVERLAPS, "1 wait");
    busy.ask(BARRIER, "2 slow");
    bench.stopping.cancel();
    for client in [&mut idle, &mut waiting, &mut busy] {
        client.run();
    }
    assert_eq!(idle.ended, Some(CloseReason::Stopping));
    assert_eq!((waiting.ended, busy.ended), (None, None));
    waiting.ask(OVERLAPS, "3 now");
    bench.open("1");
    bench.open("2");
    waiting.run();
    busy.run();
    assert_eq!(
        (waiting.replies(), busy.replies()),
        (vec!["1".to_owned()], vec!["2".to_owned()])
    );
    assert_eq!(
        [waiting.ended, busy.ended],
        [Some(CloseReason::Stopping); 2]
    );
    assert_eq!(bench.began(), ["1", "2"], "nothing is begun after the stop");
}

#[test]
fn room_is_held_as_long_as_the_bytes_of_the_request_are() {
    let bench = Bench::new();
    let mut client = bench.connect();
    client.send(&frame(OVERLAPS, 1, &long("1 wait", 1 << 20)));
    assert_eq!(
        bench.metrics.budget_bytes.get(),
        0,
        "the effect was done with the bytes"
    );
    client.send(&frame(OVERLAPS, 2, &long("2 hold", 1 << 20)));
    assert!(bench.metrics.budget_bytes.get() > 1 << 20);
    bench.open("1");
    bench.open("2");
    client.run();
    assert_eq!(client.replies(), ["1", "2"]);
    assert_eq!(bench.metrics.budget_bytes.get(), 0);
}

#[test]
fn a_connection_holds_no_more_bytes_of_requests_than_its_limit() {
    for (limit, holds_both) in [(2 << 20, false), (8 << 20, true)] {
        let bench = Bench::with(|limits| limits.connection_bytes_max = limit);
        let mut client = bench.connect();
        for id in 1..=2 {
            client.send(&frame(OVERLAPS, id, &long(&format!("{id} hold"), 3 << 19)));
        }
        let held = bench.metrics.budget_bytes.get();
        assert_eq!(held > 2 << 20, holds_both, "{held}");
        for id in ["1", "2"] {
            bench.open(id);
            client.run();
        }
        assert_eq!(client.replies(), ["1", "2"]);
    }
}

#[test]
fn large_requests_use_the_same_memory_again() {
    let bench = Bench::new();
    let mut client = bench.connect();
    for id in 1..=5 {
        client.send(&frame(OVERLAPS, id, &long(&format!("{id} now"), 1 << 20)));
    }
    assert_eq!(client.replies().len(), 5);
    let mut addresses = bench.script.0.addresses.lock().unwrap().clone();
    addresses.dedup();
    assert_eq!(addresses.len(), 1, "{addresses:?}");
}

/// A request of the random script: whether it overlaps, how it ends, how long its body is.
fn any_request() -> impl Strategy<Value = (bool, &'static str, usize)> {
    let how = prop_oneof![Just("now"), Just("slow"), Just("wait"), Just("quiet")];
    let len = prop_oneof![8 => 10..200usize, 1 => 60_000..70_000usize, 1 => 200_000..300_000usize];
    (any::<bool>(), how, len)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever the requests, their cutting into reads and the order in which their conditions are
    /// met: effects are serial, barriers alone, replies in order and complete.
    #[test]
    fn order_holds_for_any_pipeline(
        requests in prop::collection::vec(any_request(), 1..20),
        cuts in prop::collection::vec(1..100_000usize, 1..50),
        gates in any::<prop::sample::Index>(),
        slots in 1..6u32,
    ) {
        let bench = Bench::with(|limits| limits.connection_requests_max = slots);
        let mut client = bench.connect();
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        let mut closed = Vec::new();
        for (id, (overlaps, how, len)) in requests.iter().enumerate() {
            let key = if *overlaps { OVERLAPS } else { BARRIER };
            let body = long(&format!("{id} {how}"), *len);
            bytes.extend(frame(key, i32::try_from(id).unwrap(), &body));
            if *how != "quiet" {
                expected.push(id.to_string());
            }
            if matches!(*how, "slow" | "wait") {
                closed.push(id.to_string());
            }
        }
        let mut cuts = cuts.iter().cycle();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
            client.send(now);
            rest = later;
        }
        while !closed.is_empty() {
            let name = closed.remove(gates.index(closed.len()));
            bench.open(&name);
            client.run();
            check_order(&bench.events(), &requests, &client.replies());
        }
        prop_assert_eq!(client.replies(), expected);
        prop_assert_eq!(bench.metrics.budget_bytes.get(), 0);
        client.hang_up();
        prop_assert_eq!(client.ended, Some(CloseReason::PeerGone));
    }

    /// Frames are the same however they are cut.
    #[test]
    fn frames_arrive_whole_however_they_are_cut(count in 1..40i32, cut in 1..30usize) {
        let bench = Bench::new();
        let mut client = bench.connect();
        let bytes: Vec<u8> = (0..count)
            .flat_map(|id| frame(OVERLAPS, id, format!("{id} now").as_bytes()))
            .collect();
        for piece in bytes.chunks(cut) {
            client.send(piece);
        }
        let expected: Vec<String> = (0..count).map(|id| id.to_string()).collect();
        prop_assert_eq!(client.replies(), expected);
    }
}

/// Effects one after the other; a barrier begins after every reply before it, and nothing behind it
/// begins before its own reply.
fn check_order(events: &[String], requests: &[(bool, &str, usize)], replies: &[String]) {
    for pair in events.chunks(2) {
        let name = pair[0].strip_prefix("begin ").expect("effects are serial");
        if let Some(end) = pair.get(1) {
            assert_eq!(end.strip_prefix("end "), Some(name), "effects are serial");
        }
        let id: usize = name.parse().unwrap();
        let replied = |id: usize| requests[id].1 == "quiet" || replies.contains(&id.to_string());
        for before in 0..id {
            let must_be_over = !requests[id].0 || !requests[before].0;
            assert!(
                !must_be_over || replied(before),
                "{id} began before {before} was over"
            );
        }
    }
}

#[test]
fn bytes_of_a_reply_keep_their_order_when_sent_together() {
    let bench = Bench::new();
    let mut client = bench.connect();
    let body = Bytes::from_static(b"1 wait");
    client.send(&frame(OVERLAPS, 1, &body));
    for id in 2..=40 {
        client.ask(OVERLAPS, &format!("{id} now"));
    }
    bench.open("1");
    client.run();
    let expected: Vec<String> = (1..=40).map(|id| id.to_string()).collect();
    assert_eq!(client.replies(), expected);
}
