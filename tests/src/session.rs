//! The client's side of a fetch session (KIP-227), and of a fetch without one.
//!
//! What always holds: an incremental request names only what the broker does not know yet; after an
//! answer that is no success the next request begins anew.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millrace_client::{Answer, Client, Error, FetchFrom, FetchOptions, Fetched, Topic};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::FetchRequest;
use millrace_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};

/// The epoch of a fetch that neither has nor wants a session.
const NO_SESSION: i32 = -1;

/// What the broker remembers for one consumer.
#[derive(Clone, Debug)]
pub struct FetchSession {
    wanted: bool,
    id: i32,
    epoch: i32,
    /// The offset of each partition that the broker was told last.
    told: BTreeMap<i32, i64>,
}

/// What a fetch came to.
#[derive(Clone, Debug)]
pub struct Brought {
    /// Of each partition that the answer names.
    pub partitions: Vec<Fetched>,
    /// Every partition that was asked for is named; else only those with news are.
    pub is_full: bool,
}

impl FetchSession {
    /// None yet; one is asked for with the first fetch when it is wanted.
    pub fn new(wanted: bool) -> Self {
        Self {
            wanted,
            id: 0,
            epoch: if wanted { 0 } else { NO_SESSION },
            told: BTreeMap::new(),
        }
    }

    /// Whether the broker keeps a session for it now.
    pub fn is_open(&self) -> bool {
        self.id != 0
    }

    /// Fetches from partitions of one topic. `Ok(None)` when the session was lost: ask again.
    pub async fn fetch(
        &mut self,
        client: &Client,
        topic: &Topic,
        from: &[FetchFrom],
        options: &FetchOptions,
    ) -> Result<Option<Brought>, Error> {
        let is_full = !self.is_open();
        let request = self.request(topic, from, options);
        let answer = client.call(&request).await?;
        let outcome = self.take(&answer, from, is_full);
        if !matches!(outcome, Ok(Some(_))) {
            *self = Self::new(self.wanted);
        }
        outcome.map_err(|code| Error::Broker {
            what: format!("a fetch from topic {}", topic.name),
            code,
        })
    }

    fn request(
        &mut self,
        topic: &Topic,
        from: &[FetchFrom],
        options: &FetchOptions,
    ) -> FetchRequest {
        let mut of_topic = FetchTopic::default();
        of_topic.topic = topic.name.as_str().into();
        of_topic.topic_id = topic.id.into();
        let news = from
            .iter()
            .filter(|from| self.told.get(&from.partition) != Some(&from.offset));
        of_topic.partitions = news.map(|from| partition(*from, options)).collect();
        let asked: BTreeSet<i32> = from.iter().map(|from| from.partition).collect();
        let mut forgotten = ForgottenTopic::default();
        forgotten.topic = topic.name.as_str().into();
        forgotten.topic_id = topic.id.into();
        let gone = self.told.keys().filter(|known| !asked.contains(known));
        forgotten.partitions = gone.copied().collect();
        let mut request = FetchRequest::default();
        request.max_wait_ms = milliseconds(options.max_wait);
        request.min_bytes = options.min_bytes;
        request.max_bytes = options.max_bytes;
        request.session_id = self.id;
        request.session_epoch = self.epoch;
        if !of_topic.partitions.is_empty() {
            request.topics = vec![of_topic];
        }
        if !forgotten.partitions.is_empty() {
            request.forgotten_topics_data = vec![forgotten];
        }
        self.told = from
            .iter()
            .map(|from| (from.partition, from.offset))
            .collect();
        request
    }

    /// What an answer brought: each partition at most once, and only those asked for.
    fn take(
        &mut self,
        answer: &Answer<FetchRequest>,
        from: &[FetchFrom],
        is_full: bool,
    ) -> Result<Option<Brought>, ErrorCode> {
        let Ok(view) = answer.read() else {
            return Err(ErrorCode::InvalidRequest);
        };
        match ErrorCode::from_code(view.error_code) {
            Some(ErrorCode::None) => {}
            Some(
                ErrorCode::FetchSessionIdNotFound
                | ErrorCode::InvalidFetchSessionEpoch
                | ErrorCode::FetchSessionTopicIdError,
            ) => return Ok(None),
            code => return Err(code.unwrap_or(ErrorCode::UnknownServerError)),
        }
        let mut asked: BTreeSet<i32> = from.iter().map(|from| from.partition).collect();
        let mut partitions = Vec::new();
        for data in view
            .responses
            .into_iter()
            .flat_map(|topic| topic.partitions)
        {
            if !asked.remove(&data.partition_index) {
                return Err(ErrorCode::InvalidRequest);
            }
            partitions.push(Fetched {
                partition: data.partition_index,
                error: ErrorCode::from_code(data.error_code)
                    .unwrap_or(ErrorCode::UnknownServerError),
                high_watermark: data.high_watermark,
                log_start_offset: data.log_start_offset,
                records: answer.share(data.records.unwrap_or_default()),
            });
        }
        if is_full && !asked.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        self.go_on(view.session_id);
        Ok(Some(Brought {
            partitions,
            is_full,
        }))
    }

    /// Goes over to the next epoch of a session, or to asking for one again.
    fn go_on(&mut self, id: i32) {
        if id == 0 || !self.wanted {
            *self = Self::new(self.wanted);
        } else {
            self.id = id;
            self.epoch = self.epoch.checked_add(1).unwrap_or(1);
        }
    }
}

fn partition(from: FetchFrom, options: &FetchOptions) -> FetchPartition {
    let mut partition = FetchPartition::default();
    partition.partition = from.partition;
    partition.current_leader_epoch = -1;
    partition.fetch_offset = from.offset;
    partition.partition_max_bytes = options.partition_max_bytes;
    partition
}

fn milliseconds(span: Duration) -> i32 {
    i32::try_from(span.as_millis()).unwrap_or(i32::MAX)
}
