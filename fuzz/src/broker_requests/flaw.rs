//! What can be wrong with a produced batch, and the code it is refused with.
//!
//! What always holds: a flaw breaks one rule and no other; where the checksum is not the flaw, it is
//! right.

use millrace_protocol::error_code::ErrorCode;

use super::model::Producer;
use crate::seals;

/// One thing that is wrong with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    Nothing,
    Crc,
    Magic,
    BaseOffset,
    Count,
    Short,
    Trailing,
    Twice,
    Empty,
    Null,
    Control,
    Transactional,
    Horizon,
    TypeBit,
    NoSequence,
    NoEpoch,
    NegativeId,
    Future,
    Codec,
}

/// All that a batch can have.
pub(super) const FLAWS: [Flaw; 18] = [
    Flaw::Crc,
    Flaw::Magic,
    Flaw::BaseOffset,
    Flaw::Count,
    Flaw::Short,
    Flaw::Trailing,
    Flaw::Twice,
    Flaw::Empty,
    Flaw::Null,
    Flaw::Control,
    Flaw::Transactional,
    Flaw::Horizon,
    Flaw::TypeBit,
    Flaw::NoSequence,
    Flaw::NoEpoch,
    Flaw::NegativeId,
    Flaw::Future,
    Flaw::Codec,
];

impl Flaw {
    /// The code it is refused with, whatever the topic.
    pub(super) fn code(self) -> Option<ErrorCode> {
        match self {
            Self::Nothing | Self::TypeBit | Self::Future | Self::Transactional => None,
            Self::Crc | Self::Short | Self::Trailing => Some(ErrorCode::CorruptMessage),
            Self::Codec => Some(ErrorCode::UnsupportedCompressionType),
            Self::Magic
            | Self::BaseOffset
            | Self::Count
            | Self::Twice
            | Self::Empty
            | Self::Null
            | Self::Control
            | Self::Horizon
            | Self::NoSequence
            | Self::NoEpoch
            | Self::NegativeId => Some(ErrorCode::InvalidRecord),
        }
    }

    /// Whether it is seen before the batch's size is.
    pub(super) fn is_of_shape(self) -> bool {
        matches!(
            self,
            Self::Magic | Self::Short | Self::Trailing | Self::Twice | Self::Empty | Self::Null
        )
    }

    /// The batch with the flaw.
    pub(super) fn put(self, mut bytes: Vec<u8>) -> Option<Vec<u8>> {
        match self {
            Self::Crc => bytes[17] ^= 1,
            Self::Magic => bytes[16] = 1,
            Self::BaseOffset => bytes[7] = 1,
            Self::Count => bytes[60] = bytes[60].wrapping_add(1),
            Self::Short => bytes.truncate(bytes.len() - 1),
            Self::Trailing => bytes.push(0),
            Self::Twice => bytes.extend_from_within(..),
            Self::Empty => bytes.clear(),
            Self::Null => return None,
            Self::Control => bytes[22] |= 0x20,
            Self::Horizon => bytes[22] |= 0x40,
            Self::TypeBit => bytes[22] |= 8,
            Self::Codec => bytes[22] |= 7,
            Self::NoSequence => producer(&mut bytes, (77, 0, -1)),
            Self::NoEpoch => producer(&mut bytes, (77, -1, 0)),
            Self::NegativeId => producer(&mut bytes, (-2, 0, 0)),
            Self::Nothing | Self::Transactional | Self::Future => {}
        }
        let sealed = [
            Self::Count,
            Self::Control,
            Self::Horizon,
            Self::TypeBit,
            Self::Codec,
            Self::NoSequence,
            Self::NoEpoch,
            Self::NegativeId,
        ];
        if sealed.contains(&self) {
            seals::batch(&mut bytes);
        }
        Some(bytes)
    }
}

fn producer(bytes: &mut [u8], (id, epoch, sequence): Producer) {
    bytes[43..51].copy_from_slice(&id.to_be_bytes());
    bytes[51..53].copy_from_slice(&epoch.to_be_bytes());
    bytes[53..57].copy_from_slice(&sequence.to_be_bytes());
}
