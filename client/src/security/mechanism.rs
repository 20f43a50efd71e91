//! What is said in a conversation of each SASL mechanism.
//!
//! What always holds: pure; a conversation ends within a few steps, whatever the broker says.

use super::sasl::{Credentials, Token};
use super::scram::{Hash, Scram};
use super::steps::{Refusal, Step};

/// What RFC 7628 puts between its parts.
const SEPARATOR: char = '\u{1}';

/// One conversation.
pub(crate) enum Conversation {
    Plain(Vec<u8>),
    Scram(Scram),
    OAuthBearer {
        first: Vec<u8>,
        /// What the broker said against the token.
        refused: Option<String>,
    },
}

impl Conversation {
    /// PLAIN (RFC 4616).
    pub(super) fn plain(credentials: &Credentials) -> Result<Self, Refusal> {
        let Credentials { user, password } = credentials;
        if user.contains('\0') || password.contains('\0') {
            return Err(Refusal::Client(
                "PLAIN can't carry a name or password with a NUL in it".to_owned(),
            ));
        }
        Ok(Self::Plain(format!("\0{user}\0{password}").into_bytes()))
    }

    /// SCRAM, begun with this nonce.
    pub(super) fn scram(hash: Hash, credentials: &Credentials, nonce: String) -> Self {
        let Credentials { user, password } = credentials;
        Self::Scram(Scram::new(hash, user, password, nonce))
    }

    /// OAUTHBEARER (RFC 7628, KIP-342).
    pub(super) fn oauth_bearer(token: &Token) -> Result<Self, Refusal> {
        let refuse = |what: &str| Err(Refusal::Client(format!("OAUTHBEARER can't carry {what}")));
        if token.value.is_empty() {
            return refuse("an empty token");
        }
        // RFC 6750: what a bearer token is made of; anything else could end it early.
        if !token.value.chars().all(|c| c.is_ascii_graphic()) {
            return refuse("a token with spaces, control characters or letters beyond ASCII");
        }
        let mut first = format!("n,,{SEPARATOR}auth=Bearer {}{SEPARATOR}", token.value);
        for (name, value) in &token.extensions {
            let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphabetic());
            let is_value = value
                .chars()
                .all(|c| matches!(c, ' '..='~' | '\t' | '\r' | '\n'));
            if !is_name || name == "auth" || !is_value {
                return refuse(&format!("the extension {name:?}"));
            }
            first.extend([name.as_str(), "=", value.as_str()]);
            first.push(SEPARATOR);
        }
        first.push(SEPARATOR);
        Ok(Self::OAuthBearer {
            first: first.into_bytes(),
            refused: None,
        })
    }

    /// What is said first.
    pub(crate) fn first(&self) -> Vec<u8> {
        match self {
            Self::Plain(first) | Self::OAuthBearer { first, .. } => first.clone(),
            Self::Scram(scram) => scram.first(),
        }
    }

    /// What is said to this.
    pub(crate) fn next(&mut self, said: &[u8]) -> Result<Step, Refusal> {
        match self {
            // PLAIN's answer has no words; what a broker may say beyond is nothing to us.
            Self::Plain(_) => Ok(Step::Done),
            Self::Scram(scram) => scram.next(said),
            Self::OAuthBearer { refused, .. } => {
                if said.is_empty() && refused.is_none() {
                    return Ok(Step::Done);
                }
                if let Some(refused) = refused {
                    return Err(Refusal::Broker(format!("it says {refused}")));
                }
                // Its words come with an answer that isn't refused yet (RFC 7628, section 3.2.3): the
                // refusal itself follows a single separator.
                *refused = Some(shown(said));
                Ok(Step::Say(SEPARATOR.to_string().into_bytes()))
            }
        }
    }

    /// What the broker said before it refused, if it did.
    pub(crate) fn said_before(&self) -> Option<&str> {
        match self {
            Self::OAuthBearer { refused, .. } => refused.as_deref(),
            Self::Plain(_) | Self::Scram(_) => None,
        }
    }
}

/// A broker's words, as far as people need them.
fn shown(said: &[u8]) -> String {
    const SHOWN_MAX: usize = 256;
    String::from_utf8_lossy(&said[..said.len().min(SHOWN_MAX)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(user: &str, password: &str) -> Credentials {
        Credentials {
            user: user.to_owned(),
            password: password.to_owned(),
        }
    }

    #[test]
    fn plain_says_no_other_identity_then_name_and_password() {
        let mut plain = Conversation::plain(&known("tim", "tanstaaftanstaaf")).unwrap();
        assert_eq!(plain.first(), b"\0tim\0tanstaaftanstaaf");
        assert_eq!(plain.next(b""), Ok(Step::Done));
        assert!(Conversation::plain(&known("a\0b", "c")).is_err());
        assert!(Conversation::plain(&known("a", "b\0c")).is_err());
    }

    #[test]
    fn a_token_goes_as_in_rfc_7628_with_its_extensions_behind() {
        let token = Token::new("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==");
        let mut bearer = Conversation::oauth_bearer(&token).unwrap();
        let first = b"n,,\x01auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01";
        assert_eq!(bearer.first(), first);
        assert_eq!(bearer.next(b""), Ok(Step::Done));

        let extensions = vec![("logicalCluster".to_owned(), "lkc-1".to_owned())];
        let token = Token {
            extensions,
            ..Token::new("t")
        };
        let bearer = Conversation::oauth_bearer(&token).unwrap();
        let first = b"n,,\x01auth=Bearer t\x01logicalCluster=lkc-1\x01\x01";
        assert_eq!(bearer.first(), first);
    }

    #[test]
    fn a_refused_token_ends_with_the_broker_s_words() {
        let mut bearer = Conversation::oauth_bearer(&Token::new("t")).unwrap();
        let said = br#"{"status":"invalid_token"}"#;
        assert_eq!(bearer.next(said), Ok(Step::Say(vec![1])));
        assert!(bearer.said_before().unwrap().contains("invalid_token"));
        let refused = bearer.next(b"").unwrap_err();
        assert_eq!(
            refused,
            Refusal::Broker("it says {\"status\":\"invalid_token\"}".to_owned())
        );
    }

    #[test]
    fn a_token_that_would_end_early_is_not_sent() {
        let with = |name: &str, value: &str| Token {
            value: "t".to_owned(),
            extensions: vec![(name.to_owned(), value.to_owned())],
        };
        for token in [
            Token::new(""),
            Token::new("a b"),
            Token::new("a\u{1}b"),
            Token::new("ä"),
            with("auth", "x"),
            with("", "x"),
            with("a1", "x"),
            with("a", "x\u{1}"),
        ] {
            assert!(Conversation::oauth_bearer(&token).is_err());
        }
    }
}
