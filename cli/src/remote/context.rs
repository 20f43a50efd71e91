//! `millrace context`: clusters by name.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::contexts::{Context, Contexts, path};
use super::protection::Protection;
use super::table::Table;
use super::{Failure, Form, put};

/// Clusters by name, in a file under the user's configuration directory.
#[derive(Debug, Args)]
pub(crate) struct ContextCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Gives a cluster a name; the first one is in use at once.
    Add {
        /// The name.
        name: String,
        /// Its brokers, as host:port, with commas between.
        #[arg(
            short = 'b',
            long,
            value_name = "HOST:PORT",
            value_delimiter = ',',
            required = true
        )]
        bootstrap_server: Vec<String>,
        #[command(flatten)]
        protection: Box<Protection>,
    },
    /// Uses a cluster from now on, where no command names another.
    Use {
        /// The name.
        name: String,
    },
    /// Lists the clusters.
    List {
        /// For people or for programs.
        #[arg(long, value_enum, default_value = "table")]
        output: Form,
    },
    /// Forgets a name.
    Remove {
        /// The name.
        name: String,
    },
}

/// Runs the command.
pub(crate) fn run(command: ContextCommand) -> ExitCode {
    super::ended(change(command.command))
}

fn change(command: Command) -> Result<(), Failure> {
    let mut contexts = Contexts::load()?;
    match command {
        Command::Add {
            name,
            bootstrap_server,
            protection,
        } => {
            let context = Context {
                bootstrap_servers: bootstrap_server,
                protection: protection.anywhere()?,
            };
            contexts.all.insert(name.clone(), context);
            contexts.current.get_or_insert(name);
            contexts.save()
        }
        Command::Use { name } => {
            contexts.named(&name)?;
            contexts.current = Some(name);
            contexts.save()
        }
        Command::Remove { name } => {
            contexts.named(&name)?;
            contexts.all.remove(&name);
            contexts.current.take_if(|current| *current == name);
            contexts.save()
        }
        Command::List { output } => list(&contexts, output),
    }
}

fn list(contexts: &Contexts, form: Form) -> Result<(), Failure> {
    let is_current = |name: &String| contexts.current.as_ref() == Some(name);
    if form == Form::Json {
        let all = contexts.all.iter().map(|(name, context)| {
            json!({
                "name": name,
                "bootstrap_servers": context.bootstrap_servers,
                "protection": context.protection.summary(),
                "current": is_current(name),
            })
        });
        let all: Vec<_> = all.collect();
        let file = path()?.display().to_string();
        return put(&format!("{}\n", json!({"contexts": all, "file": file})));
    }
    let mut table = Table::new(&["NAME", "BOOTSTRAP SERVERS", "PROTECTION", "IN USE"]);
    for (name, context) in &contexts.all {
        let mark = if is_current(name) { "yes" } else { "" };
        let servers = context.bootstrap_servers.join(",");
        let protection = context.protection.summary();
        table.row([name.clone(), servers, protection, mark.to_owned()]);
    }
    put(&table.text())
}
