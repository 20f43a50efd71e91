//! Writing a message by its schema: choices and values from an input, one place broken where asked.
//!
//! What always holds: without a broken place the bytes are what Kafka's own classes read.

use bytes::BufMut;

use super::table::{Field, Type};
use crate::input::Input;

/// Elements of all arrays of one message, so that nesting stays small.
const ELEMENTS_MAX: usize = 64;

/// Writes one message.
pub(super) struct Writer {
    pub(super) out: Vec<u8>,
    version: i16,
    flexible: bool,
    /// Places that can be broken come before the one that is, if any is.
    until_broken: Option<usize>,
    broken: bool,
    elements: usize,
}

impl Writer {
    pub(super) fn new(version: i16, flexible: bool, until_broken: Option<usize>) -> Self {
        Self {
            out: Vec::new(),
            version,
            flexible,
            until_broken,
            broken: false,
            elements: 0,
        }
    }

    /// Whether something was broken.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// A whole body; where its end is the broken place, bytes are missing or left over.
    pub(super) fn message(&mut self, fields: &[Field], input: &mut Input<'_>) {
        self.structure(fields, input);
        if let Some(how) = self.breaks(input) {
            let cut = self.out.len().saturating_sub(usize::from(how / 2 % 16) + 1);
            if how & 1 == 0 {
                self.out.truncate(cut);
            } else {
                self.out.put_slice(&[how; 3][..=usize::from(how / 2 % 3)]);
            }
        }
    }

    /// Says how, if this place is the broken one.
    fn breaks(&mut self, input: &mut Input<'_>) -> Option<u8> {
        let left = self.until_broken.as_mut()?;
        if *left > 0 {
            *left -= 1;
            return None;
        }
        self.until_broken = None;
        self.broken = true;
        Some(input.byte())
    }

    fn structure(&mut self, fields: &[Field], input: &mut Input<'_>) {
        let version = self.version;
        for field in fields
            .iter()
            .filter(|f| f.tag.is_none() && f.is_in(version))
        {
            self.field(field, input);
        }
        if self.flexible {
            self.tags(fields, input);
        }
    }

    fn field(&mut self, field: &Field, input: &mut Input<'_>) {
        if !field.is_array {
            return self.value(field, input);
        }
        let choice = input.byte();
        if choice == 0xff && field.may_be_null(self.version) {
            return self.length(None, true, input);
        }
        let count = usize::from(choice % 4).min(ELEMENTS_MAX - self.elements);
        self.elements += count;
        self.length(Some(count), true, input);
        for _ in 0..count {
            self.value(field, input);
        }
    }

    fn value(&mut self, field: &Field, input: &mut Input<'_>) {
        match field.what {
            Type::Structure if !field.is_array && field.may_be_null(self.version) => {
                let is_null = input.byte() == 0xff;
                self.out.push(if is_null { 0xff } else { 1 });
                if !is_null {
                    self.structure(&field.fields, input);
                }
            }
            Type::Structure => self.structure(&field.fields, input),
            Type::Number(len) => self.fixed(len, input),
            Type::Uuid => self.fixed(16, input),
            Type::Boolean => {
                let byte = input.byte();
                let broken = self.breaks(input);
                self.out.push(broken.unwrap_or(byte & 1));
            }
            Type::Text | Type::Records => self.bytes(field, input),
        }
    }

    fn fixed(&mut self, len: usize, input: &mut Input<'_>) {
        let small = input.byte();
        let at = self.out.len();
        self.out
            .resize(at + len, if small == 0xff { 0xff } else { 0 });
        if small >= 0xe0 {
            let bytes = input.take(len);
            self.out[at..at + bytes.len()].copy_from_slice(bytes);
        } else if let Some(last) = self.out.last_mut() {
            *last = small;
        }
    }

    fn bytes(&mut self, field: &Field, input: &mut Input<'_>) {
        let is_long = field.what == Type::Records;
        let choice = input.byte();
        if choice == 0xff && !field.is_array && field.may_be_null(self.version) {
            return self.length(None, is_long, input);
        }
        let content = input.take(usize::from(choice % 24));
        let mut content = content.to_vec();
        if !is_long {
            // Letters, as names have them; anything else is a broken place.
            for byte in &mut content {
                *byte = b'a' + *byte % 26;
            }
            if !content.is_empty()
                && let Some(how) = self.breaks(input)
            {
                let at = usize::from(how) % content.len();
                content[at] |= 0x80;
            }
        }
        self.length(Some(content.len()), is_long, input);
        self.out.put_slice(&content);
    }

    /// A length or count; null for `None`. A broken one says less or more, null, or nonsense.
    fn length(&mut self, length: Option<usize>, is_long: bool, input: &mut Input<'_>) {
        let how = self.breaks(input);
        let true_length = length.map_or(-1, |length| length as i64);
        let length = match how {
            None => true_length,
            Some(how @ 0..=63) => true_length + i64::from(how % 8) + 1,
            Some(how @ 64..=127) => true_length - i64::from(how % 8) - 1,
            Some(128..=159) => -1,
            Some(160..=191) => i64::from(i32::MAX),
            Some(192..=223) => i64::from(i32::MIN),
            Some(how) => i64::from(how) << 20,
        };
        if self.flexible {
            let extra = matches!(how, Some(240..));
            self.varint((length + 1) as u32, extra);
        } else if is_long {
            self.out.put_i32(length as i32);
        } else {
            self.out.put_i16(length as i16);
        }
    }

    /// Seven bits a byte; `long` ones have bytes that say nothing.
    fn varint(&mut self, mut value: u32, long: bool) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        if long {
            self.out.push(value as u8 | 0x80);
            self.out.put_slice(&[0x80; 5]);
            value = 0;
        }
        self.out.push(value as u8);
    }

    /// Known tags where the input wants them, and unknown ones behind.
    fn tags(&mut self, fields: &[Field], input: &mut Input<'_>) {
        let choice = input.byte();
        let version = self.version;
        let mut sections: Vec<(u32, Vec<u8>)> = Vec::new();
        for field in fields.iter().filter(|f| f.is_in(version)) {
            let Some(tag) = field.tag else { continue };
            if choice & (1 << (tag % 4)) == 0 {
                continue;
            }
            let before = std::mem::take(&mut self.out);
            self.field(field, input);
            sections.push((tag, std::mem::replace(&mut self.out, before)));
        }
        sections.sort_by_key(|section| section.0);
        if choice & 0x80 != 0 {
            let content = input.take(usize::from(choice / 16 % 8)).to_vec();
            sections.push((1000 + u32::from(choice), content));
        }
        let how = self.breaks(input);
        if how.is_some_and(|how| how & 1 == 0) {
            // Out of order, or the same twice.
            sections.reverse();
            sections.extend(sections.first().cloned());
        }
        let more = how.map_or(0, |how| usize::from(how >> 6));
        self.varint((sections.len() + more) as u32, false);
        for (tag, content) in sections {
            self.varint(tag, false);
            let less = usize::from(how.is_some_and(|how| how & 2 != 0));
            self.varint(content.len().saturating_sub(less) as u32, false);
            self.out.put_slice(&content);
        }
    }
}
