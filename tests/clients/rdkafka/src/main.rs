//! librdkafka, by its Rust crate, against a running broker: a topic made, each codec produced with
//! an idempotent producer, everything consumed by assignment and compared. The bootstrap address is
//! the only argument; the last line says what was compared.

mod groups;

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
const RECORDS: usize = 2000;
const PARTITIONS: i32 = 3;
const PATIENCE: Duration = Duration::from_secs(60);
const FIRST_TIMESTAMP_MS: i64 = 1_700_000_000_000;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let bootstrap = std::env::args().nth(1).ok_or("usage: BOOTSTRAP")?;
    for codec in CODECS {
        let topic = format!("rdkafka-{codec}");
        create(&bootstrap, &topic)?;
        produce(&bootstrap, &topic, codec)?;
        consume(&bootstrap, &topic)?;
    }
    groups::run(&bootstrap, "rdkafka-none")?;
    println!(
        "rdkafka: {} codecs, {RECORDS} records each, all alike; groups eager, cooperative, static",
        CODECS.len()
    );
    Ok(())
}

fn client(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("client.id", "rdkafka crate");
    config
}

fn create(bootstrap: &str, topic: &str) -> Outcome<()> {
    let admin: AdminClient<_> = client(bootstrap).create()?;
    let new = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1));
    let made = block_on(admin.create_topics(&[new], &AdminOptions::new()))?;
    for result in made {
        result.map_err(|(topic, code)| format!("topic {topic} was not made: {code}"))?;
    }
    Ok(())
}

fn key(nth: usize) -> Option<String> {
    (nth % 5 != 0).then(|| format!("key {nth}"))
}

fn value(nth: usize) -> String {
    format!("value {nth} {}", "abcdefgh ".repeat(nth % 40))
}

fn produce(bootstrap: &str, topic: &str, codec: &str) -> Outcome<()> {
    let producer: BaseProducer = client(bootstrap)
        .set("compression.type", codec)
        .set("enable.idempotence", "true")
        .set("linger.ms", "5")
        .create()?;
    for nth in 0..RECORDS {
        let (key, value) = (key(nth), value(nth));
        let number = nth.to_string();
        let headers = OwnedHeaders::new()
            .insert(Header {
                key: "nth",
                value: Some(&number),
            })
            .insert(Header {
                key: "none",
                value: None::<&str>,
            });
        let mut record = BaseRecord::<String, String>::to(topic)
            .partition(nth as i32 % PARTITIONS)
            .payload(&value)
            .timestamp(FIRST_TIMESTAMP_MS + nth as i64)
            .headers(headers);
        if let Some(key) = &key {
            record = record.key(key);
        }
        producer.send(record).map_err(|(error, _)| error)?;
        producer.poll(Duration::ZERO);
    }
    producer.flush(PATIENCE)?;
    Ok(())
}

fn consume(bootstrap: &str, topic: &str) -> Outcome<()> {
    let consumer: BaseConsumer = client(bootstrap)
        .set("group.id", "not used")
        .set("enable.auto.commit", "false")
        .create()?;
    let mut assignment = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        assignment.add_partition_offset(topic, partition, Offset::Beginning)?;
        let (start, end) = consumer.fetch_watermarks(topic, partition, PATIENCE)?;
        let expected = (RECORDS as i64 - i64::from(partition) + 2) / i64::from(PARTITIONS);
        if (start, end) != (0, expected) {
            return Err(format!("{topic}-{partition} goes from {start} to {end}").into());
        }
    }
    consumer.assign(&assignment)?;
    let deadline = Instant::now() + PATIENCE;
    let mut seen = 0;
    while seen < RECORDS {
        if Instant::now() > deadline {
            return Err(format!("{seen} of {RECORDS} records of {topic} came in time").into());
        }
        let Some(message) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        compare(&message?)?;
        seen += 1;
    }
    Ok(())
}

/// A record says by its place which one it must be.
fn compare(message: &BorrowedMessage<'_>) -> Outcome<()> {
    let nth = message.offset() as usize * PARTITIONS as usize + message.partition() as usize;
    let (key, value, number) = (key(nth), value(nth), nth.to_string());
    let header = |at: usize| {
        message
            .headers()
            .and_then(|headers| headers.try_get(at))
            .map(|h| (h.key, h.value))
    };
    let alike = message.key() == key.as_deref().map(str::as_bytes)
        && message.payload() == Some(value.as_bytes())
        && message.timestamp().to_millis() == Some(FIRST_TIMESTAMP_MS + nth as i64)
        && header(0) == Some(("nth", Some(number.as_bytes())))
        && header(1) == Some(("none", None));
    if alike {
        Ok(())
    } else {
        Err(format!("record {nth} came back as {message:?}").into())
    }
}

/// The crate's admin calls are futures that its own threads wake.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(output) => return output,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}
