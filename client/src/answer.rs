//! An answer as it came, to be read where it lies.
//!
//! What always holds: reading allocates nothing, whatever the broker sent; what is kept of an answer
//! is what its reader copies out of it, or a slice that shares its bytes.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use millrace_protocol::responses::{self, Request};

use crate::Error;

/// The answer to a request of type `R`.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # world::run(async |cluster| {
/// let client = cluster.any_broker().await?;
/// let answer = client.metadata(Some(&["orders"])).await?;
/// // What is read are slices of the bytes that came.
/// let topics = answer.read()?.topics;
/// assert_eq!(topics.into_iter().next().and_then(|topic| topic.name), Some("orders"));
/// # Ok(()) });
/// ```
pub struct Answer<R> {
    address: String,
    version: i16,
    body: Bytes,
    to: PhantomData<fn(R)>,
}

impl<R: Request> Answer<R> {
    /// An answer from the broker at `address` in a version.
    pub(crate) fn new(address: String, version: i16, body: Bytes) -> Self {
        Self {
            address,
            version,
            body,
            to: PhantomData,
        }
    }

    /// The address of the broker that gave it.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Reads it, whole. O(bytes), but for records, which are passed over.
    pub fn read(&self) -> Result<R::Response<'_>, Error> {
        responses::read(self.version, &self.body).map_err(|error| Error::Malformed {
            address: self.address.clone(),
            reason: format!("{} version {}: {error}", R::API.row().name, self.version),
        })
    }

    /// A part of what was read in bytes of its own, which aren't copied.
    pub fn share(&self, part: &[u8]) -> Bytes {
        self.body.slice_ref(part)
    }
}

impl<R> fmt::Debug for Answer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("address", &self.address)
            .field("version", &self.version)
            .field("bytes", &self.body.len())
            .finish()
    }
}
