//! `millrace config get`, `set` and `delete`: the configurations of a running cluster.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use millrace_client::{ConfigChange, ConfigEntry, ConfigResource, ConfigSource};
use serde_json::json;

use super::report::Report;
use super::table::{Table, or_dash};
use super::{At, EXIT_CODES, Failure, Session};

/// What to do with a running cluster's configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum Settings {
    /// Shows what a topic or a broker of a running cluster is configured with.
    #[command(after_help = EXIT_CODES)]
    Get(GetOptions),
    /// Sets keys of a topic or of brokers while they run, all of them or none.
    #[command(after_help = EXIT_CODES)]
    Set(SetOptions),
    /// Gives keys of a topic or of brokers their defaults back, all of them or none.
    #[command(after_help = EXIT_CODES)]
    Delete(DeleteOptions),
}

/// Which keys.
#[derive(Debug, Args)]
pub(crate) struct GetOptions {
    #[command(flatten)]
    of: Of,
    /// These keys; all that somebody has set if none is named.
    #[arg(value_name = "KEY")]
    keys: Vec<String>,
    /// Those too that nobody has set.
    #[arg(long, conflicts_with = "keys")]
    all: bool,
    /// What each key means.
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    at: At,
}

/// Which values.
#[derive(Debug, Args)]
pub(crate) struct SetOptions {
    #[command(flatten)]
    of: Of,
    /// The new values; += and -= add to a list and take off it.
    #[arg(required = true, value_name = "KEY=VALUE", value_parser = pair)]
    values: Vec<(String, String)>,
    /// Only says whether it would.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    at: At,
}

/// Which keys.
#[derive(Debug, Args)]
pub(crate) struct DeleteOptions {
    #[command(flatten)]
    of: Of,
    /// The keys.
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<String>,
    /// Only says whether it would.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    at: At,
}

/// Whose configuration.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
struct Of {
    /// This topic's.
    #[arg(short, long, value_name = "NAME")]
    topic: Option<String>,
    /// This broker's.
    #[arg(long, value_name = "ID")]
    broker: Option<i32>,
    /// What all brokers take that have no value of their own.
    #[arg(long)]
    all_brokers: bool,
}

impl Of {
    fn resource(&self) -> ConfigResource {
        match (&self.topic, self.broker) {
            (Some(topic), _) => ConfigResource::Topic(topic.clone()),
            (None, broker) => ConfigResource::Broker(broker),
        }
    }
}

/// Reads `key=value`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, value) = pair.ok_or_else(|| format!("{text:?} is not of the form KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Runs the command.
pub(crate) fn run(command: Settings) -> ExitCode {
    match command {
        Settings::Get(options) => {
            let at = options.at.clone();
            super::run(&at, async |session| get(session, &options).await)
        }
        Settings::Set(options) => {
            let changes = options
                .values
                .iter()
                .map(|(key, value)| change(key, value))
                .collect();
            let resource = options.of.resource();
            let work =
                async |session: &Session| alter(session, resource, changes, options.dry_run).await;
            super::run(&options.at, work)
        }
        Settings::Delete(options) => {
            let changes = options
                .keys
                .iter()
                .cloned()
                .map(ConfigChange::Delete)
                .collect();
            let resource = options.of.resource();
            let work =
                async |session: &Session| alter(session, resource, changes, options.dry_run).await;
            super::run(&options.at, work)
        }
    }
}

/// `key`, with the sign of a change of a list at its end if it is one.
fn change(key: &str, value: &str) -> ConfigChange {
    let value = value.to_owned();
    if let Some(key) = key.strip_suffix('+') {
        ConfigChange::Append(key.to_owned(), value)
    } else if let Some(key) = key.strip_suffix('-') {
        ConfigChange::Subtract(key.to_owned(), value)
    } else {
        ConfigChange::Set(key.to_owned(), value)
    }
}

async fn get(session: &Session, options: &GetOptions) -> Result<(), Failure> {
    let resource = options.of.resource();
    let keys: Vec<&str> = options.keys.iter().map(String::as_str).collect();
    let named = (!keys.is_empty()).then_some(keys.as_slice());
    let described = session
        .admin
        .describe_configs(std::slice::from_ref(&resource), named, options.explain)
        .await?;
    let mut entries = Vec::new();
    for outcome in described.into_values() {
        entries.extend(outcome?);
    }
    for key in &keys {
        if !entries.iter().any(|entry| entry.name == *key) {
            return Err(Failure::refused(format!("{resource} has no key {key}"))
                .advise("millrace config get with --all lists all keys"));
        }
    }
    let is_set = |entry: &ConfigEntry| {
        !matches!(entry.source, ConfigSource::Default | ConfigSource::Unknown)
    };
    entries.retain(|entry| options.all || named.is_some() || is_set(entry));
    session.print(
        || {
            let entries = entries.iter().map(|entry| {
                let mut row = json!({
                    "key": entry.name,
                    "value": entry.value,
                    "source": entry.source.name(),
                    "read_only": entry.read_only,
                    "sensitive": entry.sensitive,
                });
                if options.explain {
                    row["documentation"] = json!(entry.documentation);
                }
                row
            });
            json!({"resource": resource.to_string(), "configs": entries.collect::<Vec<_>>()})
        },
        || text(&entries, options.explain),
    )
}

fn text(entries: &[ConfigEntry], explain: bool) -> String {
    let mut table = Table::new(&["KEY", "VALUE", "SOURCE"]);
    let mut explained = String::new();
    for entry in entries {
        let value = or_dash(entry.value.clone());
        if explain {
            let words = entry
                .documentation
                .as_deref()
                .unwrap_or("the broker says nothing of it");
            let source = entry.source.name();
            explained.extend([
                &entry.name,
                "=",
                &value,
                "  (",
                source,
                ")\n    ",
                words,
                "\n\n",
            ]);
        } else {
            table.row([entry.name.clone(), value, entry.source.name().to_owned()]);
        }
    }
    if explain { explained } else { table.text() }
}

async fn alter(
    session: &Session,
    resource: ConfigResource,
    changes: Vec<ConfigChange>,
    dry_run: bool,
) -> Result<(), Failure> {
    let changes = BTreeMap::from([(resource, changes)]);
    let outcomes = session.admin.alter_configs(&changes, dry_run).await?;
    let mut report = Report::new(session);
    for (resource, outcome) in &outcomes {
        let done = if dry_run {
            "would be changed"
        } else {
            "changed"
        };
        let outcome = outcome.as_ref().map(|()| format!("{resource} {done}"));
        let row = json!({"resource": resource.to_string(), "dry_run": dry_run});
        report.add(row, outcome)?;
    }
    report.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_before_the_equals_sign_changes_a_list() {
        let (key, value) = pair("cleanup.policy+=compact").unwrap();
        let expected = ConfigChange::Append("cleanup.policy".to_owned(), "compact".to_owned());
        assert_eq!(change(&key, &value), expected);
        let (key, value) = pair("a=b=c").unwrap();
        assert_eq!(
            change(&key, &value),
            ConfigChange::Set("a".to_owned(), "b=c".to_owned())
        );
        assert!(pair("a").is_err());
        assert!(pair("=a").is_err());
    }
}
