//! Messages as views: a body is checked whole, in place, and read where it lies.
//!
//! What always holds: [`read`] allocates nothing, whatever the bytes; a view that it gives has been
//! read to its last byte, so that looking at any part of it can't fail; text, records and arrays are
//! slices of the body.
//!
//! [`crate::requests`] and [`crate::responses`] declare the messages. The fields, their versions,
//! tags and defaults are those of Apache Kafka 4.3.1's schemas. Where Kafka's own reading is laxer
//! (it takes tags in any order, any byte for a boolean, any bytes for text, any negative length for
//! null), what neither clients nor brokers send is refused.

mod array;
mod cursor;
mod structure;

pub use array::{Array, Elements};
pub(crate) use cursor::default_of;
pub use cursor::{Cursor, Fault, Read, ReadError, Version};
pub(crate) use structure::structure;

use crate::api::Api;

/// Reads a message of `api` in `version` with at most `elements_max` elements from the front of `body`;
/// the place behind it, for whoever takes nothing more.
pub(crate) fn read<'a, M: Read<'a>>(
    api: Api,
    version: i16,
    elements_max: u32,
    body: &'a [u8],
) -> Result<(M, Cursor<'a>), ReadError> {
    let row = api.row();
    let flexible = row.is_flexible(version);
    let mut cursor = Cursor::new(
        body,
        Version {
            number: version,
            flexible,
        },
        elements_max,
    );
    if !row.served.contains(version) {
        return Err(cursor.error(Fault::Version(version)));
    }
    let message = M::read(&mut cursor)?;
    Ok((message, cursor))
}
