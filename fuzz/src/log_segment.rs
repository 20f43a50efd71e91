//! Target: recovery of a partition whose last segment ends in anything.
//!
//! Held: the directory opens and the other partition is not touched; what the log shows is a chain
//! of batches with right checksums; recovering twice is recovering once; what a synced topic shows
//! is durable: a power cut right after takes none of it.

use std::path::Path;

use bytes::Bytes;
use millrace_protocol::records::batches;
use millrace_sim::Sim;

use crate::allocation::{Bound, within};
use crate::disk;
use crate::input::Input;
use crate::logs::{self, Ended, OTHER_BOOT, ROOT, SAME_BOOT, Shown, TOPICS};
use crate::{progress, seals};

/// Journal files of the new start (two of 64 KiB, zeroed from a buffer of that size), the cached and
/// the durable pages of the simulated disk, its books.
const OPENING: Bound = Bound::with_fixed(2 << 20);

const SEALED: u8 = 1;
const BOOTED: u8 = 1 << 1;
const CLOSED: u8 = 1 << 2;
const OTHER_TOPIC: u8 = 1 << 3;

/// One input: which image and topic, where in the unproven bytes of its last segment, then what
/// stands from there on.
pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let flags = input.byte();
    let place = usize::from(input.short());
    let ended = if flags & CLOSED == 0 {
        Ended::Killed
    } else {
        Ended::Closed
    };
    let node = if flags & BOOTED == 0 {
        SAME_BOOT
    } else {
        OTHER_BOOT
    };
    let topic = usize::from(flags & OTHER_TOPIC != 0);
    let image = logs::image(ended);
    let segment = Unproven::of(&image, topic);
    let content = segment.content(place, input.0, flags & SEALED != 0);
    if ended == Ended::Closed && content.len() == segment.content.len() {
        // A closed log of the right length is believed: that is what closing is for.
        return;
    }
    let sim = Sim::with_options(disk::still());
    let host = sim.node(node);
    let mut total = 0;
    sim.block_on(async {
        for (path, bytes) in &image.files {
            let bytes = if *path == segment.path {
                &content
            } else {
                bytes
            };
            total += bytes.len();
            disk::put(&host.disk, path, bytes).await;
        }
    });
    let start = |node: &str| {
        let host = sim.node(node);
        within(OPENING, total, || sim.block_on(logs::open(&host)))
            .expect("damage in one partition is no damage of the directory")
    };
    let first = start(node);
    sound(&first);
    if matches!(
        first[topic],
        Shown::Open {
            quarantined: false,
            ..
        }
    ) {
        progress::past_the_header();
    }
    sim.kill(node);
    let second = start(node);
    assert_eq!(first, second, "recovering twice is recovering once");
    sim.crash(node);
    let third = start(node);
    for ((_, durability), (before, after)) in TOPICS.iter().zip(first.iter().zip(&third)) {
        durable(*durability, before, after);
    }
    let panics = sim.panics();
    assert!(panics.is_empty(), "{panics:?}");
}

/// The last segment of a topic, and how much of it is settled and so not looked at again.
struct Unproven {
    path: std::path::PathBuf,
    content: Bytes,
    settled: usize,
}

impl Unproven {
    fn of(image: &logs::Image, topic: usize) -> Self {
        let entry = &image.entries[topic];
        let last = entry.segments.last().expect("it was written");
        let dir = Path::new(ROOT).join(format!("{}-0", TOPICS[topic].0));
        let path = dir.join(format!("{:020}.log", last.id.base_offset));
        let mut files = image.files.iter();
        let found = files.find(|(at, _)| *at == path);
        let settled = entry.settled.filter(|settled| settled.segment == last.id);
        Self {
            content: found.expect("its segment is there").1.clone(),
            settled: settled.map_or(0, |settled| settled.bytes as usize),
            path,
        }
    }

    fn content(&self, place: usize, bytes: &[u8], sealed: bool) -> Bytes {
        let unproven = self.content.len().saturating_sub(self.settled);
        let keep = (self.settled + place % (unproven + 1)).min(self.content.len());
        let mut content = self.content[..keep].to_vec();
        content.extend_from_slice(bytes);
        if sealed {
            seals::batches(&mut content);
        }
        content.into()
    }
}

fn sound(shown: &[Shown]) {
    for shown in shown {
        let Shown::Open {
            log_start,
            log_end,
            flushed,
            epochs,
            quarantined,
            bytes,
        } = shown
        else {
            continue;
        };
        assert!(log_start <= flushed && flushed <= log_end, "{shown:?}");
        assert!(epochs.is_sorted(), "epochs rise: {epochs:?}");
        let mut next = *log_start;
        for batch in batches(Bytes::copy_from_slice(&bytes.0)) {
            let batch = batch.expect("only whole batches were read");
            batch.verify_crc().expect("with right checksums");
            assert_eq!(batch.header.base_offset, next, "one after the other");
            next = batch.header.last_offset() + 1;
        }
        assert!(*quarantined || next == *log_end, "up to the end");
    }
}

/// What a power cut right after a recovery may change.
fn durable(durability: millrace_log::mark::Durability, before: &Shown, after: &Shown) {
    use millrace_log::mark::Durability;
    match (before, after) {
        (
            Shown::Open {
                quarantined: false,
                bytes: before_bytes,
                ..
            },
            Shown::Open { bytes, .. },
        ) => match durability {
            Durability::Fsync => assert_eq!(before, after, "what was recovered is durable"),
            Durability::PageCache => assert!(
                before_bytes.0.starts_with(&bytes.0),
                "what is left is the beginning"
            ),
        },
        (Shown::Open { quarantined, .. }, Shown::Offline) => {
            assert!(quarantined, "an intact log stays open");
        }
        // Damage that a restart could not explain, a power cut may: the log ends before it.
        (Shown::Open { .. } | Shown::Offline, _) => {}
    }
}
