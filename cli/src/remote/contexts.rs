//! Clusters by name, in a file of the user: `millrace/contexts.toml` under `$XDG_CONFIG_HOME`, else
//! under `~/.config`.
//!
//! What always holds: the file is replaced whole or not at all; one that can't be read is refused with
//! its path, never written over.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

use toml::{Table, Value};

use super::Failure;
use super::protection::Protection;

/// Brokers, for those who name none on the command line. No key of a broker's.
pub(crate) const BOOTSTRAP_VARIABLE: &str = "MILLRACE_BOOTSTRAP_SERVER";
/// A context's name. No key of a broker's.
pub(crate) const CONTEXT_VARIABLE: &str = "MILLRACE_CONTEXT";

/// All contexts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Contexts {
    /// The one in use.
    pub(crate) current: Option<String>,
    /// Each by its name.
    pub(crate) all: BTreeMap<String, Context>,
}

/// One cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Context {
    /// Its brokers, or some of them.
    pub(crate) bootstrap_servers: Vec<String>,
    /// How they are reached.
    pub(crate) protection: Protection,
}

/// Where they are kept.
pub(crate) fn path() -> Result<PathBuf, Failure> {
    let of = |variable: &str| {
        let value = std::env::var_os(variable).filter(|value| !value.is_empty());
        value.map(PathBuf::from)
    };
    let config = of("XDG_CONFIG_HOME").or_else(|| of("HOME").map(|home| home.join(".config")));
    let config = config.ok_or_else(|| {
        Failure::refused("contexts can't be kept: neither XDG_CONFIG_HOME nor HOME is set")
    })?;
    Ok(config.join("millrace").join("contexts.toml"))
}

/// A variable of the environment that isn't empty.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The brokers to begin with, and how to reach them: those given, a context, or the default.
pub(super) fn context(given: &[String], context: Option<&str>) -> Result<Context, Failure> {
    let only = |bootstrap_servers: Vec<String>| Context {
        bootstrap_servers,
        protection: Protection::default(),
    };
    if !given.is_empty() {
        return Ok(only(given.to_vec()));
    }
    if context.is_none()
        && let Some(servers) = variable(BOOTSTRAP_VARIABLE)
    {
        return Ok(only(servers.split(',').map(str::to_owned).collect()));
    }
    let named = context
        .map(str::to_owned)
        .or_else(|| variable(CONTEXT_VARIABLE));
    let contexts = match path() {
        Ok(_) => Contexts::load()?,
        Err(failure) if named.is_some() => return Err(failure),
        Err(_) => Contexts::default(),
    };
    let Some(name) = named.or_else(|| contexts.current.clone()) else {
        return Ok(only(vec![super::BOOTSTRAP_DEFAULT.to_owned()]));
    };
    contexts.named(&name).cloned()
}

impl Contexts {
    /// Reads them; none when there is no file.
    pub(crate) fn load() -> Result<Self, Failure> {
        let path = path()?;
        let refuse = |reason: String| {
            Failure::usage(format!("{}: {reason}", path.display()))
                .advise("correct that file, or remove it")
        };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(refuse(error.to_string())),
        };
        Self::parse(&text).map_err(refuse)
    }

    /// Writes them.
    pub(crate) fn save(&self) -> Result<(), Failure> {
        let path = path()?;
        let directory = path.parent().unwrap_or(&path).to_owned();
        let written = || -> io::Result<()> {
            std::fs::create_dir_all(&directory)?;
            let mut file = tempfile::NamedTempFile::new_in(&directory)?;
            file.write_all(self.text().as_bytes())?;
            file.persist(&path)?;
            Ok(())
        };
        written().map_err(|error| Failure::refused(format!("{}: {error}", path.display())))
    }

    /// The one of this name.
    pub(crate) fn named(&self, name: &str) -> Result<&Context, Failure> {
        self.all.get(name).ok_or_else(|| {
            Failure::usage(format!("there is no context {name}"))
                .advise("millrace context list shows those there are")
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let table: Table = text
            .parse()
            .map_err(|error: toml::de::Error| error.to_string())?;
        let mut contexts = Self::default();
        for (key, value) in table {
            match (key.as_str(), value) {
                ("current", Value::String(name)) => contexts.current = Some(name),
                ("contexts", Value::Table(all)) => {
                    for (name, context) in all {
                        let read = Context::read(&context);
                        let context = read.map_err(|reason| format!("context {name}: {reason}"))?;
                        contexts.all.insert(name, context);
                    }
                }
                (key, _) => return Err(format!("{key} is unknown there, or of another kind")),
            }
        }
        Ok(contexts)
    }

    fn text(&self) -> String {
        let context =
            |(name, context): (&String, &Context)| (name.clone(), Value::Table(context.table()));
        let mut table = Table::new();
        if let Some(current) = &self.current {
            table.insert("current".to_owned(), Value::String(current.clone()));
        }
        let all: Table = self.all.iter().map(context).collect();
        table.insert("contexts".to_owned(), Value::Table(all));
        table.to_string()
    }
}

impl Context {
    fn read(value: &Value) -> Result<Self, String> {
        let table = value.as_table().ok_or("it is no table")?;
        let mut context = Self::default();
        for (key, value) in table {
            if key == "bootstrap_servers" {
                let text = |server: &Value| server.as_str().map(str::to_owned);
                let servers = value.as_array().map(|all| all.iter().map(text).collect());
                context.bootstrap_servers = servers
                    .flatten()
                    .ok_or("bootstrap_servers is no list of texts")?;
            } else if !context.protection.take(key, value)? {
                return Err(format!("{key} is unknown there"));
            }
        }
        if context.bootstrap_servers.is_empty() {
            return Err("it has no bootstrap_servers".to_owned());
        }
        Ok(context)
    }

    fn table(&self) -> Table {
        let servers = self.bootstrap_servers.iter().cloned().map(Value::String);
        let servers = Value::Array(servers.collect());
        let mut table = Table::from_iter([("bootstrap_servers".to_owned(), servers)]);
        self.protection.put_into(&mut table);
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_read_as_they_were_written() {
        let of = |servers: &[&str]| Context {
            bootstrap_servers: servers.iter().map(|&server| server.to_owned()).collect(),
            protection: Protection::default(),
        };
        let contexts = Contexts {
            current: Some("here".to_owned()),
            all: BTreeMap::from([
                ("here".to_owned(), of(&["127.0.0.1:9092"])),
                ("a b".to_owned(), of(&["x:1", "[::1]:2"])),
            ]),
        };
        assert_eq!(Contexts::parse(&contexts.text()), Ok(contexts));
        assert_eq!(
            Contexts::parse(&Contexts::default().text()),
            Ok(Contexts::default())
        );
    }

    #[test]
    fn a_file_of_another_form_is_refused() {
        for text in [
            "x = 1",
            "current = 1",
            "[contexts.a]",
            "contexts = [",
            "[contexts]\na = 1",
            "[contexts.a]\nbootstrap_servers = []",
            "[contexts.a]\nbootstrap_servers = [1]",
            "[contexts.a]\nbootstrap_servers = [\"a:1\"]\nsasl_password = \"x\"",
        ] {
            assert!(Contexts::parse(text).is_err(), "{text}");
        }
    }
}
