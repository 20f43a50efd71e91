//! Writing a request's body by its schema, from JSON.
//!
//! What always holds: a field that is left out takes Kafka's default; one that the version lacks is
//! not written; null is written wherever it is asked for, allowed or not, so that a case can ask what
//! happens then.

use serde_json::Value;

use crate::batches;
use crate::schema::{Field, Kind, Message};

/// The body at a version.
pub fn body(message: &Message, version: i16, value: &Value) -> Result<Vec<u8>, String> {
    let mut writer = Writer {
        out: Vec::new(),
        all: &message.fields,
        version,
        flexible: version >= message.first_flexible,
    };
    writer.structure(&message.fields, value)?;
    Ok(writer.out)
}

/// Whether a field of this name is anywhere in a message: one body serves versions that have it in
/// different places.
fn is_anywhere(fields: &[Field], name: &str) -> bool {
    let mut fields = fields.iter();
    fields.any(|field| field.name == name || is_anywhere(&field.fields, name))
}

struct Writer<'a> {
    out: Vec<u8>,
    all: &'a [Field],
    version: i16,
    flexible: bool,
}

impl Writer<'_> {
    fn structure(&mut self, fields: &[Field], value: &Value) -> Result<(), String> {
        let Some(given) = value.as_object() else {
            return Err(format!("{value} is no structure"));
        };
        let is_known = |key: &str| fields.iter().any(|field| field.name == key);
        let mut stray = given.keys().filter(|key| !is_known(key));
        if let Some(stray) = stray.find(|key| !is_anywhere(self.all, key)) {
            return Err(format!("no version has a field {stray}"));
        }
        let mut tagged = Vec::new();
        let version = self.version;
        for field in fields.iter().filter(|field| field.is_in(version)) {
            let value = given.get(&field.name);
            if let Some(tag) = field.tag {
                if let Some(value) = value.filter(|value| **value != field.default()) {
                    tagged.push((tag, self.tag(field, value)?));
                }
                continue;
            }
            let value = value.cloned().unwrap_or_else(|| field.default());
            self.field(field, &value)
                .map_err(|reason| format!("{}: {reason}", field.name))?;
        }
        if self.flexible {
            tagged.sort();
            self.varint(tagged.len());
            for (tag, bytes) in tagged {
                self.varint(tag as usize);
                self.varint(bytes.len());
                self.out.extend(bytes);
            }
        }
        Ok(())
    }

    fn tag(&self, field: &Field, value: &Value) -> Result<Vec<u8>, String> {
        let mut inner = Self {
            out: Vec::new(),
            ..*self
        };
        inner.field(field, value)?;
        Ok(inner.out)
    }

    fn field(&mut self, field: &Field, value: &Value) -> Result<(), String> {
        if !field.is_array {
            return self.value(field, value);
        }
        if value.is_null() {
            self.len(4, None);
            return Ok(());
        }
        let list = value.as_array().ok_or(format!("{value} is no list"))?;
        self.len(4, Some(list.len()));
        list.iter()
            .try_for_each(|element| self.value(field, element))
    }

    fn value(&mut self, field: &Field, value: &Value) -> Result<(), String> {
        match field.kind {
            Kind::Structure if value.is_null() => self.out.push(0xff),
            Kind::Structure => {
                if field.nullable.is_some() && !field.is_array {
                    self.out.push(1);
                }
                self.structure(&field.fields, value)?;
            }
            Kind::Boolean => {
                let on = value.as_bool().ok_or(format!("{value} is no boolean"))?;
                self.out.push(u8::from(on));
            }
            Kind::Number(len) => self.number(len, value)?,
            Kind::Unsigned => self.number(2, value)?,
            Kind::Uuid => self.uuid(value)?,
            Kind::Text => self.bytes(2, value, "a text")?,
            Kind::Bytes => self.bytes(4, value, "bytes")?,
            Kind::Records => {
                let bytes = batches::from_json(value)?;
                self.len(4, bytes.as_ref().map(Vec::len));
                self.out.extend(bytes.unwrap_or_default());
            }
        }
        Ok(())
    }

    fn number(&mut self, len: usize, value: &Value) -> Result<(), String> {
        let number = value.as_i64().ok_or(format!("{value} is no number"))?;
        self.out.extend(&number.to_be_bytes()[8 - len..]);
        Ok(())
    }

    fn uuid(&mut self, value: &Value) -> Result<(), String> {
        let text = value.as_str().ok_or(format!("{value} is no uuid"))?;
        let bytes = batches::unhex(text).filter(|bytes| bytes.is_empty() || bytes.len() == 16);
        let mut bytes = bytes.ok_or(format!("{value} is no uuid"))?;
        bytes.resize(16, 0);
        self.out.extend(bytes);
        Ok(())
    }

    fn bytes(&mut self, len: usize, value: &Value, what: &str) -> Result<(), String> {
        if value.is_null() {
            self.len(len, None);
            return Ok(());
        }
        let bytes = batches::plain(value).ok_or(format!("{value} is not {what}"))?;
        self.len(len, Some(bytes.len()));
        self.out.extend(bytes);
        Ok(())
    }

    /// The length before a text (two bytes), bytes or an array (four), compact where that is spoken.
    fn len(&mut self, width: usize, len: Option<usize>) {
        if self.flexible {
            self.varint(len.map_or(0, |len| len + 1));
        } else {
            let len = len.map_or(-1, |len| i64::try_from(len).unwrap_or(i64::MAX));
            self.out.extend(&len.to_be_bytes()[8 - width..]);
        }
    }

    fn varint(&mut self, mut number: usize) {
        while number >= 0x80 {
            self.out.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.out.push(number as u8);
    }
}
