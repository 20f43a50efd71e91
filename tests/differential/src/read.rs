//! Reading an answer's body by its schema, into JSON.
//!
//! What always holds: all bytes are read, or it is an error; a field that is at Kafka's default is left
//! out, so that what is recorded is what says something; error codes go by number and name.

use serde_json::{Map, Value, json};

use crate::batches;
use crate::schema::{Field, Kind, Message};

/// A body of a version, without what is at its default, and with names of error codes.
pub fn body(message: &Message, version: i16, bytes: &[u8]) -> Result<Value, String> {
    read(message, version, bytes, false)
}

/// A body of a version with all that the version has.
pub fn whole(message: &Message, version: i16, bytes: &[u8]) -> Result<Value, String> {
    read(message, version, bytes, true)
}

fn read(message: &Message, version: i16, bytes: &[u8], is_whole: bool) -> Result<Value, String> {
    let mut reader = Reader {
        rest: bytes,
        is_whole,
        version,
        flexible: version >= message.first_flexible,
    };
    let value = reader.structure(&message.fields)?;
    match reader.rest.len() {
        0 => Ok(value),
        left => Err(format!("{left} bytes are left over")),
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    is_whole: bool,
    version: i16,
    flexible: bool,
}

impl<'a> Reader<'a> {
    fn structure(&mut self, fields: &[Field]) -> Result<Value, String> {
        let mut found = Map::new();
        let present = || fields.iter().filter(|field| field.is_in(self.version));
        let plain: Vec<&Field> = present().filter(|field| field.tag.is_none()).collect();
        let tagged: Vec<&Field> = present().filter(|field| field.tag.is_some()).collect();
        for field in plain {
            let value = self.field(field);
            self.keep(&mut found, field, value?);
        }
        if self.flexible {
            for _ in 0..self.varint()? {
                let tag = self.varint()?;
                let len = self.varint()?;
                let bytes = self.take(len)?;
                let field = tagged
                    .iter()
                    .find(|field| field.tag == u32::try_from(tag).ok());
                let Some(field) = field else {
                    found.insert(format!("tag {tag}"), json!(batches::hex(bytes)));
                    continue;
                };
                let mut inner = Self {
                    rest: bytes,
                    ..*self
                };
                let value = inner.field(field)?;
                if !inner.rest.is_empty() {
                    return Err(format!("{}: bytes are left over", field.name));
                }
                self.keep(&mut found, field, value);
            }
        }
        Ok(Value::Object(found))
    }

    fn field(&mut self, field: &Field) -> Result<Value, String> {
        let value = if field.is_array {
            self.array(field)
        } else {
            self.value(field)
        };
        value.map_err(|reason| format!("{}: {reason}", field.name))
    }

    fn array(&mut self, field: &Field) -> Result<Value, String> {
        let Some(len) = self.len(4)? else {
            return Ok(Value::Null);
        };
        let mut list = Vec::new();
        for _ in 0..len {
            list.push(self.value(field)?);
        }
        Ok(Value::Array(list))
    }

    fn value(&mut self, field: &Field) -> Result<Value, String> {
        Ok(match field.kind {
            Kind::Structure => {
                if field.nullable.is_some() && !field.is_array && self.take(1)?[0] != 1 {
                    return Ok(Value::Null);
                }
                self.structure(&field.fields)?
            }
            Kind::Boolean => json!(self.take(1)?[0] != 0),
            Kind::Number(len) => json!(self.number(len)?),
            Kind::Unsigned => json!(self.number(2)? & 0xffff),
            Kind::Uuid => {
                let bytes = self.take(16)?;
                let is_zero = bytes.iter().all(|byte| *byte == 0);
                json!(if is_zero {
                    String::new()
                } else {
                    batches::hex(bytes)
                })
            }
            Kind::Text => match self.len(2)? {
                None => Value::Null,
                Some(len) => json!(String::from_utf8_lossy(self.take(len)?)),
            },
            Kind::Bytes => match self.len(4)? {
                None => Value::Null,
                Some(len) => batches::readable(self.take(len)?),
            },
            Kind::Records => match self.len(4)? {
                None => Value::Null,
                Some(len) => batches::to_json(self.take(len)?),
            },
        })
    }

    fn number(&mut self, len: usize) -> Result<i64, String> {
        let bytes = self.take(len)?;
        let mut wide = if bytes[0] & 0x80 == 0 {
            [0; 8]
        } else {
            [0xff; 8]
        };
        wide[8 - len..].copy_from_slice(bytes);
        Ok(i64::from_be_bytes(wide))
    }

    fn len(&mut self, width: usize) -> Result<Option<usize>, String> {
        let len = if self.flexible {
            i64::try_from(self.varint()?).unwrap_or(i64::MAX) - 1
        } else {
            self.number(width)?
        };
        if len < 0 {
            return Ok(None);
        }
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if len > self.rest.len() {
            return Err(format!("{len} elements in {} bytes", self.rest.len()));
        }
        Ok(Some(len))
    }

    fn varint(&mut self) -> Result<usize, String> {
        let mut number = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.take(1)?[0];
            number |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err("a length of more than five bytes".into())
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(format!("{len} bytes are not there"))?;
        self.rest = rest;
        Ok(taken)
    }

    /// Keeps a value that says something.
    fn keep(&self, found: &mut Map<String, Value>, field: &Field, value: Value) {
        if self.is_whole {
            found.insert(field.name.clone(), value);
            return;
        }
        if value == field.default() {
            return;
        }
        let named = field.name.ends_with("ErrorCode");
        let value = match value.as_i64().filter(|_| named) {
            Some(code) => json!(crate::code(code)),
            None => value,
        };
        found.insert(field.name.clone(), value);
    }
}
