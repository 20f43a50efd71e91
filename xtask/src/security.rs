//! `cargo xtask security`: Apache Kafka with listeners that want TLS, client certificates, each SASL
//! mechanism, or a session renewed every few seconds, and against them our client crate
//! (`tests/examples/security`), its access control lists and tokens too, and the `millrace` command line.
//!
//! What always holds: each way in is tried with what lets in and with what does not; no password stands
//! on a command line of ours.

mod command_line;

use std::path::{Path, PathBuf};

use clap::Args;

use crate::brokers::{Kind, Site, free_port};
use crate::packages::need;
use crate::process::println;
use crate::{Outcome, binaries};

/// Who is known to the broker.
const USER: &str = "alice";
const PASSWORD: &str = "alice-secret";
/// How long a session lasts where it is limited.
const SESSION_MS: u64 = 4_000;

/// How.
#[derive(Args, Debug)]
pub(crate) struct SecurityArguments {
    /// This binary, instead of a build of the tree.
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// One listener of the broker's.
struct Door {
    /// What the suite calls it.
    name: &'static str,
    /// Kafka's name of its protocol.
    protocol: &'static str,
    port: u16,
}

impl Door {
    /// Kafka's name of the listener.
    fn listener(&self) -> String {
        self.name.to_uppercase()
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// Every listener but Kafka's plain one, which its script makes.
const DOORS: [(&str, &str); 8] = [
    ("ssl", "SSL"),
    ("mtls", "SSL"),
    ("expired", "SSL"),
    ("elsewhere", "SSL"),
    ("sasl", "SASL_PLAINTEXT"),
    ("sasl_ssl", "SASL_SSL"),
    ("scram_only", "SASL_PLAINTEXT"),
    ("renewed", "SASL_PLAINTEXT"),
];

/// Runs the suite.
pub(crate) fn run(arguments: &SecurityArguments) -> Outcome {
    need("java", "default-jdk-headless")?;
    need("mvn", "maven")?;
    let binary = binaries::chosen(arguments.binary.as_deref())?;
    let files = tempfile::tempdir().map_err(|error| error.to_string())?;
    let shown = files.path().display().to_string();
    binaries::run_example("security", &["certificates".into(), shown.clone()])?;
    let doors = DOORS.map(|(name, protocol)| (name, protocol, free_port()));
    let mut open = Vec::new();
    for (name, protocol, port) in doors {
        let port = port?;
        open.push(Door {
            name,
            protocol,
            port,
        });
    }
    let site = kafka(&open, files.path())?;
    let broker = site.start()?;
    let mut words = vec!["run".to_owned(), shown];
    words.push(format!("plaintext={}", site.address()));
    let named = |door: &Door| format!("{}={}", door.name, door.address());
    words.extend(open.iter().map(named));
    binaries::run_example("security", &words)?;
    command_line::run(&binary, files.path(), &site.address(), &open)?;
    broker.stop()?;
    println("security: everything that may come in does, nothing else");
    Ok(())
}

/// Apache Kafka with these listeners.
fn kafka(doors: &[Door], files: &Path) -> Result<Site, String> {
    let listeners: Vec<_> = doors
        .iter()
        .map(|door| format!("{}://{}", door.listener(), door.address()))
        .collect();
    let protocols: Vec<_> = doors
        .iter()
        .map(|door| format!("{}:{}", door.listener(), door.protocol))
        .collect();
    let file = |name: &str| files.join(name).display().to_string();
    let mut settings = vec![
        format!(
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,{}",
            protocols.join(",")
        ),
        "ssl.keystore.type=PEM".to_owned(),
        format!("ssl.keystore.location={}", file("broker.both")),
        "ssl.truststore.type=PEM".to_owned(),
        format!("ssl.truststore.location={}", file("ca.pem")),
        "listener.name.mtls.ssl.client.auth=required".to_owned(),
        "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER".to_owned(),
        "listener.name.scram_only.sasl.enabled.mechanisms=SCRAM-SHA-512".to_owned(),
        format!("listener.name.renewed.connections.max.reauth.ms={SESSION_MS}"),
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer".to_owned(),
        format!("super.users=User:ANONYMOUS;User:{USER}"),
        "allow.everyone.if.no.acl.found=true".to_owned(),
        "delegation.token.secret.key=a-secret-of-this-suite".to_owned(),
    ];
    for name in ["expired", "elsewhere"] {
        settings.push(format!("listener.name.{name}.ssl.keystore.type=PEM"));
        let store = file(&format!("{name}.both"));
        settings.push(format!(
            "listener.name.{name}.ssl.keystore.location={store}"
        ));
    }
    let modules = "org.apache.kafka.common.security";
    for door in doors
        .iter()
        .filter(|door| door.protocol.starts_with("SASL"))
    {
        let plain =
            format!("{modules}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";");
        let scram = format!("{modules}.scram.ScramLoginModule required;");
        let bearer = format!(
            "{modules}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"broker\";"
        );
        for (mechanism, module) in [
            ("plain", &plain),
            ("scram-sha-256", &scram),
            ("scram-sha-512", &scram),
            ("oauthbearer", &bearer),
        ] {
            if door.name == "scram_only" && mechanism != "scram-sha-512" {
                continue;
            }
            settings.push(format!(
                "listener.name.{}.{mechanism}.sasl.jaas.config={module}",
                door.name
            ));
        }
    }
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let user =
        |hash: &str| format!("--add-scram SCRAM-SHA-{hash}=[name={USER},password={PASSWORD}]");
    Ok(Site::new(Kind::Kafka, Path::new(""))?
        .with(&settings)
        .told("KAFKA_EXTRA_LISTENERS", listeners.join(","))
        .told(
            "KAFKA_FORMAT_ARGS",
            format!("{} {}", user("256"), user("512")),
        ))
}
