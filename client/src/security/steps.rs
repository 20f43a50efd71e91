//! What a conversation comes to, step by step.

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// These bytes to the broker.
    Say(Vec<u8>),
    /// Nothing: the broker is content, and so are we.
    Done,
}

/// Why a conversation goes no further.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Because of what the broker said.
    Broker(String),
    /// Because of what was to be said.
    Client(String),
}
