//! Why a command ends without having done what it was asked for.

use std::fmt;
use std::io::{self, Write};

use millrace_client::Error;

/// Something was refused, or is not there.
const REFUSED: u8 = 1;
/// The command line is refused.
const USAGE: u8 = 2;
/// It may go better later.
const PASSING: u8 = 3;

/// Why, and what to do.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    /// Nothing when it was said already, or nobody listens any more.
    what: Option<String>,
    next: Option<String>,
}

impl Failure {
    /// The command line asks for what can't be.
    pub(crate) fn usage(what: impl fmt::Display) -> Self {
        Self::of(USAGE, what)
    }

    /// Something is not as it must be.
    pub(crate) fn refused(what: impl fmt::Display) -> Self {
        Self::of(REFUSED, what)
    }

    /// Several things went wrong, each of which was said.
    pub(crate) fn said(all_may_pass: bool) -> Self {
        Self {
            code: if all_may_pass { PASSING } else { REFUSED },
            what: None,
            next: None,
        }
    }

    fn of(code: u8, what: impl fmt::Display) -> Self {
        Self {
            code,
            what: Some(what.to_string()),
            next: None,
        }
    }

    /// The same with what to do about it.
    pub(crate) fn advise(mut self, next: impl fmt::Display) -> Self {
        self.next = Some(next.to_string());
        self
    }

    /// Says it on standard error.
    pub(crate) fn tell(&self) {
        if let Some(what) = &self.what {
            say(what, self.next.as_deref());
        }
    }

    /// Whether whoever reads standard output has closed it.
    pub(crate) fn nobody_listens(&self) -> bool {
        self.code == 0
    }

    /// What the process ends with.
    pub(crate) fn code(&self) -> u8 {
        self.code
    }
}

/// One error, and what to do about it.
pub(crate) fn say(what: &str, next: Option<&str>) {
    let next = next.map_or_else(String::new, |next| format!("  what to do: {next}\n"));
    let text = format!("millrace: {what}\n{next}");
    // If standard error is closed there is nobody to tell.
    drop(io::stderr().lock().write_all(text.as_bytes()));
}

/// Whether the same command may succeed later though nobody does anything about it. A topic that isn't
/// there is none that is being made: who makes one waits for it.
pub(crate) fn may_pass(error: &Error) -> bool {
    error.is_retriable() && code_of(error) != "UNKNOWN_TOPIC_OR_PARTITION"
}

/// Kafka's name for what a broker refused with; nothing for an error of another kind.
pub(crate) fn code_of(error: &Error) -> &'static str {
    if let Error::Broker { code, .. } = error {
        code.name()
    } else {
        ""
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = if matches!(error, Error::Options { .. }) {
            USAGE
        } else if may_pass(&error) {
            PASSING
        } else {
            REFUSED
        };
        Self {
            code,
            next: error.advice().map(str::to_owned),
            what: Some(error.to_string()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            // Whoever reads has read enough.
            return Self {
                code: 0,
                what: None,
                next: None,
            };
        }
        Self::refused(error)
    }
}
