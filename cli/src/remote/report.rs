//! What became of several things of which each has an outcome of its own.

use std::fmt;

use millrace_client::Error;
use serde_json::{Value, json};

use super::failure::{code_of, may_pass, say};
use super::{Failure, Form, Session, put};

/// Outcomes, told one by one.
pub(crate) struct Report<'a> {
    session: &'a Session,
    results: Vec<Value>,
    failed: usize,
    may_pass: usize,
}

impl<'a> Report<'a> {
    pub(crate) fn new(session: &'a Session) -> Self {
        Self {
            session,
            results: Vec::new(),
            failed: 0,
            may_pass: 0,
        }
    }

    /// One outcome: `row` is an object that names the thing, and says more of it if it went well.
    pub(crate) fn add(
        &mut self,
        mut row: Value,
        outcome: Result<impl fmt::Display, &Error>,
    ) -> Result<(), Failure> {
        match outcome {
            Ok(line) => {
                if self.session.form == Form::Table {
                    put(&format!("{line}\n"))?;
                }
            }
            Err(error) => {
                self.failed += 1;
                self.may_pass += usize::from(may_pass(error));
                if self.session.form == Form::Table {
                    say(&error.to_string(), error.advice());
                }
                row["error"] = error_value(error);
            }
        }
        self.results.push(row);
        Ok(())
    }

    /// Ends it: an error when one of the outcomes was.
    pub(crate) fn end(self) -> Result<(), Failure> {
        if self.session.form == Form::Json {
            put(&format!("{}\n", json!({"results": self.results})))?;
        }
        if self.failed > 0 {
            return Err(Failure::said(self.failed == self.may_pass));
        }
        Ok(())
    }
}

/// An error for programs.
pub(crate) fn error_value(error: &Error) -> Value {
    let code = Some(code_of(error)).filter(|code| !code.is_empty());
    json!({
        "code": code,
        "message": error.to_string(),
        "retriable": may_pass(error),
        "advice": error.advice(),
    })
}
