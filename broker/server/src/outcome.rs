//! What a handler gives back: a reply now, a reply later, none, or the end of the connection.
//!
//! Awaiting a handler is its *effect*: effects of one connection run one after the other. The
//! future inside [`Outcome::Wait`] is its *wait*: only for a condition on the reply. An effect that
//! was begun is run to its end even when the client hangs up; a wait is dropped then, so a wait
//! never changes anything that must not be left half done.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use millrace_host::{BoxFuture, Piece, Rope};

/// The body of a response. The connection puts length and response header in front.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    /// Encoded body: bytes and regions of files, in order.
    pub(crate) body: Rope,
    /// How much of its wait the request had asked for: a fetch for data, a member for its group.
    pub(crate) asked_wait: Duration,
}

impl Reply {
    /// A reply all of whose bytes are in memory.
    pub(crate) fn bytes(body: impl Into<Bytes>) -> Self {
        Self {
            body: vec![Piece::Bytes(body.into())],
            asked_wait: Duration::ZERO,
        }
    }

    /// How much of the body is in memory, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let bytes = |piece: &Piece| match piece {
            Piece::Bytes(bytes) => bytes.len() as u64,
            Piece::File(_) => 0,
        };
        self.body.iter().map(bytes).sum()
    }

    /// Length of the body in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.body.iter().map(Piece::len).sum()
    }
}

/// What a handler's effect ended with.
pub(crate) enum Outcome {
    /// The reply is complete.
    Ready(Reply),
    /// The reply comes when a condition is met. It has its own deadline inside.
    Wait(BoxFuture<'static, Reply>),
    /// The request asked for no reply, and succeeded.
    NoReply,
}

impl Outcome {
    /// A reply that is complete and in memory.
    pub(crate) fn bytes(body: impl Into<Bytes>) -> Self {
        Self::Ready(Reply::bytes(body))
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(reply) => f.debug_tuple("Ready").field(&reply.len()).finish(),
            Self::Wait(_) => f.write_str("Wait"),
            Self::NoReply => f.write_str("NoReply"),
        }
    }
}

/// Why a connection is ended by the broker. Each reason has its own counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum CloseReason {
    /// A frame length that is negative, too short for a header or above the limit.
    FrameLength,
    /// A request that did not arrive whole in time, the wait for room in the budget included.
    ReadTimeout,
    /// No room for the answer within the request's time: others' answers hold the budget.
    NoAnswerRoom,
    /// No such API here, or not in that version.
    Unsupported,
    /// Header or body cannot be read as the API and version say.
    Unparsable,
    /// A request without a reply (`acks=0`) that failed: closing is the only way to say so.
    FailedWithoutReply,
    /// No request for `connections.max.idle.ms`.
    Idle,
    /// The client did not take its replies in time.
    SendTimeout,
    /// More connections than allowed, in all or from one address.
    TooManyConnections,
    /// The client went away, or the machine cut the connection.
    PeerGone,
    /// The broker stops.
    Stopping,
    /// A file region came up short after its length was promised, or another fault of ours.
    Internal,
}

impl CloseReason {
    /// Every reason, in the order of their declaration.
    pub(crate) const ALL: [Self; 12] = [
        Self::FrameLength,
        Self::ReadTimeout,
        Self::NoAnswerRoom,
        Self::Unsupported,
        Self::Unparsable,
        Self::FailedWithoutReply,
        Self::Idle,
        Self::SendTimeout,
        Self::TooManyConnections,
        Self::PeerGone,
        Self::Stopping,
        Self::Internal,
    ];

    /// The value of the `reason` label of the metric.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::FrameLength => "frame_length",
            Self::ReadTimeout => "read_timeout",
            Self::NoAnswerRoom => "no_answer_room",
            Self::Unsupported => "unsupported",
            Self::Unparsable => "unparsable",
            Self::FailedWithoutReply => "failed_without_reply",
            Self::Idle => "idle",
            Self::SendTimeout => "send_timeout",
            Self::TooManyConnections => "too_many_connections",
            Self::PeerGone => "peer_gone",
            Self::Stopping => "stopping",
            Self::Internal => "internal",
        }
    }

    /// Whether the client (or an operator) did something worth a log line.
    pub(crate) fn is_notable(self) -> bool {
        !matches!(self, Self::Idle | Self::PeerGone | Self::Stopping)
    }
}

/// Ends the connection, after the replies to the requests before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Close {
    /// For the counter.
    pub(crate) reason: CloseReason,
    /// For the log line: what happened, to what. Foreign text in it must be escaped.
    pub(crate) detail: Cow<'static, str>,
}

impl Close {
    /// Ends the connection for `reason`.
    pub(crate) fn new(reason: CloseReason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            reason,
            detail: detail.into(),
        }
    }

    /// The body cannot be read as its API and version say.
    pub(crate) fn unparsable(error: impl fmt::Display) -> Self {
        Self::new(CloseReason::Unparsable, error.to_string())
    }

    /// A request that asked for no reply failed.
    pub(crate) fn failed_without_reply(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(CloseReason::FailedWithoutReply, detail)
    }
}
