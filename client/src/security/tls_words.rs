//! What a failed TLS means, said so that somebody can do something about it.

use std::io;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

use crate::TlsProblem;

/// Why TLS failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct TlsFailure {
    pub(crate) problem: TlsProblem,
    pub(crate) reason: String,
}

impl TlsFailure {
    /// The user's files can't be used.
    pub(super) fn of_files(reason: String) -> Self {
        Self {
            problem: TlsProblem::Files,
            reason,
        }
    }

    /// The broker went away.
    pub(super) fn hung_up(reason: &str) -> Self {
        Self {
            problem: TlsProblem::HungUp,
            reason: format!(
                "the broker hung up during the handshake, as a listener without TLS does: {reason}"
            ),
        }
    }

    /// The one that an error of a connection is, if it is one.
    pub(crate) fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// The same as an error of a connection.
    pub(super) fn io(self) -> io::Error {
        io::Error::other(self)
    }
}

impl From<Error> for TlsFailure {
    fn from(error: Error) -> Self {
        let problem = problem_of(&error);
        let about = if problem == TlsProblem::BrokerSpeaksPlain {
            "what the broker answered is no TLS: "
        } else if problem == TlsProblem::ClientCertificate {
            "the broker refuses this client's certificate: "
        } else if problem == TlsProblem::UnknownAuthority {
            "no authority that is trusted has signed the broker's certificate: "
        } else {
            ""
        };
        Self {
            problem,
            reason: format!("{about}{error}"),
        }
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "rustls may add kinds of errors at any time"
)]
fn problem_of(error: &Error) -> TlsProblem {
    match error {
        Error::InvalidCertificate(wrong) => match wrong {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                TlsProblem::Expired
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                TlsProblem::NotYetValid
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                TlsProblem::WrongName
            }
            // A bad signature: one of the same name is trusted, of which there was another key.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                TlsProblem::UnknownAuthority
            }
            _ => TlsProblem::Certificate,
        },
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::MessageTooLarge
            | InvalidMessage::InvalidEmptyPayload,
        ) => TlsProblem::BrokerSpeaksPlain,
        Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied,
        ) => TlsProblem::ClientCertificate,
        _ => TlsProblem::Handshake,
    }
}
