//! How a command reaches a cluster whose listeners want TLS, or want to know who asks.
//!
//! What always holds: a secret comes from a file or the environment, never from the command line, where
//! every user of the machine could read it; none is kept in a context, only where it is.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use millrace_client::{Identity, Roots, Sasl, Security, Tls, TlsOptions, Token};
use toml::{Table, Value};

use super::Failure;

/// A password, where no file holds it. No key of a broker's.
pub(crate) const PASSWORD_VARIABLE: &str = "MILLRACE_SASL_PASSWORD";
/// A bearer token, where no file holds it. No key of a broker's.
pub(crate) const TOKEN_VARIABLE: &str = "MILLRACE_SASL_TOKEN";

/// The longest file of a secret.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Encryption, and who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub(crate) struct Protection {
    /// Encrypts; the broker's certificate must be signed by an authority that this machine trusts.
    #[arg(long, global = true)]
    tls: bool,
    /// Encrypts; the broker's certificate must be signed by an authority of this file (PEM).
    #[arg(long, value_name = "FILE", global = true)]
    tls_ca: Option<PathBuf>,
    /// The certificate that says who asks (PEM), for brokers that want one.
    #[arg(long, value_name = "FILE", global = true)]
    tls_certificate: Option<PathBuf>,
    /// Its key (PEM, not encrypted).
    #[arg(long, value_name = "FILE", global = true)]
    tls_key: Option<PathBuf>,
    /// The name that brokers' certificates are for, where that isn't the one connected to.
    #[arg(long, value_name = "NAME", global = true)]
    tls_server_name: Option<String>,
    /// How to say who asks.
    #[arg(
        long,
        value_enum,
        ignore_case = true,
        value_name = "MECHANISM",
        global = true
    )]
    sasl_mechanism: Option<Mechanism>,
    /// Who asks, for PLAIN and SCRAM.
    #[arg(long, value_name = "NAME", global = true)]
    sasl_username: Option<String>,
    /// The file with the password; without it, `MILLRACE_SASL_PASSWORD`.
    #[arg(long, value_name = "FILE", global = true)]
    sasl_password_file: Option<PathBuf>,
    /// The file with the bearer token, read again for each connection; without it, `MILLRACE_SASL_TOKEN`.
    #[arg(long, value_name = "FILE", global = true)]
    sasl_token_file: Option<PathBuf>,
}

/// A SASL mechanism, by the name that Kafka has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mechanism {
    #[value(name = "PLAIN")]
    Plain,
    #[value(name = "SCRAM-SHA-256")]
    ScramSha256,
    #[value(name = "SCRAM-SHA-512")]
    ScramSha512,
    #[value(name = "OAUTHBEARER")]
    OAuthBearer,
}

impl Mechanism {
    fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

impl Protection {
    /// What is given here, and `other`'s where nothing is.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            tls: self.tls || other.tls,
            tls_ca: self.tls_ca.or(other.tls_ca),
            tls_certificate: self.tls_certificate.or(other.tls_certificate),
            tls_key: self.tls_key.or(other.tls_key),
            tls_server_name: self.tls_server_name.or(other.tls_server_name),
            sasl_mechanism: self.sasl_mechanism.or(other.sasl_mechanism),
            sasl_username: self.sasl_username.or(other.sasl_username),
            sasl_password_file: self.sasl_password_file.or(other.sasl_password_file),
            sasl_token_file: self.sasl_token_file.or(other.sasl_token_file),
        }
    }

    /// The same by paths that hold wherever a command is run.
    pub(super) fn anywhere(mut self) -> Result<Self, Failure> {
        for (_, path) in self.files_mut() {
            if let Some(path) = path {
                *path = std::path::absolute(&*path)?;
            }
        }
        Ok(self)
    }

    /// What a connection begins with; `variable` reads the environment.
    pub(super) fn security(
        &self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Security, Failure> {
        Ok(Security {
            tls: self.tls()?,
            sasl: self.sasl(variable)?,
        })
    }

    fn tls(&self) -> Result<Option<Tls>, Failure> {
        let identity = match (&self.tls_certificate, &self.tls_key) {
            (Some(certificate), Some(key)) => Some(Identity {
                certificate: certificate.clone(),
                key: key.clone(),
            }),
            (None, None) => None,
            (Some(_), None) => return Err(usage("--tls-certificate needs --tls-key")),
            (None, Some(_)) => return Err(usage("--tls-key needs --tls-certificate")),
        };
        let is_wanted = self.tls
            || self.tls_ca.is_some()
            || identity.is_some()
            || self.tls_server_name.is_some();
        let options = || TlsOptions {
            roots: self.tls_ca.clone().map_or(Roots::System, Roots::File),
            identity,
            server_name: self.tls_server_name.clone(),
        };
        Ok(is_wanted.then(|| Tls::new(options())))
    }

    fn sasl(&self, variable: impl Fn(&str) -> Option<String>) -> Result<Option<Sasl>, Failure> {
        let Some(mechanism) = self.sasl_mechanism else {
            let given = [
                ("--sasl-username", self.sasl_username.is_some()),
                ("--sasl-password-file", self.sasl_password_file.is_some()),
                ("--sasl-token-file", self.sasl_token_file.is_some()),
            ];
            return match given.iter().find(|(_, is_given)| *is_given) {
                Some((name, _)) => Err(usage(&format!("{name} needs --sasl-mechanism"))),
                None => Ok(None),
            };
        };
        if mechanism == Mechanism::OAuthBearer {
            return self.bearer(variable).map(Some);
        }
        let name = mechanism.name();
        let user = self.sasl_username.clone();
        let user = user.ok_or_else(|| usage(&format!("{name} needs --sasl-username")))?;
        let password = match &self.sasl_password_file {
            Some(path) => secret(path).map_err(Failure::usage)?,
            None => variable(PASSWORD_VARIABLE).ok_or_else(|| {
                usage(&format!(
                    "{name} needs --sasl-password-file, or the password in {PASSWORD_VARIABLE}"
                ))
            })?,
        };
        Ok(Some(match mechanism {
            Mechanism::ScramSha256 => Sasl::scram_sha_256(user, password),
            Mechanism::ScramSha512 => Sasl::scram_sha_512(user, password),
            Mechanism::Plain | Mechanism::OAuthBearer => Sasl::plain(user, password),
        }))
    }

    fn bearer(&self, variable: impl Fn(&str) -> Option<String>) -> Result<Sasl, Failure> {
        if let Some(path) = self.sasl_token_file.clone() {
            // Now, so that a path that is wrong is refused as such.
            secret(&path).map_err(Failure::usage)?;
            return Ok(Sasl::oauth_bearer(move || {
                let token = secret(&path).map(Token::new);
                async { token }
            }));
        }
        let token = variable(TOKEN_VARIABLE).ok_or_else(|| {
            usage(&format!(
                "OAUTHBEARER needs --sasl-token-file, or the token in {TOKEN_VARIABLE}"
            ))
        })?;
        Ok(Sasl::oauth_bearer(move || {
            let token = Token::new(token.clone());
            async { Ok(token) }
        }))
    }

    fn files_mut(&mut self) -> [(&'static str, &mut Option<PathBuf>); 5] {
        [
            ("tls_ca", &mut self.tls_ca),
            ("tls_certificate", &mut self.tls_certificate),
            ("tls_key", &mut self.tls_key),
            ("sasl_password_file", &mut self.sasl_password_file),
            ("sasl_token_file", &mut self.sasl_token_file),
        ]
    }

    /// Writes what is given into a context's table.
    pub(super) fn put_into(&self, table: &mut Table) {
        let mut all = self.clone();
        if all.tls {
            table.insert("tls".to_owned(), Value::Boolean(true));
        }
        let mut text = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                table.insert(key.to_owned(), Value::String(value));
            }
        };
        for (key, path) in all.files_mut() {
            text(key, path.as_ref().map(|path| path.display().to_string()));
        }
        text("tls_server_name", all.tls_server_name);
        text("sasl_mechanism", all.sasl_mechanism.map(Mechanism::name));
        text("sasl_username", all.sasl_username);
    }

    /// Takes one key of a context's table; whether it is one of these.
    pub(super) fn take(&mut self, key: &str, value: &Value) -> Result<bool, String> {
        if key == "tls" {
            let tls = value.as_bool();
            self.tls = tls.ok_or_else(|| "tls is true or false".to_owned())?;
            return Ok(true);
        }
        let text = value.as_str().map(str::to_owned);
        let text = || text.ok_or_else(|| format!("{key} is no text"));
        if let Some((_, path)) = self.files_mut().into_iter().find(|(name, _)| *name == key) {
            *path = Some(text()?.into());
            return Ok(true);
        }
        match key {
            "tls_server_name" => self.tls_server_name = Some(text()?),
            "sasl_username" => self.sasl_username = Some(text()?),
            "sasl_mechanism" => {
                self.sasl_mechanism = Some(Mechanism::from_str(&text()?, true)?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What it is, in a word or two.
    pub(super) fn summary(&self) -> String {
        let tls = self.tls
            || self.tls_ca.is_some()
            || self.tls_certificate.is_some()
            || self.tls_server_name.is_some();
        let mut parts = Vec::new();
        if tls {
            parts.push("TLS".to_owned());
        }
        parts.extend(self.sasl_mechanism.map(Mechanism::name));
        parts.join(" ")
    }
}

fn usage(what: &str) -> Failure {
    Failure::usage(what)
}

/// The first line of a file.
fn secret(path: &Path) -> Result<String, String> {
    let told = |reason: &dyn std::fmt::Display| format!("{}: {reason}", path.display());
    let about = fs::metadata(path).map_err(|error| told(&error))?;
    if about.len() > SECRET_BYTES_MAX {
        return Err(told(&"that is too long for a secret"));
    }
    let text = fs::read_to_string(path).map_err(|error| told(&error))?;
    let line = text.lines().next().filter(|line| !line.is_empty());
    line.map(str::to_owned)
        .ok_or_else(|| told(&"its first line is empty"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none(_: &str) -> Option<String> {
        None
    }

    fn known(name: &str) -> Option<String> {
        (name == PASSWORD_VARIABLE || name == TOKEN_VARIABLE).then(|| "pencil".to_owned())
    }

    fn scram() -> Protection {
        Protection {
            sasl_mechanism: Some(Mechanism::ScramSha512),
            sasl_username: Some("alice".to_owned()),
            ..Protection::default()
        }
    }

    #[test]
    fn nothing_given_protects_nothing() {
        let security = Protection::default().security(none).unwrap();
        assert!(security.tls.is_none() && security.sasl.is_none());
    }

    #[test]
    fn each_half_of_a_pair_asks_for_the_other() {
        let with = |change: fn(&mut Protection)| {
            let mut protection = Protection::default();
            change(&mut protection);
            protection
        };
        for incomplete in [
            with(|it| it.tls_key = Some("k".into())),
            with(|it| it.tls_certificate = Some("c".into())),
            with(|it| it.sasl_username = Some("u".to_owned())),
            with(|it| it.sasl_password_file = Some("p".into())),
            with(|it| it.sasl_token_file = Some("t".into())),
            with(|it| it.sasl_mechanism = Some(Mechanism::Plain)),
            with(|it| it.sasl_mechanism = Some(Mechanism::OAuthBearer)),
            scram(),
        ] {
            let failure = incomplete.security(none).unwrap_err();
            assert_eq!(failure.code(), 2, "{incomplete:?}");
        }
        assert!(scram().security(known).unwrap().sasl.is_some());
        let bearer = with(|it| it.sasl_mechanism = Some(Mechanism::OAuthBearer));
        assert!(bearer.security(known).unwrap().sasl.is_some());
        let by_name = with(|it| it.tls_server_name = Some("b".to_owned()));
        assert!(by_name.security(none).unwrap().tls.is_some());
    }

    #[test]
    fn a_password_is_the_first_line_of_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        fs::write(&file, "pencil\r\nmore\n").unwrap();
        assert_eq!(secret(&file).unwrap(), "pencil");
        fs::write(&file, "\npencil\n").unwrap();
        assert!(secret(&file).is_err());
        assert!(secret(&directory.path().join("none")).is_err());
    }

    #[test]
    fn the_command_line_goes_before_the_context() {
        let given = Protection {
            sasl_username: Some("bob".to_owned()),
            ..Protection::default()
        };
        let both = given.or(scram());
        assert_eq!(both.sasl_username.as_deref(), Some("bob"));
        assert_eq!(both.sasl_mechanism, Some(Mechanism::ScramSha512));
    }

    #[test]
    fn what_stands_in_a_context_is_read_as_it_was_written() {
        let all = Protection {
            tls: true,
            tls_ca: Some("/a".into()),
            tls_certificate: Some("/b".into()),
            tls_key: Some("/c".into()),
            tls_server_name: Some("d".to_owned()),
            sasl_password_file: Some("/e".into()),
            sasl_token_file: Some("/f".into()),
            ..scram()
        };
        let mut table = Table::new();
        all.put_into(&mut table);
        let mut read = Protection::default();
        for (key, value) in &table {
            assert_eq!(read.take(key, value), Ok(true), "{key}");
        }
        assert_eq!(read, all);
        assert_eq!(all.summary(), "TLS SCRAM-SHA-512");
        assert_eq!(read.take("x", &Value::Boolean(true)), Ok(false));
        assert!(read.take("tls", &Value::Integer(1)).is_err());
        assert!(read.take("tls_ca", &Value::Integer(1)).is_err());
    }
}
