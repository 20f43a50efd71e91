//! What requests about configurations name, and how they are refused.

use millrace_core::cluster::Refusal;
use millrace_protocol::error_code::ErrorCode;

/// A kind of resource, as requests name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// 2.
    Topic,
    /// 4.
    Broker,
    /// 8: the levels of a broker's loggers.
    BrokerLogger,
    /// 16.
    ClientMetrics,
    /// 32.
    Group,
}

impl Kind {
    /// All of them, by their number.
    pub(super) const ALL: [Self; 5] = [
        Self::Topic,
        Self::Broker,
        Self::BrokerLogger,
        Self::ClientMetrics,
        Self::Group,
    ];

    /// Kafka's number.
    pub(super) const fn kafka_id(self) -> i8 {
        match self {
            Self::Topic => 2,
            Self::Broker => 4,
            Self::BrokerLogger => 8,
            Self::ClientMetrics => 16,
            Self::Group => 32,
        }
    }

    /// The kind with this number.
    pub(super) fn from_kafka(id: i8) -> Result<Self, Refusal> {
        let mut all = Self::ALL.into_iter();
        all.find(|kind| kind.kafka_id() == id).ok_or_else(|| {
            let words = format!("Unknown resource type {id}.");
            refusal(ErrorCode::InvalidRequest, &words)
        })
    }
}

/// A refusal with these words.
pub(super) fn refusal(code: ErrorCode, words: &str) -> Refusal {
    Refusal {
        code,
        message: words.to_owned(),
    }
}

/// Whether the name of a broker is this one's.
pub(super) fn check_broker(name: &str, own_id: i32) -> Result<(), Refusal> {
    let words = match name.parse::<i32>() {
        Ok(id) if id == own_id => return Ok(()),
        Ok(id) => format!("Unexpected broker id, expected {own_id}, but received {id}"),
        Err(_) => "Broker id must be an integer".to_owned(),
    };
    Err(refusal(ErrorCode::InvalidRequest, &words))
}

/// One change: key, operation (0 set, 1 delete, 2 append, 3 subtract), value.
pub(super) type Change<'a> = (&'a str, i8, Option<&'a str>);
