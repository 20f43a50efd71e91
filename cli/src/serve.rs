//! `millrace serve`: one broker in the foreground, until SIGINT or SIGTERM.
//!
//! Exit codes: 0 after a clean stop; 1 when the machine or the data do not let the broker start; 2
//! when the configuration is refused. What it listens on goes to standard output, the log to
//! standard error.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use millrace_config::{BrokerConfig, ConfigError};
use millrace_host::real::{self, RealHost, Signals};
use millrace_server::{BoundListener, Broker};
use sd_notify::NotifyState;
use tracing_subscriber::EnvFilter;

use crate::{BAD_CONFIGURATION, ServeOptions, fail};

/// Open files that the broker asks for: connections, segments and their indexes.
const OPEN_FILES_WANTED: u64 = 1 << 20;

/// Open files without which there is no serving: journal, metadata, listeners, a few of each kind.
pub(crate) const OPEN_FILES_MIN: u64 = 128;

/// The last descriptors, which no connection takes: for what is neither a connection nor a segment.
const OPEN_FILES_RESERVE: u64 = 64;

/// Descriptors of an open segment: the log and its two indexes.
const SEGMENT_FILES: u64 = 3;

/// How long the workers may take to end after the broker has stopped.
const WORKERS_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs the command.
pub(crate) fn run(given: ServeOptions) -> ExitCode {
    log_to_stderr();
    let mut config = match given.load() {
        Ok(config) => config,
        Err(error) => return fail(BAD_CONFIGURATION, &error),
    };
    if let Err(error) = real::raise_open_files(OPEN_FILES_WANTED) {
        tracing::warn!(%error, "the limit on open files stays as it is");
    }
    if let Err(error) = fit_open_files(&mut config, real::open_files().soft) {
        return fail(1, &error);
    }
    let config = match fit_memory(config, real::memory_limit()) {
        Ok(config) => config,
        Err(error) => return fail(BAD_CONFIGURATION, &error),
    };
    let machine = match RealHost::start(&options()) {
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

fn options() -> real::Options {
    real::Options {
        descriptor_reserve: OPEN_FILES_RESERVE,
        ..real::Options::default()
    }
}

/// Lets no more connections in than there are open files for, so that logs never go without.
fn fit_open_files(config: &mut BrokerConfig, open_files: u64) -> Result<(), String> {
    if open_files < OPEN_FILES_MIN {
        return Err(format!(
            "at most {open_files} files may be open at once, and a broker needs {OPEN_FILES_MIN}: \
             raise the limit (ulimit -n, or LimitNOFILE= of its service)"
        ));
    }
    // Each directory has as many segments open.
    let of_segment = SEGMENT_FILES * config.log.dirs.len() as u64;
    let segments = u32::try_from(open_files / 4 / of_segment).unwrap_or(u32::MAX);
    config.log.open_files_max = config.log.open_files_max.min(segments.max(1));
    let for_logs = u64::from(config.log.open_files_max) * of_segment;
    let room = open_files.saturating_sub(for_logs + OPEN_FILES_RESERVE);
    let room = u32::try_from(room).unwrap_or(u32::MAX).max(1);
    if room < config.network.connections_max {
        config.network.connections_max = room;
        tracing::debug!(
            open_files,
            "at most {room} connections, by the limit on open files"
        );
    }
    Ok(())
}

/// Where there is little memory, limits on it that nobody set are a share of what there is.
fn fit_memory(config: BrokerConfig, memory: Option<u64>) -> Result<BrokerConfig, ConfigError> {
    let Some(memory_bytes) = memory else {
        return Ok(config);
    };
    let (mut fitted, lowered) = config.fit_memory(memory_bytes)?;
    if lowered.is_empty() {
        return Ok(config);
    }
    // What the limit on open files left.
    fitted.log.open_files_max = config.log.open_files_max;
    fitted.network.connections_max = config.network.connections_max;
    let lowered: Vec<_> = lowered
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    tracing::info!(
        memory_bytes,
        "limits chosen for the memory there is, since nobody set them: {}",
        lowered.join(", ")
    );
    Ok(fitted)
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
    tell_supervisor(NotifyState::Ready);
    let signal = tokio::select! {
        biased;
        signal = signals.next() => signal,
        failure = broker.failed() => return Err(failure.into()),
    };
    tracing::info!(?signal, "stopping");
    tell_supervisor(NotifyState::Stopping);
    tokio::select! {
        biased;
        () = broker.stop() => tracing::info!("stopped"),
        signal = signals.next() => tracing::warn!(?signal, "asked twice: ending at once"),
    }
    Ok(())
}

/// Tells a supervisor that waits for it (systemd's `Type=notify`); nobody else hears.
fn tell_supervisor(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the supervisor named by NOTIFY_SOCKET can't be told");
    }
}

/// Says where the broker is and what to try. A standard output that is closed is no reason to end.
fn announce(broker: &Broker, data: &str) -> io::Result<()> {
    let text = announcement(broker.listeners(), broker.admin_address(), data);
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

fn announcement(listeners: &[BoundListener], admin: Option<SocketAddr>, data: &str) -> String {
    let mut lines = Vec::new();
    let mut known = Vec::new();
    for listener in listeners {
        let (host, port) = &listener.advertised;
        let address = if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        let mut line = format!("listening on {}://{}", listener.name, listener.address);
        if address != listener.address.to_string() {
            line += ", known to clients as ";
            line += &address;
        }
        lines.push(line);
        known.push(address);
    }
    lines.push(format!("data in {data}"));
    if let Some(admin) = admin {
        lines.push(format!("metrics and health on http://{admin}/metrics"));
    }
    if let Some(address) = known.first() {
        lines.push(format!(
            "try: echo hello | kcat -P -b {address} -t greetings"
        ));
        lines.push(format!("     kcat -C -b {address} -t greetings -e"));
    }
    lines.join("\n") + "\n"
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_announcement_names_each_address_and_a_line_to_try() {
        let listener = |name: &str, address: &str, host: &str, port| BoundListener {
            name: name.to_owned(),
            address: address.parse().unwrap(),
            advertised: (host.to_owned(), port),
        };
        let text = announcement(
            &[
                listener("IN", "[::1]:4000", "::1", 4000),
                listener("OUT", "10.0.0.1:5000", "broker.example", 6000),
            ],
            Some("127.0.0.1:9644".parse().unwrap()),
            "/data",
        );
        let expected = "listening on IN://[::1]:4000\n\
                        listening on OUT://10.0.0.1:5000, known to clients as broker.example:6000\n\
                        data in /data\n\
                        metrics and health on http://127.0.0.1:9644/metrics\n\
                        try: echo hello | kcat -P -b [::1]:4000 -t greetings\n     \
                        kcat -C -b [::1]:4000 -t greetings -e\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn little_memory_lowers_limits_and_leaves_those_on_open_files() {
        let mut config = BrokerConfig::default();
        fit_open_files(&mut config, 1024).unwrap();
        let same = fit_memory(config.clone(), Some(64 << 30)).unwrap();
        assert_eq!(same, config);
        assert_eq!(fit_memory(config.clone(), None).unwrap(), config);
        let fitted = fit_memory(config.clone(), Some(64 << 20)).unwrap();
        assert!(fitted.network.queued_bytes_max < config.network.queued_bytes_max);
        assert_eq!(fitted.log.open_files_max, config.log.open_files_max);
        assert_eq!(
            fitted.network.connections_max,
            config.network.connections_max
        );
    }

    #[test]
    fn connections_leave_open_files_for_logs() {
        let fitted = |open_files| {
            let mut config = BrokerConfig::default();
            fit_open_files(&mut config, open_files)
                .map(|()| (config.network.connections_max, config.log.open_files_max))
        };
        assert_eq!(fitted(20_000), Ok((20_000 - 3 * 512 - 64, 512)));
        assert_eq!(fitted(1024), Ok((1024 - 3 * 85 - 64, 85)));
        assert_eq!(fitted(128), Ok((128 - 3 * 10 - 64, 10)));
        assert_eq!(fitted(u64::MAX), Ok((u32::MAX >> 1, 512)));
        assert!(fitted(127).unwrap_err().contains("ulimit -n"));
    }
}
