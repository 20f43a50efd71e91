//! Kafka's schemas of the served messages, read from a table.
//!
//! What always holds: the table is Kafka's (of its message definitions), not made from the code under
//! test; a message that is served and not in it is a failure.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Value, json};

use millrace_protocol::api::Api;

const TABLE: &str = include_str!("../schemas.tsv");

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A signed number of so many bytes.
    Number(usize),
    /// An unsigned number of two bytes.
    Unsigned,
    /// One byte, 0 or 1.
    Boolean,
    /// UTF-8.
    Text,
    /// Bytes that mean nothing to the broker.
    Bytes,
    /// Record batches.
    Records,
    /// Sixteen bytes.
    Uuid,
    /// Fields.
    Structure,
}

/// One field.
#[derive(Clone, Debug)]
pub struct Field {
    /// Kafka's name.
    pub name: String,
    /// What it holds, or what each element does.
    pub kind: Kind,
    /// Whether it is an array of that.
    pub is_array: bool,
    /// The fields of a structure.
    pub fields: Vec<Self>,
    /// The first and last version that have it.
    pub versions: (i16, i16),
    /// The first version in which null may stand there, and the last.
    pub nullable: Option<(i16, i16)>,
    /// Its tag, where it is a tagged field.
    pub tag: Option<u32>,
    /// What it is when nobody says so, as the table has it; `None` is the kind's own.
    pub(crate) given: Option<String>,
}

impl Field {
    /// Whether a version has it.
    pub fn is_in(&self, version: i16) -> bool {
        (self.versions.0..=self.versions.1).contains(&version)
    }

    /// Whether null may stand there.
    pub fn may_be_null(&self, version: i16) -> bool {
        self.nullable
            .is_some_and(|(from, to)| (from..=to).contains(&version))
    }

    /// What stands there when nobody says anything: Kafka's default.
    pub fn default(&self) -> Value {
        match (self.given.as_deref(), self.kind) {
            (Some("null"), _) => Value::Null,
            _ if self.is_array => json!([]),
            (Some(given), Kind::Number(_) | Kind::Unsigned) => {
                json!(given.parse::<i64>().expect("a number's default is one"))
            }
            (Some(given), Kind::Boolean) => json!(given == "true"),
            (Some(given), _) => json!(given),
            (None, Kind::Number(_) | Kind::Unsigned) => json!(0),
            (None, Kind::Boolean) => json!(false),
            (None, Kind::Structure) => {
                let fields = self.fields.iter();
                Value::Object(fields.map(|f| (f.name.clone(), f.default())).collect())
            }
            (None, _) => json!(""),
        }
    }
}

/// One message.
#[derive(Clone, Debug)]
pub struct Message {
    /// The first version with compact encodings and tags.
    pub first_flexible: i16,
    /// The fields of its body.
    pub fields: Vec<Field>,
}

/// The schema of an API's request or answer.
pub fn message(api: Api, is_request: bool) -> &'static Message {
    static MESSAGES: LazyLock<BTreeMap<(i16, bool), Message>> = LazyLock::new(|| {
        let rows = TABLE.lines().filter(|line| !line.starts_with('#'));
        rows.map(row).collect()
    });
    let message = MESSAGES.get(&(api.key(), is_request));
    message.expect("every served message has its schema in the table")
}

fn row(line: &str) -> ((i16, bool), Message) {
    let columns: Vec<&str> = line.split('\t').collect();
    let [key, kind, _, _, flexible, fields] = columns[..] else {
        panic!("six columns: {line}");
    };
    let mut rest = fields;
    let fields = structure(&mut rest);
    assert!(rest.is_empty(), "{line}: {rest} is left");
    let first_flexible = match flexible {
        "none" => i16::MAX,
        other => range(other).0,
    };
    let message = Message {
        first_flexible,
        fields,
    };
    ((key.parse().expect("a key"), kind == "Q"), message)
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
    let mut field = Field {
        name: until(rest, ":@?#{=").to_owned(),
        kind: Kind::Structure,
        is_array: false,
        fields: Vec::new(),
        versions: (0, i16::MAX),
        nullable: None,
        tag: None,
        given: None,
    };
    if let Some(after) = rest.strip_prefix(':') {
        let array = after.strip_prefix("[]");
        field.is_array = array.is_some();
        *rest = array.unwrap_or(after);
        field.kind = kind(until(rest, "@?#={ }"));
    }
    loop {
        if let Some(after) = rest.strip_prefix('@') {
            *rest = after;
            field.versions = range(until(rest, "?#={ }"));
        } else if let Some(after) = rest.strip_prefix('?') {
            *rest = after;
            field.nullable = Some(range(until(rest, "@#={ }")));
        } else if let Some(after) = rest.strip_prefix('#') {
            *rest = after;
            let tag = until(rest, "@?={ }");
            field.tag = Some(tag.parse().expect("a tag"));
        } else if let Some(after) = rest.strip_prefix('=') {
            *rest = after;
            field.given = Some(until(rest, "{ }").to_owned());
        } else if let Some(after) = rest.strip_prefix('{') {
            *rest = after;
            field.fields = structure(rest);
            *rest = rest.strip_prefix('}').expect("a structure is closed");
        } else {
            return field;
        }
    }
}

fn kind(text: &str) -> Kind {
    match text {
        "" => Kind::Structure,
        "b" => Kind::Boolean,
        "s" => Kind::Text,
        "U" => Kind::Uuid,
        "R" => Kind::Records,
        "B" => Kind::Bytes,
        "u16" => Kind::Unsigned,
        "i8" => Kind::Number(1),
        "i16" => Kind::Number(2),
        "i32" => Kind::Number(4),
        "i64" => Kind::Number(8),
        other => panic!("{other} is no kind"),
    }
}

/// The text up to one of some characters, which stays.
fn until<'a>(rest: &mut &'a str, end: &str) -> &'a str {
    let at = rest.find(|c| end.contains(c)).unwrap_or(rest.len());
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
