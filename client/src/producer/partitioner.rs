//! Which partition a record goes to that names none.
//!
//! What always holds: a key goes where the Java client puts it (murmur2 of its bytes, seed
//! `0x9747b28c`, without the sign, modulo the number of partitions); records without a key stay with
//! one partition for about a batch's bytes and then move to another (KIP-480, KIP-794).

use millrace_host::Rng;

const SEED: u32 = 0x9747_b28c;
const M: u32 = 0x5bd1_e995;
const R: u32 = 24;

/// The partition of a key.
pub(super) fn of_key(key: &[u8], partitions: usize) -> usize {
    (murmur2(key) & 0x7fff_ffff) as usize % partitions
}

/// `MurmurHash2`, 32 bits, as Kafka's Java client computes it.
fn murmur2(data: &[u8]) -> u32 {
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut h = SEED ^ length;
    let words = data.chunks_exact(4);
    let rest = words.remainder();
    for word in words {
        let word: [u8; 4] = word.try_into().expect("chunks of four");
        let mut k = u32::from_le_bytes(word).wrapping_mul(M);
        k = (k ^ (k >> R)).wrapping_mul(M);
        h = h.wrapping_mul(M) ^ k;
    }
    for (at, byte) in rest.iter().enumerate().rev() {
        h ^= u32::from(*byte) << (8 * at);
    }
    if !rest.is_empty() {
        h = h.wrapping_mul(M);
    }
    h = (h ^ (h >> 13)).wrapping_mul(M);
    h ^ (h >> 15)
}

/// Where records without a key go now.
#[derive(Debug, Default)]
pub(super) struct Sticky {
    partition: Option<usize>,
    bytes: usize,
}

impl Sticky {
    /// The partition for a record of that many bytes; moves on after `batch_bytes`.
    pub(super) fn next(
        &mut self,
        bytes: usize,
        batch_bytes: usize,
        partitions: usize,
        rng: &dyn Rng,
    ) -> usize {
        let stays = self
            .partition
            .filter(|at| *at < partitions && self.bytes < batch_bytes);
        let partition = stays.unwrap_or_else(|| {
            self.bytes = 0;
            let drawn = rng.next_u64() % partitions as u64;
            usize::try_from(drawn).expect("below the number of partitions")
        });
        self.partition = Some(partition);
        self.bytes += bytes;
        partition
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from `org.apache.kafka.common.utils.Utils.murmur2` of Kafka 4.3.1.
    #[test]
    fn keys_hash_as_in_kafkas_java_client() {
        let recorded: [(&[u8], i32); 8] = RECORDED;
        for (key, hash) in recorded {
            assert_eq!(murmur2(key), hash.cast_unsigned(), "{key:?}");
        }
    }

    const RECORDED: [(&[u8], i32); 8] = [
        (b"21", -973_932_308),
        (b"foobar", -790_332_482),
        (b"a-little-bit-long-string", -985_981_536),
        (b"a-little-bit-longer-string", -1_486_304_829),
        (
            b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
            -58_897_971,
        ),
        (b"abc", 479_470_107),
        (b"", 275_646_681),
        (b"\xff\x80\x7f", 968_261_134),
    ];
}
