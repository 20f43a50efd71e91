//! What members of protocol type `consumer` say when they join (`ConsumerProtocolSubscription`):
//! the broker reads the names of the topics and nothing else of it.
//!
//! What always holds: bytes that aren't a subscription are no error, only unknown: any client may
//! call its own format `consumer`.

use crate::view::{Array, Cursor, Read, Version};

/// Topics of one subscription.
const TOPICS_MAX: u32 = 1 << 20;

/// The topics of a subscription; `None` when it can't be read. All versions begin alike (int16
/// version, topics); what newer ones append is left alone.
pub fn subscribed_topics(subscription: &[u8]) -> Option<impl Iterator<Item = &str>> {
    let mut cursor = Cursor::new(subscription, Version::default(), TOPICS_MAX);
    let version = i16::read(&mut cursor).ok()?;
    if version < 0 {
        return None;
    }
    let topics = Array::<'_, &str>::read(&mut cursor).ok()?;
    Some(topics.into_iter())
}
