//! `millrace serve`: one broker in the foreground, until SIGINT or SIGTERM.
//!
//! Exit codes: 0 after a clean stop; 1 when the machine or the data do not let the broker start; 2
//! when the configuration is refused. What it listens on and is sized by goes to standard output,
//! the log to standard error, both as JSON where that is asked for.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use millrace_config::{BrokerConfig, LoggerFormat};
use millrace_host::real::{RealHost, Signals};
use millrace_server::{BoundListener, Broker};
use sd_notify::NotifyState;
use serde_json::{Value, json};

use crate::logging::{Logging, json_line};
use crate::sizing::{Machine, Unfit};
use crate::{BAD_CONFIGURATION, ServeOptions};

/// How long the workers may take to end after the broker has stopped.
const WORKERS_TIMEOUT: Duration = Duration::from_secs(2);

/// The options of `serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeCommand {
    #[command(flatten)]
    broker: ServeOptions,
    /// The form of what it says on standard error, as --set logger.format=json.
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

/// `logger.format`.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    /// Lines for people.
    Human,
    /// One JSON object in each line.
    Json,
}

impl ServeCommand {
    /// Reads all sources; the option is stronger than any.
    fn load(self) -> Result<BrokerConfig, (LoggerFormat, millrace_config::ConfigError)> {
        let mut broker = self.broker;
        let word = match self.log_format {
            None => None,
            Some(LogFormat::Human) => Some("human"),
            Some(LogFormat::Json) => Some("json"),
        };
        broker
            .set
            .extend(word.map(|word| format!("logger.format={word}")));
        // What is wrong with the configuration is told as it would have been, had it been right.
        let format = match word {
            Some("json") => LoggerFormat::Json,
            Some(_) | None => LoggerFormat::Human,
        };
        broker.load().map_err(|error| (format, error))
    }
}

/// Runs the command.
pub(crate) fn run(given: ServeCommand) -> ExitCode {
    let config = match given.load() {
        Ok(config) => config,
        Err((format, error)) => return fail(format, BAD_CONFIGURATION, &error),
    };
    let format = config.node.logger_format;
    let logging = match Logging::begin(format) {
        Ok(logging) => logging,
        Err(error) => return fail(format, 1, &error),
    };
    let sized = Machine::taken();
    let config = match sized.fit(config) {
        Ok(config) => config,
        Err(Unfit::OpenFiles(error)) => return fail(format, 1, &error),
        Err(Unfit::Memory(error)) => return fail(format, BAD_CONFIGURATION, &error),
    };
    let machine = match RealHost::start(&sized.threads()) {
        Ok(machine) => machine,
        Err(error) => return fail(format, 1, &error),
    };
    let clock = machine.host().clock;
    let served = machine.block_on(async {
        tokio::select! {
            biased;
            served = serve(config, &machine, &sized, &logging) => served,
            () = logging.tell_held_back(clock.as_ref()) => Ok(()),
        }
    });
    machine.stop(WORKERS_TIMEOUT);
    logging.turn();
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(format, 1, &*error),
    }
}

/// Says why the broker ends, in the form of its log, and with which exit code.
fn fail(format: LoggerFormat, code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    match format {
        LoggerFormat::Human => crate::fail(code, error),
        LoggerFormat::Json => {
            let line = json_line("ERROR", &error.to_string(), json!({"exit_code": code}));
            // If standard error is closed there is nobody to tell.
            drop(io::stderr().lock().write_all(line.as_bytes()));
            ExitCode::from(code)
        }
    }
}

async fn serve(
    config: BrokerConfig,
    machine: &RealHost,
    sized: &Machine,
    logging: &Logging,
) -> Result<(), Box<dyn std::error::Error>> {
    // Before the broker: a signal during the start is not lost.
    let mut signals = Signals::listen()?;
    let kept = config.clone();
    let broker = tokio::select! {
        biased;
        signal = signals.next() => {
            tracing::info!(?signal, "ended before the start was complete");
            return Ok(());
        }
        started = Broker::start_with(config, machine.host(), logging.loggers()) => started?,
    };
    announce(&broker, &kept, sized)?;
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
fn announce(broker: &Broker, config: &BrokerConfig, sized: &Machine) -> io::Result<()> {
    let listeners = broker.listeners();
    let said = Announcement {
        listeners: &listeners,
        admin: broker.admin_address(),
        config,
        sized,
    };
    let text = match config.node.logger_format {
        LoggerFormat::Human => said.text(),
        LoggerFormat::Json => json_line("INFO", "serving", said.fields()),
    };
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// What is said of a broker that serves.
struct Announcement<'a> {
    listeners: &'a [BoundListener],
    admin: Option<SocketAddr>,
    config: &'a BrokerConfig,
    sized: &'a Machine,
}

/// An address as clients are told.
fn known((host, port): &(String, u16)) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

impl Announcement<'_> {
    fn data(&self) -> Vec<String> {
        let dirs = self.config.log.dirs.iter();
        dirs.map(|dir| dir.display().to_string()).collect()
    }

    fn text(&self) -> String {
        let mut lines = Vec::new();
        for listener in self.listeners {
            let address = known(&listener.advertised);
            let mut line = format!("listening on {}://{}", listener.name, listener.address);
            if address != listener.address.to_string() {
                line += ", known to clients as ";
                line += &address;
            }
            lines.push(line);
        }
        lines.push(format!("data in {}", self.data().join(", ")));
        lines.push(format!(
            "sized by {}",
            self.sized.lines(self.config).join("; ")
        ));
        if let Some(admin) = self.admin {
            lines.push(format!("metrics and health on http://{admin}/metrics"));
        }
        if let Some(listener) = self.listeners.first() {
            let address = known(&listener.advertised);
            lines.push(format!(
                "try: echo hello | kcat -P -b {address} -t greetings"
            ));
            lines.push(format!("     kcat -C -b {address} -t greetings -e"));
        }
        lines.join("\n") + "\n"
    }

    fn fields(&self) -> Value {
        let listener = |listener: &BoundListener| {
            json!({
                "name": listener.name,
                "address": listener.address.to_string(),
                "advertised": known(&listener.advertised),
            })
        };
        let listeners: Vec<Value> = self.listeners.iter().map(listener).collect();
        json!({
            "listeners": listeners,
            "log_dirs": self.data(),
            "admin": self.admin.map(|admin| admin.to_string()),
            "sizing": self.sized.fields(self.config),
        })
    }
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
        let config = BrokerConfig::from_pairs([("log.dirs", "/data")]).unwrap();
        let sized = Machine::looked_at();
        let said = Announcement {
            listeners: &[
                listener("IN", "[::1]:4000", "::1", 4000),
                listener("OUT", "10.0.0.1:5000", "broker.example", 6000),
            ],
            admin: Some("127.0.0.1:9644".parse().unwrap()),
            config: &config,
            sized: &sized,
        };
        let lines = sized.lines(&config).join("; ");
        let expected = format!(
            "listening on IN://[::1]:4000\n\
                        listening on OUT://10.0.0.1:5000, known to clients as broker.example:6000\n\
                        data in /data\n\
                        sized by {lines}\n\
                        metrics and health on http://127.0.0.1:9644/metrics\n\
                        try: echo hello | kcat -P -b [::1]:4000 -t greetings\n     \
                        kcat -C -b [::1]:4000 -t greetings -e\n"
        );
        assert_eq!(said.text(), expected);
        let fields = said.fields();
        assert_eq!(fields["listeners"][1]["advertised"], "broker.example:6000");
        assert_eq!(fields["log_dirs"], json!(["/data"]));
    }
}
