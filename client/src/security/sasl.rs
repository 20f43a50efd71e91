//! Who the client is, and how it proves that.
//!
//! What always holds: `Debug` shows mechanism and user name, never a password or a token.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

/// A future that a [`TokenSource`] gives.
pub type TokenFuture = Pin<Box<dyn Future<Output = Result<Token, String>> + Send>>;

/// A bearer token, as OAUTHBEARER sends it.
///
/// ```
/// # use millrace_client::Token;
/// let mut token = Token::new("eyJhbGciOi");
/// token.extensions.push(("logicalCluster".to_owned(), "orders".to_owned()));
/// // It is shown nowhere.
/// assert!(!format!("{token:?}").contains("eyJ"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// The token itself: for Kafka's brokers a JWT in its compact form.
    pub value: String,
    /// What goes along with it, each as name and value (KIP-342).
    pub extensions: Vec<(String, String)>,
}

impl Token {
    /// A token without extensions.
    pub fn new(value: impl Into<String>) -> Self {
        Self {
            value: value.into(),
            extensions: Vec::new(),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").finish_non_exhaustive()
    }
}

/// Where tokens come from. Asked once for each connection, and again each time that a connection
/// authenticates anew. A closure that returns a future of a token, or of the reason why there is none,
/// is one.
///
/// ```
/// # use millrace_client::{Sasl, Token};
/// let sasl = Sasl::oauth_bearer(|| async { Ok(Token::new("asked of whoever issues them")) });
/// assert_eq!(sasl.mechanism(), "OAUTHBEARER");
/// ```
pub trait TokenSource: Send + Sync {
    /// A token that is valid now.
    fn token(&self) -> TokenFuture;
}

impl<F, T> TokenSource for F
where
    F: Fn() -> T + Send + Sync,
    T: Future<Output = Result<Token, String>> + Send + 'static,
{
    fn token(&self) -> TokenFuture {
        Box::pin(self())
    }
}

/// A mechanism with what it needs to know (KIP-43, KIP-84, KIP-255). Cheap to clone.
///
/// ```
/// # use millrace_client::{ClusterOptions, Sasl};
/// let mut options = ClusterOptions::new(["broker.example.com:9093"]);
/// options.connection.security.sasl = Some(Sasl::plain("alice", "her password"));
/// ```
#[derive(Clone)]
pub struct Sasl(pub(crate) Mechanism);

#[derive(Clone)]
pub(crate) enum Mechanism {
    Plain(Arc<Credentials>),
    ScramSha256(Arc<Credentials>),
    ScramSha512(Arc<Credentials>),
    OAuthBearer(Arc<dyn TokenSource>),
}

/// A name with its password.
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) password: String,
}

impl Sasl {
    /// PLAIN (RFC 4616): the password goes to the broker as it is, so only over TLS is it safe.
    pub fn plain(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self(Mechanism::Plain(credentials(user, password)))
    }

    /// SCRAM-SHA-256 (RFC 5802, RFC 7677): both sides prove that they know the password.
    pub fn scram_sha_256(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self(Mechanism::ScramSha256(credentials(user, password)))
    }

    /// SCRAM-SHA-512.
    pub fn scram_sha_512(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self(Mechanism::ScramSha512(credentials(user, password)))
    }

    /// OAUTHBEARER (RFC 7628): a token for each connection.
    pub fn oauth_bearer(source: impl TokenSource + 'static) -> Self {
        Self(Mechanism::OAuthBearer(Arc::new(source)))
    }

    /// The mechanism's name, as brokers list it.
    pub fn mechanism(&self) -> &'static str {
        match &self.0 {
            Mechanism::Plain(_) => "PLAIN",
            Mechanism::ScramSha256(_) => "SCRAM-SHA-256",
            Mechanism::ScramSha512(_) => "SCRAM-SHA-512",
            Mechanism::OAuthBearer(_) => "OAUTHBEARER",
        }
    }

    fn user(&self) -> Option<&str> {
        match &self.0 {
            Mechanism::Plain(credentials)
            | Mechanism::ScramSha256(credentials)
            | Mechanism::ScramSha512(credentials) => Some(&credentials.user),
            Mechanism::OAuthBearer(_) => None,
        }
    }
}

fn credentials(user: impl Into<String>, password: impl Into<String>) -> Arc<Credentials> {
    Arc::new(Credentials {
        user: user.into(),
        password: password.into(),
    })
}

impl fmt::Debug for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sasl")
            .field("mechanism", &self.mechanism())
            .field("user", &self.user())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_is_not_shown() {
        let shown = [
            format!("{:?}", Sasl::plain("alice", "pencil")),
            format!("{:?}", Sasl::scram_sha_512("alice", "pencil")),
            format!("{:?}", Token::new("pencil")),
            format!(
                "{:?}",
                Sasl::oauth_bearer(|| async { Ok(Token::new("pencil")) })
            ),
        ];
        for shown in shown {
            assert!(!shown.contains("pencil"), "{shown}");
        }
        assert!(format!("{:?}", Sasl::plain("alice", "pencil")).contains("alice"));
    }
}
