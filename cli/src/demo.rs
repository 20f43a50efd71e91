//! `millrace demo`: the main job, unattended. A broker on a free port in a temporary directory,
//! records produced with `acks=all`, `kill -9`, the broker again, everything read back and checked.
//!
//! What always holds: the broker never outlives the demo, and its directory goes with it; the demo
//! ends with 0 only when every record was there, once, in order, at its offset.

use std::collections::VecDeque;
use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use bytes::Bytes;
use millrace_client::{
    Client, ClientOptions, NewTopic, PartitionReader, PendingProduce, ProducerIdentity, Topic,
};
use millrace_host::real::{Options, RealHost};
use millrace_host::{Host, Mono};
use millrace_protocol::records::{self, BatchBuilder, Scratch, record_iter};

/// Records in all.
const RECORDS: u64 = 100_000;
/// Partitions they go to, in turn.
const PARTITIONS: i32 = 4;
/// Records of each batch.
const BATCH_RECORDS: u64 = 500;
/// Batches without an answer; a broker recognises the retries of so many.
const IN_FLIGHT: usize = 5;
/// Bytes of each value.
const VALUE_BYTES: usize = 100;
/// A broker that does not listen by then has failed.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two looks at what the broker says.
const LOOK_EVERY: Duration = Duration::from_millis(2);

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Runs the command.
pub(crate) fn run() -> ExitCode {
    match RealHost::start(&Options::default()) {
        Ok(machine) => match machine.block_on(demo(&machine.host())) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&*error),
        },
        Err(error) => fail(&error),
    }
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("millrace demo: {error}");
    ExitCode::FAILURE
}

/// Tells the person who watches.
#[expect(clippy::print_stdout, reason = "the output of a command for people")]
fn say(line: &str) {
    println!("{line}");
}

async fn demo(host: &Host) -> Outcome<()> {
    let dir = tempfile::tempdir()?;
    let mut broker = BrokerProcess::start(host, dir.path()).await?;
    say(&format!(
        "a broker listens on {}, its data in {}",
        broker.address,
        dir.path().display()
    ));

    let client = Client::connect(host, broker.address, ClientOptions::default()).await?;
    let topic = client
        .create_topic(&NewTopic::new("demo", PARTITIONS))
        .await?;
    let identity = client.init_producer_id().await?;
    let batches = encode(host.clock.now().wall_ms, identity)?;
    let start = host.clock.now().mono;
    produce(&client, &topic, batches).await?;
    say(&format!(
        "produced and acknowledged with acks=all, idempotent: {}",
        rate(host, start, RECORDS)
    ));

    broker.kill()?;
    say("kill -9");
    let start = host.clock.now().mono;
    let broker = BrokerProcess::start(host, dir.path()).await?;
    let client = Client::connect(host, broker.address, ClientOptions::default()).await?;
    let ms = host.clock.now().mono.since(start).as_millis();
    say(&format!("started again: it answers after {ms} ms"));

    let start = host.clock.now().mono;
    let mut read = 0;
    for partition in 0..PARTITIONS {
        read += check(&client, &topic, partition).await?;
    }
    if read != RECORDS {
        return Err(format!("{read} of {RECORDS} records are there").into());
    }
    say(&format!(
        "read back and checked: {}",
        rate(host, start, read)
    ));
    say("every record is there, once, in order, at its offset");
    Ok(())
}

fn rate(host: &Host, start: Mono, records: u64) -> String {
    let seconds = host.clock.now().mono.since(start).as_secs_f64().max(1e-6);
    let per_second = records as f64 / seconds;
    format!("{records} records in {seconds:.2} s, {per_second:.0} records/s")
}

/// What record number `offset` of a partition says; it says where it belongs.
fn value(partition: i32, offset: u64) -> Vec<u8> {
    let mut value = format!("demo {partition}/{offset} ").into_bytes();
    value.resize(VALUE_BYTES, b'.');
    value
}

/// All batches, in the order in which they are sent.
fn encode(wall_ms: i64, identity: ProducerIdentity) -> Outcome<Vec<(i32, Bytes)>> {
    let mut batches = Vec::new();
    let of_partition = RECORDS / u64::from(PARTITIONS.unsigned_abs());
    for first in (0..of_partition).step_by(BATCH_RECORDS as usize) {
        for partition in 0..PARTITIONS {
            let producer = (identity.id.0, identity.epoch.0, i32::try_from(first)?);
            let mut batch = BatchBuilder::new(records::Options {
                producer: Some(producer),
                ..records::Options::default()
            });
            for offset in first..(first + BATCH_RECORDS).min(of_partition) {
                batch.push(wall_ms, None, Some(&value(partition, offset)), &[])?;
            }
            batches.push((partition, batch.build()));
        }
    }
    Ok(batches)
}

async fn produce(client: &Client, topic: &Topic, batches: Vec<(i32, Bytes)>) -> Outcome<()> {
    let mut sent: VecDeque<PendingProduce> = VecDeque::new();
    for (partition, batch) in batches {
        if sent.len() == IN_FLIGHT
            && let Some(oldest) = sent.pop_front()
        {
            oldest.wait().await?;
        }
        sent.push_back(client.send_batch(topic, partition, batch).await?);
    }
    for pending in sent {
        pending.wait().await?;
    }
    Ok(())
}

/// Reads one partition and compares every record; gives their number.
async fn check(client: &Client, topic: &Topic, partition: i32) -> Outcome<u64> {
    let mut reader = PartitionReader::new(client, topic, partition).await?;
    let mut scratch = Scratch::new(1 << 20);
    let mut next = 0;
    loop {
        let batches = reader.next().await?;
        if batches.is_empty() {
            return Ok(next);
        }
        for batch in &batches {
            for record in record_iter(batch, &mut scratch)? {
                let record = record?;
                let expected = value(partition, next);
                if u64::try_from(record.offset) != Ok(next)
                    || record.value != Some(expected.as_slice())
                {
                    let at = record.offset;
                    return Err(format!("{partition}/{next} is not what offset {at} holds").into());
                }
                next += 1;
            }
        }
    }
}

/// This very program as a broker; killed when dropped.
struct BrokerProcess {
    child: Child,
    address: SocketAddr,
}

impl BrokerProcess {
    async fn start(host: &Host, dir: &Path) -> Outcome<Self> {
        let said = dir.join("said");
        let log_dirs = format!("log.dirs={}", dir.join("data").display());
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("serve");
        for setting in [
            "listeners=PLAINTEXT://127.0.0.1:0",
            "admin.listener=",
            &log_dirs,
        ] {
            command.args(["--set", setting]);
        }
        if std::env::var_os("RUST_LOG").is_none() {
            command.env("RUST_LOG", "warn");
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(&said)?)
            .spawn()?;
        let mut broker = Self {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        let deadline = host.clock.now().mono + START_TIMEOUT;
        loop {
            if let Some(address) = listening_address(&std::fs::read_to_string(&said)?) {
                broker.address = address;
                return Ok(broker);
            }
            if let Some(status) = broker.child.try_wait()? {
                return Err(format!("the broker ended instead of listening: {status}").into());
            }
            if host.clock.now().mono > deadline {
                return Err(format!("the broker does not listen after {START_TIMEOUT:?}").into());
            }
            host.clock
                .sleep_until(host.clock.now().mono + LOOK_EVERY)
                .await;
        }
    }

    /// `kill -9`.
    fn kill(&mut self) -> Outcome<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for BrokerProcess {
    fn drop(&mut self) {
        // Killed before, or killed now: only a process that is gone already can't be.
        if self.kill().is_err() {
            tracing::debug!("the broker had ended before it was killed");
        }
    }
}

/// The address in the first whole line that says where the broker listens.
fn listening_address(said: &str) -> Option<SocketAddr> {
    let (whole, _) = said.rsplit_once('\n')?;
    let line = whole
        .lines()
        .find(|line| line.starts_with("listening on "))?;
    let (_, address) = line.split_once("://")?;
    address.split([',', ' ']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_a_whole_line_only() {
        let said = "listening on PLAINTEXT://127.0.0.1:45123, known to clients as x:1\ndata in y";
        assert_eq!(listening_address(said), "127.0.0.1:45123".parse().ok());
        assert_eq!(
            listening_address("listening on PLAINTEXT://127.0.0.1:4512"),
            None
        );
        assert_eq!(listening_address("starting\n"), None);
    }

    #[test]
    fn the_batches_hold_every_record_once() {
        let id = millrace_protocol::ids::ProducerId(7);
        let epoch = millrace_protocol::ids::ProducerEpoch(0);
        let batches = encode(0, ProducerIdentity { id, epoch }).unwrap();
        let records: i32 = batches
            .iter()
            .map(|(_, batch)| records::BatchHeader::parse(batch).unwrap().record_count)
            .sum();
        assert_eq!(u64::try_from(records), Ok(RECORDS));
    }
}
