//! One row of the table of keys: name, type, default, check, scope, documentation; and how a
//! value's text is parsed by its row. A value that passed [`Key::parse`] is never parsed again.

use crate::error::{ConfigError, Source};

/// Type of a key, as Kafka's `ConfigDef` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`, in any case.
    Bool,
    /// Text.
    Text,
    /// A 32-bit signed integer.
    Int,
    /// A 64-bit signed integer.
    Long,
    /// A decimal number.
    Double,
    /// Items between commas; space around an item is dropped.
    List,
    /// Text that is never shown.
    Password,
}

impl Kind {
    /// Kafka's id of the type in `DescribeConfigs` (version 3 and later).
    pub const fn kafka_id(self) -> i8 {
        match self {
            Self::Bool => 1,
            Self::Text => 2,
            Self::Int => 3,
            Self::Long => 5,
            Self::Double => 6,
            Self::List => 7,
            Self::Password => 9,
        }
    }

    /// The type's name, as Kafka's documentation writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "boolean",
            Self::Text => "string",
            Self::Int => "int",
            Self::Long => "long",
            Self::Double => "double",
            Self::List => "list",
            Self::Password => "password",
        }
    }
}

/// What a value must satisfy beyond its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Nothing more.
    Any,
    /// An integer of at least this.
    AtLeast(i64),
    /// An integer between these two, both allowed.
    Between(i64, i64),
    /// -1, which means without limit, or an integer of at least this.
    UnlimitedOrAtLeast(i64),
    /// The first of these, or an integer between the others, both allowed.
    OneOrBetween(i64, i64, i64),
    /// One of these words, exactly.
    OneOf(&'static [&'static str]),
    /// A list of these words, each at most once; may be empty.
    ListOf(&'static [&'static str]),
    /// A text or list with something in it.
    NotEmpty,
    /// A list of `partition:broker`, or `*` alone; may be empty.
    Replicas,
}

/// A broker key that supplies the default of a topic key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Synonym {
    /// The broker key.
    pub key: &'static str,
    /// The broker key's value times this is the topic key's value (hours to milliseconds).
    pub factor: i64,
}

/// Where a key may be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// On a broker, at its start only.
    Broker,
    /// On a broker, at its start and while it runs; and for all brokers of a cluster together.
    ClusterWide,
    /// On a broker, at its start and while it runs; not for all brokers of a cluster together.
    PerBroker,
    /// On a topic; a broker key, the first one that is set, gives the default.
    Topic(&'static [Synonym]),
}

/// What comes of setting a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// What its documentation says.
    Full,
    /// Nothing but its default is taken: this version acts as if it were that.
    DefaultOnly,
    /// Whatever Kafka takes is taken, kept and told, and changes nothing: nobody is promised anything
    /// by it that is not kept.
    Unused,
}

/// Whose key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// Apache Kafka's, with Kafka's meaning.
    Kafka,
    /// Millrace's own.
    Millrace,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The name, as written in files.
    pub name: &'static str,
    /// The type.
    pub kind: Kind,
    /// The default as text; `None` is Kafka's null.
    pub default: Option<&'static str>,
    /// What a value must satisfy.
    pub check: Check,
    /// Where it may be set.
    pub scope: Scope,
    /// Whose key it is.
    pub maker: Maker,
    /// What comes of setting it.
    pub effect: Effect,
    /// What it does, in one line.
    pub doc: &'static str,
}

/// A parsed value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Bool(bool),
    Number(i64),
    /// The bits of a finite number.
    Double(u64),
    Text(String),
    List(Vec<String>),
}

/// The row's type says which of these may be asked; a test reads every key.
impl Value {
    pub(crate) fn number(&self) -> i64 {
        let Self::Number(number) = self else {
            unreachable!("not a number: {self:?}")
        };
        *number
    }

    pub(crate) fn bool(&self) -> bool {
        let Self::Bool(value) = self else {
            unreachable!("not a bool: {self:?}")
        };
        *value
    }

    pub(crate) fn double(&self) -> f64 {
        let Self::Double(bits) = self else {
            unreachable!("not a decimal number: {self:?}")
        };
        f64::from_bits(*bits)
    }

    pub(crate) fn into_text(self) -> String {
        let Self::Text(text) = self else {
            unreachable!("not a text: {self:?}")
        };
        text
    }

    pub(crate) fn into_list(self) -> Vec<String> {
        let Self::List(items) = self else {
            unreachable!("not a list: {self:?}")
        };
        items
    }
}

impl Key {
    /// A row for a key of Kafka's, of broker scope and without a check.
    pub(crate) const fn kafka(
        name: &'static str,
        kind: Kind,
        default: Option<&'static str>,
        doc: &'static str,
    ) -> Self {
        let (check, scope, maker) = (Check::Any, Scope::Broker, Maker::Kafka);
        Self {
            name,
            kind,
            default,
            check,
            scope,
            maker,
            effect: Effect::Full,
            doc,
        }
    }

    /// A row for a key of our own, of broker scope and without a check.
    pub(crate) const fn own(
        name: &'static str,
        kind: Kind,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        let (check, scope, maker) = (Check::Any, Scope::Broker, Maker::Millrace);
        Self {
            name,
            kind,
            default: Some(default),
            check,
            scope,
            maker,
            effect: Effect::Full,
            doc,
        }
    }

    /// The same row with a check.
    pub(crate) const fn check(self, check: Check) -> Self {
        Self { check, ..self }
    }

    /// The same row, of a key that changes while the broker runs.
    pub(crate) const fn dynamic(self) -> Self {
        Self {
            scope: Scope::ClusterWide,
            ..self
        }
    }

    /// The same row, of a key that changes while the broker runs, for each broker by itself.
    pub(crate) const fn dynamic_per_broker(self) -> Self {
        Self {
            scope: Scope::PerBroker,
            ..self
        }
    }

    /// The same row, of a key of which only the default is taken.
    pub(crate) const fn default_only(self) -> Self {
        Self {
            effect: Effect::DefaultOnly,
            ..self
        }
    }

    /// The same row, of a key that changes nothing here.
    pub(crate) const fn unused(self) -> Self {
        Self {
            effect: Effect::Unused,
            ..self
        }
    }

    /// The same row, of a topic key with these broker keys behind it.
    pub(crate) const fn topic(self, synonyms: &'static [Synonym]) -> Self {
        Self {
            scope: Scope::Topic(synonyms),
            ..self
        }
    }

    /// Broker keys behind a topic key, strongest first; none for a broker key.
    pub const fn synonyms(&self) -> &'static [Synonym] {
        match self.scope {
            Scope::Topic(synonyms) => synonyms,
            Scope::Broker | Scope::ClusterWide | Scope::PerBroker => &[],
        }
    }

    /// Whether only a start of the broker changes it.
    pub const fn is_read_only(&self) -> bool {
        matches!(self.scope, Scope::Broker)
    }

    /// Whether its value is never shown.
    pub const fn is_sensitive(&self) -> bool {
        matches!(self.kind, Kind::Password)
    }

    /// The unit of the value, read from the name, as Kafka names its keys.
    pub fn unit(&self) -> Option<&'static str> {
        let last = self
            .name
            .rsplit('.')
            .find(|word| *word != "max" && *word != "size");
        match last {
            Some("ms") => Some("milliseconds"),
            Some("minutes") => Some("minutes"),
            Some("hours") => Some("hours"),
            Some("bytes") => Some("bytes"),
            _ => None,
        }
    }

    /// What a value may be, for a person.
    pub fn allowed(&self) -> String {
        if self.effect == Effect::DefaultOnly {
            let default = self.default.unwrap_or_default();
            return format!(
                "nothing but its default, \"{default}\": it has no effect in this version of Millrace"
            );
        }
        let noun = match self.kind {
            Kind::Bool => return "true or false".to_owned(),
            Kind::Int | Kind::Long => "an integer",
            Kind::Double => "a number",
            Kind::Text | Kind::Password => "a text",
            Kind::List => "a list separated by commas",
        };
        let max = self.number_max();
        let range = match self.check {
            Check::Any => match self.kind {
                Kind::Int | Kind::Long => format!("{noun} of at most {max}"),
                Kind::Bool | Kind::Text | Kind::Double | Kind::List | Kind::Password => {
                    noun.to_owned()
                }
            },
            Check::AtLeast(min) if self.kind == Kind::Double => {
                format!("{noun} of at least {min}")
            }
            Check::AtLeast(min) => format!("{noun} from {min} to {max}"),
            Check::Between(min, max) => format!("{noun} from {min} to {max}"),
            Check::UnlimitedOrAtLeast(min) => {
                format!("-1 (no limit) or {noun} from {min} to {max}")
            }
            Check::OneOrBetween(one, min, max) => {
                format!("{one} (the codec's default) or {noun} from {min} to {max}")
            }
            Check::OneOf(words) => format!("one of {}", words.join(", ")),
            Check::ListOf(words) => format!("{noun} of {}, each at most once", words.join(", ")),
            Check::NotEmpty => format!("{noun} that is not empty"),
            Check::Replicas => format!("{noun} of partition:broker, or *"),
        };
        match self.unit() {
            Some(unit) => format!("{range} ({unit})"),
            None => range,
        }
    }

    /// Parses and checks a value. `from` goes into the error.
    pub(crate) fn parse(&self, text: &str, from: &Source) -> Result<Value, ConfigError> {
        self.parse_checked(text)
            .ok_or_else(|| self.refuse(text, self.allowed(), from))
    }

    /// Whether it takes this value.
    pub(crate) fn takes(&self, text: &str) -> bool {
        self.parse_checked(text).is_some()
    }

    /// The error for a value of this key.
    pub(crate) fn refuse(&self, value: &str, allowed: String, from: &Source) -> ConfigError {
        ConfigError::BadValue {
            key: self.name,
            value: value.to_owned(),
            allowed,
            from: from.clone(),
        }
    }

    fn parse_checked(&self, text: &str) -> Option<Value> {
        let text = text.trim();
        let value = match self.kind {
            Kind::Bool if text.eq_ignore_ascii_case("true") => Value::Bool(true),
            Kind::Bool if text.eq_ignore_ascii_case("false") => Value::Bool(false),
            Kind::Bool => return None,
            Kind::Int => Value::Number(i64::from(text.parse::<i32>().ok()?)),
            Kind::Long => Value::Number(text.parse::<i64>().ok()?),
            Kind::Double => {
                let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
                Value::Double(number?.to_bits())
            }
            Kind::Text | Kind::Password => Value::Text(text.to_owned()),
            Kind::List if text.is_empty() => Value::List(Vec::new()),
            Kind::List => Value::List(text.split(',').map(|item| item.trim().to_owned()).collect()),
        };
        (self.satisfied_by(&value) && self.acts_on(&value)).then_some(value)
    }

    /// Whether this version acts as the value says.
    fn acts_on(&self, value: &Value) -> bool {
        if self.effect != Effect::DefaultOnly {
            return true;
        }
        let as_full = Self {
            effect: Effect::Full,
            ..*self
        };
        let default = self.default.and_then(|text| as_full.parse_checked(text));
        default.as_ref() == Some(value)
    }

    fn satisfied_by(&self, value: &Value) -> bool {
        match (self.check, value) {
            (Check::AtLeast(min), Value::Number(number)) => *number >= min,
            (Check::Between(min, max), Value::Number(number)) => (min..=max).contains(number),
            (Check::AtLeast(min), Value::Double(bits)) => f64::from_bits(*bits) >= min as f64,
            (Check::Between(min, max), Value::Double(bits)) => {
                (min as f64..=max as f64).contains(&f64::from_bits(*bits))
            }
            (Check::UnlimitedOrAtLeast(min), Value::Number(number)) => {
                *number == -1 || *number >= min
            }
            (Check::OneOf(words), Value::Text(text)) => words.contains(&text.as_str()),
            (Check::ListOf(words), Value::List(items)) => items
                .iter()
                .enumerate()
                .all(|(i, item)| words.contains(&item.as_str()) && !items[..i].contains(item)),
            (Check::NotEmpty, Value::Text(text)) => !text.is_empty(),
            (Check::NotEmpty, Value::List(items)) => {
                !items.is_empty() && items.iter().all(|item| !item.is_empty())
            }
            (Check::OneOrBetween(one, min, max), Value::Number(number)) => {
                *number == one || (min..=max).contains(number)
            }
            (Check::Replicas, Value::List(items)) => {
                *items == ["*"] || items.iter().all(|item| is_replica(item))
            }
            (Check::Any, Value::List(items)) => items.iter().all(|item| !item.is_empty()),
            (Check::Any, _) => true,
            (
                _,
                Value::Bool(_)
                | Value::Number(_)
                | Value::Double(_)
                | Value::Text(_)
                | Value::List(_),
            ) => false,
        }
    }

    const fn number_max(&self) -> i64 {
        match self.kind {
            Kind::Int => i32::MAX as i64,
            Kind::Long | Kind::Bool | Kind::Text | Kind::Double | Kind::List | Kind::Password => {
                i64::MAX
            }
        }
    }
}

/// Whether a text names a replica as `partition:broker`.
fn is_replica(text: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once(':')
        .is_some_and(|(partition, broker)| is_number(partition) && is_number(broker))
}
