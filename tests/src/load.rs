//! Plain load on a running broker, with figures: producers that send batches of given sizes and
//! wait for each answer with a few in flight. What a check needs, the workload has; this only
//! loads.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use millrace_client::{Client, ClientOptions, Error, Topic};
use millrace_host::{Host, Pool};
use millrace_protocol::records::{BatchBuilder, Options};
use tokio::sync::oneshot;

/// Runs all tasks side by side; their outcomes in order, or the first failure.
pub async fn together<T, F>(
    host: &Host,
    tasks: impl IntoIterator<Item = F>,
) -> Result<Vec<T>, String>
where
    T: Send + 'static,
    F: Future<Output = Result<T, String>> + Send + 'static,
{
    let mut ends = Vec::new();
    for task in tasks {
        let (done, end) = oneshot::channel();
        let task = Box::pin(async move {
            // Nobody listens when another task has failed.
            drop(done.send(task.await));
        });
        drop(host.spawn.spawn(Pool::Data, "load", task));
        ends.push(end);
    }
    let mut outcomes = Vec::new();
    for end in ends {
        let outcome = end
            .await
            .map_err(|_| "a task of the load died".to_owned())?;
        outcomes.push(outcome?);
    }
    Ok(outcomes)
}

/// Options of clients that bear a broker in trouble.
pub fn patient(timeout: Duration) -> ClientOptions {
    ClientOptions {
        client_id: "load".to_owned(),
        connect_timeout: timeout,
        request_timeout: timeout,
        ..ClientOptions::default()
    }
}

/// A batch of one record whose value begins with `token` and is `bytes` long.
pub fn batch(token: &str, bytes: usize) -> Bytes {
    let mut value = token.as_bytes().to_vec();
    value.resize(bytes.max(value.len()), b'.');
    let mut builder = BatchBuilder::new(Options::default());
    builder
        .push(0, None, Some(&value), &[])
        .expect("a load's batches are below a batch's limit");
    builder.build()
}

/// One producer.
#[derive(Clone, Debug)]
pub struct Producing {
    /// Begins every value, so that no two are the same.
    pub token: String,
    /// Where to.
    pub topic: Topic,
    /// The partitions, in turn.
    pub partitions: Vec<i32>,
    /// Bytes of the batches, in turn.
    pub sizes: Vec<usize>,
    /// How many batches.
    pub batches: usize,
    /// How many are without an answer at most.
    pub in_flight: usize,
}

impl Producing {
    /// Sends everything; how long each answer took, in order.
    pub async fn run(&self, host: &Host, client: &Client) -> Result<Vec<Duration>, Error> {
        let mut waiting = VecDeque::new();
        let mut took = Vec::new();
        for number in 0..self.batches {
            if waiting.len() >= self.in_flight {
                took.extend(answered(host, waiting.pop_front()).await?);
            }
            let size = self.sizes[number % self.sizes.len()];
            let partition = self.partitions[number % self.partitions.len()];
            let bytes = batch(&format!("{}-{number} ", self.token), size);
            let since = host.clock.now().mono;
            let pending = client.send_batch(&self.topic, partition, bytes).await?;
            waiting.push_back((since, pending));
        }
        while !waiting.is_empty() {
            took.extend(answered(host, waiting.pop_front()).await?);
        }
        Ok(took)
    }
}

async fn answered(
    host: &Host,
    oldest: Option<(millrace_host::Mono, millrace_client::PendingProduce)>,
) -> Result<Option<Duration>, Error> {
    let Some((since, pending)) = oldest else {
        return Ok(None);
    };
    pending.wait().await?;
    Ok(Some(host.clock.now().mono.since(since)))
}

/// The value below which `share` of them lie; zero of none.
pub fn percentile(values: &[Duration], share: f64) -> Duration {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let at = (sorted.len() as f64 * share) as usize;
    let at = at.min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or_default()
}
