//! What to do about an error, for people.

use millrace_protocol::error_code::ErrorCode;

use crate::Error;

impl Error {
    /// What whoever sees it can do next; `None` where the error itself says all there is.
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Connect { .. } | Self::NoBroker { .. } => Some(
                "see that a broker runs at that address, that this machine reaches it, and whether it wants TLS or SASL",
            ),
            Self::Disconnected { .. } | Self::Garbled { .. } => Some(
                "look whether it took effect before you try again; a port that wants SASL, or speaks HTTP, ends connections so",
            ),
            Self::Tls { problem, .. } => Some(problem.advice()),
            Self::Authentication { .. } => Some(
                "look at the mechanism, the user's name, and the password or token; trying again changes nothing",
            ),
            Self::Timeout { .. } => {
                Some("look whether it took effect, then try again or allow it more time")
            }
            Self::Unsupported { .. } => Some("it takes a broker of another version"),
            Self::TooLarge { .. } => Some("send smaller records, or raise the limit"),
            Self::Undelivered { .. } => Some("look at the broker's log, then send it again"),
            Self::Broker { code, .. } => of_code(*code),
            Self::Malformed { .. }
            | Self::Encode(_)
            | Self::Options { .. }
            | Self::Truncated { .. }
            | Self::Closed => None,
        }
    }
}

fn of_code(code: ErrorCode) -> Option<&'static str> {
    let known = ADVICE.iter().find(|(codes, _)| codes.contains(&code));
    let retriable = code.is_retriable().then_some("try again in a moment");
    known.map(|(_, advice)| *advice).or(retriable)
}

/// Where there is more to say than whether to try again.
const ADVICE: &[(&[ErrorCode], &str)] = &[
    (
        &[
            ErrorCode::UnknownTopicOrPartition,
            ErrorCode::UnknownTopicId,
        ],
        "list the topics: the name may be misspelt, or the partition's number too high",
    ),
    (
        &[ErrorCode::TopicAlreadyExists],
        "choose another name, or delete that topic first",
    ),
    (
        &[ErrorCode::InvalidTopicException],
        "names take letters, digits, '.', '_' and '-', at most 249 of them",
    ),
    (
        &[ErrorCode::InvalidPartitions],
        "a topic has at least one partition, and never loses one",
    ),
    (
        &[ErrorCode::InvalidReplicationFactor],
        "it is at least 1 and at most the number of brokers",
    ),
    (
        &[ErrorCode::InvalidConfig, ErrorCode::InvalidRequest],
        "correct what the broker's words name",
    ),
    (
        &[ErrorCode::PolicyViolation],
        "the broker's operator has forbidden it",
    ),
    (
        &[ErrorCode::TopicDeletionDisabled],
        "set delete.topic.enable on the broker",
    ),
    (
        &[ErrorCode::NonEmptyGroup, ErrorCode::UnknownMemberId],
        "stop the group's members first: it has some that are alive",
    ),
    (
        &[ErrorCode::GroupSubscribedToTopic],
        "stop the members first that have subscribed to the topic",
    ),
    (
        &[ErrorCode::GroupIdNotFound],
        "list the groups: there is none of that name, or it is of another type",
    ),
    (
        &[ErrorCode::RebalanceInProgress],
        "try again once the group is stable",
    ),
    (
        &[ErrorCode::OffsetOutOfRange],
        "list the partition's offsets: that one is not in it",
    ),
    (
        &[
            ErrorCode::NotEnoughReplicas,
            ErrorCode::NotEnoughReplicasAfterAppend,
        ],
        "bring the brokers back that hold the other replicas",
    ),
    (
        &[ErrorCode::MessageTooLarge, ErrorCode::RecordListTooLarge],
        "send smaller records, or raise max.message.bytes of the topic",
    ),
    (
        &[ErrorCode::KafkaStorageError],
        "look at the broker's log: its disk failed",
    ),
    (
        &[ErrorCode::UnsupportedVersion],
        "it takes a broker of another version",
    ),
    (
        &[
            ErrorCode::TopicAuthorizationFailed,
            ErrorCode::GroupAuthorizationFailed,
            ErrorCode::ClusterAuthorizationFailed,
        ],
        "ask the cluster's administrator for that permission",
    ),
    (
        &[
            ErrorCode::SaslAuthenticationFailed,
            ErrorCode::UnsupportedSaslMechanism,
            ErrorCode::IllegalSaslState,
        ],
        "say who you are, by a mechanism that the listener takes",
    ),
    (
        &[
            ErrorCode::ElectionNotNeeded,
            ErrorCode::NoReassignmentInProgress,
        ],
        "nothing: it is as you asked",
    ),
    (
        &[ErrorCode::RequestTimedOut],
        "look whether it took effect, then try again",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_tried_again_is_said_to_be_and_no_code_has_two_advices() {
        for code in ErrorCode::ALL {
            let rows = ADVICE.iter().filter(|(codes, _)| codes.contains(code));
            assert!(rows.count() <= 1, "{code}");
            assert!(!code.is_retriable() || of_code(*code).is_some(), "{code}");
        }
    }
}
