//! Names and values that differ from one broker to the next: put into requests, and masked in answers
//! by what they stand for.
//!
//! What always holds: the same value of one instance is masked by the same symbol, another by another;
//! so an answer that confuses two of them shows.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Texts longer than this are shortened in the record.
const TEXT_BYTES_MAX: usize = 200;
/// Fill of long names, and from how many of them on they are counted.
const FILL: char = 'x';
const FILL_MIN: usize = 20;

/// What is the same for all who ask one broker.
#[derive(Clone, Debug, Default)]
pub struct Broker {
    /// The cluster's id.
    pub cluster: String,
    /// Its log directory.
    pub log_directory: String,
    /// Its port.
    pub port: u16,
    /// Now, in milliseconds since 1970.
    pub now_ms: i64,
}

impl Broker {
    /// Where the controllers of Apache Kafka's peer listen.
    fn controller_port(&self) -> Option<u16> {
        self.port.checked_add(100)
    }
}

/// Around now: times that the broker's clock gave.
const NOW_WITHIN_MS: u64 = 10 * 24 * 3600 * 1000;

/// The names of one instance, or of what a suite shares.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// What `~` stands for.
    pub own: String,
    /// What `^` stands for.
    pub suite: String,
    /// Values that were kept, by name.
    pub saved: BTreeMap<String, Value>,
    /// Uuids that were seen in answers, in order.
    uuids: Vec<String>,
    /// Producer ids.
    producers: Vec<i64>,
}

/// A short name of a text that is the same in every run (FNV-1a).
pub fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl Names {
    /// The names of an instance of this label, with what its suite keeps.
    pub fn new(label: &str, suite: &Self) -> Self {
        Self {
            own: format!("d{:010x}-", digest(label) & 0xff_ffff_ffff),
            suite: suite.own.clone(),
            saved: suite.saved.clone(),
            ..Self::default()
        }
    }

    /// Puts names and kept values into a request.
    pub fn fill(&self, value: &Value) -> Result<Value, String> {
        Ok(match value {
            Value::String(text) => match text.strip_prefix('$') {
                Some(name) => self
                    .saved
                    .get(name)
                    .cloned()
                    .ok_or(format!("nothing was kept as {name}"))?,
                None => json!(self.filled(text)),
            },
            Value::Array(list) => list
                .iter()
                .map(|v| self.fill(v))
                .collect::<Result<_, _>>()?,
            Value::Object(object) => {
                if let Some(len) = object.get("long").and_then(Value::as_u64) {
                    let len = usize::try_from(len).unwrap_or(0);
                    let fill = len.saturating_sub(self.own.len());
                    json!(format!("{}{}", self.own, FILL.to_string().repeat(fill)))
                } else {
                    let fields = object.iter();
                    let fields = fields.map(|(k, v)| Ok((self.filled(k), self.fill(v)?)));
                    Value::Object(fields.collect::<Result<_, String>>()?)
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        })
    }

    fn filled(&self, text: &str) -> String {
        text.replace('~', &self.own).replace('^', &self.suite)
    }

    /// Whether a value names this instance or its suite anywhere.
    pub fn are_in(&self, value: &Value) -> bool {
        let text = value.to_string();
        text.contains(&self.own) || (!self.suite.is_empty() && text.contains(&self.suite))
    }

    /// An answer with symbols for what is of this run.
    pub fn mask(&mut self, broker: &Broker, value: &Value) -> Value {
        self.masked(broker, "", value)
    }

    fn masked(&mut self, broker: &Broker, field: &str, value: &Value) -> Value {
        match value {
            Value::String(text) => json!(shortened(&self.text(broker, text))),
            Value::Array(list) => list.iter().map(|v| self.masked(broker, field, v)).collect(),
            Value::Object(object) => {
                let fields = object.iter();
                let fields = fields.map(|(k, v)| (k.clone(), self.masked(broker, k, v)));
                Value::Object(fields.collect())
            }
            Value::Number(_) => match value.as_i64() {
                Some(number) => self.number(broker, field, number),
                None => value.clone(),
            },
            Value::Null | Value::Bool(_) => value.clone(),
        }
    }

    fn number(&mut self, broker: &Broker, field: &str, number: i64) -> Value {
        let apart = number.checked_sub(broker.now_ms).map(i64::unsigned_abs);
        let is_near = apart.is_some_and(|apart| apart < NOW_WITHIN_MS);
        match field {
            "Port" if number == i64::from(broker.port) => json!("<port>"),
            "Port"
                if broker
                    .controller_port()
                    .is_some_and(|port| number == i64::from(port)) =>
            {
                json!("<controller>")
            }
            "ProducerId" if number >= 0 => {
                let mut kept = self.saved.iter();
                let is_it = |(name, value): &(&String, &Value)| {
                    name.starts_with("pid") && **value == json!(number)
                };
                if let Some((name, _)) = kept.find(is_it) {
                    return json!(format!("${name}"));
                }
                let seen = self.producers.iter().position(|known| *known == number);
                let place = seen.unwrap_or_else(|| {
                    self.producers.push(number);
                    self.producers.len() - 1
                });
                json!(format!("<pid{}>", place + 1))
            }
            _ if number > 0 && is_near => json!("<time>"),
            _ => json!(number),
        }
    }

    fn text(&mut self, broker: &Broker, text: &str) -> String {
        if text.is_empty() {
            return String::new();
        }
        let kept = self.saved.iter();
        let mut kept = kept.filter(|(_, value)| value.as_str() == Some(text) && text.len() > 8);
        if let Some((name, _)) = kept.next() {
            return format!("${name}");
        }
        if text == broker.cluster {
            return "<cluster>".into();
        }
        let mut masked = text.replace(&self.own, "~");
        if !self.suite.is_empty() {
            masked = masked.replace(&self.suite, "^");
        }
        if !broker.log_directory.is_empty() {
            masked = masked.replace(&broker.log_directory, "<logdir>");
        }
        if broker.port > 0 {
            let port = broker.port;
            masked = masked.replace(&format!("127.0.0.1:{port}"), "127.0.0.1:<port>");
            if let Some(port) = broker.controller_port() {
                masked = masked.replace(&format!("127.0.0.1:{port}"), "127.0.0.1:<controller>");
            }
        }
        while let Some((at, len)) = uuid_in(&masked) {
            let uuid = masked[at..at + len].to_owned();
            let seen = self.uuids.iter().position(|known| *known == uuid);
            let place = seen.unwrap_or_else(|| {
                self.uuids.push(uuid.clone());
                self.uuids.len() - 1
            });
            masked = masked.replace(&uuid, &format!("<uuid{}>", place + 1));
        }
        masked
    }
}

/// Where a text has a uuid: 32 digits alone, or 36 characters with dashes anywhere. Uuids that cases
/// make up (more than half zeros) are left as they are.
fn uuid_in(text: &str) -> Option<(usize, usize)> {
    let is_digit = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    let bytes = text.as_bytes();
    if bytes.len() == 32 && bytes.iter().all(is_digit) && text.matches('0').count() < 16 {
        return Some((0, 32));
    }
    let windows = bytes.windows(36).enumerate();
    let mut found = windows.filter(|(_, window)| {
        window.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => is_digit(byte),
        })
    });
    found.next().map(|(at, _)| (at, 36))
}

/// A text as it is recorded: long fills counted, what is very long by its beginning and digest.
fn shortened(text: &str) -> String {
    let fills = text.chars().rev().take_while(|c| *c == FILL).count();
    if fills >= FILL_MIN {
        return format!("{}{FILL}*{fills}", &text[..text.len() - fills]);
    }
    if text.len() <= TEXT_BYTES_MAX {
        return text.to_owned();
    }
    let start: String = text.chars().take(40).collect();
    format!("{start}.. ({} bytes, {:016x})", text.len(), digest(text))
}
