//! Bytes of the records about brokers: registration and changes to it.

use super::record::{
    BrokerEndpoint, BrokerFeature, BrokerRegistrationChangeRecord, RegisterBrokerRecord,
};
use crate::ids::TopicId;

use super::wire::{
    Broken, Layout, OWN_TAG, Reader, Tags, write_array, write_ids, write_no_tags,
    write_nullable_string, write_string,
};

impl Layout for RegisterBrokerRecord {
    const NAME: &'static str = "RegisterBrokerRecord";
    const KEY: u32 = 0;
    const NEWEST: u32 = 4;
    const WRITTEN: u32 = 3;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.broker_id.to_be_bytes());
        // IsMigratingZkBroker: ZooKeeper ended with Kafka 4.0, its field stays.
        out.push(0);
        out.extend_from_slice(&self.incarnation_id.to_bytes());
        out.extend_from_slice(&self.broker_epoch.to_be_bytes());
        write_array(out, &self.end_points, |out, end_point| {
            write_string(out, &end_point.name);
            write_string(out, &end_point.host);
            out.extend_from_slice(&end_point.port.to_be_bytes());
            out.extend_from_slice(&end_point.security_protocol.to_be_bytes());
            write_no_tags(out);
        });
        write_array(out, &self.features, |out, feature| {
            write_string(out, &feature.name);
            out.extend_from_slice(&feature.min_supported_version.to_be_bytes());
            out.extend_from_slice(&feature.max_supported_version.to_be_bytes());
            write_no_tags(out);
        });
        write_nullable_string(out, self.rack.as_deref());
        out.push(u8::from(self.fenced));
        out.push(u8::from(self.in_controlled_shutdown));
        let mut tags = Tags::default();
        if !self.log_dirs.is_empty() {
            tags.add(0, |out| write_ids(out, &self.log_dirs));
        }
        if !self.generations.is_empty() {
            tags.add(OWN_TAG, |out| {
                write_array(out, &self.generations, |out, (directory, generation)| {
                    out.extend_from_slice(&directory.to_bytes());
                    out.extend_from_slice(&generation.to_be_bytes());
                });
            });
        }
        tags.write(out);
    }

    fn read(bytes: &mut Reader<'_>, version: u32) -> Result<Self, Broken> {
        let broker_id = bytes.int32()?;
        if version >= 2 && bytes.boolean()? {
            return Err(Broken::Unsupported(
                "the mark of a broker moving from ZooKeeper",
            ));
        }
        let mut record = Self {
            broker_id,
            incarnation_id: bytes.id()?,
            broker_epoch: bytes.int64()?,
            end_points: bytes.array(read_end_point)?,
            features: bytes.array(read_feature)?,
            rack: bytes.nullable_string()?,
            fenced: bytes.boolean()?,
            in_controlled_shutdown: version >= 1 && bytes.boolean()?,
            log_dirs: Vec::new(),
            generations: Vec::new(),
        };
        bytes.tags(|tag, field| match tag {
            OWN_TAG => {
                record.generations = field.array(read_generation)?;
                Ok(true)
            }
            0 if version >= 3 => {
                record.log_dirs = field.array(Reader::id)?;
                Ok(true)
            }
            1 if version >= 4 => no_cordoned_dirs(field),
            _ => Ok(false),
        })?;
        Ok(record)
    }
}

fn read_generation(bytes: &mut Reader<'_>) -> Result<(TopicId, u64), Broken> {
    let directory = bytes.id()?;
    let generation = u64::try_from(bytes.int64()?);
    let generation = generation.map_err(|_| Broken::Unsupported("a negative generation"))?;
    Ok((directory, generation))
}

fn read_end_point(bytes: &mut Reader<'_>) -> Result<BrokerEndpoint, Broken> {
    let end_point = BrokerEndpoint {
        name: bytes.string()?,
        host: bytes.string()?,
        port: bytes.uint16()?,
        security_protocol: bytes.int16()?,
    };
    bytes.no_tags()?;
    Ok(end_point)
}

fn read_feature(bytes: &mut Reader<'_>) -> Result<BrokerFeature, Broken> {
    let feature = BrokerFeature {
        name: bytes.string()?,
        min_supported_version: bytes.int16()?,
        max_supported_version: bytes.int16()?,
    };
    bytes.no_tags()?;
    Ok(feature)
}

/// Cordoned directories (KIP-1066) are no part of our values; none or an empty list loses nothing.
fn no_cordoned_dirs(field: &mut Reader<'_>) -> Result<bool, Broken> {
    match field.nullable_array(Reader::id)? {
        Some(dirs) if !dirs.is_empty() => Err(Broken::Unsupported("cordoned log directories")),
        _ => Ok(true),
    }
}

impl Layout for BrokerRegistrationChangeRecord {
    const NAME: &'static str = "BrokerRegistrationChangeRecord";
    const KEY: u32 = 17;
    const NEWEST: u32 = 3;
    const WRITTEN: u32 = 2;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.broker_id.to_be_bytes());
        out.extend_from_slice(&self.broker_epoch.to_be_bytes());
        let mut tags = Tags::default();
        if self.fenced != 0 {
            tags.add(0, |out| out.extend_from_slice(&self.fenced.to_be_bytes()));
        }
        if self.in_controlled_shutdown != 0 {
            tags.add(1, |out| {
                out.extend_from_slice(&self.in_controlled_shutdown.to_be_bytes());
            });
        }
        if !self.log_dirs.is_empty() {
            tags.add(2, |out| write_ids(out, &self.log_dirs));
        }
        tags.write(out);
    }

    fn read(bytes: &mut Reader<'_>, version: u32) -> Result<Self, Broken> {
        let mut record = Self {
            broker_id: bytes.int32()?,
            broker_epoch: bytes.int64()?,
            ..Self::default()
        };
        bytes.tags(|tag, field| {
            match tag {
                0 => record.fenced = field.int8()?,
                1 if version >= 1 => record.in_controlled_shutdown = field.int8()?,
                2 if version >= 2 => record.log_dirs = field.array(Reader::id)?,
                3 if version >= 3 => return no_cordoned_dirs(field),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(record)
    }
}
