//! Identifiers of Kafka's protocol that are easily mistaken for each other, as types of their own.
//!
//! Always: a value of these types is any bit pattern the wire can carry; what it means (zero, -1)
//! is said by a constant. Offsets stay plain `i64`, partition indexes plain `i32`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A topic's id (KIP-516): 16 bytes, shown as Kafka shows them, base64url without padding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId([u8; 16]);

/// Text that is not a topic id.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "{0:?} is not a topic id: it takes 22 characters of A-Z a-z 0-9 - _, the last A, Q, g or w"
)]
pub struct ParseTopicIdError(String);

const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Characters of a topic id's text form: 128 bits at 6 bits each, the last padded with zero bits.
const TEXT_LEN: usize = 22;

impl TopicId {
    /// "No id": of requests and replies that name topics.
    pub const ZERO: Self = Self([0; 16]);
    /// The id of `__cluster_metadata`, the number one (Kafka's `Uuid.METADATA_TOPIC_ID`).
    pub const METADATA: Self = Self(1_u128.to_be_bytes());

    /// The id made of these 16 bytes, in the order of the wire.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes, in the order of the wire.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// Whether this is [`TopicId::ZERO`].
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    /// Whether Kafka would give this id to a topic: neither zero nor the metadata topic's, and its
    /// text does not start with `-`, which tools would take for an option.
    pub fn is_assignable(self) -> bool {
        self != Self::ZERO && self != Self::METADATA && self.0[0] >> 2 != 62
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_be_bytes(self.0);
        let mut text = [0_u8; TEXT_LEN];
        for (at, character) in text.iter_mut().enumerate() {
            // 21 whole groups of six from the top; the 22nd holds the last two bits, shifted up.
            let group = if at < TEXT_LEN - 1 {
                bits >> (122 - 6 * at)
            } else {
                bits << 4
            } & 63;
            *character = BASE64URL[group as usize];
        }
        f.write_str(std::str::from_utf8(&text).expect("the alphabet is ASCII"))
    }
}

impl FromStr for TopicId {
    type Err = ParseTopicIdError;

    /// Reads the 22 characters that [`TopicId`] is shown as. Refuses a last character whose padding
    /// bits are set: one id has one text.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || ParseTopicIdError(text.chars().take(TEXT_LEN + 1).collect());
        if text.len() != TEXT_LEN {
            return Err(refuse());
        }
        let mut bits = 0_u128;
        for (at, character) in text.bytes().enumerate() {
            let group = BASE64URL.iter().position(|known| *known == character);
            let group = group.ok_or_else(refuse)? as u128;
            if at < TEXT_LEN - 1 {
                bits = bits << 6 | group;
            } else if group.is_multiple_of(16) {
                bits = bits << 2 | group >> 4;
            } else {
                return Err(refuse());
            }
        }
        Ok(Self(bits.to_be_bytes()))
    }
}

/// Declares a number that must not be mixed with other numbers.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty), $none:literal: $none_doc:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub $inner);

        impl $name {
            #[doc = $none_doc]
            pub const NONE: Self = Self($none);
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// A broker's id (`node.id`); never negative when it names one.
    BrokerId(i32), -1: "No broker: no leader, or a consumer in place of a follower's id."
);
number!(
    /// The epoch of a partition's leader: rises by one with each election.
    LeaderEpoch(i32), -1: "Not known, or not to be checked."
);
number!(
    /// The id of an idempotent or transactional producer (KIP-98).
    ProducerId(i64), -1: "A producer that is not idempotent."
);
number!(
    /// The epoch of a producer id: the higher fences the lower (KIP-98).
    ProducerEpoch(i16), -1: "A producer that is not idempotent."
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_ids_are_shown_as_kafka_shows_them() {
        assert_eq!(TopicId::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(TopicId::METADATA.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(
            TopicId::from_bytes([0xff; 16]).to_string(),
            "_____________________w"
        );
    }

    #[test]
    fn the_text_of_an_id_reads_back_to_it() {
        let mut bytes = [0_u8; 16];
        for round in 0..=255_u8 {
            for (at, byte) in (0_u8..).zip(bytes.iter_mut()) {
                *byte = round.wrapping_mul(31).wrapping_add(at.wrapping_mul(97)) ^ (round >> 1);
            }
            let id = TopicId::from_bytes(bytes);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
    }

    #[test]
    fn text_that_is_no_id_is_refused() {
        for text in [
            "",
            "AAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAB",
            "AAAAAAAAAAAAAAAAAAAAA=",
            "+AAAAAAAAAAAAAAAAAAAAA",
            "ÄAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert!(text.parse::<TopicId>().is_err(), "{text}");
        }
    }

    #[test]
    fn reserved_ids_and_those_that_look_like_options_are_not_assignable() {
        assert!(!TopicId::ZERO.is_assignable());
        assert!(!TopicId::METADATA.is_assignable());
        let dash: TopicId = "-AAAAAAAAAAAAAAAAAAAAA".parse().unwrap();
        assert!(!dash.is_assignable());
        assert!(TopicId::from_bytes([1; 16]).is_assignable());
    }
}
