//! What can go wrong between a program and a broker, and whether trying again can help.

use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::EncodeError;

use crate::TopicPartition;

/// Why a call did not give its answer.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::Error;
/// # world::run(async |cluster| {
/// match cluster.topic("no such topic").await {
///     Ok(_) => unreachable!("that is no topic's name"),
///     Err(error) if error.is_retriable() => println!("may pass: {error}"),
///     Err(Error::Broker { code, what }) => println!("{what}: {code:?}"),
///     Err(error) => return Err(error),
/// }
/// # Ok(()) });
/// ```
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No connection could be made.
    #[error("can't connect to {address}: {reason}")]
    Connect {
        /// `host:port` as given.
        address: String,
        /// The machine's words.
        reason: String,
    },
    /// The connection ended before the answer came: whether the request took effect is unknown.
    #[error("the connection to {address} ended before the answer came: {reason}")]
    Disconnected {
        /// The broker's address.
        address: String,
        /// What ended it.
        reason: String,
    },
    /// The connection was ended, because what came on it is no answer to what was asked: whether the
    /// request took effect is unknown.
    #[error("the connection to {address} was ended: {reason}")]
    Garbled {
        /// The broker's address.
        address: String,
        /// What came.
        reason: String,
    },
    /// Broker and client don't come to speak TLS with each other, or speak it no longer.
    #[error("no TLS with {address}: {reason}")]
    Tls {
        /// The broker's address.
        address: String,
        /// What kind of problem it is.
        problem: TlsProblem,
        /// What exactly it is.
        reason: String,
    },
    /// The broker does not accept who the client says it is, or does not prove who it is itself.
    #[error("{address} does not let this client in by {mechanism}: {reason}")]
    Authentication {
        /// The broker's address.
        address: String,
        /// The SASL mechanism.
        mechanism: &'static str,
        /// The broker's words, or what it did wrong.
        reason: String,
    },
    /// No answer before the deadline: whether the request took effect is unknown.
    #[error("no answer from {address} within {timeout_ms} ms")]
    Timeout {
        /// The broker's address.
        address: String,
        /// How long was waited.
        timeout_ms: u64,
    },
    /// The broker sent bytes that are not an answer to what was asked.
    #[error("{address} sent an answer that can't be read: {reason}")]
    Malformed {
        /// The broker's address.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Broker and client have no version of an API in common.
    #[error("the broker serves {api} at versions {broker:?}, this client speaks {client:?}")]
    Unsupported {
        /// The API's name.
        api: &'static str,
        /// The broker's range; `None` when it does not list the API at all.
        broker: Option<(i16, i16)>,
        /// This client's range; `None` when it does not speak the API.
        client: Option<(i16, i16)>,
    },
    /// The request can't be said at the version that both sides speak.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// None of the brokers that are known or were named could be asked.
    #[error("no broker can be asked: {reasons}")]
    NoBroker {
        /// What each of them said.
        reasons: String,
    },
    /// A record was given up.
    #[error(
        "a record for {partition} was given up, {}: {reason}",
        if *.may_be_stored { "it may be stored" } else { "it is not stored" }
    )]
    Undelivered {
        /// Its topic and partition.
        partition: String,
        /// Whether an attempt may have stored it.
        may_be_stored: bool,
        /// What the last attempt said.
        reason: String,
    },
    /// A log lost records that were read of it: a replica that lacked them was made leader (KIP-320).
    #[error(
        "the log of {partition} was truncated below offset {offset}, where it was to be read on{}: \
         seek to where to go on",
        match *.diverges_at { Some(at) => format!("; from {at} on it is another"), None => String::new() }
    )]
    Truncated {
        /// The partition.
        partition: TopicPartition,
        /// The offset that was to be read next.
        offset: i64,
        /// The first offset from which on the log is another one, if the leader knows it.
        diverges_at: Option<i64>,
    },
    /// Something is larger than its limit.
    #[error("{what} takes {bytes} bytes, the limit is {limit} (request_bytes_max)")]
    TooLarge {
        /// What.
        what: String,
        /// Its size in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Options contradict each other.
    #[error("the options can't be followed: {reason}")]
    Options {
        /// Which, and what to choose.
        reason: String,
    },
    /// The producer or consumer was closed.
    #[error("it was closed before")]
    Closed,
    /// The broker answered with an error code.
    #[error("the broker refused {what}: {code}")]
    Broker {
        /// What was asked.
        what: String,
        /// Kafka's code.
        code: ErrorCode,
    },
}

impl Error {
    /// `true` when the same call may succeed later without the caller changing anything.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::Disconnected { .. }
            | Self::Garbled { .. }
            | Self::Timeout { .. }
            | Self::NoBroker { .. } => true,
            Self::Tls { problem, .. } => problem.may_pass(),
            // What was given up was tried again for long enough, and may be stored.
            Self::Authentication { .. }
            | Self::Malformed { .. }
            | Self::Unsupported { .. }
            | Self::Encode(_)
            | Self::Undelivered { .. }
            | Self::Truncated { .. }
            | Self::TooLarge { .. }
            | Self::Options { .. }
            | Self::Closed => false,
            Self::Broker { code, .. } => code.is_retriable(),
        }
    }
}

/// What stands between a client and a broker that were to speak TLS.
///
/// ```
/// # use millrace_client::{Error, TlsProblem};
/// fn advice(error: &Error) -> Option<&'static str> {
///     match error {
///         Error::Tls { problem: TlsProblem::Expired, .. } => Some("renew the broker's certificate"),
///         Error::Tls { problem: TlsProblem::BrokerSpeaksPlain, .. } => Some("leave TLS out"),
///         _ => None,
///     }
/// }
/// assert_eq!(advice(&Error::Closed), None);
/// ```
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
    fn may_pass(self) -> bool {
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
