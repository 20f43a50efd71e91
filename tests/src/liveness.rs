//! Progress after the last fault: whoever asks a healed broker is served, soon.
//!
//! The rule (L1): within [`WITHIN`] of virtual time after everything is healed, a record is
//! acknowledged by acks=all in every partition of a topic that only this witness uses, and a consumer
//! has read it at the end of the partition.

use std::net::SocketAddr;
use std::time::Duration;

use millrace_client::{Acks, Client, ClientOptions, Error, NewTopic, PartitionReader, Topic};
use millrace_host::{Host, Mono};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::records::{BatchBuilder, Options};

/// How soon.
pub const WITHIN: Duration = Duration::from_secs(20);
/// The witness's topic.
pub const TOPIC: &str = "witness";
/// Between two tries.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(10);
/// How long one try may take.
const TRY_TIMEOUT: Duration = Duration::from_secs(5);

/// One who sees to it that the broker serves.
#[derive(Debug)]
pub struct Witness {
    host: Host,
    address: SocketAddr,
    /// Once it is made.
    topic: Option<Topic>,
    partitions: i32,
    said: u64,
}

impl Witness {
    /// Of a broker at `address`; its topic is made when first needed.
    pub fn new(host: Host, address: SocketAddr, partitions: i32) -> Self {
        Self {
            host,
            address,
            topic: None,
            partitions,
            said: 0,
        }
    }

    /// The topic, once it is made.
    pub fn topic(&self) -> Option<&Topic> {
        self.topic.as_ref()
    }

    /// Waits for so long.
    pub async fn pause(&self, span: Duration) {
        let clock = &self.host.clock;
        clock.sleep_until(clock.now().mono + span).await;
    }

    /// The wall clock of the clients.
    pub fn wall_ms(&self) -> i64 {
        self.host.clock.now().wall_ms
    }

    /// A connection that gives up soon.
    pub async fn connect(&self) -> Result<Client, Error> {
        let options = ClientOptions {
            client_id: "witness".to_owned(),
            connect_timeout: TRY_TIMEOUT,
            request_timeout: TRY_TIMEOUT,
            ..ClientOptions::default()
        };
        Client::connect(&self.host, self.address, options).await
    }

    /// Fails unless every partition makes progress until `deadline`.
    pub async fn progress(&mut self, deadline: Mono) -> Result<(), String> {
        for partition in 0..self.partitions {
            loop {
                self.said += 1;
                let Err(error) = self.once(partition).await else {
                    break;
                };
                let now = self.host.clock.now().mono;
                if now > deadline {
                    return Err(format!("no progress in {TOPIC}-{partition}: {error}"));
                }
                self.host.clock.sleep_until(now + TRY_AGAIN_AFTER).await;
            }
        }
        Ok(())
    }

    /// Makes the topic if need be, says one word and hears it.
    async fn once(&mut self, partition: i32) -> Result<(), Error> {
        let client = self.connect().await?;
        let topic = if let Some(topic) = &self.topic {
            topic.clone()
        } else {
            let made = make(&client, self.partitions).await?;
            self.topic = Some(made.clone());
            made
        };
        let word = format!("{partition} {}", self.said).into_bytes();
        let wall_ms = self.host.clock.now().wall_ms;
        let mut builder = BatchBuilder::new(Options::default());
        builder
            .push(wall_ms, None, Some(&word), &[])
            .expect("a word fits into a batch");
        let produced = client.produce(&topic, partition, Acks::All, builder.build());
        let at = produced.await?.map_or(0, |produced| produced.base_offset);
        let reader = PartitionReader::new(&client, &topic, partition).await?;
        let mut reader = reader.skip_to(at);
        loop {
            let batches = reader.next().await?;
            let Some(last) = batches.last() else { break };
            if last.header.last_offset() >= at {
                return Ok(());
            }
        }
        Err(Error::Broker {
            what: format!("to show offset {at}"),
            code: ErrorCode::OffsetOutOfRange,
        })
    }
}

async fn make(client: &Client, partitions: i32) -> Result<Topic, Error> {
    // Clocks that are off by a year are no reason to refuse a record.
    let any = i64::MAX.to_string();
    let new = NewTopic::new(TOPIC, partitions).with("message.timestamp.after.max.ms", any);
    match client.create_topic(&new).await {
        Err(Error::Broker {
            code: ErrorCode::TopicAlreadyExists,
            ..
        }) => client.topic(TOPIC).await,
        made => made,
    }
}
