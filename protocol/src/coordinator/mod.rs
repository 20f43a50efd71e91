//! The records of `__consumer_offsets`, in Kafka's own layout: keys and values, read where they lie
//! and written in the versions that Kafka 4.3.1 writes.
//!
//! A key is its type (int16), then its fields; a value its version (int16), then its fields; a null
//! value removes the key (`CoordinatorRecordSerde`; KIP-98, KIP-345, KIP-496). What always holds:
//! reading allocates nothing; a key of a type that isn't known is [`Key::Unknown`], to be skipped,
//! so that a broker reads what a newer one left.

mod consumer_protocol;
mod group_metadata;
mod offset_commit;

pub use consumer_protocol::subscribed_topics;
pub use group_metadata::{
    GroupMember, GroupMetadata, GroupMetadataKey, GroupMetadataValue, group_metadata_key,
    group_metadata_value,
};
pub use offset_commit::{
    OffsetCommitKey, OffsetCommitValue, offset_commit_key, offset_commit_value,
};

use crate::view::{Cursor, Fault, Read, ReadError, Version};

/// Elements of one record: members of a group. A record is no longer than a batch may be.
const ELEMENTS_MAX: u32 = 1 << 20;

/// The type of keys of offsets as brokers before 0.9 wrote them.
const LEGACY_OFFSET_COMMIT: i16 = 0;
/// The type of keys of offsets.
const OFFSET_COMMIT: i16 = 1;
/// The type of keys of classic groups.
const GROUP_METADATA: i16 = 2;

/// What a record is about.
#[derive(Clone, Copy, Debug)]
pub enum Key<'a> {
    /// The offset that a group committed for a partition (types 0 and 1).
    OffsetCommit(OffsetCommitKey<'a>),
    /// A classic group and its members (type 2).
    GroupMetadata(GroupMetadataKey<'a>),
    /// Something else, by its type.
    Unknown(i16),
}

/// Reads a key.
///
/// # Errors
///
/// The bytes are not what their type says.
pub fn read_key(key: &[u8]) -> Result<Key<'_>, ReadError> {
    let mut cursor = Cursor::new(key, Version::default(), ELEMENTS_MAX);
    let key = match i16::read(&mut cursor)? {
        LEGACY_OFFSET_COMMIT | OFFSET_COMMIT => {
            Key::OffsetCommit(OffsetCommitKey::read(&mut cursor)?)
        }
        GROUP_METADATA => Key::GroupMetadata(GroupMetadataKey::read(&mut cursor)?),
        other => return Ok(Key::Unknown(other)),
    };
    cursor.finish()?;
    Ok(key)
}

/// A value that begins with its version.
pub trait Value<'a>: Read<'a> {
    /// The newest version that is read.
    const NEWEST: i16;
    /// First version with compact lengths and tagged fields.
    const FLEXIBLE_FROM: i16;
}

/// Reads a value.
///
/// # Errors
///
/// The bytes are not what their version says, or of a newer one.
pub fn read_value<'a, V: Value<'a>>(value: &'a [u8]) -> Result<V, ReadError> {
    let mut number = Cursor::new(value, Version::default(), ELEMENTS_MAX);
    let version = i16::read(&mut number)?;
    if !(0..=V::NEWEST).contains(&version) {
        return Err(number.error(Fault::Version(version)));
    }
    let version = Version {
        number: version,
        flexible: version >= V::FLEXIBLE_FROM,
    };
    let mut cursor = number.in_version(version);
    let value = V::read(&mut cursor)?;
    cursor.finish()?;
    Ok(value)
}

/// Text with its length as int16, as versions that aren't flexible write it.
fn put_text(out: &mut Vec<u8>, text: &str) {
    let len = i16::try_from(text.len()).expect("names came in with lengths of 15 bits");
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}
