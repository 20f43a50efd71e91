//! One line of a dump: a kind and named values, the same for text and JSON.

use std::borrow::Cow;

/// A value of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Not there: a null key, a value of a tombstone.
    Null,
    /// Yes or no.
    Flag(bool),
    /// A number.
    Int(i64),
    /// A number that has no sign.
    Unsigned(u64),
    /// Words.
    Text(String),
    /// Bytes of somebody's record.
    Bytes(Vec<u8>),
}

/// One item of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What it is: `file`, `batch`, `record`, `damage` …
    pub kind: Cow<'static, str>,
    /// Its values by name, in order; the names are Kafka's where its own tool shows the same.
    pub fields: Vec<(&'static str, Value)>,
}

impl Line {
    pub(super) fn new(kind: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind: kind.into(),
            fields: Vec::new(),
        }
    }

    pub(super) fn with(mut self, name: &'static str, value: Value) -> Self {
        self.fields.push((name, value));
        self
    }

    pub(super) fn int(self, name: &'static str, value: impl Into<i64>) -> Self {
        self.with(name, Value::Int(value.into()))
    }

    pub(super) fn unsigned(self, name: &'static str, value: impl Into<u64>) -> Self {
        self.with(name, Value::Unsigned(value.into()))
    }

    pub(super) fn flag(self, name: &'static str, value: bool) -> Self {
        self.with(name, Value::Flag(value))
    }

    pub(super) fn text(self, name: &'static str, value: impl Into<String>) -> Self {
        self.with(name, Value::Text(value.into()))
    }

    pub(super) fn bytes(self, name: &'static str, value: Option<&[u8]>) -> Self {
        let value = value.map_or(Value::Null, |bytes| Value::Bytes(bytes.to_vec()));
        self.with(name, value)
    }
}
