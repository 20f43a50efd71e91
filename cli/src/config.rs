//! `millrace config`: every key of brokers and topics, what it means, and what it is set to; and those
//! of Kafka's that are refused, with the reason. Its commands are about a running cluster instead.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use millrace_config::{
    AbsentKey, BrokerConfig, Described, TopicOverrides, absent_keys, annotated_properties,
};
use serde_json::{Value, json};

use crate::remote::settings::{self, Settings};
use crate::{BAD_CONFIGURATION, ServeOptions, fail};

/// Which keys, and how.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ConfigOptions {
    /// Only keys whose name contains this.
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// As JSON: an array with an object for each key.
    #[arg(long, conflicts_with = "properties")]
    json: bool,
    /// As a configuration file in which every key is explained and none is set.
    #[arg(long, conflicts_with = "name")]
    properties: bool,
    #[command(flatten)]
    broker: ServeOptions,
    #[command(subcommand)]
    settings: Option<Settings>,
}

/// Runs the command.
pub(crate) fn run(options: ConfigOptions) -> ExitCode {
    if let Some(settings) = options.settings {
        return settings::run(settings);
    }
    let text = if options.properties {
        annotated_properties()
    } else {
        match options.broker.load() {
            Ok(config) => {
                let name = options.name.as_deref().unwrap_or_default();
                let keys = keys(&config, name);
                let absent: Vec<AbsentKey> = absent_keys()
                    .filter(|absent| absent.name.contains(name))
                    .collect();
                if keys.is_empty() && absent.is_empty() {
                    return fail(1, &format!("no key has {name} in its name"));
                }
                if options.json {
                    let all = keys.iter().map(object);
                    let all = all.chain(absent.iter().map(absent_object));
                    format!("{:#}\n", Value::Array(all.collect()))
                } else {
                    let all = keys.iter().map(paragraph);
                    all.chain(absent.iter().map(absent_paragraph)).collect()
                }
            }
            Err(error) => return fail(BAD_CONFIGURATION, &error),
        }
    };
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &error),
    }
}

/// The keys of brokers, then those of topics.
fn keys(config: &BrokerConfig, name: &str) -> Vec<Described> {
    let topic = config.describe_topic(&TopicOverrides::new());
    let all = config
        .describe()
        .into_iter()
        .chain(topic.unwrap_or_default());
    all.filter(|described| described.key.name.contains(name))
        .collect()
}

fn paragraph(described: &Described) -> String {
    let key = described.key;
    let value = described.value.as_deref().unwrap_or("(none)");
    let default = match key.default {
        Some(default) if default == value => String::new(),
        Some(default) => format!(", default {default}"),
        None => ", no default".to_owned(),
    };
    let origin = described.origin.name();
    let mut lines = vec![format!("{}={value}  ({origin}{default})\n", key.name)];
    lines.extend(key.explained().iter().map(|line| format!("    {line}\n")));
    lines.push("\n".to_owned());
    lines.concat()
}

/// A key of Kafka's that is refused, and why.
fn absent_paragraph(absent: &AbsentKey) -> String {
    let AbsentKey { name, reason, .. } = absent;
    format!("{name}  (refused)\n    Kafka's, without effect in this version: {reason}.\n\n")
}

fn absent_object(absent: &AbsentKey) -> Value {
    json!({
        "name": absent.name,
        "scope": if absent.is_topics { "of a topic" } else { "of a broker" },
        "maker": "Kafka",
        "refused": true,
        "documentation": absent.reason,
    })
}

fn object(described: &Described) -> Value {
    let key = described.key;
    let synonyms = described.synonyms.iter();
    let synonyms: Vec<Value> = synonyms
        .map(|one| json!({"name": one.name, "value": one.value, "source": one.origin.name()}))
        .collect();
    json!({
        "name": key.name,
        "value": described.value,
        "source": described.origin.name(),
        "default": key.default,
        "type": key.kind.name(),
        "allowed": key.allowed(),
        "scope": key.scope_name(),
        "maker": key.maker_name(),
        "read_only": described.read_only,
        "synonyms": synonyms,
        "documentation": key.doc,
    })
}
