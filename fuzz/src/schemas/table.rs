//! Kafka's schemas of the served messages, read from a table.
//!
//! What always holds: the table is Kafka's, not made from the code under test; a message that is
//! served and not in it is a failure.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use millrace_protocol::api::Api;

const TABLE: &str = include_str!("kafka.tsv");

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// A number of so many bytes.
    Number(usize),
    Boolean,
    Text,
    Uuid,
    Records,
    Structure,
}

/// One field.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) what: Type,
    pub(super) is_array: bool,
    pub(super) fields: Vec<Self>,
    pub(super) versions: (i16, i16),
    /// First version in which null may stand there, and the last.
    pub(super) nullable: Option<(i16, i16)>,
    pub(super) tag: Option<u32>,
}

impl Field {
    pub(super) fn is_in(&self, version: i16) -> bool {
        (self.versions.0..=self.versions.1).contains(&version)
    }

    pub(super) fn may_be_null(&self, version: i16) -> bool {
        self.nullable
            .is_some_and(|(from, to)| (from..=to).contains(&version))
    }
}

/// The fields of a message's body.
pub(super) fn fields(api: Api, is_request: bool) -> &'static [Field] {
    static MESSAGES: LazyLock<BTreeMap<(i16, bool), Vec<Field>>> = LazyLock::new(|| {
        let rows = TABLE.lines().filter(|line| !line.starts_with('#'));
        rows.map(row).collect()
    });
    let fields = MESSAGES.get(&(api.key(), is_request));
    fields.expect("every served message has its schema in the table")
}

fn row(line: &str) -> ((i16, bool), Vec<Field>) {
    let columns: Vec<&str> = line.split('\t').collect();
    let [key, kind, _, _, _, fields] = columns[..] else {
        panic!("six columns: {line}");
    };
    let mut rest = fields;
    let fields = structure(&mut rest);
    assert!(rest.is_empty(), "{line}: {rest} is left");
    ((key.parse().expect("a key"), kind == "Q"), fields)
}

/// Fields up to the closing brace, or the end.
fn structure(rest: &mut &str) -> Vec<Field> {
    let mut fields = Vec::new();
    loop {
        *rest = rest.trim_start();
        if rest.is_empty() || rest.starts_with('}') {
            return fields;
        }
        fields.push(field(rest));
    }
}

fn field(rest: &mut &str) -> Field {
    let _name = until(rest, |c| ":@?#{".contains(c));
    let mut field = Field {
        what: Type::Structure,
        is_array: false,
        fields: Vec::new(),
        versions: (0, i16::MAX),
        nullable: None,
        tag: None,
    };
    if let Some(after) = rest.strip_prefix(':') {
        let array = after.strip_prefix("[]");
        field.is_array = array.is_some();
        *rest = array.unwrap_or(after);
        field.what = match until(rest, |c| "@?#{ }".contains(c)) {
            "" => Type::Structure,
            "b" => Type::Boolean,
            "s" => Type::Text,
            "U" => Type::Uuid,
            "R" | "B" => Type::Records,
            number => Type::Number(match number {
                "i8" => 1,
                "i16" | "u16" => 2,
                "i32" => 4,
                "i64" => 8,
                other => panic!("{other} is no type"),
            }),
        };
    }
    loop {
        if let Some(after) = rest.strip_prefix('@') {
            *rest = after;
            field.versions = range(until(rest, |c| "?#{ }".contains(c)));
        } else if let Some(after) = rest.strip_prefix('?') {
            *rest = after;
            field.nullable = Some(range(until(rest, |c| "@#{ }".contains(c))));
        } else if let Some(after) = rest.strip_prefix('#') {
            *rest = after;
            let tag = until(rest, |c| "@?{ }".contains(c));
            field.tag = Some(tag.parse().expect("a tag"));
        } else if let Some(after) = rest.strip_prefix('{') {
            *rest = after;
            field.fields = structure(rest);
            *rest = rest.strip_prefix('}').expect("a structure is closed");
        } else {
            return field;
        }
    }
}

/// The text up to a character, which stays.
fn until<'a>(rest: &mut &'a str, end: impl Fn(char) -> bool) -> &'a str {
    let at = rest.find(end).unwrap_or(rest.len());
    let (text, after) = rest.split_at(at);
    *rest = after;
    text
}

/// `a+`, `a-b`, `..b`, or nothing for all.
fn range(text: &str) -> (i16, i16) {
    let number = |text: &str| text.parse().expect("a version");
    if text.is_empty() {
        (0, i16::MAX)
    } else if let Some(from) = text.strip_suffix('+') {
        (number(from), i16::MAX)
    } else if let Some(to) = text.strip_prefix("..") {
        (0, number(to))
    } else if let Some((from, to)) = text.split_once('-') {
        (number(from), number(to))
    } else {
        (number(text), number(text))
    }
}
