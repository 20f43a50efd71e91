//! Small files: producer snapshots, leader epochs, whose a directory is, records in two slots.

use std::sync::Arc;

use millrace_host::File;
use millrace_protocol::producer::ProducerEntry;

use super::{Dump, Line};
use crate::dir::format::{Format, Read};
use crate::error::Error;
use crate::partition_metadata::base64;
use crate::slots::{self, SLOT_LEN};
use crate::{epoch_checkpoint, partition_metadata, producer_snapshot};

impl Dump<'_> {
    pub(super) async fn producers(&mut self, file: &Arc<dyn File>) -> Result<(), Error> {
        let bytes = Self::whole(file).await?;
        let (offset, producers) = match producer_snapshot::decode(&bytes) {
            Ok(read) => read,
            Err(error) => return self.complain(0, error.to_string()),
        };
        let head = Line::new("snapshot").int("offset", offset);
        self.say(&head.unsigned("producers", producers.len() as u64))?;
        for producer in &producers {
            self.say(&producer_line(producer))?;
            for batch in &producer.batches {
                let line = Line::new("producerBatch")
                    .int("producerId", producer.producer_id)
                    .int("firstSequence", batch.first_sequence)
                    .int("lastSequence", batch.last_sequence)
                    .int("firstOffset", batch.base_offset())
                    .int("lastOffset", batch.last_offset)
                    .int("timestamp", batch.timestamp_ms);
                self.say(&line)?;
            }
        }
        Ok(())
    }

    pub(super) async fn kafka_producers(&mut self, file: &Arc<dyn File>) -> Result<(), Error> {
        let bytes = Self::whole(file).await?;
        match producer_snapshot::decode_kafka(&bytes) {
            Ok(producers) => {
                for producer in &producers {
                    let last = producer.batches.last();
                    let line = producer_line(producer)
                        .int("lastSequence", last.map_or(-1, |batch| batch.last_sequence))
                        .int("lastOffset", last.map_or(-1, |batch| batch.last_offset));
                    self.say(&line)?;
                }
                Ok(())
            }
            Err(error) => self.complain(0, error.to_string()),
        }
    }

    pub(super) async fn epochs(&mut self, file: &Arc<dyn File>) -> Result<(), Error> {
        let bytes = Self::whole(file).await?;
        match epoch_checkpoint::parse(&String::from_utf8_lossy(&bytes)) {
            Ok(epochs) => {
                for (epoch, start) in epochs {
                    let line = Line::new("epoch").int("epoch", epoch);
                    self.say(&line.int("startOffset", start))?;
                }
                Ok(())
            }
            Err(error) => self.complain(0, error.to_string()),
        }
    }

    pub(super) async fn identity(&mut self, file: &Arc<dyn File>) -> Result<(), Error> {
        let bytes = Self::whole(file).await?;
        match partition_metadata::parse(&String::from_utf8_lossy(&bytes)) {
            Ok(id) => self.say(&Line::new("partition").text("topicId", base64(id))),
            Err(error) => self.complain(0, error.to_string()),
        }
    }

    pub(super) async fn format(&mut self, file: &Arc<dyn File>) -> Result<(), Error> {
        match Format::decode(&Self::whole(file).await?) {
            Read::Format(own) => {
                let line = Line::new("format")
                    .int("version", crate::dir::format::FORMAT)
                    .text("directoryId", base64(own.dir_id))
                    .int("nodeId", own.node_id)
                    .text("clusterId", own.cluster_id);
                self.say(&line)
            }
            Read::Other(version) => {
                let what =
                    format!("format {version} is not one that this version of Millrace reads");
                self.complain(0, what)
            }
            Read::Bad => self.complain(0, "it is damaged: not one of ours, or a wrong checksum"),
        }
    }

    pub(super) async fn slots(&mut self, file: &Arc<dyn File>) -> Result<(), Error> {
        let bytes = Self::whole(file).await?;
        for (index, slot) in bytes.chunks(SLOT_LEN).enumerate() {
            let at = (index * SLOT_LEN) as u64;
            match slots::decode(slot) {
                Some((sequence, record)) => {
                    let line = Line::new("slot").unsigned("position", at);
                    let line = line.unsigned("sequence", sequence);
                    self.say(&line.bytes("record", Some(&record)))?;
                }
                None if slot.iter().all(|byte| *byte == 0) => {}
                None => self.complain(at, "a slot that is torn or damaged")?,
            }
        }
        Ok(())
    }
}

fn producer_line(producer: &ProducerEntry) -> Line {
    let open = producer.open_txn_first_offset.unwrap_or(-1);
    Line::new("producer")
        .int("producerId", producer.producer_id)
        .int("producerEpoch", producer.producer_epoch)
        .int("coordinatorEpoch", producer.coordinator_epoch)
        .int("currentTxnFirstOffset", open)
        .int("lastTimestamp", producer.last_seen_ms)
}
