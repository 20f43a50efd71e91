//! A cluster as one thing: which broker to ask for what, and the connections to them.
//!
//! What always holds: one request for metadata is under way at a time, and whoever needs a newer
//! image than the one it saw gets it from the next that ends; between two of them lies at least the
//! first wait before a retry. A broker has one connection for each [`Use`], so that a fetch that
//! waits holds up nobody else.

mod backoff;
mod follow;
mod link;
mod metadata;
mod options;
mod workers;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millrace_host::{Host, Mono};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::MetadataRequest;
use millrace_protocol::messages::metadata_request::MetadataRequestTopic;
use tokio::sync::watch;

use crate::client::refuse;
use crate::{Client, Error};
pub(crate) use backoff::Backoff;
pub(crate) use follow::{Follower, follow};
pub(crate) use link::Link;
use link::Place;
pub use metadata::{Broker, Metadata, Partition, TopicPartitions};
pub use options::ClusterOptions;
pub(crate) use workers::Workers;

/// Nobody asked for a topic for that long: it is no longer asked for.
const TOPIC_IDLE_MAX: Duration = Duration::from_mins(5);

/// What a connection is for. A broker serves the requests of one connection one after the other
/// (but for those to produce), so what may wait has a connection of its own.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::Use;
/// # world::run(async |cluster| {
/// let orders = cluster.topic("orders").await?;
/// let leader = orders.partitions[0].leader.expect("somebody leads it");
/// // A connection of its own for what waits at the broker.
/// let client = cluster.broker(leader, Use::Fetch).await?;
/// assert!(client.connection().is_open());
/// # Ok(()) });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// Whatever is answered at once.
    Ask,
    /// To produce.
    Produce,
    /// To fetch, which waits until there is something.
    Fetch,
    /// What a group's coordinator answers at once: signs of life, offsets. What waits for the other
    /// members has a connection of each member's own.
    Coordinate,
}

/// A cluster. Cheap to clone; its connections close with the last clone.
///
/// ```no_run
/// # use millrace_client::{Cluster, ClusterOptions, Error};
/// # async fn example(host: &millrace_host::Host) -> Result<(), Error> {
/// let cluster = Cluster::connect(host, ClusterOptions::new(["one:9092", "other:9092"])).await?;
/// let orders = cluster.topic("orders").await?;
/// println!("{} partitions, of cluster {:?}", orders.partitions.len(), cluster.metadata().cluster_id);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Cluster(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    host: Host,
    options: ClusterOptions,
    seeds: Vec<Place>,
    links: Mutex<BTreeMap<(i32, Use), Arc<Link>>>,
    /// The topics asked for, with when somebody last did.
    wanted: Mutex<BTreeMap<Arc<str>, Mono>>,
    image: watch::Sender<Arc<Metadata>>,
    asking: tokio::sync::Mutex<Asked>,
}

/// The last request for metadata.
#[derive(Debug, Default)]
struct Asked {
    at: Option<Mono>,
    failures: u32,
}

impl Cluster {
    /// Finds the cluster: asks the addresses given, each once, until one of them says who is in it.
    pub async fn connect(host: &Host, options: ClusterOptions) -> Result<Self, Error> {
        let mut seeds = Vec::with_capacity(options.bootstrap.len());
        for address in &options.bootstrap {
            seeds.push(Place::parse(address).ok_or_else(|| Error::Connect {
                address: address.clone(),
                reason: "this is not of the form host:port".to_owned(),
            })?);
        }
        let cluster = Self(Arc::new(Inner {
            host: host.clone(),
            options,
            seeds,
            links: Mutex::default(),
            wanted: Mutex::default(),
            image: watch::Sender::new(Arc::default()),
            asking: tokio::sync::Mutex::default(),
        }));
        cluster.refresh(0).await?;
        Ok(cluster)
    }

    /// What is known now.
    pub fn metadata(&self) -> Arc<Metadata> {
        Arc::clone(&self.0.image.borrow())
    }

    /// Tells of each new image.
    pub fn watch(&self) -> watch::Receiver<Arc<Metadata>> {
        self.0.image.subscribe()
    }

    /// The machine that it runs on.
    pub fn host(&self) -> &Host {
        &self.0.host
    }

    /// How it is asked.
    pub(crate) fn options(&self) -> &ClusterOptions {
        &self.0.options
    }

    /// The waits before retries.
    pub(crate) fn backoff(&self) -> Backoff {
        Backoff {
            first: self.0.options.retry_backoff,
            greatest: self.0.options.retry_backoff_max,
        }
    }

    /// The connection to a broker for a use; connects if there is none.
    pub async fn broker(&self, id: i32, of_use: Use) -> Result<Client, Error> {
        let link = || Arc::clone(lock(&self.0.links).entry((id, of_use)).or_default());
        self.broker_through(id, link).await
    }

    /// The connection to a broker that nobody else uses but who has the link.
    pub(crate) async fn broker_by(&self, id: i32, link: &Arc<Link>) -> Result<Client, Error> {
        self.broker_through(id, || Arc::clone(link)).await
    }

    async fn broker_through(
        &self,
        id: i32,
        link: impl FnOnce() -> Arc<Link>,
    ) -> Result<Client, Error> {
        let image = self.metadata();
        let Some(broker) = image.brokers.get(&id) else {
            return Err(Error::Connect {
                address: format!("broker {id}"),
                reason: "the cluster does not say where it is".to_owned(),
            });
        };
        let place = Place {
            host: broker.host.clone(),
            port: broker.port,
        };
        let link = link();
        let Inner { host, options, .. } = &*self.0;
        let connected = link.client(&place, host, &options.connection, self.backoff());
        connected.await
    }

    /// Sleeps after that many failures in a row.
    pub(crate) async fn pause(&self, failures: u32) {
        let Host { clock, rng, .. } = &self.0.host;
        let wait = self.backoff().after(failures, &**rng);
        clock.sleep_until(clock.now().mono + wait).await;
    }

    /// Sleeps until then; for ever without a time.
    pub(crate) async fn sleep_until(&self, at: Option<Mono>) {
        match at {
            Some(at) => self.0.host.clock.sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// A connection to any broker, for what each of them answers.
    pub async fn any_broker(&self) -> Result<Client, Error> {
        let mut tried = Vec::new();
        for id in self.shuffled_brokers() {
            match self.broker(id, Use::Ask).await {
                Ok(client) => return Ok(client),
                Err(error) => tried.push(error),
            }
        }
        Err(no_broker(&tried))
    }

    /// A topic with its partitions. Waits for one that is being made, and for brokers that can't be
    /// reached, at most for a request's time.
    pub async fn topic(&self, name: &str) -> Result<Arc<TopicPartitions>, Error> {
        self.topic_within(name, self.0.options.connection.request_timeout)
            .await
    }

    /// The same with a limit of its own.
    pub(crate) async fn topic_within(
        &self,
        name: &str,
        limit: Duration,
    ) -> Result<Arc<TopicPartitions>, Error> {
        let deadline = self.0.host.clock.now().mono + limit;
        let name: Arc<str> = name.into();
        self.keep(std::slice::from_ref(&name));
        loop {
            let image = self.metadata();
            let refused = match image.topic(&name) {
                Ok(topic) => return Ok(Arc::clone(topic)),
                Err(None) => None,
                Err(Some(code)) => Some(Error::Broker {
                    what: format!("to describe topic {name}"),
                    code,
                }),
            };
            let failed = match refused {
                Some(refused) if !refused.is_retriable() => return Err(refused),
                refused => match self.refresh(image.generation).await {
                    Ok(_) => refused,
                    Err(error) if error.is_retriable() => Some(error),
                    Err(error) => return Err(error),
                },
            };
            match failed {
                Some(error) if self.0.host.clock.now().mono >= deadline => return Err(error),
                _ => {}
            }
        }
    }

    /// Goes on asking for these topics.
    pub(crate) fn keep(&self, names: &[Arc<str>]) {
        let now = self.0.host.clock.now().mono;
        lock(&self.0.wanted).extend(names.iter().map(|name| (Arc::clone(name), now)));
    }

    /// An image that is newer than the one of this generation.
    pub async fn refresh(&self, seen: u64) -> Result<Arc<Metadata>, Error> {
        let mut asked = self.0.asking.lock().await;
        let image = self.metadata();
        if image.generation > seen {
            return Ok(image);
        }
        if let Some(at) = asked.at {
            let wait = self.backoff().after(asked.failures + 1, &*self.0.host.rng);
            self.0.host.clock.sleep_until(at + wait).await;
        }
        let told = self.ask().await;
        asked.at = Some(self.0.host.clock.now().mono);
        asked.failures = match told {
            Ok(_) => 0,
            Err(_) => asked.failures.saturating_add(1),
        };
        let image = Arc::new(told?);
        self.forget_brokers_that_left(&image);
        self.0.image.send_replace(Arc::clone(&image));
        Ok(image)
    }

    /// Asks one broker after the other, those with a connection first and the addresses given last.
    async fn ask(&self) -> Result<Metadata, Error> {
        let mut tried = Vec::new();
        for client in self.open_connections() {
            match self.ask_one(&client).await {
                Ok(image) => return Ok(image),
                Err(error) => tried.push(error),
            }
        }
        for id in self.shuffled_brokers() {
            match self.broker(id, Use::Ask).await {
                Ok(client) => match self.ask_one(&client).await {
                    Ok(image) => return Ok(image),
                    Err(error) => tried.push(error),
                },
                Err(error) => tried.push(error),
            }
        }
        for seed in self.shuffled(self.0.seeds.clone()) {
            let connected = seed.connect(&self.0.host, &self.0.options.connection);
            match connected.await {
                Ok(client) => match self.ask_one(&client).await {
                    Ok(image) => return Ok(image),
                    Err(error) => tried.push(error),
                },
                Err(error) => tried.push(error),
            }
        }
        Err(no_broker(&tried))
    }

    async fn ask_one(&self, client: &Client) -> Result<Metadata, Error> {
        let now = self.0.host.clock.now().mono;
        let (wanted, idle) = {
            let mut wanted = lock(&self.0.wanted);
            let is_idle = |at: &Mono| now.since(*at) > TOPIC_IDLE_MAX;
            let idle = wanted.iter().filter(|(_, at)| is_idle(at));
            let idle: Vec<_> = idle.map(|(name, _)| Arc::clone(name)).collect();
            wanted.retain(|_, at| !is_idle(at));
            (wanted.keys().cloned().collect::<Vec<_>>(), idle)
        };
        let mut request = MetadataRequest::default();
        request.allow_auto_topic_creation = self.0.options.auto_create_topics;
        let named = |name: &Arc<str>| {
            let mut topic = MetadataRequestTopic::default();
            topic.name = Some(name.as_ref().into());
            topic
        };
        request.topics = Some(wanted.iter().map(named).collect());
        let answer = client.call(&request).await?;
        let answer = answer.read()?;
        refuse(answer.error_code, || "to describe the cluster".to_owned())?;
        Ok(self.metadata().without(&idle).after(&answer, Some(&wanted)))
    }

    fn open_connections(&self) -> Vec<Client> {
        let links: Vec<_> = lock(&self.0.links)
            .iter()
            .filter(|((_, of_use), _)| *of_use == Use::Ask)
            .map(|(_, link)| Arc::clone(link))
            .collect();
        self.shuffled(links.iter().filter_map(|link| link.open()).collect())
    }

    fn forget_brokers_that_left(&self, image: &Metadata) {
        lock(&self.0.links).retain(|(id, _), _| image.brokers.contains_key(id));
    }

    fn shuffled_brokers(&self) -> Vec<i32> {
        self.shuffled(self.metadata().brokers.keys().copied().collect())
    }

    fn shuffled<T>(&self, mut all: Vec<T>) -> Vec<T> {
        for at in (1..all.len()).rev() {
            let drawn = self.0.host.rng.next_u64() % (at as u64 + 1);
            all.swap(at, usize::try_from(drawn).expect("at most an index"));
        }
        all
    }
}

impl Error {
    /// Whether what is known of the leaders may be out of date.
    pub(crate) fn asks_for_metadata(&self) -> bool {
        if let Self::Broker { code, .. } = self {
            is_of_leadership(*code)
        } else {
            self.is_retriable()
        }
    }
}

/// Codes after which another broker may lead, or the topic be another.
pub(crate) fn is_of_leadership(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NotLeaderOrFollower
            | ErrorCode::LeaderNotAvailable
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::UnknownTopicId
            | ErrorCode::InconsistentTopicId
            | ErrorCode::FencedLeaderEpoch
            | ErrorCode::UnknownLeaderEpoch
            | ErrorCode::ReplicaNotAvailable
            | ErrorCode::KafkaStorageError
            | ErrorCode::ListenerNotFound
    )
}

/// Why nobody could be asked: what no retry mends is said as it is, so that nobody goes on trying. A
/// broker that knows the client not stands for all of them; one whose certificate is wrong doesn't.
fn no_broker(tried: &[Error]) -> Error {
    let is_of_client = |error: &&Error| matches!(error, Error::Authentication { .. });
    let is_of_tls = |error: &&Error| matches!(error, Error::Tls { .. });
    let all_final = !tried.iter().any(Error::is_retriable);
    let of_tls = tried.iter().find(is_of_tls).filter(|_| all_final);
    if let Some(refused) = tried.iter().find(is_of_client).or(of_tls) {
        return refused.clone();
    }
    let reasons: Vec<_> = tried.iter().map(ToString::to_string).collect();
    Error::NoBroker {
        reasons: if reasons.is_empty() {
            "no address was given".to_owned()
        } else {
            reasons.join("; ")
        },
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while holding one; what it guards is whole at any time.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TlsProblem;

    #[test]
    fn what_no_retry_mends_is_not_hidden_behind_what_may_pass() {
        let refused = || Error::Connect {
            address: "a:1".to_owned(),
            reason: "refused".to_owned(),
        };
        let unknown = || Error::Authentication {
            address: "a:1".to_owned(),
            mechanism: "PLAIN",
            reason: "wrong".to_owned(),
        };
        let tls = |problem| Error::Tls {
            address: "a:1".to_owned(),
            problem,
            reason: "x".to_owned(),
        };
        let expired = || tls(TlsProblem::Expired);
        assert!(no_broker(&[]).is_retriable());
        assert!(no_broker(&[refused()]).is_retriable());
        assert!(no_broker(&[refused(), tls(TlsProblem::HungUp)]).is_retriable());
        assert!(!no_broker(&[refused(), unknown()]).is_retriable());
        assert!(!no_broker(&[expired(), expired()]).is_retriable());
        assert!(no_broker(&[expired(), refused()]).is_retriable());
    }
}
