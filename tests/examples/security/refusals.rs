//! What is refused: each for its own reason, which is said at once, and never tried again.

use millrace_client::{Cluster, Error, Sasl, Security, TlsOptions, TlsProblem};

use crate::token::bearer;
use crate::{PASSWORD, Stage, USER, both, encrypted, known, say};

/// What an error must be.
enum Expect {
    Tls(TlsProblem),
    /// The mechanism is refused, with these words.
    Authentication(&'static str),
    /// The connection ends without a word, which the advice explains.
    HungUp,
}

/// What it is, the listener, how it is tried, what must come of it.
type Case = (&'static str, &'static str, Security, Expect);

/// Not what the users of the suite know.
const WRONG: &str = "not-it";

/// Runs all of it.
pub(crate) async fn all(stage: &Stage) -> Result<(), String> {
    for (name, listener, security, expected) in of_tls(stage).into_iter().chain(of_sasl(stage)) {
        let options = stage.options(listener, security)?;
        let connected = stage.within(Cluster::connect(&stage.host, options)).await?;
        let Err(error) = connected else {
            return Err(format!("{name}: it was let in"));
        };
        if !is(&error, &expected) {
            return Err(format!("{name}: {error} ({error:?})"));
        }
        let shown = format!("{error} {error:?}");
        if shown.contains(PASSWORD) || shown.contains(WRONG) {
            return Err(format!("{name}: the error shows a password"));
        }
        let advice = error.advice().unwrap_or_default();
        say(&format!(
            "refused {name}: {error}\n        what to do: {advice}"
        ));
    }
    Ok(())
}

fn of_tls(stage: &Stage) -> Vec<Case> {
    let ca = || encrypted(stage.tls("ca.pem"));
    let tls = Expect::Tls;
    let by_name = encrypted(TlsOptions {
        server_name: Some("x.example".to_owned()),
        ..stage.tls("ca.pem")
    });
    let foreign = encrypted(stage.tls("other-ca.pem"));
    let machine = encrypted(TlsOptions::default());
    let missing = encrypted(stage.tls("none.pem"));
    let none = Security::default();
    let unsealed = known(Sasl::plain(USER, PASSWORD));
    vec![
        ("expired", "expired", ca(), tls(TlsProblem::Expired)),
        (
            "another name",
            "elsewhere",
            ca(),
            tls(TlsProblem::WrongName),
        ),
        (
            "a name not asked for",
            "ssl",
            by_name,
            tls(TlsProblem::WrongName),
        ),
        (
            "foreign authority",
            "ssl",
            foreign,
            tls(TlsProblem::UnknownAuthority),
        ),
        (
            "the machine's authorities",
            "ssl",
            machine,
            tls(TlsProblem::UnknownAuthority),
        ),
        (
            "no client certificate",
            "mtls",
            ca(),
            tls(TlsProblem::ClientCertificate),
        ),
        ("no such file", "ssl", missing, tls(TlsProblem::Files)),
        (
            "TLS to a port without",
            "plaintext",
            ca(),
            tls(TlsProblem::HungUp),
        ),
        (
            "no TLS to a port with",
            "ssl",
            none,
            tls(TlsProblem::BrokerSpeaksTls),
        ),
        (
            "SASL without TLS",
            "sasl_ssl",
            unsealed,
            tls(TlsProblem::BrokerSpeaksTls),
        ),
    ]
}

fn of_sasl(stage: &Stage) -> Vec<Case> {
    let says = Expect::Authentication;
    let failed = || says("SASL_AUTHENTICATION_FAILED");
    let plain = known(Sasl::plain(USER, WRONG));
    let scram = known(Sasl::scram_sha_256(USER, WRONG));
    let unknown = both(stage.tls("ca.pem"), Sasl::scram_sha_512("mallory", WRONG));
    let old_token = known(bearer(&stage.host, USER, -30));
    let no_token = known(Sasl::oauth_bearer(|| async {
        Err("the vault is closed".to_owned())
    }));
    let right = || known(Sasl::plain(USER, PASSWORD));
    let none = Security::default();
    vec![
        ("wrong password by PLAIN", "sasl", plain, failed()),
        ("wrong password by SCRAM", "sasl", scram, failed()),
        ("unknown user", "sasl_ssl", unknown, failed()),
        ("old token", "sasl", old_token, says("invalid_token")),
        ("no token", "sasl", no_token, says("the vault is closed")),
        (
            "mechanism not enabled",
            "scram_only",
            right(),
            says("SCRAM-SHA-512"),
        ),
        (
            "SASL to a port without",
            "plaintext",
            right(),
            says("without SASL"),
        ),
        ("no SASL to a port with", "sasl", none, Expect::HungUp),
    ]
}

fn is(error: &Error, expected: &Expect) -> bool {
    match expected {
        // One that may be a restart is told among what each broker said.
        Expect::Tls(TlsProblem::HungUp) => error.to_string().contains("hung up"),
        Expect::Tls(wanted) => {
            matches!(error, Error::Tls { problem, .. } if problem == wanted)
                && !error.is_retriable()
        }
        Expect::Authentication(words) => {
            matches!(error, Error::Authentication { reason, .. } if reason.contains(words))
                && !error.is_retriable()
        }
        Expect::HungUp => {
            let advice = error.advice().unwrap_or_default();
            matches!(error, Error::NoBroker { .. }) && advice.contains("SASL")
        }
    }
}
