//! Bytes of the records about configuration, feature levels and producer ids.

use super::record::{ConfigRecord, FeatureLevelRecord, ProducerIdsRecord};
use super::wire::{Broken, Layout, Reader, write_no_tags, write_nullable_string, write_string};

impl Layout for ConfigRecord {
    const NAME: &'static str = "ConfigRecord";
    const KEY: u32 = 4;
    const NEWEST: u32 = 0;
    const WRITTEN: u32 = 0;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.resource_type.to_be_bytes());
        write_string(out, &self.resource_name);
        write_string(out, &self.name);
        write_nullable_string(out, self.value.as_deref());
        write_no_tags(out);
    }

    fn read(bytes: &mut Reader<'_>, _version: u32) -> Result<Self, Broken> {
        let record = Self {
            resource_type: bytes.int8()?,
            resource_name: bytes.string()?,
            name: bytes.string()?,
            value: bytes.nullable_string()?,
        };
        bytes.no_tags()?;
        Ok(record)
    }
}

impl Layout for FeatureLevelRecord {
    const NAME: &'static str = "FeatureLevelRecord";
    const KEY: u32 = 12;
    const NEWEST: u32 = 0;
    const WRITTEN: u32 = 0;

    fn write(&self, out: &mut Vec<u8>) {
        write_string(out, &self.name);
        out.extend_from_slice(&self.feature_level.to_be_bytes());
        write_no_tags(out);
    }

    fn read(bytes: &mut Reader<'_>, _version: u32) -> Result<Self, Broken> {
        let record = Self {
            name: bytes.string()?,
            feature_level: bytes.int16()?,
        };
        bytes.no_tags()?;
        Ok(record)
    }
}

impl Layout for ProducerIdsRecord {
    const NAME: &'static str = "ProducerIdsRecord";
    const KEY: u32 = 15;
    const NEWEST: u32 = 0;
    const WRITTEN: u32 = 0;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.broker_id.to_be_bytes());
        out.extend_from_slice(&self.broker_epoch.to_be_bytes());
        out.extend_from_slice(&self.next_producer_id.to_be_bytes());
        write_no_tags(out);
    }

    fn read(bytes: &mut Reader<'_>, _version: u32) -> Result<Self, Broken> {
        let record = Self {
            broker_id: bytes.int32()?,
            broker_epoch: bytes.int64()?,
            next_producer_id: bytes.int64()?,
        };
        bytes.no_tags()?;
        Ok(record)
    }
}

/// `NoOpRecord`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoOp;

impl Layout for NoOp {
    const NAME: &'static str = "NoOpRecord";
    const KEY: u32 = 20;
    const NEWEST: u32 = 0;
    const WRITTEN: u32 = 0;

    fn write(&self, out: &mut Vec<u8>) {
        write_no_tags(out);
    }

    fn read(bytes: &mut Reader<'_>, _version: u32) -> Result<Self, Broken> {
        bytes.no_tags()?;
        Ok(Self)
    }
}
