//! Encoded rows that are kept for the next client that asks the same.
//!
//! What always holds: rows are given out only to who asks at the very offset that they were encoded
//! at ([`Image::topology_offset`]), so an answer is what its image says, and an image that holds an
//! acknowledged change never meets rows from before it; the same rows are encoded by one task at a
//! time, and the others wait for it; no more is kept than [`ENTRIES_MAX`] sets of rows and, all
//! together, as many bytes as said at the start.
//!
//! [`Image::topology_offset`]: millrace_core::cluster::Image::topology_offset

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;

use super::rows::Rows;
use crate::metrics::CacheMetrics;

/// Sets of rows that are kept: versions, with and without operations, principals.
const ENTRIES_MAX: usize = 16;

/// What makes rows differ, beside the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// Version of the answer.
    pub(super) version: i16,
    /// Whether they tell what the client may do to each topic.
    pub(super) with_operations: bool,
    /// Who asks: what it may see depends on that.
    pub(super) principal: Arc<str>,
}

/// Rows of some keys at the newest offset that anybody asked at.
#[derive(Debug)]
pub(crate) struct KeptRows {
    bytes_max: u64,
    metrics: CacheMetrics,
    kept: Mutex<Vec<Entry>>,
}

/// In the order of their use, the latest at the end.
#[derive(Debug)]
struct Entry {
    key: Key,
    /// The offset that they are encoded at.
    at: i64,
    rows: Arc<OnceCell<Rows>>,
}

impl KeptRows {
    /// Nothing yet, and at most `bytes_max` bytes.
    pub(crate) fn new(bytes_max: u64, metrics: CacheMetrics) -> Self {
        Self {
            bytes_max,
            metrics,
            kept: Mutex::new(Vec::new()),
        }
    }

    /// The rows of `key` at the offset `at`, encoded by `encode` unless they are there or another
    /// task is about it. Cancel-safe: whoever waits takes over.
    pub(super) async fn get<E>(
        &self,
        key: Key,
        at: i64,
        encode: impl Future<Output = Result<Rows, E>>,
    ) -> Result<Rows, E> {
        let Some(place) = self.place(key, at) else {
            self.metrics.misses.inc();
            return encode.await;
        };
        let mut encoded = false;
        let rows = place
            .get_or_try_init(async || {
                encoded = true;
                encode.await
            })
            .await?
            .clone();
        if encoded {
            self.metrics.misses.inc();
            self.weigh();
        } else {
            self.metrics.hits.inc();
        }
        Ok(rows)
    }

    /// Where the rows are, or will be; `None` at an offset older than what others ask at.
    fn place(&self, key: Key, at: i64) -> Option<Arc<OnceCell<Rows>>> {
        let mut kept = self.lock();
        // What is older will hardly be asked for again.
        kept.retain(|entry| entry.at >= at);
        if kept.iter().any(|entry| entry.at > at) {
            return None;
        }
        let known = kept.iter().position(|entry| entry.key == key);
        let entry = match known {
            Some(known) => kept.remove(known),
            None => Entry {
                key,
                at,
                rows: Arc::default(),
            },
        };
        let rows = Arc::clone(&entry.rows);
        kept.push(entry);
        if kept.len() > ENTRIES_MAX {
            kept.remove(0);
        }
        Some(rows)
    }

    /// Lets go of what was not used for longest until the rest is not too much.
    fn weigh(&self) {
        let mut kept = self.lock();
        let bytes = |entry: &Entry| entry.rows.get().map_or(0, Rows::bytes);
        let mut sum: u64 = kept.iter().map(bytes).sum();
        while sum > self.bytes_max {
            sum -= bytes(&kept.remove(0));
        }
        self.metrics
            .bytes
            .set(i64::try_from(sum).unwrap_or(i64::MAX));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use millrace_core::cluster::{Image, Topic};
    use millrace_protocol::ids::TopicId;
    use millrace_protocol::metadata::{MetadataRecord, TopicRecord};
    use millrace_sim::Sim;

    use super::super::rows::Seen;
    use super::*;
    use crate::metrics::Metrics;

    struct Everyone;

    impl Seen for Everyone {
        fn is_told(&self, _: &Topic) -> bool {
            true
        }

        fn operations(&self, _: &Topic) -> i32 {
            i32::MIN
        }
    }

    /// Rows of some 30 bytes for each topic.
    fn rows(topics: u8) -> Rows {
        let topic = |at: u8| {
            MetadataRecord::Topic(TopicRecord {
                name: format!("topic-{at:03}"),
                topic_id: TopicId::from_bytes([at + 1; 16]),
            })
        };
        let records: Vec<_> = (0..topics).map(topic).collect();
        let image = Image::default().replay_all(0, &records).unwrap();
        Sim::new(1).block_on(async { Rows::encode(&image, 13, &Everyone).await.unwrap() })
    }

    fn key(version: i16) -> Key {
        Key {
            version,
            with_operations: false,
            principal: "User:A".into(),
        }
    }

    fn cache(bytes_max: u64) -> KeptRows {
        KeptRows::new(bytes_max, Metrics::new().metadata_rows)
    }

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Asks for what can be encoded at once; whether it had to be.
    fn ask(cache: &KeptRows, key: Key, at: i64, rows: &Rows) -> bool {
        let encoded = Cell::new(false);
        let encode = async {
            encoded.set(true);
            Ok::<_, Infallible>(rows.clone())
        };
        let got = poll(pin!(cache.get(key, at, encode)));
        assert!(matches!(got, Poll::Ready(Ok(_))));
        encoded.get()
    }

    #[test]
    fn every_part_of_a_key_and_every_offset_has_its_own_rows() {
        let (cache, rows) = (cache(u64::MAX), rows(1));
        let with_operations = Key {
            with_operations: true,
            ..key(13)
        };
        let of_another = Key {
            principal: "User:B".into(),
            ..key(13)
        };
        for at in [5, 6] {
            for key in [
                key(13),
                key(12),
                with_operations.clone(),
                of_another.clone(),
            ] {
                assert!(ask(&cache, key.clone(), at, &rows));
                assert!(!ask(&cache, key, at, &rows));
            }
        }
        assert!(ask(&cache, key(13), 5, &rows), "older than what is kept");
        assert!(!ask(&cache, key(13), 6, &rows), "and that is still there");
        assert_eq!(cache.metrics.misses.get(), 9);
        assert_eq!(cache.metrics.hits.get(), 9);
        assert_eq!(cache.lock().len(), 4, "nothing of the older offset");
    }

    #[test]
    fn one_task_encodes_and_the_others_wait_for_it_or_take_over() {
        let (cache, rows) = (cache(u64::MAX), rows(1));
        let begun = Cell::new(0);
        let encode = |ready: bool| {
            let (begun, rows) = (&begun, rows.clone());
            async move {
                begun.set(begun.get() + 1);
                if !ready {
                    std::future::pending::<()>().await;
                }
                Ok::<_, Infallible>(rows)
            }
        };
        let mut second = pin!(cache.get(key(13), 1, encode(true)));
        let mut third = pin!(cache.get(key(13), 1, encode(true)));
        {
            let mut first = pin!(cache.get(key(13), 1, encode(false)));
            assert!(poll(first.as_mut()).is_pending());
            assert!(poll(second.as_mut()).is_pending());
            assert!(poll(third.as_mut()).is_pending());
            assert_eq!(begun.get(), 1);
        }
        // Its connection is gone: the next one does it.
        assert!(poll(second.as_mut()).is_ready());
        assert!(poll(third.as_mut()).is_ready());
        assert_eq!(begun.get(), 2);
    }

    #[test]
    fn no_more_is_kept_than_the_limits_say_and_what_was_used_last_stays() {
        let large = rows(100);
        let cache = cache(3 * large.bytes());
        for version in 0..4 {
            assert!(ask(&cache, key(version), 1, &large));
            assert!(!ask(&cache, key(0), 1, &large), "used all the time");
        }
        assert_eq!(cache.lock().len(), 3);
        assert_eq!(cache.metrics.bytes.get() as u64, 3 * large.bytes());
        assert!(ask(&cache, key(1), 1, &large), "not used for longest");
        let small = rows(1);
        for version in 0..100 {
            ask(&cache, key(version), 2, &small);
        }
        assert_eq!(cache.lock().len(), ENTRIES_MAX);
        let tight = KeptRows::new(small.bytes() - 1, cache.metrics.clone());
        assert!(ask(&tight, key(1), 1, &small));
        assert!(ask(&tight, key(1), 1, &small), "too much to keep");
        assert_eq!(tight.metrics.bytes.get(), 0);
    }
}
