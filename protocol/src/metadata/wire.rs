//! What a metadata record's layout is, and how Kafka's flexible encoding is read: compact strings and
//! arrays, unsigned varints, tagged fields.
//!
//! What holds: reading takes memory only for elements that are really there; unknown tagged fields
//! are skipped; tags must ascend.

pub(super) use crate::compact::{
    Tags, write_array, write_ids, write_int32s, write_no_tags, write_nullable_string, write_string,
    write_unsigned,
};
use crate::ids::TopicId;

/// A broken rule of the encoding; the caller adds which record it was in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// The bytes break the layout.
    Layout(&'static str),
    /// The bytes say something that can't be kept.
    Unsupported(&'static str),
}

/// What a record's layout is.
pub(super) trait Layout: Sized {
    /// Kafka's name.
    const NAME: &'static str;
    /// The type in the frame; control records use it for their number in the key.
    const KEY: u32;
    /// The newest version that is read.
    const NEWEST: u32;
    /// The version that is written.
    const WRITTEN: u32;

    /// Writes the fields at version `WRITTEN`.
    fn write(&self, out: &mut Vec<u8>);

    /// Reads the fields at `version`.
    fn read(bytes: &mut Reader<'_>, version: u32) -> Result<Self, Broken>;
}

/// The tag of our own fields in Kafka's records, far above those that Kafka gives out: Kafka's tools
/// skip it, as every reader skips tags it doesn't know.
pub(super) const OWN_TAG: u32 = 10_000;

/// Bytes being read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.bytes.is_empty()
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Broken> {
        let (head, rest) = self
            .bytes
            .split_at_checked(len)
            .ok_or(Broken::Layout("ends too early"))?;
        self.bytes = rest;
        Ok(head)
    }

    fn array_of<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        let (head, rest) = self
            .bytes
            .split_first_chunk::<N>()
            .ok_or(Broken::Layout("ends too early"))?;
        self.bytes = rest;
        Ok(*head)
    }

    pub(super) fn int8(&mut self) -> Result<i8, Broken> {
        Ok(i8::from_be_bytes(self.array_of()?))
    }

    pub(super) fn boolean(&mut self) -> Result<bool, Broken> {
        Ok(self.int8()? != 0)
    }

    pub(super) fn int16(&mut self) -> Result<i16, Broken> {
        Ok(i16::from_be_bytes(self.array_of()?))
    }

    pub(super) fn uint16(&mut self) -> Result<u16, Broken> {
        Ok(u16::from_be_bytes(self.array_of()?))
    }

    pub(super) fn int32(&mut self) -> Result<i32, Broken> {
        Ok(i32::from_be_bytes(self.array_of()?))
    }

    pub(super) fn int64(&mut self) -> Result<i64, Broken> {
        Ok(i64::from_be_bytes(self.array_of()?))
    }

    pub(super) fn id(&mut self) -> Result<TopicId, Broken> {
        Ok(TopicId::from_bytes(self.array_of()?))
    }

    pub(super) fn unsigned(&mut self) -> Result<u32, Broken> {
        let mut value = 0_u32;
        for at in 0..5 {
            let [byte] = self.array_of()?;
            value |= u32::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Broken::Layout("varint of more than 5 bytes"))
    }

    /// A length; `None` is null.
    fn len(&mut self) -> Result<Option<usize>, Broken> {
        Ok(self.unsigned()?.checked_sub(1).map(|len| len as usize))
    }

    pub(super) fn nullable_string(&mut self) -> Result<Option<String>, Broken> {
        let Some(len) = self.len()? else {
            return Ok(None);
        };
        let text = std::str::from_utf8(self.take(len)?);
        text.map(|text| Some(text.to_owned()))
            .map_err(|_| Broken::Layout("text is not UTF-8"))
    }

    pub(super) fn string(&mut self) -> Result<String, Broken> {
        self.nullable_string()?
            .ok_or(Broken::Layout("text is null"))
    }

    pub(super) fn nullable_array<T>(
        &mut self,
        read: impl Fn(&mut Self) -> Result<T, Broken>,
    ) -> Result<Option<Vec<T>>, Broken> {
        let Some(count) = self.len()? else {
            return Ok(None);
        };
        // Every element takes a byte or more; what isn't there is refused before the loop.
        if count > self.bytes.len() {
            return Err(Broken::Layout("array is longer than the record"));
        }
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(read(self)?);
        }
        Ok(Some(items))
    }

    pub(super) fn array<T>(
        &mut self,
        read: impl Fn(&mut Self) -> Result<T, Broken>,
    ) -> Result<Vec<T>, Broken> {
        self.nullable_array(read)?
            .ok_or(Broken::Layout("array is null"))
    }

    /// Reads the end of a structure. `field` gets each tag and the bytes of its field, and must read
    /// them all if it knows the tag; it returns whether it does.
    pub(super) fn tags(
        &mut self,
        mut field: impl FnMut(u32, &mut Self) -> Result<bool, Broken>,
    ) -> Result<(), Broken> {
        let mut lowest_next = 0;
        for _ in 0..self.unsigned()? {
            let tag = self.unsigned()?;
            if tag < lowest_next {
                return Err(Broken::Layout("tagged fields out of order"));
            }
            lowest_next = tag.saturating_add(1);
            let len = self.unsigned()? as usize;
            let mut bytes = Self::new(self.take(len)?);
            if field(tag, &mut bytes)? && !bytes.is_at_end() {
                return Err(Broken::Layout("tagged field is longer than its content"));
            }
        }
        Ok(())
    }

    /// Reads the end of a structure of which no tags are known.
    pub(super) fn no_tags(&mut self) -> Result<(), Broken> {
        self.tags(|_, _| Ok(false))
    }
}
