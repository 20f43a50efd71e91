//! Producers at a fixed rate until they are told to end, with the latency of every request.
//!
//! What always holds: a request is sent when it is due, not when the last one was answered, and its
//! latency counts from then (no coordinated omission); what was sent are the first so many requests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use millrace_client::{Acks, Client, PendingReply, Topic};
use millrace_host::{Host, Mono, Pool};
use millrace_protocol::messages::ProduceRequest;
use millrace_protocol::records::Codec;
use tokio::sync::{mpsc, oneshot};

use crate::payload::{Payload, Shape};
use crate::{readback, text};

/// Requests without an answer on each connection, as Kafka's producer has them.
pub(super) const DEPTH: usize = 5;
/// Bodies that are kept ready; they are sent again and again.
const BODIES: usize = 4000;
/// A batch of the producers.
const SHAPE: Shape = Shape {
    record_bytes: 1024,
    batch_records: 10,
    repeat_share: 0.0,
    codec: Codec::None,
};

/// What is sent, how often.
pub(super) struct Load {
    payload: Arc<Payload>,
    /// Between two requests of all connections together.
    interval: Duration,
}

impl Load {
    /// Encodes it, for so many records a second.
    pub(super) fn encode(client: &Client, topic: &Topic, rate: f64) -> Result<Self, String> {
        let payload = Payload::encode(client, topic, Acks::All, SHAPE, BODIES)?;
        Ok(Self {
            payload: Arc::new(payload),
            interval: Duration::from_secs_f64(SHAPE.batch_records as f64 / rate.max(1e-3)),
        })
    }

    /// Holds what the topic has against the first `requests` requests.
    pub(super) async fn read_back(
        &self,
        host: &Host,
        client: &Client,
        topic: &Topic,
        requests: usize,
    ) -> Result<(), String> {
        let from: BTreeMap<i32, i64> = (0..topic.partitions).map(|at| (at, 0)).collect();
        let expected = self.payload.expected(requests);
        let read = readback::check(host, client, topic, &from, expected).await;
        read.map(drop)
            .map_err(|reason| format!("no figure, the load is not all there: {reason}"))
    }
}

/// One request: when it was due, and how long after that its answer came.
pub(super) struct Sample {
    pub(super) due: Mono,
    pub(super) us: u64,
}

type Samples = Result<Vec<Sample>, String>;

/// Producers that run.
pub(super) struct Steady {
    next: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    ends: Vec<oneshot::Receiver<Samples>>,
}

impl Steady {
    /// Starts one on each connection.
    pub(super) fn start(host: &Host, load: &Load, connections: &[Client]) -> Self {
        let next = Arc::new(AtomicUsize::new(0));
        let is_over = Arc::new(AtomicBool::new(false));
        let start = host.clock.now().mono;
        let mut ends = Vec::new();
        for client in connections {
            let (done, end) = oneshot::channel();
            let producer = Producer {
                host: host.clone(),
                client: client.clone(),
                payload: Arc::clone(&load.payload),
                pace: (start, load.interval),
                next: Arc::clone(&next),
                is_over: Arc::clone(&is_over),
            };
            let work = async move {
                // Nobody waits for it any more when another producer failed first.
                drop(done.send(producer.run().await));
            };
            drop(
                host.spawn
                    .spawn(Pool::Data, "steady producer", Box::pin(work)),
            );
            ends.push(end);
        }
        Self {
            next,
            is_over,
            ends,
        }
    }

    /// Ends them, and waits for every answer; gives how many requests were sent.
    pub(super) async fn end(self) -> Result<(usize, Vec<Sample>), String> {
        self.is_over.store(true, Ordering::SeqCst);
        let mut all = Vec::new();
        for end in self.ends {
            let samples = end.await.map_err(|_| "a producer's task died".to_owned())?;
            all.extend(samples?);
        }
        Ok((self.next.load(Ordering::SeqCst), all))
    }
}

/// One connection.
struct Producer {
    host: Host,
    client: Client,
    payload: Arc<Payload>,
    pace: (Mono, Duration),
    next: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
}

impl Producer {
    async fn run(self) -> Samples {
        let (sent, answers) = mpsc::channel(DEPTH);
        let (sending, received) = tokio::join!(self.send(sent), self.receive(answers));
        sending?;
        received
    }

    async fn send(&self, sent: mpsc::Sender<(Mono, PendingReply)>) -> Result<(), String> {
        let (start, interval) = self.pace;
        while !self.is_over.load(Ordering::SeqCst) {
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            let due = start + interval.saturating_mul(u32::try_from(number).map_err(text)?);
            self.host.clock.sleep_until(due).await;
            let body = self.payload.of(number).body.clone();
            let connection = self.client.connection();
            let reply = connection.send(self.payload.call, body).await;
            if sent.send((due, reply.map_err(text)?)).await.is_err() {
                // The receiving side failed and says why.
                return Ok(());
            }
        }
        Ok(())
    }

    async fn receive(&self, mut answers: mpsc::Receiver<(Mono, PendingReply)>) -> Samples {
        let mut samples = Vec::new();
        while let Some((due, reply)) = answers.recv().await {
            let body = reply.wait().await.map_err(text)?;
            let latency = self.host.clock.now().mono.since(due);
            let us = u64::try_from(latency.as_micros()).map_err(text)?;
            samples.push(Sample { due, us });
            let answer = self
                .client
                .answer::<ProduceRequest>(self.payload.call, body);
            let topics = answer.read().map_err(text)?.responses.into_iter();
            for outcome in topics.flat_map(|topic| topic.partition_responses) {
                if outcome.error_code != 0 {
                    let reason = outcome.error_message.unwrap_or_default();
                    let code = outcome.error_code;
                    return Err(format!("a batch was refused: {code} {reason}"));
                }
            }
        }
        Ok(samples)
    }
}
