//! Commands that ask a running cluster, Millrace or Apache Kafka: which one, and what they all keep to.
//!
//! What always holds: they stand on the client crate and nothing else; what a program reads goes to
//! standard output and nothing else does; an error says what happened, to what, and what to do; a
//! reader that closes the pipe ends the command without one.

pub(crate) mod cluster;
pub(crate) mod consume;
pub(crate) mod context;
mod contexts;
mod encoding;
mod failure;
pub(crate) mod group;
pub(crate) mod offset;
mod position;
pub(crate) mod produce;
mod progress;
mod protection;
mod report;
pub(crate) mod settings;
mod table;
mod times;
pub(crate) mod topic;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use millrace_client::{Admin, Cluster, ClusterOptions};
use millrace_host::Host;
use millrace_host::real::{Options, RealHost};
use serde_json::Value;

pub(crate) use failure::Failure;
use protection::Protection;

/// What every command of a cluster keeps to.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  it did what was asked
  1  something that was asked for was refused, or is not there
  2  the command line, or the context that it names, is refused
  3  no answer for now: the same command may succeed later

The cluster is the first of these that is given: --bootstrap-server, --context,
MILLRACE_BOOTSTRAP_SERVER, MILLRACE_CONTEXT, the context in use, 127.0.0.1:9092.
Options for TLS and SASL go before what the context says of them.";

/// Variables of the environment that name a cluster, or say who asks.
pub(crate) const VARIABLES: [&str; 4] = [
    contexts::BOOTSTRAP_VARIABLE,
    contexts::CONTEXT_VARIABLE,
    protection::PASSWORD_VARIABLE,
    protection::TOKEN_VARIABLE,
];

/// Where a broker listens that nobody configured.
const BOOTSTRAP_DEFAULT: &str = "127.0.0.1:9092";

/// Which cluster, and how answers are printed.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct At {
    /// Brokers to begin with, as host:port, with commas between.
    #[arg(
        short = 'b',
        long,
        value_name = "HOST:PORT",
        value_delimiter = ',',
        global = true
    )]
    bootstrap_server: Vec<String>,
    /// A cluster by the name that `millrace context add` gave it.
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with = "bootstrap_server",
        global = true
    )]
    context: Option<String>,
    /// The longest wait for an answer, as 500ms, 30s or 2m.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = times::duration, global = true)]
    timeout: Duration,
    /// For people or for programs.
    #[arg(long, value_enum, default_value = "table", global = true)]
    output: Form,
    #[command(flatten)]
    protection: Protection,
}

/// How answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// Columns for people.
    Table,
    /// One line of JSON; of records, one line each.
    Json,
}

/// A cluster that was found.
pub(crate) struct Session {
    pub(crate) host: Host,
    pub(crate) cluster: Cluster,
    pub(crate) admin: Admin,
    pub(crate) form: Form,
}

/// Finds the cluster and does something with it.
pub(crate) fn run(at: &At, work: impl AsyncFnOnce(&Session) -> Result<(), Failure>) -> ExitCode {
    let machine = match RealHost::start(&Options::default()) {
        Ok(machine) => machine,
        Err(error) => return crate::fail(1, &error),
    };
    let result = machine.block_on(async {
        let session = Session::find(machine.host(), at).await?;
        work(&session).await
    });
    ended(result)
}

/// Says why a command ends.
fn ended(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell();
            ExitCode::from(failure.code())
        }
    }
}

impl Session {
    async fn find(host: Host, at: &At) -> Result<Self, Failure> {
        let context = contexts::context(&at.bootstrap_server, at.context.as_deref())?;
        let protection = at.protection.clone().or(context.protection);
        let mut options = ClusterOptions::new(context.bootstrap_servers);
        options.connection.security = protection.security(contexts::variable)?;
        "millrace-cli".clone_into(&mut options.connection.client_id);
        options.connection.request_timeout = at.timeout;
        options.connection.connect_timeout = at.timeout.min(options.connection.connect_timeout);
        // A misspelt name makes no topic.
        options.auto_create_topics = false;
        let cluster = Cluster::connect(&host, options).await?;
        Ok(Self {
            admin: Admin::new(&cluster),
            host,
            cluster,
            form: at.output,
        })
    }

    /// Prints an answer in the form that was asked for.
    pub(crate) fn print(
        &self,
        json: impl FnOnce() -> Value,
        table: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        let text = match self.form {
            Form::Json => format!("{}\n", json()),
            Form::Table => table(),
        };
        put(&text)
    }
}

/// Writes to standard output.
fn put(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}
