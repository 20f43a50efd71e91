//! How Kafka's flexible encoding is written, for the records that the broker writes itself: compact
//! strings and arrays, unsigned varints, tagged fields.

use crate::ids::TopicId;

pub(crate) fn write_unsigned(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A length as flexible messages write it: one more, 0 being null.
pub(crate) fn write_len(out: &mut Vec<u8>, len: usize) {
    let len = u32::try_from(len + 1).expect("records are far below 4 GiB");
    write_unsigned(out, len);
}

pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    write_len(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

pub(crate) fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_len(out, bytes.len());
    out.extend_from_slice(bytes);
}

pub(crate) fn write_nullable_string(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => write_string(out, text),
        None => out.push(0),
    }
}

pub(crate) fn write_array<T>(out: &mut Vec<u8>, items: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    write_len(out, items.len());
    for item in items {
        write(out, item);
    }
}

pub(crate) fn write_int32s(out: &mut Vec<u8>, items: &[i32]) {
    write_array(out, items, |out, item| {
        out.extend_from_slice(&item.to_be_bytes());
    });
}

pub(crate) fn write_ids(out: &mut Vec<u8>, items: &[TopicId]) {
    write_array(out, items, |out, item| {
        out.extend_from_slice(&item.to_bytes());
    });
}

/// The tagged fields of one structure; fields at their default are simply not added.
#[derive(Debug, Default)]
pub(crate) struct Tags {
    count: u32,
    bytes: Vec<u8>,
}

impl Tags {
    /// Adds a field; tags must be added in ascending order.
    pub(crate) fn add(&mut self, tag: u32, write: impl FnOnce(&mut Vec<u8>)) {
        let mut field = Vec::new();
        write(&mut field);
        write_unsigned(&mut self.bytes, tag);
        let len = u32::try_from(field.len()).expect("records are far below 4 GiB");
        write_unsigned(&mut self.bytes, len);
        self.bytes.extend_from_slice(&field);
        self.count += 1;
    }

    /// Ends the structure.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        write_unsigned(out, self.count);
        out.extend_from_slice(&self.bytes);
    }
}

/// Ends a structure without tagged fields.
pub(crate) fn write_no_tags(out: &mut Vec<u8>) {
    out.push(0);
}
