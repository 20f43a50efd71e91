//! librdkafka as an idempotent writer while its broker is killed again and again. Arguments:
//! bootstrap address, topic (of three partitions), a file. Writes until standard input ends, then waits for what is under
//! way; each delivery report is a line `partition offset value` of the file. Ends with 1 when a
//! record was given up.

use std::fs::File;
use std::io::{Read, Write};
use std::sync::Mutex;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

const PARTITIONS: usize = 3;
const PAUSE: Duration = Duration::from_millis(3);
/// Far longer than any kill lasts: nothing may be given up.
const PATIENCE: Duration = Duration::from_secs(300);

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

struct Reports {
    file: Mutex<File>,
    failed: Mutex<Option<String>>,
}

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let line = match result {
            Ok(message) => {
                let value = String::from_utf8_lossy(message.payload().unwrap_or_default());
                format!("{} {} {value}\n", message.partition(), message.offset())
            }
            Err((error, _)) => {
                let mut failed = self.failed.lock().expect("nobody panics with it");
                failed.get_or_insert(error.to_string());
                return;
            }
        };
        let mut file = self.file.lock().expect("nobody panics with it");
        file.write_all(line.as_bytes())
            .expect("the file can be written");
    }
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bootstrap, topic, path] = arguments.as_slice() else {
        return Err("usage: BOOTSTRAP TOPIC FILE".into());
    };
    let reports = Reports {
        file: Mutex::new(File::create(path)?),
        failed: Mutex::new(None),
    };
    let producer: BaseProducer<Reports> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("client.id", "rdkafka writer")
        .set("enable.idempotence", "true")
        .set("linger.ms", "2")
        .set("retry.backoff.ms", "20")
        .set("reconnect.backoff.ms", "10")
        .set("reconnect.backoff.max.ms", "100")
        .set("message.timeout.ms", PATIENCE.as_millis().to_string())
        .create_with_context(reports)?;
    let (input, over) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let mut rest = Vec::new();
        drop(std::io::stdin().read_to_end(&mut rest));
        input.send(()).ok();
    });
    let failed = || {
        producer
            .context()
            .failed
            .lock()
            .expect("nobody panics with it")
            .clone()
    };
    let mut nth = 0_usize;
    while over.recv_timeout(PAUSE).is_err() && failed().is_none() {
        let value = format!("rdkafka-{nth}");
        let record = BaseRecord::<(), String>::to(topic)
            .partition((nth % PARTITIONS) as i32)
            .payload(&value);
        producer.send(record).map_err(|(error, _)| error)?;
        producer.poll(Duration::ZERO);
        nth += 1;
    }
    producer.flush(PATIENCE)?;
    match failed() {
        Some(reason) => Err(format!("a record was given up: {reason}").into()),
        None => Ok(()),
    }
}
