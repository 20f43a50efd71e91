//! Requests over several connections, as fast as answers come or when each is due.
//!
//! What always holds: at a fixed rate a request belongs to its connection and its moment before
//! anything is known of the ones before it; nobody skips one because another is late.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use millrace_client::{Acks, Client, PendingReply};
use millrace_host::{Host, Mono, Pool};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::payload::Payload;
use crate::report::{OverTime, micros, new_histogram};
use crate::{pace, text, wire};

/// Requests of one connection that are due and not sent yet; with more the pace itself falls behind,
/// which still counts in each latency.
const DUE_MAX: usize = 16_384;

/// What one pass over the wire measured.
pub(super) struct Measured {
    pub(super) elapsed: Duration,
    /// From sending, or from when it was due, to the answer, in microseconds.
    pub(super) latencies: Histogram<u64>,
    /// From when it was due to sending, in microseconds; of a fixed rate only.
    pub(super) late: Histogram<u64>,
    /// Records acknowledged, or sent when nothing is acknowledged.
    pub(super) over_time: OverTime,
}

/// A request that was sent: the time that its latency counts from, and its place in flight.
type Sent = (Mono, PendingReply, OwnedSemaphorePermit);

/// A request that is due: its number, and when it was.
type Due = (usize, Mono);

/// What all connections of a run share.
#[derive(Clone)]
pub(super) struct Run {
    pub(super) host: Host,
    pub(super) payload: Arc<Payload>,
    pub(super) acks: Acks,
    pub(super) batch_records: u64,
    pub(super) depth: usize,
    pub(super) interval: Option<Duration>,
}

impl Run {
    /// Sends the requests with these numbers over all connections and waits for every answer.
    pub(super) async fn pass(
        &self,
        connections: &[Client],
        numbers: Range<usize>,
    ) -> Result<Measured, String> {
        let start = self.host.clock.now().mono;
        let sources = self.sources(connections.len(), numbers, start)?;
        let mut ends = Vec::new();
        for (client, source) in connections.iter().zip(sources) {
            let (done, end) = oneshot::channel();
            let pass = Pass {
                run: self.clone(),
                client: client.clone(),
                source,
                start,
            };
            let task = self.host.spawn.spawn(
                Pool::Data,
                "load connection",
                Box::pin(async move {
                    // Nobody waits for it any more when another connection failed first.
                    drop(done.send(pass.run().await));
                }),
            );
            drop(task);
            ends.push(end);
        }
        let mut measured = Measured::new()?;
        for end in ends {
            let of_connection = end
                .await
                .map_err(|_| "a connection's task died".to_owned())??;
            measured.join(&of_connection)?;
        }
        measured.elapsed = self.host.clock.now().mono.since(start);
        Ok(measured)
    }

    /// Where each connection gets the numbers of its requests from.
    fn sources(
        &self,
        connections: usize,
        numbers: Range<usize>,
        start: Mono,
    ) -> Result<Vec<Source>, String> {
        let Some(interval) = self.interval else {
            let next = Arc::new(AtomicUsize::new(numbers.start));
            let each = |_| Source::Next(Arc::clone(&next), numbers.end);
            return Ok((0..connections).map(each).collect());
        };
        let (mut senders, mut sources) = (Vec::new(), Vec::new());
        for _ in 0..connections {
            let (sender, due) = mpsc::channel(DUE_MAX);
            senders.push(sender);
            sources.push(Source::Due(Mutex::new(due)));
        }
        let first = numbers.start;
        let give = move |nth: usize, due| {
            let sender = &senders[nth % senders.len()];
            sender.blocking_send((first + nth, due)).is_ok()
        };
        pace::start(&self.host.clock, (start, interval), numbers.len(), give)?;
        Ok(sources)
    }
}

impl Measured {
    pub(super) fn new() -> Result<Self, String> {
        Ok(Self {
            elapsed: Duration::ZERO,
            latencies: new_histogram()?,
            late: new_histogram()?,
            over_time: OverTime::default(),
        })
    }

    pub(super) fn join(&mut self, other: &Self) -> Result<(), String> {
        self.latencies.add(&other.latencies).map_err(text)?;
        self.late.add(&other.late).map_err(text)?;
        self.over_time.join(&other.over_time);
        Ok(())
    }
}

/// The numbers of a connection's requests.
enum Source {
    /// The next one that no other connection has taken, below an end.
    Next(Arc<AtomicUsize>, usize),
    /// The next one that is due on this connection.
    Due(Mutex<mpsc::Receiver<Due>>),
}

/// One connection's part of a pass.
struct Pass {
    run: Run,
    client: Client,
    source: Source,
    start: Mono,
}

impl Pass {
    async fn run(self) -> Result<Measured, String> {
        let (sent, answers) = mpsc::channel(self.run.depth);
        let (sending, received) = tokio::join!(self.send(sent), self.receive(answers));
        let sending = sending?;
        let mut received = received?;
        received.join(&sending)?;
        Ok(received)
    }

    /// The next request, and when it is due; none when all are sent.
    async fn next(&self) -> Option<(usize, Option<Mono>)> {
        match &self.source {
            Source::Next(next, end) => {
                let number = next.fetch_add(1, Ordering::Relaxed);
                (number < *end).then_some((number, None))
            }
            Source::Due(due) => {
                let (number, due) = due.lock().await.recv().await?;
                Some((number, Some(due)))
            }
        }
    }

    /// Sends what there is; gives what is known without answers.
    async fn send(&self, sent: mpsc::Sender<Sent>) -> Result<Measured, String> {
        let (clock, payload) = (&self.run.host.clock, &self.run.payload);
        let mut measured = Measured::new()?;
        // A latency is none of waiting for a place, unless it counts from when the request was due.
        let places = Arc::new(Semaphore::new(self.run.depth));
        while let Some((number, due)) = self.next().await {
            let place = Arc::clone(&places).acquire_owned().await.map_err(text)?;
            let now = clock.now().mono;
            let from = due.unwrap_or(now);
            if due.is_some() {
                measured.late.saturating_record(micros(now.since(from)));
            }
            let body = payload.of(number).body.clone();
            let connection = self.client.connection();
            if self.run.acks == Acks::None {
                connection
                    .send_without_reply(payload.call, body)
                    .await
                    .map_err(text)?;
                let after = clock.now().mono.since(self.start);
                measured.over_time.add(after, self.run.batch_records);
                continue;
            }
            let reply = connection.send(payload.call, body).await.map_err(text)?;
            if sent.send((from, reply, place)).await.is_err() {
                // The receiving side failed and says why.
                return Ok(measured);
            }
        }
        if self.run.acks == Acks::None {
            // Answered after everything before it on this connection has taken effect.
            self.client.metadata(Some(&[])).await.map_err(text)?;
        }
        Ok(measured)
    }

    async fn receive(&self, mut answers: mpsc::Receiver<Sent>) -> Result<Measured, String> {
        let mut measured = Measured::new()?;
        let call = self.run.payload.call;
        while let Some((from, reply, place)) = answers.recv().await {
            let body = reply.wait().await.map_err(text)?;
            drop(place);
            let now = self.run.host.clock.now().mono;
            measured
                .latencies
                .saturating_record(micros(now.since(from)));
            let after = now.since(self.start);
            measured.over_time.add(after, self.run.batch_records);
            wire::accepted(call, &body)?;
        }
        Ok(measured)
    }
}
