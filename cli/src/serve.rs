//! `millrace serve`: one broker in the foreground, until SIGINT or SIGTERM.
//!
//! Exit codes: 0 after a clean stop; 1 when the machine or the data do not let the broker start; 2
//! when the configuration is refused. What it listens on goes to standard output, the log to
//! standard error.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use millrace_config::{BrokerConfig, Sources};
use millrace_host::real::{self, RealHost, Signals};
use millrace_server::Broker;
use tracing_subscriber::EnvFilter;

use crate::ServeOptions;

/// Exit code for a refused configuration.
const BAD_CONFIGURATION: u8 = 2;

/// Open files that the broker asks for: connections, segments and their indexes.
const OPEN_FILES_WANTED: u64 = 1 << 20;

/// How long the workers may take to end after the broker has stopped.
const WORKERS_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs the command.
pub(crate) fn run(options: ServeOptions) -> ExitCode {
    log_to_stderr();
    let sources = Sources {
        file: options.config,
        environment: text_environment(),
        set: options.set,
    };
    let config = match BrokerConfig::load(&sources) {
        Ok(config) => config,
        Err(error) => return fail(BAD_CONFIGURATION, &error),
    };
    if let Err(error) = real::raise_open_files(OPEN_FILES_WANTED) {
        tracing::warn!(%error, "the limit on open files stays as it is");
    }
    let machine = match RealHost::start(&real::Options::default()) {
        Ok(machine) => machine,
        Err(error) => return fail(1, &error),
    };
    let served = machine.block_on(serve(config, &machine));
    machine.stop(WORKERS_TIMEOUT);
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &*error),
    }
}

async fn serve(config: BrokerConfig, machine: &RealHost) -> Result<(), Box<dyn std::error::Error>> {
    // Before the broker: a signal during the start is not lost.
    let mut signals = Signals::listen()?;
    let data = config
        .log
        .dirs
        .iter()
        .map(|dir| dir.display().to_string())
        .collect::<Vec<_>>();
    let broker = tokio::select! {
        biased;
        signal = signals.next() => {
            tracing::info!(?signal, "ended before the start was complete");
            return Ok(());
        }
        started = Broker::start(config, machine.host()) => started?,
    };
    announce(&broker, &data.join(", "))?;
    let signal = signals.next().await;
    tracing::info!(?signal, "stopping");
    tokio::select! {
        biased;
        () = broker.stop() => tracing::info!("stopped"),
        signal = signals.next() => tracing::warn!(?signal, "asked twice: ending at once"),
    }
    Ok(())
}

/// Says where the broker is and what to try. A standard output that is closed is no reason to end.
fn announce(broker: &Broker, data: &str) -> io::Result<()> {
    let mut text = String::new();
    let mut try_with = None;
    for listener in broker.listeners() {
        let (host, port) = &listener.advertised;
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.clone()
        };
        text += &format!("listening on {}://{}", listener.name, listener.address);
        if format!("{host}:{port}") != listener.address.to_string() {
            text += &format!(", known to clients as {host}:{port}");
        }
        text += "\n";
        try_with.get_or_insert(format!("{host}:{port}"));
    }
    text += &format!("data in {data}\n");
    if let Some(admin) = broker.admin_address() {
        text += &format!("metrics and health on http://{admin}/metrics\n");
    }
    if let Some(address) = try_with {
        text += &format!("try: echo hello | kcat -P -b {address} -t greetings\n");
        text += &format!("     kcat -C -b {address} -t greetings -e\n");
    }
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// The log level comes from `RUST_LOG`, `info` by default.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
}

/// The environment, without variables that are not text; none of ours is such.
fn text_environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn fail(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    // The one thing said when all else failed; if standard error is closed there is nobody to tell.
    drop(writeln!(io::stderr(), "millrace: {error}"));
    ExitCode::from(code)
}
