//! What a connection begins with beyond its address: encryption, and who the client is.
//!
//! What always holds: nothing secret is shown by `Debug`, in an error or in a log; a refusal is an
//! error of its own, which trying again won't mend.

pub(crate) mod authenticate;
mod mechanism;
mod sasl;
mod scram;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
mod tls_stream;
#[cfg(feature = "tls")]
#[cfg(test)]
mod tls_tests;
#[cfg(feature = "tls")]
mod tls_words;

use millrace_host::{Connection, Host};

use crate::Error;
pub use sasl::{Sasl, Token, TokenFuture, TokenSource};
#[cfg(feature = "tls")]
pub use tls::{Identity, Roots, Tls, TlsOptions};
#[cfg(feature = "tls")]
pub(crate) use tls_words::TlsFailure;

/// How a connection is protected. By default not at all: Kafka's `PLAINTEXT`.
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

/// What stands between a client and a broker that were to speak TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsProblem {
    /// The broker's certificate is no longer valid.
    Expired,
    /// It isn't valid yet, or this machine's clock is behind.
    NotYetValid,
    /// It is for other names than the one that was connected to.
    WrongName,
    /// No authority that is trusted has signed it.
    UnknownAuthority,
    /// It is broken in another way.
    Certificate,
    /// The broker refuses the client's certificate, or wants one.
    ClientCertificate,
    /// Broker and client agree on no protocol version or cipher, or one of them broke the rules.
    Handshake,
    /// The broker hung up during the handshake, as a plaintext listener does. It may be restarting.
    HungUp,
    /// What answered doesn't speak TLS.
    BrokerSpeaksPlain,
    /// The broker speaks TLS, and this connection was made without.
    BrokerSpeaksTls,
    /// The files of authorities, certificate or key can't be used.
    Files,
}

impl TlsProblem {
    /// Whether the same call may succeed later without anybody changing anything.
    pub(crate) fn may_pass(self) -> bool {
        self == Self::HungUp
    }

    /// What to do about it.
    pub(crate) fn advice(self) -> &'static str {
        match self {
            Self::Expired => "renew the broker's certificate, or set this machine's clock",
            Self::NotYetValid => "set this machine's clock, or wait until the certificate is valid",
            Self::WrongName => {
                "connect by a name that the certificate is for, or give that name as the server name"
            }
            Self::UnknownAuthority => {
                "give the certificate of the authority that signed the broker's (PEM)"
            }
            Self::Certificate => "look at the broker's certificate: openssl s_client shows it",
            Self::ClientCertificate => {
                "give a certificate, with its key, that an authority signed which the broker trusts"
            }
            Self::Handshake => {
                "compare the TLS versions and ciphers that the broker allows: 1.2 and 1.3 are spoken"
            }
            Self::HungUp | Self::BrokerSpeaksPlain => {
                "connect without TLS, or to the port of an SSL or SASL_SSL listener"
            }
            Self::BrokerSpeaksTls => "connect with TLS, or to the port of a listener without",
            Self::Files => "correct the files that are named, in PEM form",
        }
    }
}
