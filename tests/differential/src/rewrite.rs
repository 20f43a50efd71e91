//! Changing one field of a message's bytes, by its schema, for the test that a change is seen.
//!
//! What always holds: whatever isn't changed is copied as it stands, byte for byte; bytes that the
//! schema can't read are left alone.

use crate::schema::{Field, Kind, Message};

/// One place that holds a value, as whoever may change it sees it.
#[derive(Debug)]
pub struct Place<'a> {
    /// Its path, with `[]` behind lists.
    pub path: &'a str,
    /// Its field.
    pub field: &'a Field,
    /// Its bytes without a length; a list's are none. `None` is null.
    pub value: Option<&'a [u8]>,
    /// How many elements a list has.
    pub elements: Option<usize>,
}

/// What becomes of a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// These bytes, the length of a text or of bytes not among them.
    Bytes(Vec<u8>),
    /// Null, in place of a text or of bytes.
    Null,
    /// A list without its first element.
    WithoutFirst,
    /// A list without elements.
    Emptied,
}

/// The body with its places changed as `change` says, each asked for in order; `None` where the bytes
/// can't be read.
pub fn rewrite(
    message: &Message,
    version: i16,
    body: &[u8],
    change: &mut dyn FnMut(&Place<'_>) -> Option<Change>,
) -> Option<Vec<u8>> {
    let mut copier = Copier {
        rest: body,
        out: Vec::new(),
        version,
        flexible: version >= message.first_flexible,
        path: String::new(),
        change,
    };
    copier.structure(&message.fields)?;
    copier.rest.is_empty().then_some(copier.out)
}

struct Copier<'a, 'c> {
    rest: &'a [u8],
    out: Vec<u8>,
    version: i16,
    flexible: bool,
    path: String,
    change: &'c mut dyn FnMut(&Place<'_>) -> Option<Change>,
}

impl<'a> Copier<'a, '_> {
    fn structure(&mut self, fields: &[Field]) -> Option<()> {
        let version = self.version;
        let present = || fields.iter().filter(|field| field.is_in(version));
        for field in present().filter(|field| field.tag.is_none()) {
            self.field(field)?;
        }
        if !self.flexible {
            return Some(());
        }
        let count = self.varint()?;
        write_varint(&mut self.out, count);
        for _ in 0..count {
            let tag = self.varint()?;
            let len = self.varint()?;
            let value = self.take(len)?;
            write_varint(&mut self.out, tag);
            let known = present().find(|field| field.tag.is_some_and(|t| t as usize == tag));
            let value = match known {
                None => value.to_vec(),
                Some(field) => {
                    let outer = (self.rest, std::mem::take(&mut self.out));
                    self.rest = value;
                    self.field(field)?;
                    let inner = std::mem::replace(&mut self.out, outer.1);
                    self.rest = outer.0;
                    inner
                }
            };
            write_varint(&mut self.out, value.len());
            self.out.extend(value);
        }
        Some(())
    }

    fn field(&mut self, field: &Field) -> Option<()> {
        let outer = self.path.len();
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(&field.name);
        let done = if field.is_array {
            self.path.push_str("[]");
            self.array(field)
        } else {
            self.value(field)
        };
        self.path.truncate(outer);
        done
    }

    fn array(&mut self, field: &Field) -> Option<()> {
        let len = self.len(4)?;
        let change = self.ask(field, len.map(|_| &[][..]), len);
        let Some(len) = len else {
            self.write_len(4, None);
            return Some(());
        };
        let left_out = match change {
            Some(Change::WithoutFirst) => len.min(1),
            Some(Change::Emptied) => len,
            Some(Change::Bytes(_) | Change::Null) | None => 0,
        };
        self.write_len(4, Some(len - left_out));
        for place in 0..len {
            let before = self.out.len();
            self.value(field)?;
            if place < left_out {
                self.out.truncate(before);
            }
        }
        Some(())
    }

    fn value(&mut self, field: &Field) -> Option<()> {
        match field.kind {
            Kind::Structure => {
                if field.nullable.is_some() && !field.is_array {
                    let there = self.take(1)?[0];
                    self.out.push(there);
                    if there != 1 {
                        return Some(());
                    }
                }
                self.structure(&field.fields)
            }
            Kind::Boolean => self.fixed(field, 1),
            Kind::Number(len) => self.fixed(field, len),
            Kind::Unsigned => self.fixed(field, 2),
            Kind::Uuid => self.fixed(field, 16),
            Kind::Text => self.lengthy(field, 2),
            Kind::Bytes | Kind::Records => self.lengthy(field, 4),
        }
    }

    fn fixed(&mut self, field: &Field, len: usize) -> Option<()> {
        let value = self.take(len)?;
        match self.ask(field, Some(value), None) {
            Some(Change::Bytes(changed)) if changed.len() == len => self.out.extend(changed),
            _ => self.out.extend(value),
        }
        Some(())
    }

    fn lengthy(&mut self, field: &Field, width: usize) -> Option<()> {
        let value = match self.len(width)? {
            Some(len) => Some(self.take(len)?),
            None => None,
        };
        let changed = match self.ask(field, value, None) {
            Some(Change::Bytes(changed)) => Some(changed),
            Some(Change::Null) => None,
            Some(Change::WithoutFirst | Change::Emptied) | None => value.map(<[u8]>::to_vec),
        };
        self.write_len(width, changed.as_ref().map(Vec::len));
        self.out.extend(changed.unwrap_or_default());
        Some(())
    }

    fn ask(
        &mut self,
        field: &Field,
        value: Option<&[u8]>,
        elements: Option<usize>,
    ) -> Option<Change> {
        (self.change)(&Place {
            path: &self.path,
            field,
            value,
            elements,
        })
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<usize> {
        let mut number = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.take(1)?[0];
            number |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// A length, of which the inner `None` is null.
    #[expect(
        clippy::option_option,
        reason = "the outer one says that the bytes end"
    )]
    fn len(&mut self, width: usize) -> Option<Option<usize>> {
        if self.flexible {
            return self.varint().map(|len| len.checked_sub(1));
        }
        let bytes = self.take(width)?;
        if bytes[0] & 0x80 != 0 {
            return Some(None);
        }
        let len = bytes
            .iter()
            .fold(0, |len, byte| len << 8 | usize::from(*byte));
        Some(Some(len))
    }

    fn write_len(&mut self, width: usize, len: Option<usize>) {
        if self.flexible {
            return write_varint(&mut self.out, len.map_or(0, |len| len + 1));
        }
        match len {
            None => self.out.extend(vec![0xff; width]),
            Some(len) => {
                let bytes = (len as u64).to_be_bytes();
                self.out.extend(&bytes[bytes.len() - width..]);
            }
        }
    }
}

fn write_varint(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = u8::try_from(value & 0x7f).expect("seven bits fit into a byte");
        value >>= 7;
        if value == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use millrace_protocol::api::Api;
    use serde_json::json;

    use super::*;
    use crate::{read, schema, write};

    fn changed(version: i16, of: &str, to: &Change) -> serde_json::Value {
        let message = schema::message(Api::ListOffsets, true);
        let request = json!({"ReplicaId": -1, "Topics": [{"Name": "t", "Partitions": [
            {"PartitionIndex": 1, "Timestamp": 5}, {"PartitionIndex": 2, "Timestamp": 6}]}]});
        let body = write::body(message, version, &request).expect("it is a request");
        let mut change = |place: &Place<'_>| (place.path == of).then(|| to.clone());
        let body = rewrite(message, version, &body, &mut change).expect("it can be read");
        read::whole(message, version, &body).expect("it still can")
    }

    #[test]
    fn one_field_is_changed_and_nothing_else() {
        for version in [1, 11] {
            let name = Change::Bytes(b"another".to_vec());
            assert_eq!(
                changed(version, "Topics[].Name", &name)["Topics"][0]["Name"],
                "another"
            );
            let time = Change::Bytes(7_i64.to_be_bytes().to_vec());
            let rows = changed(version, "Topics[].Partitions[].Timestamp", &time);
            let rows = &rows["Topics"][0]["Partitions"];
            assert_eq!(
                (&rows[0]["Timestamp"], &rows[1]["PartitionIndex"]),
                (&json!(7), &json!(2))
            );
            let fewer = changed(version, "Topics[].Partitions[]", &Change::WithoutFirst);
            let rows = fewer["Topics"][0]["Partitions"].as_array();
            assert_eq!(rows.map(Vec::len), Some(1));
            let left = &fewer["Topics"][0]["Partitions"][0]["PartitionIndex"];
            assert_eq!(left, &json!(2));
            let none = changed(version, "Topics[].Partitions[]", &Change::Emptied);
            let rows = none["Topics"][0]["Partitions"].as_array();
            assert_eq!(rows.map(Vec::len), Some(0));
            assert_eq!(
                changed(version, "no such field", &name),
                changed(version, "", &name)
            );
        }
    }
}
