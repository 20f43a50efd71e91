//! Questions to a broker that has many topics, each repeated for a while: CPU of the broker and
//! latency for one answer.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use millrace_client::{Call, Client};
use millrace_host::{Host, Piece};
use millrace_protocol::messages::describe_topic_partitions_request::Cursor;
use millrace_protocol::messages::metadata_request::MetadataRequestTopic;
use millrace_protocol::messages::{
    ApiVersionsRequest, DescribeTopicPartitionsRequest, MetadataRequest,
};

use super::{TopicsArguments, new_histogram, percentiles};
use crate::report::figure;
use crate::text;

/// Least number of answers that a figure is made of.
const ANSWERS_MIN: u32 = 20;

/// Partitions of one page, the most that Kafka gives.
const PAGE_PARTITIONS: i32 = 2000;

/// Longest page of `/metrics`.
const PAGE_BYTES_MAX: usize = 1 << 30;

/// The family whose lines are counted: one for each topic that was written to.
const TOPIC_FAMILY: &str = "millrace_topic_in_records_total{topic=\"";

/// A repeated question.
struct Asking<'a> {
    host: &'a Host,
    arguments: &'a TopicsArguments,
    client: &'a Client,
}

/// Asks everything and prints the figures.
pub(super) async fn run(
    host: &Host,
    arguments: &TopicsArguments,
    client: &Client,
    names: &[String],
) -> Result<(), String> {
    let asking = Asking {
        host,
        arguments,
        client,
    };
    asking.nothing().await?;
    asking.no_op().await?;
    asking.all_topics(names).await?;
    asking.one_topic(names).await?;
    asking.page(names).await?;
    if let Some(admin) = arguments.admin {
        asking.scrape(admin, names).await?;
    }
    Ok(())
}

/// Checks that the broker has these topics with all their partitions, each with a leader, and no
/// other whose name begins alike.
pub(super) async fn check(
    client: &Client,
    names: &[String],
    partitions: i32,
) -> Result<(), String> {
    let (call, body) = client.encode(&all_topics()).map_err(text)?;
    let body = client.connection().call(call, body).await.map_err(text)?;
    check_all(client, call, &body, (names, partitions))
}

fn all_topics() -> MetadataRequest {
    let mut request = MetadataRequest::default();
    request.topics = None;
    request.allow_auto_topic_creation = false;
    request
}

fn check_all(
    client: &Client,
    call: Call,
    body: &Bytes,
    (names, partitions): (&[String], i32),
) -> Result<(), String> {
    let answer = client.answer::<MetadataRequest>(call, body.clone());
    let view = answer.read().map_err(text)?;
    let mut missing: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    for topic in view.topics {
        let name = topic.name.unwrap_or_default();
        if !missing.remove(name) {
            continue;
        }
        let led = |at: millrace_protocol::responses::metadata::MetadataResponsePartition<'_>| {
            at.error_code == 0 && at.leader_id >= 0
        };
        let count = i32::try_from(topic.partitions.len()).map_err(text)?;
        if topic.error_code != 0 || count != partitions || !topic.partitions.into_iter().all(led) {
            return Err(format!("{name} is not described as it is"));
        }
    }
    match missing.first() {
        None => Ok(()),
        Some(name) => Err(format!("{} topics are missing: {name}", missing.len())),
    }
}

impl Asking<'_> {
    /// What the broker takes while nobody asks anything.
    async fn nothing(&self) -> Result<(), String> {
        let Some(before) = self.arguments.cpu()? else {
            return Ok(());
        };
        let clock = &self.host.clock;
        let start = clock.now().mono;
        let span = Duration::from_secs_f64(self.arguments.seconds);
        clock.sleep_until(start + span).await;
        let cpu = self.arguments.cpu()?.unwrap_or_default();
        let cpu = cpu.saturating_sub(before).as_secs_f64();
        let elapsed = clock.now().mono.since(start).as_secs_f64();
        let per_second = format!("{:.3}", cpu / elapsed * 1e3);
        figure("nobody asks: cpu per second", per_second, "ms");
        Ok(())
    }

    /// Repeats a question; `ask` checks its answer and gives its length.
    async fn repeat(
        &self,
        name: &str,
        mut ask: impl AsyncFnMut() -> Result<usize, String>,
    ) -> Result<(), String> {
        let clock = &self.host.clock;
        let mut latencies = new_histogram()?;
        // Built for the first time, and in nobody's figure.
        let bytes = ask().await?;
        let before = self.arguments.cpu()?;
        let start = clock.now().mono;
        let span = Duration::from_secs_f64(self.arguments.seconds);
        let mut answers = 0;
        while answers < ANSWERS_MIN || clock.now().mono.since(start) < span {
            let from = clock.now().mono;
            ask().await?;
            let latency = clock.now().mono.since(from);
            latencies.saturating_record(u64::try_from(latency.as_micros()).map_err(text)?);
            answers += 1;
        }
        let after = self.arguments.cpu()?;
        figure(&format!("{name}: answers"), answers, "");
        figure(&format!("{name}: bytes"), bytes, "");
        if let (Some(before), Some(after)) = (before, after) {
            let cpu = after.saturating_sub(before).as_secs_f64() / f64::from(answers);
            let cpu = format!("{:.4}", cpu * 1e3);
            figure(&format!("{name}: broker cpu each"), cpu, "ms");
        }
        percentiles(name, &latencies);
        Ok(())
    }

    /// Repeats one request; its first answer is checked, and every other is held against that.
    async fn repeat_call(
        &self,
        name: &str,
        (call, request): (Call, Bytes),
        check: impl Fn(&Bytes) -> Result<(), String>,
    ) -> Result<(), String> {
        let connection = self.client.connection();
        let first = connection.call(call, request.clone()).await.map_err(text)?;
        check(&first)?;
        self.repeat(name, async || {
            let reply = connection.call(call, request.clone()).await;
            let reply = reply.map_err(text)?;
            if reply != first {
                return Err(format!("{name}: an answer is not as the first one"));
            }
            Ok(reply.len())
        })
        .await
    }

    async fn no_op(&self) -> Result<(), String> {
        let mut request = ApiVersionsRequest::default();
        request.client_software_name = "millrace-bench".into();
        request.client_software_version = "0".into();
        let sent = self.client.encode(&request).map_err(text)?;
        let call = sent.0;
        self.repeat_call("api versions", sent, |body| {
            let answer = self.client.answer::<ApiVersionsRequest>(call, body.clone());
            match answer.read().map_err(text)?.error_code {
                0 => Ok(()),
                code => Err(format!("api versions: error {code}")),
            }
        })
        .await
    }

    async fn all_topics(&self, names: &[String]) -> Result<(), String> {
        let sent = self.client.encode(&all_topics()).map_err(text)?;
        let (call, client) = (sent.0, self.client);
        let expected = (names, self.arguments.partitions);
        let check = |body: &Bytes| check_all(client, call, body, expected);
        self.repeat_call("metadata, all topics", sent, check).await
    }

    async fn one_topic(&self, names: &[String]) -> Result<(), String> {
        let Some(name) = names.first() else {
            return Ok(());
        };
        let mut topic = MetadataRequestTopic::default();
        topic.name = Some(name.as_str().into());
        let mut request = all_topics();
        request.topics = Some(vec![topic]);
        let sent = self.client.encode(&request).map_err(text)?;
        let (call, client) = (sent.0, self.client);
        let expected = (&names[..1], self.arguments.partitions);
        let check = |body: &Bytes| check_all(client, call, body, expected);
        self.repeat_call("metadata, one topic", sent, check).await
    }

    /// A page from the middle of the topics.
    async fn page(&self, names: &[String]) -> Result<(), String> {
        let per_topic = usize::try_from(self.arguments.partitions).map_err(text)?;
        let on_page = (PAGE_PARTITIONS as usize).div_ceil(per_topic.max(1));
        let from = (names.len() / 2).min(names.len().saturating_sub(on_page));
        let Some(first) = names.get(from) else {
            return Ok(());
        };
        let mut request = DescribeTopicPartitionsRequest::default();
        request.response_partition_limit = PAGE_PARTITIONS;
        let mut cursor = Cursor::default();
        cursor.topic_name = first.as_str().into();
        request.cursor = Some(cursor);
        let sent = self.client.encode(&request).map_err(text)?;
        let (call, client) = (sent.0, self.client);
        let all = names.len().saturating_mul(per_topic);
        let expected = (PAGE_PARTITIONS as usize).min(all);
        let check = |body: &Bytes| {
            let answer = client.answer::<DescribeTopicPartitionsRequest>(call, body.clone());
            let mut described = 0;
            let topics = answer.read().map_err(text)?.topics.into_iter();
            for (topic, name) in topics.zip(&names[from..]) {
                let led = topic.partitions.into_iter().filter(|at| at.leader_id >= 0);
                described += led.count();
                if topic.error_code != 0 || topic.name != Some(name) {
                    return Err(format!("{name} is not on the page where it belongs"));
                }
            }
            if described == expected {
                Ok(())
            } else {
                Err(format!("{described} partitions on a page of {expected}"))
            }
        };
        self.repeat_call("describe, one page", sent, check).await
    }

    async fn scrape(&self, admin: SocketAddr, names: &[String]) -> Result<(), String> {
        let per_topic = usize::try_from(self.arguments.partitions).map_err(text)?;
        let used = self.arguments.used.div_ceil(per_topic.max(1));
        let expected: BTreeSet<&str> = names.iter().take(used).map(String::as_str).collect();
        self.repeat("scrape", async || {
            let page = get(self.host, admin, "/metrics").await?;
            let series = page.split('\n').filter_map(|line| {
                let rest = line.strip_prefix(TOPIC_FAMILY)?;
                rest.split('"').next()
            });
            let shown = series.filter(|topic| expected.contains(topic)).count();
            if shown == expected.len() {
                Ok(page.len())
            } else {
                Err(format!("{shown} topics of {} have series", expected.len()))
            }
        })
        .await
    }
}

/// The body of a page of the admin server.
async fn get(host: &Host, address: SocketAddr, path: &str) -> Result<String, String> {
    let mut connection = host.net.connect(address).await.map_err(text)?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
    let piece = Piece::Bytes(request.into());
    connection.write.send(vec![piece]).await.map_err(text)?;
    let mut page = BytesMut::new();
    while connection
        .read
        .read(&mut page, 1 << 18)
        .await
        .map_err(text)?
        > 0
    {
        if page.len() > PAGE_BYTES_MAX {
            return Err(format!("{path} has no end"));
        }
    }
    let page = std::str::from_utf8(&page).map_err(text)?;
    let (head, body) = page
        .split_once("\r\n\r\n")
        .ok_or_else(|| format!("{path} has no head"))?;
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(format!(
            "{path}: {}",
            head.lines().next().unwrap_or_default()
        ));
    }
    let length = head.lines().find_map(|line| {
        let value = line.strip_prefix("content-length: ")?;
        value.parse::<usize>().ok()
    });
    if length.is_some_and(|length| length != body.len()) {
        return Err(format!("{path} is cut off"));
    }
    Ok(body.to_owned())
}
