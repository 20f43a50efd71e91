//! Target: records of the metadata log, and the image that is folded from them; control records.
//!
//! Held: a record that was read is written and read as the same record; a record that does not fit
//! changes nothing; an image written as records and folded again is the same image.

use millrace_core::cluster::{Image, Loading};
use millrace_protocol::metadata::MetadataRecord;
use millrace_protocol::metadata::control::{
    ControlValue, KRaftVersion, LeaderChange, SnapshotFooter, SnapshotHeader, Voters,
};
use millrace_protocol::records::ControlType;

use crate::allocation::{Bound, within};
use crate::input::Input;
use crate::progress;

/// A record holds a string or an id for every few bytes of its value, in structures of a few dozen
/// bytes; a value is at most one batch.
const READING: Bound = Bound {
    per_byte: 32,
    fixed_bytes: 0,
};

/// One input: values, each after its length in two bytes.
pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mut image = Image::default();
    let mut offset = 0;
    while !input.0.is_empty() {
        let len = usize::from(input.short());
        let value = input.take(len);
        control_records(value);
        let read = within(READING, value.len(), || MetadataRecord::decode(value));
        let Ok(record) = read else { continue };
        progress::past_the_header();
        let again = MetadataRecord::decode(&record.encode());
        assert_eq!(again.as_ref(), Ok(&record), "written and read");
        // What does not fit is refused; the image before it stands.
        if let Ok(next) = image.replay(offset, &record) {
            assert_eq!(next.offset(), offset);
            image = next;
            offset += 1;
        }
    }
    folds_again(&image);
}

fn folds_again(image: &Image) {
    let records = image.to_records();
    let mut loading = Loading::default();
    for record in &records {
        let read = MetadataRecord::decode(&record.encode()).expect("it was just written");
        loading
            .restore(image.offset(), &read)
            .expect("an image's own records fit");
    }
    assert_eq!(loading.finish().to_records(), records);
}

fn control_records(value: &[u8]) {
    if let Ok(kind) = ControlType::parse_key(value) {
        assert_eq!(ControlType::parse_key(&kind.key()), Ok(kind));
    }
    control::<LeaderChange>(value);
    control::<SnapshotHeader>(value);
    control::<SnapshotFooter>(value);
    control::<KRaftVersion>(value);
    control::<Voters>(value);
}

/// What is written may be an older version than what was read, and is a fixed point.
fn control<V: ControlValue>(value: &[u8]) {
    let Ok(read) = within(READING, value.len(), || V::decode(value)) else {
        return;
    };
    let written = read.encode();
    let again = V::decode(&written).map(|again| again.encode());
    assert_eq!(again, Ok(written), "a fixed point");
}
