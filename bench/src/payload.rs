//! What is sent: request bodies encoded before the clock starts, all different, and as compressible as
//! was asked for.

use std::collections::BTreeMap;

use bytes::Bytes;
use millrace_client::{Acks, Call, Client, Topic};
use millrace_protocol::records::{BatchBuilder, BatchHeader, Codec, Options};

use crate::text;

/// Bytes of bodies that are kept ready; a longer run sends them again and again.
const POOL_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The shape of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Bytes of each record's value.
    pub(crate) record_bytes: usize,
    /// Records of each batch.
    pub(crate) batch_records: usize,
    /// How much of each value repeats what is before it, from 0 to 1.
    pub(crate) repeat_share: f64,
    /// The codec.
    pub(crate) codec: Codec,
}

/// One request ready to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Ready {
    /// Where the batch goes.
    pub(crate) partition: i32,
    /// The batch's checksum: what names it when it is read back.
    pub(crate) crc: u32,
    /// The request's body.
    pub(crate) body: Bytes,
}

/// The bodies of one run. Request number `n` sends body `n % len`, which goes to partition
/// `n % partitions`.
#[derive(Debug)]
pub(crate) struct Payload {
    /// API and version of every request.
    pub(crate) call: Call,
    ready: Vec<Ready>,
}

impl Payload {
    /// Encodes what a run of `requests` requests sends, or as much of it as is kept ready.
    pub(crate) fn encode(
        client: &Client,
        topic: &Topic,
        acks: Acks,
        shape: Shape,
        requests: usize,
    ) -> Result<Self, String> {
        let partitions = usize::try_from(topic.partitions).map_err(text)?.max(1);
        let body_bytes = shape.record_bytes * shape.batch_records;
        let kept = requests.min(POOL_BYTES_MAX / body_bytes.max(1)).max(1);
        // Whole rounds over the partitions, so that bodies and partitions stay in step.
        let kept = kept.next_multiple_of(partitions);
        let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
        let mut ready = Vec::with_capacity(kept);
        let mut call = None;
        for at in 0..kept {
            let partition = i32::try_from(at % partitions).map_err(text)?;
            let batch = batch(shape, &mut noise)?;
            let crc = BatchHeader::parse(&batch).map_err(text)?.crc;
            let request = client.produce_request(topic, partition, acks, batch);
            let (of_request, body) = client.encode(&request).map_err(text)?;
            call = Some(of_request);
            ready.push(Ready {
                partition,
                crc,
                body,
            });
        }
        let call = call.ok_or_else(|| "nothing to send".to_owned())?;
        Ok(Self { call, ready })
    }

    /// Nothing to send, for tests of what goes by numbers alone.
    #[cfg(test)]
    pub(crate) fn empty() -> Self {
        Self {
            call: Call {
                api_key: 0,
                api_version: 9,
                flexible: true,
            },
            ready: Vec::new(),
        }
    }

    /// What request number `number` sends.
    pub(crate) fn of(&self, number: usize) -> &Ready {
        &self.ready[number % self.ready.len()]
    }

    /// How often each batch (by partition and checksum) is sent by the first `requests` requests.
    pub(crate) fn expected(&self, requests: usize) -> BTreeMap<i32, BTreeMap<u32, u64>> {
        let mut expected: BTreeMap<i32, BTreeMap<u32, u64>> = BTreeMap::new();
        let (rounds, rest) = (requests / self.ready.len(), requests % self.ready.len());
        for (at, ready) in self.ready.iter().enumerate() {
            let times = rounds as u64 + u64::from(at < rest);
            if times > 0 {
                *expected
                    .entry(ready.partition)
                    .or_default()
                    .entry(ready.crc)
                    .or_default() += times;
            }
        }
        expected
    }
}

fn batch(shape: Shape, noise: &mut Noise) -> Result<Bytes, String> {
    let mut builder = BatchBuilder::new(Options {
        codec: shape.codec,
        ..Options::default()
    });
    let mut value = vec![0; shape.record_bytes];
    noise.fill(&mut value);
    let fresh = (shape.record_bytes as f64 * (1.0 - shape.repeat_share)).ceil() as usize;
    let fresh = fresh.min(shape.record_bytes);
    for _ in 0..shape.batch_records {
        // The rest is what the value before it had there.
        noise.fill(&mut value[..fresh]);
        builder
            .push(TIMESTAMP_MS, None, Some(&value), &[])
            .map_err(text)?;
    }
    Ok(builder.build())
}

/// Every record's time: fixed, so that runs are the same bytes. November 2023: a topic whose
/// retention is shorter than its age may drop the run, so the bench makes topics without retention.
const TIMESTAMP_MS: i64 = 1_700_000_000_000;

/// A xorshift generator: incompressible bytes that are the same in every run.
#[derive(Debug)]
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            chunk.copy_from_slice(&self.0.to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(partition: i32, crc: u32) -> Ready {
        Ready {
            partition,
            crc,
            body: Bytes::new(),
        }
    }

    fn payload() -> Payload {
        let call = Call {
            api_key: 0,
            api_version: 9,
            flexible: true,
        };
        Payload {
            call,
            ready: vec![ready(0, 7), ready(1, 7), ready(0, 9), ready(1, 8)],
        }
    }

    #[test]
    fn what_is_expected_is_what_the_numbers_send() {
        let payload = payload();
        for requests in 0..13 {
            let mut sent: BTreeMap<i32, BTreeMap<u32, u64>> = BTreeMap::new();
            for number in 0..requests {
                let ready = payload.of(number);
                *sent
                    .entry(ready.partition)
                    .or_default()
                    .entry(ready.crc)
                    .or_default() += 1;
            }
            assert_eq!(payload.expected(requests), sent);
        }
    }

    #[test]
    fn batches_of_one_run_all_differ_and_runs_are_alike() {
        let shape = Shape {
            record_bytes: 100,
            batch_records: 3,
            repeat_share: 0.0,
            codec: Codec::None,
        };
        let (mut one, mut other) = (Noise(5), Noise(5));
        let first = batch(shape, &mut one).unwrap();
        assert_eq!(first, batch(shape, &mut other).unwrap());
        assert_ne!(first, batch(shape, &mut one).unwrap());
    }
}
