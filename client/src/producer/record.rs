//! A record as an application has it.

use millrace_protocol::records::Header;

use super::lane::Entry;

/// A record to be produced. Borrows what it is made of: the bytes are copied once, into their batch.
///
/// ```
/// # use millrace_client::Record;
/// use millrace_protocol::records::Header;
///
/// let headers = [Header { key: "shop".as_bytes(), value: Some(b"eu") }];
/// let record = Record::to("orders").key("42").value("two teapots").headers(&headers);
/// // A tombstone: a compacted topic forgets the key.
/// let gone = Record::to("orders").key("42");
/// assert!(record.value.is_some() && gone.value.is_none());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition; `None` lets the key decide, or the producer where there is no key.
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; a record without one deletes its key from a compacted topic.
    pub value: Option<&'a [u8]>,
    /// Headers, in order; names may repeat.
    pub headers: &'a [Header<'a>],
    /// Milliseconds since the Unix epoch; `None` for now.
    pub timestamp_ms: Option<i64>,
    /// What its [`Report`](crate::Report) says; means nothing to anybody else.
    pub tag: u64,
}

impl<'a> Record<'a> {
    /// A record of a topic with nothing in it.
    pub const fn to(topic: &'a str) -> Self {
        Self {
            topic,
            partition: None,
            key: None,
            value: None,
            headers: &[],
            timestamp_ms: None,
            tag: 0,
        }
    }

    /// The same for this partition.
    #[must_use]
    pub const fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// The same with this key.
    #[must_use]
    pub fn key<B: AsRef<[u8]> + ?Sized>(mut self, key: &'a B) -> Self {
        self.key = Some(key.as_ref());
        self
    }

    /// The same with this value.
    #[must_use]
    pub fn value<B: AsRef<[u8]> + ?Sized>(mut self, value: &'a B) -> Self {
        self.value = Some(value.as_ref());
        self
    }

    /// The same with these headers.
    #[must_use]
    pub const fn headers(mut self, headers: &'a [Header<'a>]) -> Self {
        self.headers = headers;
        self
    }

    /// The same of this time, in milliseconds since the Unix epoch.
    #[must_use]
    pub const fn timestamp_ms(mut self, timestamp_ms: i64) -> Self {
        self.timestamp_ms = Some(timestamp_ms);
        self
    }

    /// The same with this tag.
    #[must_use]
    pub const fn tag(mut self, tag: u64) -> Self {
        self.tag = tag;
        self
    }

    pub(super) fn entry(&self, wall_ms: i64) -> Entry<'a> {
        Entry {
            key: self.key,
            value: self.value,
            headers: self.headers,
            timestamp_ms: self.timestamp_ms.unwrap_or(wall_ms),
            tag: self.tag,
        }
    }
}
