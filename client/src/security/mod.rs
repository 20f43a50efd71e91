//! What a connection begins with beyond its address: encryption, and who the client is.
//!
//! What always holds: nothing secret is shown by `Debug`, in an error or in a log; a refusal is an
//! error of its own, which trying again won't mend.

mod mechanism;
mod sasl;
mod scram;
mod steps;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
mod tls_stream;
#[cfg(feature = "tls")]
#[cfg(test)]
mod tls_tests;
#[cfg(feature = "tls")]
mod tls_words;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use millrace_host::{Connection, Host};

use crate::Error;
use mechanism::Conversation;
use sasl::Mechanism;
pub use sasl::{Sasl, Token, TokenFuture, TokenSource};
use scram::Hash;
pub(crate) use steps::{Refusal, Step};
#[cfg(feature = "tls")]
pub use tls::{Identity, Roots, Tls, TlsOptions};
#[cfg(feature = "tls")]
pub(crate) use tls_words::TlsFailure;

/// Random bytes of a nonce: 144 bits.
const NONCE_BYTES: usize = 18;

/// How a connection is protected. By default not at all: Kafka's `PLAINTEXT`.
///
/// ```
/// # use millrace_client::{Sasl, Security};
/// let security = Security {
///     sasl: Some(Sasl::scram_sha_512("alice", "her password")),
///     ..Security::default()
/// };
/// assert!(security.sasl.is_some());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Security {
    /// Encrypts, and sees that the broker is who it says: `SSL` and `SASL_SSL` listeners.
    #[cfg(feature = "tls")]
    pub tls: Option<Tls>,
    /// Says who the client is: `SASL_PLAINTEXT` and `SASL_SSL` listeners.
    pub sasl: Option<Sasl>,
}

impl Security {
    /// Agrees on TLS over a connection that was just made, if that is asked for. `name` is what was
    /// connected to.
    #[cfg_attr(
        not(feature = "tls"),
        expect(clippy::unused_async, reason = "with TLS it waits")
    )]
    pub(crate) async fn protect(
        &self,
        host: &Host,
        name: &str,
        connection: Connection,
    ) -> Result<Connection, Error> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let address = connection.peer;
            let agreed = tls.agree(host, name, connection).await;
            return agreed.map_err(|failure| Error::Tls {
                address: address.to_string(),
                problem: failure.problem,
                reason: failure.reason,
            });
        }
        // Without the feature there is nothing to agree on.
        let _: (&Host, &str) = (host, name);
        Ok(connection)
    }
}

/// Begins to say who the client is. A token is asked for, which may take its time.
pub(crate) async fn begin(sasl: &Sasl, host: &Host) -> Result<Conversation, Refusal> {
    let scram = |hash, credentials| {
        let mut nonce = [0; NONCE_BYTES];
        host.rng.fill(&mut nonce);
        Conversation::scram(hash, credentials, STANDARD.encode(nonce))
    };
    match &sasl.0 {
        Mechanism::Plain(credentials) => Conversation::plain(credentials),
        Mechanism::ScramSha256(credentials) => Ok(scram(Hash::Sha256, credentials)),
        Mechanism::ScramSha512(credentials) => Ok(scram(Hash::Sha512, credentials)),
        Mechanism::OAuthBearer(source) => {
            let token = source.token().await;
            let token =
                token.map_err(|reason| Refusal::Client(format!("there is no token: {reason}")))?;
            Conversation::oauth_bearer(&token)
        }
    }
}
