//! A place in a message's body, and how Kafka's primitive types are read from there.
//!
//! What always holds: a read takes bytes from the front or fails, and looks at no byte twice; what
//! it gives is a number or a slice of the body; nothing is allocated, however the bytes lie. Text
//! is UTF-8 and no longer than Kafka's own classes read (32,767 bytes). Tag sections are skipped
//! but for the tags that the reader knows: their numbers rise (KIP-482), a value fills its size.

use crate::ids::TopicId;

/// Unknown and known tagged fields of one structure.
const TAGS_MAX: usize = 256;
/// Tagged fields of one structure together, in bytes.
const TAG_BYTES_MAX: usize = 64 * 1024;
/// Longest text: what an int16 can say, which Kafka holds compact strings to as well.
const TEXT_BYTES_MAX: usize = i16::MAX as usize;

/// The version that a body is written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// The API version.
    pub number: i16,
    /// Whether lengths are compact and structures end in a tag section.
    pub flexible: bool,
}

/// Why bytes are not the message they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {at} of the body: {fault}")]
pub struct ReadError {
    /// Where the field begins that can't be read, from the beginning of the body.
    pub at: usize,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The version is not one that we speak.
    #[error("version {0} is not served")]
    Version(i16),
    /// The bytes end before the field does.
    #[error("the bytes end within a field")]
    Short,
    /// Null, where a value must be.
    #[error("null stands for a value that must be there")]
    Null,
    /// A length below -1.
    #[error("a length is negative")]
    Negative,
    /// Text of more than 32,767 bytes.
    #[error("a text of {0} bytes is too long")]
    TextLength(usize),
    /// Text that isn't UTF-8.
    #[error("a text isn't UTF-8")]
    Text,
    /// Neither 0 nor 1.
    #[error("{0} is no boolean")]
    Boolean(u8),
    /// A variable-length number of more than 32 bits.
    #[error("a length has more than 32 bits")]
    Varint,
    /// More elements than the bytes left could be, or than a message may have in all.
    #[error("an array of {0} elements is too long")]
    Elements(usize),
    /// More tagged fields, or more bytes of them, than anyone sends.
    #[error("too many tagged fields")]
    Tags,
    /// A tag that isn't greater than the one before it.
    #[error("tag {0} is out of order")]
    TagOrder(u32),
    /// Bytes after the end, of an answer or of a tagged field that is known.
    #[error("{0} bytes are left over")]
    LeftOver(usize),
}

/// A type that stands in messages. A value borrows from the body or is a number: it owns nothing.
pub trait Read<'a>: Copy {
    /// The fewest bytes that a value takes.
    fn bytes_min(version: Version) -> usize;

    /// Takes a value from the front.
    fn read(from: &mut Cursor<'a>) -> Result<Self, ReadError>;

    /// Another value of this type, for tests that look whether anybody sees the difference; the same
    /// one, where there is none at hand.
    #[must_use]
    fn other(self) -> Self {
        self
    }
}

/// What stands for a field that isn't in the version: its default, unless a test alters that.
#[inline]
pub(crate) fn default_of<'a, T: Read<'a>>(field: &'static str, default: T) -> T {
    if millrace_probe::is_other_default(field) {
        return default.other();
    }
    default
}

/// A place in a body: what is not read yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor<'a> {
    rest: &'a [u8],
    at: usize,
    version: Version,
    /// How many elements the rest may have.
    elements: u32,
}

impl<'a> Cursor<'a> {
    /// The beginning of `body`.
    pub(crate) fn new(body: &'a [u8], version: Version, elements_max: u32) -> Self {
        Self {
            rest: body,
            at: 0,
            version,
            elements: elements_max,
        }
    }

    /// The version that the body is written in.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The same place, what follows being written in `version`.
    pub(crate) fn in_version(self, version: Version) -> Self {
        Self { version, ..self }
    }

    /// What lies between this place and a later one of the same body.
    pub(crate) fn until(&self, later: &Self) -> Self {
        Self {
            rest: &self.rest[..self.rest.len() - later.rest.len()],
            ..*self
        }
    }

    /// The error of a field that begins here.
    pub(crate) fn error(&self, fault: Fault) -> ReadError {
        ReadError { at: self.at, fault }
    }

    /// How many bytes are left.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    /// Refuses bytes that are left.
    pub(crate) fn finish(&self) -> Result<(), ReadError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(self.error(Fault::LeftOver(left))),
        }
    }

    /// Refuses null in versions that don't have it.
    pub(crate) fn present<T>(&self, value: Option<&T>) -> Result<(), ReadError> {
        value.map(drop).ok_or_else(|| self.error(Fault::Null))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], ReadError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or_else(|| self.error(Fault::Short))?;
        self.rest = rest;
        self.at += len;
        Ok(taken)
    }

    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let (chunk, rest) = self
            .rest
            .split_first_chunk()
            .ok_or_else(|| self.error(Fault::Short))?;
        self.rest = rest;
        self.at += N;
        Ok(*chunk)
    }

    /// At most five bytes of seven bits each, the lowest first.
    fn varint(&mut self) -> Result<u32, ReadError> {
        let begin = *self;
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.chunk()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| begin.error(Fault::Varint));
            }
        }
        Err(begin.error(Fault::Varint))
    }

    /// The length of what follows, `None` for null: a varint with one added, or a fixed number.
    fn length<N: Read<'a> + Into<i32>>(&mut self) -> Result<Option<usize>, ReadError> {
        if self.version.flexible {
            return Ok((self.varint()? as usize).checked_sub(1));
        }
        let begin = *self;
        match N::read(self)?.into() {
            -1 => Ok(None),
            len => usize::try_from(len)
                .map(Some)
                .map_err(|_| begin.error(Fault::Negative)),
        }
    }

    /// A structure that may be null: a byte before it says which, negative for null.
    pub(crate) fn nullable<T: Read<'a>>(&mut self) -> Result<Option<T>, ReadError> {
        match i8::read(self)? {
            i8::MIN..0 => Ok(None),
            0.. => T::read(self).map(Some),
        }
    }

    /// The number of an array's elements, `None` for null, if so many can be there.
    pub(crate) fn array_length(
        &mut self,
        element_bytes_min: usize,
    ) -> Result<Option<usize>, ReadError> {
        let begin = *self;
        let Some(len) = self.length::<i32>()? else {
            return Ok(None);
        };
        // No element is of no bytes, so that time is bounded by what was received.
        let fit = self.rest.len() / element_bytes_min.max(1);
        let left = u32::try_from(len).ok().filter(|_| len <= fit);
        self.elements = left
            .and_then(|len| self.elements.checked_sub(len))
            .ok_or_else(|| begin.error(Fault::Elements(len)))?;
        Ok(Some(len))
    }

    /// Takes the tag section, where the version has one. `known` gets each tag with its value, and
    /// reads the value of those it knows: it says whether it did.
    pub(crate) fn tags(
        &mut self,
        mut known: impl FnMut(u32, &mut Self) -> Result<bool, ReadError>,
    ) -> Result<(), ReadError> {
        if !self.version.flexible {
            return Ok(());
        }
        let begin = *self;
        let count = self.varint()? as usize;
        let (mut last, mut bytes) = (None, 0_usize);
        for _ in 0..count {
            let tag = self.varint()?;
            if last >= Some(tag) {
                return Err(begin.error(Fault::TagOrder(tag)));
            }
            last = Some(tag);
            let len = self.varint()? as usize;
            bytes = bytes.saturating_add(len);
            if count > TAGS_MAX || bytes > TAG_BYTES_MAX {
                return Err(begin.error(Fault::Tags));
            }
            let mut value = *self;
            self.take(len)?;
            value = value.until(self);
            if known(tag, &mut value)? {
                value.finish()?;
                self.elements = value.elements;
            }
        }
        Ok(())
    }
}

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl Read<'_> for $number {
            fn bytes_min(_: Version) -> usize {
                size_of::<Self>()
            }

            fn read(from: &mut Cursor<'_>) -> Result<Self, ReadError> {
                from.chunk().map(Self::from_be_bytes)
            }

            // Not the next one: -1 stands for none, and 0 is the first of most things that there are.
            fn other(self) -> Self {
                self.wrapping_add(77)
            }
        }
    )*};
}

numbers! { i8 i16 u16 i32 i64 }

impl Read<'_> for bool {
    fn bytes_min(_: Version) -> usize {
        1
    }

    fn read(from: &mut Cursor<'_>) -> Result<Self, ReadError> {
        let begin = *from;
        match from.chunk()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(begin.error(Fault::Boolean(other))),
        }
    }

    fn other(self) -> Self {
        !self
    }
}

/// Kafka's uuid, where it is not a topic's.
impl Read<'_> for [u8; 16] {
    fn bytes_min(_: Version) -> usize {
        16
    }

    fn read(from: &mut Cursor<'_>) -> Result<Self, ReadError> {
        from.chunk()
    }

    fn other(self) -> Self {
        self.map(|byte| !byte)
    }
}

impl Read<'_> for TopicId {
    fn bytes_min(_: Version) -> usize {
        16
    }

    fn read(from: &mut Cursor<'_>) -> Result<Self, ReadError> {
        from.chunk().map(Self::from_bytes)
    }

    fn other(self) -> Self {
        Self::from_bytes(self.to_bytes().map(|byte| !byte))
    }
}

impl<'a> Read<'a> for Option<&'a str> {
    fn bytes_min(version: Version) -> usize {
        if version.flexible { 1 } else { 2 }
    }

    fn read(from: &mut Cursor<'a>) -> Result<Self, ReadError> {
        let begin = *from;
        let Some(len) = from.length::<i16>()? else {
            return Ok(None);
        };
        if len > TEXT_BYTES_MAX {
            return Err(begin.error(Fault::TextLength(len)));
        }
        let text = std::str::from_utf8(from.take(len)?);
        text.map(Some).map_err(|_| begin.error(Fault::Text))
    }

    fn other(self) -> Self {
        self.xor(Some("another"))
    }
}

/// Kafka's bytes and records.
impl<'a> Read<'a> for Option<&'a [u8]> {
    fn bytes_min(version: Version) -> usize {
        if version.flexible { 1 } else { 4 }
    }

    fn read(from: &mut Cursor<'a>) -> Result<Self, ReadError> {
        match from.length::<i32>()? {
            Some(len) => from.take(len).map(Some),
            None => Ok(None),
        }
    }

    fn other(self) -> Self {
        self.xor(Some(b"another"))
    }
}

impl<'a> Read<'a> for &'a str {
    fn bytes_min(version: Version) -> usize {
        Option::<Self>::bytes_min(version)
    }

    fn read(from: &mut Cursor<'a>) -> Result<Self, ReadError> {
        let begin = *from;
        Option::read(from)?.ok_or_else(|| begin.error(Fault::Null))
    }

    fn other(self) -> Self {
        if self.is_empty() { "another" } else { "" }
    }
}

impl<'a> Read<'a> for &'a [u8] {
    fn bytes_min(version: Version) -> usize {
        Option::<Self>::bytes_min(version)
    }

    fn read(from: &mut Cursor<'a>) -> Result<Self, ReadError> {
        let begin = *from;
        Option::read(from)?.ok_or_else(|| begin.error(Fault::Null))
    }

    fn other(self) -> Self {
        if self.is_empty() { b"another" } else { b"" }
    }
}
