//! Holding a table back from the cleaner, letting it go, and seeing from outside when it is done.
//!
//! What always holds: a table that is held is never compacted (its dirty share is at most 1, and more
//! than that is asked for); what is watched is what any client can ask for, the same of each broker.

use std::time::Duration;

use millrace_client::{Client, NewTopic, Topic};
use millrace_host::{Host, Mono};
use millrace_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use millrace_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use millrace_protocol::messages::{DescribeLogDirsRequest, IncrementalAlterConfigsRequest};

use crate::cpu::{cpu_time, resident_bytes};
use crate::text;

const DIRTY_RATIO: &str = "min.cleanable.dirty.ratio";
/// A resource of `AlterConfigs`: a topic.
const TOPIC: i8 = 2;
/// An operation of `IncrementalAlterConfigs`: the default again.
const DELETE: i8 = 1;
/// Between two looks at the partition's size.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// A size that is small enough and stays for that long is the last one.
const QUIET: Duration = Duration::from_secs(2);
/// A cleaner that isn't done by then never will be.
const ROUND_TIMEOUT: Duration = Duration::from_mins(5);

/// A compacted topic of one partition that no cleaner takes up yet.
pub(super) fn held(name: String, segment_bytes: u64) -> NewTopic {
    NewTopic::new(name, 1)
        .with("cleanup.policy", "compact")
        .with("segment.bytes", segment_bytes.to_string())
        .with(DIRTY_RATIO, "1")
}

/// Gives the topic the dirty ratio that any has.
pub(super) async fn release(client: &Client, topic: &Topic) -> Result<(), String> {
    let mut config = AlterableConfig::default();
    config.name = DIRTY_RATIO.into();
    config.config_operation = DELETE;
    let mut resource = AlterConfigsResource::default();
    resource.resource_type = TOPIC;
    resource.resource_name = topic.name.as_str().into();
    resource.configs = vec![config];
    let mut request = IncrementalAlterConfigsRequest::default();
    request.resources = vec![resource];
    let answer = client.call(&request).await.map_err(text)?;
    for outcome in answer.read().map_err(text)?.responses {
        if outcome.error_code != 0 {
            return Err(format!("{DIRTY_RATIO}: error {}", outcome.error_code));
        }
    }
    Ok(())
}

/// What a round came to.
pub(super) struct Round {
    /// Bytes of the partition.
    pub(super) before: u64,
    pub(super) after: u64,
    pub(super) elapsed: Duration,
    /// When its size last changed.
    pub(super) end: Mono,
    /// Of the broker, whatever else it did.
    pub(super) cpu: Option<Duration>,
    /// The broker's memory when it began, and the most that was seen.
    pub(super) resident: Option<(u64, u64)>,
}

/// A round's begin.
pub(super) struct Start {
    at: Mono,
    bytes: u64,
    cpu: Option<Duration>,
    resident: Option<u64>,
}

/// Who looks at which partition.
pub(super) struct Watch<'a> {
    pub(super) host: &'a Host,
    pub(super) client: &'a Client,
    pub(super) topic: &'a Topic,
    pub(super) pid: Option<u32>,
}

impl Watch<'_> {
    /// To be called right before the table is let go.
    pub(super) async fn begin(&self) -> Result<Start, String> {
        let bytes = self.bytes().await?;
        Ok(Start {
            at: self.host.clock.now().mono,
            bytes,
            cpu: self.pid.map(cpu_time).transpose().map_err(text)?,
            resident: self.resident()?,
        })
    }

    /// Waits until the partition takes no more than `at_most` bytes and nothing changes any more.
    pub(super) async fn until_compacted(
        &self,
        start: Start,
        at_most: u64,
    ) -> Result<Round, String> {
        if start.bytes <= at_most {
            let bytes = start.bytes;
            return Err(format!("{bytes} bytes are too few to see them compacted"));
        }
        let (mut bytes, mut end, mut cpu) = (start.bytes, start.at, None);
        let mut most = start.resident;
        loop {
            let now = self.host.clock.now().mono;
            let found = self.bytes().await?;
            if found != bytes {
                (bytes, end) = (found, now);
                cpu = self.pid.map(cpu_time).transpose().map_err(text)?;
            }
            most = most.max(self.resident()?);
            if bytes <= at_most && now.since(end) > QUIET {
                break;
            }
            if now.since(start.at) > ROUND_TIMEOUT {
                return Err(format!(
                    "{bytes} bytes are left after {ROUND_TIMEOUT:?}, at most {at_most} were expected"
                ));
            }
            self.host.clock.sleep_until(now + LOOK_EVERY).await;
        }
        let spent = |before: Duration| cpu.map(|after| after.saturating_sub(before));
        Ok(Round {
            before: start.bytes,
            after: bytes,
            elapsed: end.since(start.at),
            end,
            cpu: start.cpu.and_then(spent),
            resident: start.resident.zip(most),
        })
    }

    fn resident(&self) -> Result<Option<u64>, String> {
        let resident = self.pid.map(resident_bytes).transpose().map_err(text)?;
        Ok(resident.map(|(_, now)| now))
    }

    /// What the broker says that the partition takes.
    async fn bytes(&self) -> Result<u64, String> {
        let mut topic = DescribableLogDirTopic::default();
        topic.topic = self.topic.name.as_str().into();
        topic.partitions = vec![0];
        let mut request = DescribeLogDirsRequest::default();
        request.topics = Some(vec![topic]);
        let answer = self.client.call(&request).await.map_err(text)?;
        let results = answer.read().map_err(text)?.results.into_iter();
        let topics = results.flat_map(|directory| directory.topics);
        let mut partitions = topics.flat_map(|topic| topic.partitions);
        let partition = partitions.next().ok_or("the table lies nowhere")?;
        u64::try_from(partition.partition_size).map_err(text)
    }
}
