//! Target: the small files of a partition and of a node, each read by itself.
//!
//! Held: what was read is written and read as the same; a slot file that could be opened gives the
//! same record when opened again, and after a fault of the disk the one before or the newer one.

use std::path::Path;
use std::sync::Arc;

use millrace_log::slots::SlotFile;
use millrace_log::{epoch_checkpoint, partition_metadata, producer_snapshot};
use millrace_sim::Sim;

use crate::allocation::{Bound, within};
use crate::disk;
use crate::faults;
use crate::input::Input;
use crate::{progress, seals};

/// A producer is a structure with its own list of batches.
const PRODUCERS: Bound = Bound {
    per_byte: 8,
    fixed_bytes: 0,
};

/// A slot file is two slots of 4 KiB; the simulated disk holds pages and its own books.
const SLOTS: Bound = Bound::with_fixed(256 * 1024);

const SEALED: u8 = 1 << 7;
const FAULTY: u8 = 1 << 6;

/// One input: which file, and whether its checksums are made right; then its bytes.
pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let kind = input.byte();
    let mut file = input.0.to_vec();
    match (kind & !(SEALED | FAULTY)) % 4 {
        0 => within(Bound::STRICT, file.len(), || epochs(&file)),
        1 => within(Bound::STRICT, file.len(), || identity(&file)),
        2 => {
            if kind & SEALED != 0 {
                seals::producers(&mut file);
            }
            within(PRODUCERS, file.len(), || producers(&file));
        }
        _ => {
            if kind & SEALED != 0 {
                seals::slots(&mut file);
            }
            if kind & FAULTY == 0 {
                slots(&file);
            } else {
                slots_under_fault(&file, &mut input);
            }
        }
    }
}

fn epochs(file: &[u8]) {
    let Ok(text) = std::str::from_utf8(file) else {
        return;
    };
    if let Ok(epochs) = epoch_checkpoint::parse(text) {
        progress::past_the_header();
        assert!(epochs.is_sorted(), "both columns rise");
        let again = epoch_checkpoint::parse(&epoch_checkpoint::encode(&epochs));
        assert_eq!(again.ok(), Some(epochs));
    }
}

fn identity(file: &[u8]) {
    let Ok(text) = std::str::from_utf8(file) else {
        return;
    };
    if let Ok(id) = partition_metadata::parse(text) {
        progress::past_the_header();
        let again = partition_metadata::parse(&partition_metadata::encode(id));
        assert_eq!(again.ok(), Some(id));
    }
}

fn producers(file: &[u8]) {
    if let Ok((offset, entries)) = producer_snapshot::decode(file) {
        progress::past_the_header();
        let again = producer_snapshot::decode(&producer_snapshot::encode(offset, &entries).bytes);
        assert_eq!(again.ok(), Some((offset, entries.clone())));
        drop(producer_snapshot::encode_kafka(&entries));
    }
}

/// A write that may fail leaves the record before or its own, and the same at each look.
fn slots_under_fault(file: &[u8], input: &mut Input<'_>) {
    let fault = faults::drawn(input);
    let sim = Sim::with_options(disk::cold());
    let host = sim.node("n");
    let root = Path::new("/");
    let work = async {
        disk::put(&host.disk, Path::new("/slots"), file).await;
        let before = SlotFile::look(host.disk.as_ref(), root, "slots").await.ok();
        sim.inject("n", fault);
        let open = || SlotFile::open(Arc::clone(&host.disk), root, "slots");
        if let Ok((mut slots, _)) = open().await {
            drop(slots.write(b"newer").await);
        }
        drop(SlotFile::look(host.disk.as_ref(), root, "slots").await);
        sim.heal_disk("n", None);
        let after = SlotFile::look(host.disk.as_ref(), root, "slots").await.ok();
        let newer = Some(Some(b"newer".to_vec()));
        assert!(
            after == before || after == newer || before.is_none(),
            "{before:?}, then {after:?}"
        );
    };
    within(SLOTS, file.len(), || sim.block_on(work));
}

fn slots(file: &[u8]) {
    let sim = Sim::with_options(disk::still());
    let host = sim.node("n");
    let work = async {
        disk::put(&host.disk, Path::new("/slots"), file).await;
        let open = || SlotFile::open(Arc::clone(&host.disk), Path::new("/"), "slots");
        let Ok((_, first)) = open().await else { return };
        progress::past_the_header();
        let (mut slots, again) = open().await.expect("it was opened before");
        assert_eq!(again, first, "what was read once is read again");
        // Refused only at the end of all sequences; what stands there stays then.
        let written = slots.write(b"newer").await.is_ok();
        let (_, newest) = open().await.expect("it was opened before");
        let expected = if written {
            Some(b"newer".to_vec())
        } else {
            again
        };
        assert_eq!(newest, expected, "the newest record is read");
    };
    within(SLOTS, file.len(), || sim.block_on(work));
}
