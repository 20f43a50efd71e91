//! From nothing to the first acknowledged produce: a broker's process is started and its port
//! tried until a batch is acknowledged with `acks=all`.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::Args;
use millrace_client::{Acks, Client, ClientOptions, Error, NewTopic, Topic};
use millrace_host::Host;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::records::{BatchBuilder, Options};

use crate::cpu::resident_bytes;
use crate::report::figure;
use crate::text;

/// A broker that is not up by then never will be.
const START_TIMEOUT: Duration = Duration::from_mins(2);
/// Between two tries of the port.
const TRY_EVERY: Duration = Duration::from_millis(1);

/// What to start.
#[derive(Args, Clone, Debug)]
pub(crate) struct StartArguments {
    /// Where the broker will listen.
    #[arg(long)]
    bootstrap: SocketAddr,
    /// The topic of the first batch; made when missing.
    #[arg(long, default_value = "start")]
    topic: String,
    /// The broker's command, after `--`. It is killed afterwards.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Ends the broker with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = self.0.kill().and_then(|()| self.0.wait().map(drop)) {
            eprintln!("millrace-bench: the broker could not be ended: {error}");
        }
    }
}

/// Starts the broker, prints how long its first acknowledged produce took, kills it.
pub(crate) async fn run(host: &Host, arguments: &StartArguments) -> Result<(), String> {
    let (program, rest) = arguments.command.split_first().ok_or("no command")?;
    let start = host.clock.now().mono;
    let child = Command::new(program)
        .args(rest)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|error| format!("cannot start {program}: {error}"))?;
    let mut running = Running(child);
    let mut batch = BatchBuilder::new(Options::default());
    batch
        .push(1_700_000_000_000, None, Some(b"first"), &[])
        .map_err(text)?;
    let batch = batch.build();
    loop {
        if let Some(status) = running.0.try_wait().map_err(text)? {
            return Err(format!("{program} ended while it was waited for: {status}"));
        }
        match first_ack(host, arguments, &batch).await {
            Ok(()) => break,
            Err(error) if host.clock.now().mono.since(start) > START_TIMEOUT => {
                return Err(format!(
                    "no acknowledged produce in {START_TIMEOUT:?}: {error}"
                ));
            }
            Err(_) => {
                host.clock
                    .sleep_until(host.clock.now().mono + TRY_EVERY)
                    .await;
            }
        }
    }
    let elapsed = host.clock.now().mono.since(start);
    figure(
        "start to first ack",
        format!("{:.1}", elapsed.as_secs_f64() * 1e3),
        "ms",
    );
    let (peak, _) = resident_bytes(running.0.id()).map_err(text)?;
    figure("broker peak resident", peak >> 20, "MiB");
    Ok(())
}

async fn first_ack(
    host: &Host,
    arguments: &StartArguments,
    batch: &bytes::Bytes,
) -> Result<(), Error> {
    let client = Client::connect(host, arguments.bootstrap, ClientOptions::default()).await?;
    let topic: Topic = match client.topic(&arguments.topic).await {
        Err(Error::Broker {
            code: ErrorCode::UnknownTopicOrPartition,
            ..
        }) => {
            client
                .create_topic(&NewTopic::new(&arguments.topic, 1))
                .await?
        }
        known => known?,
    };
    client
        .produce(&topic, 0, Acks::All, batch.clone())
        .await
        .map(drop)
}
