//! Records produced by the crate, each with its delivery report.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use millrace_matrix::{Failure, Outcome, PATIENCE, Record, Writing};
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, ProducerContext};

/// The place of a record among those sent together, and its offset.
type Report = (usize, Result<i64, KafkaError>);

/// Hands delivery reports on.
struct Reports(Sender<Report>);

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<usize>;

    fn delivery(&self, result: &DeliveryResult<'_>, at: Box<usize>) {
        let result = match result {
            Ok(message) => Ok(message.offset()),
            Err((error, _)) => Err(error.clone()),
        };
        // Nobody waits any more when the scenario has failed.
        let _ = self.0.send((*at, result));
    }
}

struct Producer {
    topic: String,
    producer: BaseProducer<Reports>,
    reports: Receiver<Report>,
}

pub(crate) fn create(
    config: &ClientConfig,
    topic: &str,
    how: Writing,
) -> Outcome<Box<dyn millrace_matrix::Producer>> {
    let (sender, reports) = channel();
    let mut config = config.clone();
    config
        .set("compression.type", how.codec)
        .set("enable.idempotence", how.is_idempotent.to_string())
        .set("message.max.bytes", how.request_bytes_max.to_string())
        .set("linger.ms", "1");
    Ok(Box::new(Producer {
        topic: topic.to_owned(),
        producer: config.create_with_context(Reports(sender))?,
        reports,
    }))
}

impl millrace_matrix::Producer for Producer {
    fn send(&self, records: &[Record]) -> Outcome<Vec<i64>> {
        for (at, record) in records.iter().enumerate() {
            let mut headers = OwnedHeaders::new();
            for (key, value) in &record.headers {
                let value = Some(value);
                headers = headers.insert(Header { key, value });
            }
            let mut sent: BaseRecord<'_, [u8], [u8], _> =
                BaseRecord::with_opaque_to(&self.topic, Box::new(at))
                    .partition(record.partition)
                    .timestamp(record.timestamp)
                    .headers(headers);
            sent.key = record.key.as_deref();
            sent.payload = record.value.as_deref();
            self.producer
                .send(sent)
                .map_err(|(error, _)| judged(error))?;
        }
        let mut offsets = vec![-1; records.len()];
        let deadline = Instant::now() + PATIENCE;
        for _ in records {
            let (at, result) = loop {
                if let Ok(report) = self.reports.try_recv() {
                    break report;
                }
                if Instant::now() > deadline {
                    return Err(Failure::Wrong("no delivery report in time".to_owned()));
                }
                self.producer.poll(Duration::from_millis(50));
            };
            offsets[at] = result.map_err(judged)?;
        }
        Ok(offsets)
    }
}

fn judged(error: KafkaError) -> Failure {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::MessageSizeTooLarge) => Failure::TooLarge,
        _ => error.into(),
    }
}
