//! Little-endian fields in our own files: a growing buffer in, a bounded view out.
//!
//! What always holds: reading past the end gives `None`, never a panic, and lengths are checked
//! against the bytes that are there before anything is allocated.

use crate::mark::{Position, SegmentId};

/// Appends fields.
pub(crate) trait Put {
    /// One byte.
    fn put_u8(&mut self, value: u8);
    /// Four bytes.
    fn put_u32(&mut self, value: u32);
    /// Four bytes.
    fn put_i32(&mut self, value: i32);
    /// Eight bytes.
    fn put_u64(&mut self, value: u64);
    /// Eight bytes.
    fn put_i64(&mut self, value: i64);
    /// A length (u32), then the bytes.
    fn put_block(&mut self, bytes: &[u8]);
    /// Base offset, generation.
    fn put_segment(&mut self, id: SegmentId);
    /// Segment, bytes, offset.
    fn put_position(&mut self, position: Position);
}

impl Put for Vec<u8> {
    fn put_u8(&mut self, value: u8) {
        self.push(value);
    }

    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_i32(&mut self, value: i32) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_i64(&mut self, value: i64) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_block(&mut self, bytes: &[u8]) {
        let len = u32::try_from(bytes.len()).expect("a block of our own is under 4 GiB");
        self.put_u32(len);
        self.extend_from_slice(bytes);
    }

    fn put_segment(&mut self, id: SegmentId) {
        self.put_i64(id.base_offset);
        self.put_u32(id.generation);
    }

    fn put_position(&mut self, position: Position) {
        self.put_segment(position.segment);
        self.put_u64(position.bytes);
        self.put_i64(position.offset);
    }
}

/// Takes fields from the front of a slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Take<'a>(pub(crate) &'a [u8]);

impl<'a> Take<'a> {
    /// The next `len` bytes.
    pub(crate) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    /// A length, then that many bytes.
    pub(crate) fn block(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()?;
        self.bytes(usize::try_from(len).ok()?)
    }

    /// A block that is UTF-8.
    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.block()?).ok()
    }

    /// 0 or 1.
    pub(crate) fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    pub(crate) fn segment(&mut self) -> Option<SegmentId> {
        Some(SegmentId {
            base_offset: self.i64()?,
            generation: self.u32()?,
        })
    }

    pub(crate) fn position(&mut self) -> Option<Position> {
        Some(Position {
            segment: self.segment()?,
            bytes: self.u64()?,
            offset: self.i64()?,
        })
    }

    /// `true` when nothing is left: a field more or less than expected is an error.
    pub(crate) fn is_done(&self) -> bool {
        self.0.is_empty()
    }
}
