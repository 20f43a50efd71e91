//! librdkafka as a member of a group that others are in too. Arguments: bootstrap address, topic, group,
//! assignor. Prints a line for each thing that happens: `assigned P..`, `revoked P..` (what is new, what
//! goes), `record P OFFSET`. Leaves and ends when standard input ends; what it was given is
//! committed before it gives a partition up.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

static ENDS: AtomicBool = AtomicBool::new(false);

struct Tells;

impl ClientContext for Tells {}

impl ConsumerContext for Tells {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(new) => say("assigned", new),
            Rebalance::Revoke(gone) => {
                // Nothing may be new since the last commit, or all of it somebody else's already.
                drop(consumer.commit_consumer_state(CommitMode::Sync));
                say("revoked", gone);
            }
            Rebalance::Error(error) => eprintln!("rebalance: {error}"),
        }
    }
}

fn say(what: &str, places: &TopicPartitionList) {
    let numbers = places.elements();
    let numbers: Vec<_> = numbers
        .iter()
        .map(|place| place.partition().to_string())
        .collect();
    line(&format!("{what} {}", numbers.join(" ")));
}

fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody reads any more when the suite has failed: then it ends this program, too.
    drop(writeln!(out, "{text}").and_then(|()| out.flush()));
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bootstrap, topic, group, assignor] = arguments.as_slice() else {
        return Err("usage: BOOTSTRAP TOPIC GROUP ASSIGNOR".into());
    };
    let consumer: BaseConsumer<Tells> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("session.timeout.ms", "20000")
        .set("heartbeat.interval.ms", "300")
        .set("partition.assignment.strategy", assignor)
        .create_with_context(Tells)?;
    consumer.subscribe(&[topic])?;
    std::thread::spawn(|| {
        let mut ignored = Vec::new();
        drop(std::io::stdin().read_to_end(&mut ignored));
        ENDS.store(true, Ordering::Relaxed);
    });
    let mut open = false;
    while !ENDS.load(Ordering::Relaxed) {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                line(&format!(
                    "record {} {}",
                    message.partition(),
                    message.offset()
                ));
                open = true;
            }
            Some(Err(error)) if is_passing(&error) => {}
            Some(Err(error)) => return Err(error.into()),
            None if open => {
                // What fails is committed with the next, or given to whoever has it then.
                drop(consumer.commit_consumer_state(CommitMode::Sync));
                open = false;
            }
            None => {}
        }
    }
    drop(consumer.commit_consumer_state(CommitMode::Sync));
    Ok(())
}

/// What librdkafka tells of connections, which it makes again by itself.
fn is_passing(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown)
    )
}
