//! Connections that share little room, run by every schedule that is asked for: `cargo xtask
//! schedules`. Long frames, long answers, answers that wait, a client that hangs up: everyone is
//! served, and all room comes back. No time passes, so that no deadline can hide who waits for ever.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{BufMut, Bytes, BytesMut};
use millrace_config::BrokerConfig;
use millrace_host::sync::atomic::{AtomicUsize, Ordering};
use millrace_host::{BoxFuture, Connection, Piece, ReadHalf, Rope, WriteHalf};
use millrace_probe::{Bug, arm};
use millrace_sim::schedules::shuttle::future::{block_on, spawn};
use millrace_sim::schedules::shuttle::thread;
use millrace_sim::schedules::{Length, caught, explore, machine_without_time, shuttle};
use tokio_util::sync::CancellationToken;

use super::budget::FREE_BYTES;
use super::gate::Gate;
use super::{Request, Route, Service, Shared, connection};
use crate::context::{ConnectionInfo, Endpoint, Principal};
use crate::metrics::{ApiMetrics, Metrics};
use crate::outcome::{Close, Outcome, Reply};

/// A frame that has to reserve, and so that two of them don't fit.
const FRAME_BYTES: usize = FREE_BYTES + 1024;
/// An answer that has to reserve, and so that two of them don't fit.
const ANSWER_BYTES: u64 = 70 * 1024;
/// Room for either.
const ROOM_BYTES: u64 = 100 * 1024;

/// Both directions of one connection.
#[derive(Debug, Default)]
struct Wire {
    input: VecDeque<Bytes>,
    hung_up: bool,
    replies: usize,
    reader: Option<Waker>,
    client: Option<Waker>,
}

#[derive(Clone, Debug, Default)]
struct Shareable(Arc<Mutex<Wire>>);

impl Shareable {
    /// Held for so short that no other task comes in.
    fn lock(&self) -> MutexGuard<'_, Wire> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, bytes: Option<Bytes>) {
        let mut wire = self.lock();
        match bytes {
            Some(bytes) => wire.input.push_back(bytes),
            None => wire.hung_up = true,
        }
        let waker = wire.reader.take();
        drop(wire);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    async fn replies(&self, count: usize) {
        std::future::poll_fn(|cx| {
            let mut wire = self.lock();
            if wire.replies >= count {
                return Poll::Ready(());
            }
            wire.client = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl ReadHalf for Shareable {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut BytesMut,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        let mut wire = self.lock();
        let Some(mut first) = wire.input.pop_front() else {
            if wire.hung_up {
                return Poll::Ready(Ok(0));
            }
            wire.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let count = limit.min(first.len()).min(buf.capacity() - buf.len());
        buf.put_slice(&first.split_to(count));
        if !first.is_empty() {
            wire.input.push_front(first);
        }
        Poll::Ready(Ok(count))
    }
}

impl WriteHalf for Shareable {
    fn send(&mut self, rope: Rope) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            shuttle::future::yield_now().await;
            let whole = rope.iter().all(|piece| matches!(piece, Piece::Bytes(_)));
            assert!(whole, "the replies of this model are bytes");
            let mut wire = self.lock();
            // Replies leave together where they can: each is a header and a body.
            wire.replies += rope.len() / 2;
            let waker = wire.client.take();
            drop(wire);
            if let Some(waker) = waker {
                waker.wake();
            }
            Ok(())
        })
    }

    fn shutdown(&mut self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Each request takes room for its answer and then waits until somebody else wants that.
#[derive(Debug)]
struct Rooms(Arc<ApiMetrics>);

/// The request whose answer is complete at once; the other one waits, as a fetch does.
const AT_ONCE: i16 = 0;
const WAITS: i16 = 1;

impl Service for Rooms {
    fn route(&self, api_key: i16, _: i16) -> Result<Route, Close> {
        Ok(Route {
            request_tags: false,
            response_tags: false,
            overlaps: api_key == AT_ONCE,
            metrics: Arc::clone(&self.0),
        })
    }

    fn handle(&self, request: Request) -> BoxFuture<'_, Result<Outcome, Close>> {
        Box::pin(async move {
            request.room.take(ANSWER_BYTES).await;
            if request.api_key == AT_ONCE {
                return Ok(Outcome::bytes("done"));
            }
            let room = Arc::clone(&request.room);
            Ok(Outcome::Wait(Box::pin(async move {
                room.wanted().await;
                Reply::bytes("wanted")
            })))
        })
    }
}

fn frame(api_key: i16, correlation_id: i32) -> Bytes {
    let mut frame = BytesMut::with_capacity(4 + FRAME_BYTES);
    frame.put_u32(FRAME_BYTES as u32);
    frame.put_i16(api_key);
    frame.put_i16(0);
    frame.put_i32(correlation_id);
    frame.put_i16(-1);
    frame.resize(4 + FRAME_BYTES, 0);
    frame.freeze()
}

fn connections_with_little_room() {
    let (host, _) = machine_without_time();
    let mut limits = BrokerConfig::default().network;
    limits.request_bytes_max = ROOM_BYTES as u32;
    limits.queued_bytes_max = ROOM_BYTES;
    limits.response_bytes_max = ROOM_BYTES;
    let metrics = Arc::new(Metrics::new());
    let api = Arc::new(metrics.api("rooms"));
    let stopping = CancellationToken::new();
    let (shared, mut last_gone) = Shared::new(
        host,
        limits,
        Arc::clone(&metrics),
        stopping,
        CancellationToken::new(),
    );
    block_on(async {
        let mut tasks = Vec::new();
        // What each client sends, and how many replies it awaits before it hangs up.
        for (requests, awaited) in [
            (&[AT_ONCE, AT_ONCE][..], 2),
            (&[AT_ONCE, WAITS][..], 1),
            // Gone before it is answered: what waits is dropped, and holds nothing any more.
            (&[WAITS][..], 0),
        ] {
            let wire = Shareable::default();
            let peer = "10.0.0.1:1000".parse().expect("an address");
            let connection = Connection {
                read: Box::new(wire.clone()),
                write: Box::new(wire.clone()),
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
            let service = Arc::new(Rooms(Arc::clone(&api)));
            let connection = (connection, shared.stopping.clone());
            let serving =
                connection::serve(Arc::clone(&shared), service, connection, Arc::new(info));
            tasks.push(spawn(async move {
                serving.await;
            }));
            tasks.push(spawn(async move {
                for (number, api_key) in requests.iter().enumerate() {
                    wire.put(Some(frame(*api_key, number as i32)));
                }
                wire.replies(awaited).await;
                wire.put(None);
            }));
        }
        drop(shared);
        for task in tasks {
            task.await.expect("no task is ended");
        }
        last_gone.wait().await;
    });
    assert_eq!(metrics.budget_bytes.get(), 0, "room for frames came back");
    assert_eq!(metrics.answers_bytes.get(), 0, "room for answers came back");
}

fn connections_at_the_gate() {
    const ALL_MAX: usize = 2;
    let gate = Gate::new(ALL_MAX as u32, 1);
    // Those inside, of the address that two come from and of all.
    let inside = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let clients: Vec<_> = [1, 1, 2, 3]
        .into_iter()
        .map(|last| {
            let (gate, inside) = (Arc::clone(&gate), Arc::clone(&inside));
            thread::spawn(move || {
                let Ok(place) = gate.enter(IpAddr::from([10, 0, 0, last])) else {
                    return;
                };
                let counted = &inside[usize::from(last > 1)..];
                for count in counted {
                    count.fetch_add(1, Ordering::Relaxed);
                }
                let [of_one, of_all] = [&inside[0], &inside[1]].map(|c| c.load(Ordering::Relaxed));
                assert!(of_one <= 1, "{of_one} of one address are in");
                assert!(of_all <= ALL_MAX, "{of_all} are in");
                for count in counted {
                    count.fetch_sub(1, Ordering::Relaxed);
                }
                drop(place);
            })
        })
        .collect();
    for client in clients {
        client.join().expect("no client fails");
    }
    let places = [1, 2].map(|last| gate.enter(IpAddr::from([10, 0, 0, last])));
    assert!(places.iter().all(Result::is_ok), "every place came back");
}

#[test]
fn everyone_is_served_and_all_room_comes_back() {
    explore(
        "server.connections",
        Length::Long,
        connections_with_little_room,
    );
}

#[test]
fn the_gate_lets_in_as_many_as_it_may() {
    explore("server.gate", Length::Short, connections_at_the_gate);
}

#[test]
fn room_that_is_not_given_back_is_found() {
    let _armed = arm(Bug::FrameBudgetDeadlock);
    caught(
        "server.connections",
        "FrameBudgetDeadlock",
        connections_with_little_room,
    );
}

#[test]
fn a_gate_that_counts_and_lets_in_later_is_found() {
    let _armed = arm(Bug::GateInTwoSteps);
    caught("server.gate", "GateInTwoSteps", connections_at_the_gate);
}
