//! Making and deleting topics, some in each request, over some connections; and writing to them.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use millrace_client::{Client, Topic};
use millrace_host::{Host, Mono, Pool};
use millrace_protocol::messages::create_topics_request::CreatableTopic;
use millrace_protocol::messages::delete_topics_request::DeleteTopicState;
use millrace_protocol::messages::{CreateTopicsRequest, DeleteTopicsRequest};
use millrace_protocol::records::{BatchBuilder, Options};
use tokio::sync::oneshot;

use super::new_histogram;
use crate::text;

/// How long a broker may take for its part of a request.
const TIMEOUT_MS: i32 = 60_000;

/// Batches without an answer while partitions are written to.
const WRITES_AT_ONCE: usize = 64;

/// What becomes of the topics.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    Create,
    Delete,
}

impl Change {
    /// What the figures are called by.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
        }
    }
}

/// All topics made or deleted once.
pub(super) struct Changed {
    pub(super) elapsed: Duration,
    /// Of each request, in microseconds.
    pub(super) latencies: Histogram<u64>,
}

/// Who makes which topics.
#[derive(Clone)]
pub(super) struct Making {
    pub(super) host: Host,
    pub(super) clients: Vec<Client>,
    pub(super) depth: usize,
    pub(super) names: Arc<[String]>,
    pub(super) partitions: i32,
}

impl Making {
    /// Makes or deletes all topics, `batch` in each request.
    pub(super) async fn all(&self, change: Change, batch: usize) -> Result<Changed, String> {
        let next = Arc::new(AtomicUsize::new(0));
        let start = self.host.clock.now().mono;
        let mut ends = Vec::new();
        for client in &self.clients {
            let (done, end) = oneshot::channel();
            let part = Part {
                making: self.clone(),
                client: client.clone(),
                next: Arc::clone(&next),
                change,
                batch,
            };
            let work = async move {
                // Nobody waits for it any more when another connection failed first.
                drop(done.send(part.run().await));
            };
            let spawn = &self.host.spawn;
            drop(spawn.spawn(Pool::Data, "topics connection", Box::pin(work)));
            ends.push(end);
        }
        let mut latencies = new_histogram()?;
        for end in ends {
            let of_connection = end
                .await
                .map_err(|_| "a connection's task died".to_owned())??;
            latencies.add(of_connection).map_err(text)?;
        }
        let elapsed = self.host.clock.now().mono.since(start);
        Ok(Changed { elapsed, latencies })
    }
}

/// One connection's part.
struct Part {
    making: Making,
    client: Client,
    next: Arc<AtomicUsize>,
    change: Change,
    batch: usize,
}

impl Part {
    async fn run(self) -> Result<Histogram<u64>, String> {
        let mut latencies = new_histogram()?;
        let mut sent: VecDeque<(Mono, Range<usize>, Reply)> = VecDeque::new();
        loop {
            while sent.len() < self.making.depth
                && let Some(range) = self.take()
            {
                let from = self.making.host.clock.now().mono;
                let reply = self.send(&self.making.names[range.clone()]).await?;
                sent.push_back((from, range, reply));
            }
            let Some((from, range, reply)) = sent.pop_front() else {
                return Ok(latencies);
            };
            let outcomes = reply.wait().await?;
            let latency = self.making.host.clock.now().mono.since(from);
            latencies.saturating_record(u64::try_from(latency.as_micros()).map_err(text)?);
            check(self.change, &self.making.names[range], &outcomes)?;
        }
    }

    /// The next topics that nobody has taken.
    fn take(&self) -> Option<Range<usize>> {
        let start = self.next.fetch_add(self.batch, Ordering::Relaxed);
        let all = self.making.names.len();
        (start < all).then(|| start..all.min(start + self.batch))
    }

    async fn send(&self, names: &[String]) -> Result<Reply, String> {
        Ok(match self.change {
            Change::Create => {
                let mut request = CreateTopicsRequest::default();
                request.timeout_ms = TIMEOUT_MS;
                let topic = |name: &String| {
                    let mut topic = CreatableTopic::default();
                    topic.name = name.as_str().into();
                    topic.num_partitions = self.making.partitions;
                    topic.replication_factor = -1;
                    topic
                };
                request.topics = names.iter().map(topic).collect();
                Reply::Create(self.client.send(&request).await.map_err(text)?)
            }
            Change::Delete => {
                let mut request = DeleteTopicsRequest::default();
                request.timeout_ms = TIMEOUT_MS;
                let topic = |name: &String| {
                    let mut topic = DeleteTopicState::default();
                    topic.name = Some(name.as_str().into());
                    topic
                };
                request.topics = names.iter().map(topic).collect();
                Reply::Delete(self.client.send(&request).await.map_err(text)?)
            }
        })
    }
}

/// An answer on its way.
enum Reply {
    Create(millrace_client::Pending<CreateTopicsRequest>),
    Delete(millrace_client::Pending<DeleteTopicsRequest>),
}

/// A topic's name and error code.
type Named = (String, i16);

impl Reply {
    async fn wait(self) -> Result<Vec<Named>, String> {
        Ok(match self {
            Self::Create(reply) => {
                let answer = reply.wait().await.map_err(text)?;
                let topics = answer.read().map_err(text)?.topics.into_iter();
                topics
                    .map(|topic| (topic.name.to_owned(), topic.error_code))
                    .collect()
            }
            Self::Delete(reply) => {
                let answer = reply.wait().await.map_err(text)?;
                let topics = answer.read().map_err(text)?.responses.into_iter();
                topics
                    .map(|topic| (topic.name.unwrap_or_default().to_owned(), topic.error_code))
                    .collect()
            }
        })
    }
}

/// Whether an answer says of each topic that was asked for, once, that it succeeded.
fn check(change: Change, names: &[String], outcomes: &[Named]) -> Result<(), String> {
    let told: BTreeMap<&str, i16> = outcomes
        .iter()
        .map(|(name, code)| (name.as_str(), *code))
        .collect();
    if told.len() != outcomes.len() || outcomes.len() != names.len() {
        return Err(format!(
            "{} topics were asked for, {} answered",
            names.len(),
            outcomes.len()
        ));
    }
    for name in names {
        match told.get(name.as_str()) {
            Some(0) => {}
            Some(code) => return Err(format!("{} {name}: error {code}", change.word())),
            None => return Err(format!("{} {name}: not in the answer", change.word())),
        }
    }
    Ok(())
}

/// Writes one record to each of the first `count` partitions and waits for all acknowledgements;
/// gives how many there were.
pub(super) async fn write_to(
    client: &Client,
    names: &[String],
    partitions: i32,
    count: usize,
) -> Result<usize, String> {
    let mut batch = BatchBuilder::new(Options::default());
    batch
        .push(1_700_000_000_000, None, Some(b"used"), &[])
        .map_err(text)?;
    let batch = batch.build();
    let topics = described(client).await?;
    let all = names
        .iter()
        .flat_map(|name| (0..partitions).map(move |partition| (name, partition)));
    let mut sent = VecDeque::new();
    let mut written = 0;
    for (name, partition) in all.take(count) {
        let topic = topics
            .get(name)
            .ok_or_else(|| format!("{name} is missing"))?;
        if sent.len() == WRITES_AT_ONCE
            && let Some(first) = sent.pop_front()
        {
            acknowledged(first).await?;
        }
        let pending = client.send_batch(topic, partition, batch.clone()).await;
        sent.push_back(pending.map_err(text)?);
        written += 1;
    }
    for pending in sent {
        acknowledged(pending).await?;
    }
    Ok(written)
}

async fn acknowledged(pending: millrace_client::PendingProduce) -> Result<(), String> {
    pending.wait().await.map(drop).map_err(text)
}

/// Every topic that the broker has, by name.
async fn described(client: &Client) -> Result<BTreeMap<String, Topic>, String> {
    let answer = client.metadata(None).await.map_err(text)?;
    let topics = answer.read().map_err(text)?.topics.into_iter();
    let topic = |topic: millrace_protocol::responses::metadata::MetadataResponseTopic<'_>| {
        let name = topic.name.unwrap_or_default().to_owned();
        let known = Topic {
            name: name.clone(),
            id: topic.topic_id,
            partitions: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
        };
        (name, known)
    };
    Ok(topics.map(topic).collect())
}
