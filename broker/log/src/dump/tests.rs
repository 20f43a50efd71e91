//! Every kind of file: what is written by the log is shown whole, anything else is told.

use std::fs;
use std::path::Path;

use millrace_host::real;
use proptest::prelude::*;

use super::*;
use crate::testing::{BatchSpec, batch};

fn lines(path: &Path, options: Options) -> Result<(bool, Vec<Line>), Error> {
    let machine = real::RealHost::start(&real::Options::default()).unwrap();
    let host = machine.host();
    let mut lines = Vec::new();
    let mut take = |line: &Line| {
        lines.push(line.clone());
        Ok(())
    };
    let sound = machine.block_on(dump(&host, path, options, &mut take))?;
    Ok((sound, lines))
}

fn field<'a>(line: &'a Line, name: &str) -> &'a Value {
    let found = line.fields.iter().find(|(field, _)| *field == name);
    &found.unwrap_or_else(|| panic!("no {name} in {line:?}")).1
}

fn kinds(lines: &[Line]) -> Vec<&str> {
    lines.iter().map(|line| line.kind.as_ref()).collect()
}

/// Two batches of three records each.
fn segment() -> Vec<u8> {
    let of = |base_offset| {
        batch(&BatchSpec {
            base_offset,
            records: 3,
            ..BatchSpec::default()
        })
    };
    [of(0), of(3)].concat()
}

#[test]
fn a_segment_is_shown_up_to_where_it_is_no_segment() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("00000000000000000000.log");
    let whole = segment();
    fs::write(&path, &whole).unwrap();
    let (sound, shown) = lines(&path, Options::default()).unwrap();
    assert!(sound);
    assert_eq!(kinds(&shown), ["file", "batch", "batch"]);
    assert_eq!(field(&shown[2], "baseOffset"), &Value::Int(3));

    let above = Options {
        from_offset: 3,
        ..Options::default()
    };
    let (_, shown) = lines(&path, above).unwrap();
    assert_eq!(kinds(&shown), ["file", "batch"]);

    let half = whole.len() as u64 / 2;
    let cases = [
        ([&whole[..], &[0; 100]].concat(), 2 * half, "100 zeros"),
        (whole[..whole.len() - 1].to_vec(), half, "the file ends"),
        ([&whole[..], b"what is this"].concat(), 2 * half, "no batch"),
    ];
    for (content, position, what) in cases {
        fs::write(&path, &content).unwrap();
        let (sound, shown) = lines(&path, Options::default()).unwrap();
        let last = shown.last().unwrap();
        assert!(!sound && last.kind == "damage", "{shown:?}");
        assert_eq!(field(last, "position"), &Value::Unsigned(position));
        let Value::Text(said) = field(last, "what") else {
            panic!("{last:?}")
        };
        assert!(said.contains(what), "{said}");
    }
}

#[test]
fn a_wrong_checksum_is_told_and_the_next_batch_is_shown() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("00000000000000000000.log");
    let mut content = segment();
    content[100] ^= 1;
    fs::write(&path, &content).unwrap();
    let (sound, shown) = lines(&path, Options::default()).unwrap();
    assert!(!sound);
    assert_eq!(kinds(&shown), ["file", "batch", "damage", "batch"]);
    assert_eq!(field(&shown[1], "isvalid"), &Value::Flag(false));
}

#[test]
fn an_index_is_held_against_its_segment() {
    let directory = tempfile::tempdir().unwrap();
    let content = segment();
    let second = i32::try_from(content.len() / 2).unwrap();
    fs::write(directory.path().join("00000000000000000000.log"), content).unwrap();
    let path = directory.path().join("00000000000000000000.index");
    let entry = |offset: i32, position: i32| [offset.to_be_bytes(), position.to_be_bytes()];
    fs::write(&path, entry(5, second).concat()).unwrap();
    let (sound, shown) = lines(&path, Options::default()).unwrap();
    assert!(sound, "{shown:?}");
    fs::write(&path, entry(4, second).concat()).unwrap();
    assert!(!lines(&path, Options::default()).unwrap().0);
    fs::write(&path, entry(5, second + 1).concat()).unwrap();
    assert!(!lines(&path, Options::default()).unwrap().0);
}

#[test]
fn other_files_are_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.txt");
    fs::write(&path, "mine").unwrap();
    for path in [path.as_path(), directory.path()] {
        let refused = lines(path, Options::default()).unwrap_err();
        assert!(refused.to_string().contains("log directory"), "{refused}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever stands in a file: an answer, no panic.
    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..9000), real in any::<bool>()) {
        let directory = tempfile::tempdir().unwrap();
        let content = if real { [&segment()[..], &bytes].concat() } else { bytes };
        for name in [
            "00000000000000000000.log", "00000000000000000000-0000000001.checkpoint",
            "00000000000000000000.index", "00000000000000000000.timeindex",
            "00000000000000000000.producers", "00000000000000000000.snapshot",
            "leader-epoch-checkpoint", "partition.metadata", "millrace.format", "ledger.0",
            "journal.0000000001.0", "quorum-state",
        ] {
            let path = directory.path().join(name);
            assert!(Kind::of(&path).is_some(), "{name}");
            fs::write(&path, &content).unwrap();
            let options = Options { records: true, metadata: true, ..Options::default() };
            drop(lines(&path, options));
        }
    }
}
