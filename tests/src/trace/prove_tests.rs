//! The proof bites: each thing that it asks for, left out of a trace or done too late, is found.

use std::fmt::Write;

use super::*;
use crate::trace::journal;
use crate::trace::prove::Proof;
use bytes::Bytes;
use millrace_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use millrace_protocol::messages::{self, ProduceRequest};
use millrace_protocol::records::{BatchBuilder, Options};

const VERSION: i16 = 12;
const CONNECTION: &str = "TCP:[127.0.0.1:1->127.0.0.1:2]";
const SEGMENT: &str = "/d/t-0/00000000000000000000.log";
const JOURNAL: &str = "/d/journal.0000000001.0";
const WHOSE: ([u8; 16], i32) = ([7; 16], 0);

fn quoted(bytes: &[u8]) -> String {
    let mut text = "\"".to_owned();
    for byte in bytes {
        write!(text, "\\{byte:03o}").unwrap();
    }
    text + "\""
}

fn batch() -> Bytes {
    let mut builder = BatchBuilder::new(Options::default());
    builder.push(5, None, Some(b"a value"), &[]).unwrap();
    builder.build()
}

/// The same, as the broker stores it.
fn stored() -> Vec<u8> {
    let mut bytes = batch().to_vec();
    bytes[..8].copy_from_slice(&0_i64.to_be_bytes());
    bytes[12..16].copy_from_slice(&3_i32.to_be_bytes());
    bytes
}

fn request(number: i32) -> Vec<u8> {
    let mut part = PartitionProduceData::default();
    part.records = Some(batch());
    let mut topic = TopicProduceData::default();
    topic.name = "t".into();
    topic.partition_data = vec![part];
    let mut request = ProduceRequest::default();
    request.acks = -1;
    request.topic_data = vec![topic];
    let body = messages::encode(&request, VERSION).unwrap();
    let mut frame = Vec::new();
    frame.extend_from_slice(&0_i16.to_be_bytes());
    frame.extend_from_slice(&VERSION.to_be_bytes());
    frame.extend_from_slice(&number.to_be_bytes());
    frame.extend_from_slice(&(-1_i16).to_be_bytes());
    frame.push(0);
    frame.extend_from_slice(&body);
    framed(&frame)
}

fn answer(number: i32, error: i16) -> Vec<u8> {
    let mut frame = number.to_be_bytes().to_vec();
    // No tags; one topic, "t"; one partition, 0.
    frame.extend_from_slice(&[0, 2, 2, b't', 2, 0, 0, 0, 0]);
    frame.extend_from_slice(&error.to_be_bytes());
    frame.extend_from_slice(&0_i64.to_be_bytes());
    frame.extend_from_slice(&(-1_i64).to_be_bytes());
    frame.extend_from_slice(&0_i64.to_be_bytes());
    // No record errors, no message, no tags of partition and topic; throttle time, tags.
    frame.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0, 0]);
    framed(&frame)
}

fn framed(frame: &[u8]) -> Vec<u8> {
    let mut bytes = (frame.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(frame);
    bytes
}

fn written(path: &str, bytes: &[u8], position: u64) -> String {
    let len = bytes.len();
    format!(
        "pwritev(3<{path}>, [{{iov_base={}, iov_len={len}}}], 1, {position}) = {len}",
        quoted(bytes)
    )
}

fn made(path: &str) -> String {
    format!("openat(AT_FDCWD</x>, \"{path}\", O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 3<{path}>")
}

fn received(bytes: &[u8]) -> String {
    let len = bytes.len();
    format!(
        "recvfrom(9<{CONNECTION}>, {}, 65536, 0, NULL, NULL) = {len}",
        quoted(bytes)
    )
}

fn sent(bytes: &[u8]) -> String {
    let len = bytes.len();
    format!(
        "sendmsg(9<{CONNECTION}>, {{msg_name=NULL, msg_iov=[{{iov_base={}, iov_len={len}}}], \
         msg_iovlen=1}}, MSG_NOSIGNAL) = {len}",
        quoted(bytes)
    )
}

fn commit(with_data: bool, with_mark: bool) -> Vec<u8> {
    let mut entries = Vec::new();
    if with_mark {
        let mut mark = vec![1];
        mark.extend_from_slice(&[0; 8 + 4 + 1]);
        mark.extend_from_slice(&1_u32.to_le_bytes());
        mark.push(b't');
        entries.push((2, mark));
    }
    if with_data {
        let mut data = vec![0; 8 + 4 + 8 + 16];
        data.extend_from_slice(&stored());
        entries.push((1, data));
    }
    journal::encode(1, &entries, WHOSE)
}

/// A start, a new topic's first append, and its acknowledgement: each line is called by its last
/// word.
fn trace(commit: &[u8], direct: bool) -> Vec<(&'static str, String)> {
    let sync = |path: &str| format!("fdatasync(3<{path}>) = 0");
    let names = |path: &str| format!("fsync(4<{path}>) = 0");
    let mut lines = vec![
        ("make the journal", made(JOURNAL)),
        ("zeros", written(JOURNAL, &[0; 4096], 0)),
        ("sync of zeros", sync(JOURNAL)),
        ("names of the journal", names("/d")),
        (
            "accept",
            format!("accept4(8<TCP:[127.0.0.1:1]>, {{}}, [128 => 16], 0) = 9<{CONNECTION}>"),
        ),
        ("request", received(&request(1))),
        (
            "make the directory",
            "mkdir(\"/d/t-0\", 0700) = 0".to_owned(),
        ),
        ("make the segment", made(SEGMENT)),
        ("make the metadata", made("/d/t-0/partition.metadata")),
        (
            "metadata",
            written("/d/t-0/partition.metadata", b"version: 0", 0),
        ),
        ("append", written(SEGMENT, &stored(), 0)),
        ("commit", written(JOURNAL, commit, 0)),
        ("sync of the commit", sync(JOURNAL)),
    ];
    if direct {
        lines.push(("sync of the segment", sync(SEGMENT)));
        lines.push(("sync of the metadata", sync("/d/t-0/partition.metadata")));
        lines.push(("names of the partition", names("/d/t-0")));
        lines.push(("names of the directory", names("/d")));
    }
    lines.push(("answer", sent(&answer(1, 0))));
    lines
}

fn proof(lines: &[(&str, String)]) -> Proof {
    let text: Vec<String> = lines
        .iter()
        .map(|(_, line)| format!("7 1.5 {line}\n"))
        .collect();
    prove(&text.concat()).unwrap()
}

fn without(lines: &[(&'static str, String)], which: &str) -> Vec<(&'static str, String)> {
    let mut left = lines.to_vec();
    left.retain(|(name, _)| *name != which);
    assert_eq!(left.len() + 1, lines.len(), "{which}");
    left
}

/// Everything in `needed` is missed when it is not there, when the tracer suppressed it, when it
/// failed and when it comes after the answer.
fn bites(lines: &[(&'static str, String)], needed: &[&str]) {
    for which in needed {
        let left = without(lines, which);
        let found = proof(&left);
        assert_eq!((found.requests, found.unproven.len()), (1, 1), "{which}");
        let mut late = left.clone();
        late.push(
            lines
                .iter()
                .find(|(name, _)| name == which)
                .unwrap()
                .clone(),
        );
        assert_eq!(proof(&late).unproven.len(), 1, "{which} after the answer");
        for outcome in [") = 0 (INJECTED)", ") = -1 EIO (Input/output error)"] {
            let mut spoilt = lines.to_vec();
            for (name, line) in &mut spoilt {
                if name == which && line.ends_with(") = 0") {
                    *line = line.replace(") = 0", outcome);
                    assert_eq!(proof(&left).unproven.len(), 1, "{which}{outcome}");
                }
            }
        }
    }
}

#[test]
fn an_answer_is_proven_by_the_commit_that_carries_bytes_and_mark() {
    let lines = trace(&commit(true, true), false);
    let found = proof(&lines);
    assert_eq!(found.unproven, Vec::<String>::new());
    assert_eq!((found.requests, found.by(Way::Journal)), (1, 1));
    bites(
        &lines,
        &[
            "append",
            "commit",
            "sync of the commit",
            "names of the journal",
        ],
    );
}

#[test]
fn a_commit_without_the_segments_mark_proves_nothing() {
    let found = proof(&trace(&commit(true, false), false));
    assert_eq!(found.unproven.len(), 1);
}

#[test]
fn an_answer_is_proven_by_the_segments_sync_with_its_names_and_its_mark() {
    let lines = trace(&commit(false, true), true);
    let found = proof(&lines);
    assert_eq!(found.unproven, Vec::<String>::new());
    assert_eq!((found.requests, found.by(Way::Direct)), (1, 1));
    bites(
        &lines,
        &[
            "append",
            "commit",
            "sync of the commit",
            "sync of the segment",
            "sync of the metadata",
            "names of the partition",
            "names of the directory",
        ],
    );
    let unmarked = trace(&commit(false, false), true);
    assert_eq!(proof(&unmarked).unproven.len(), 1);
}

#[test]
fn a_sync_that_began_before_the_write_returned_proves_nothing() {
    let mut lines = trace(&commit(true, true), false);
    let at = |lines: &[(&str, String)], name| lines.iter().position(|(n, _)| *n == name).unwrap();
    let (commit, sync) = (at(&lines, "commit"), at(&lines, "sync of the commit"));
    lines.swap(commit, sync);
    assert_eq!(proof(&lines).unproven.len(), 1);
}

#[test]
fn a_sync_behind_a_failed_one_of_the_same_file_proves_nothing() {
    let mut lines = trace(&commit(true, true), false);
    let at = lines
        .iter()
        .position(|(name, _)| *name == "sync of the commit")
        .unwrap();
    let failed = format!("fdatasync(3<{JOURNAL}>) = -1 EIO (Input/output error)");
    lines.insert(at, ("failed", failed));
    let found = proof(&lines);
    assert_eq!((found.failed_syncs, found.unproven.len()), (1, 1));
}

#[test]
fn a_failed_sync_of_another_file_spoils_nothing_until_the_directory_is_said_to_be_offline() {
    let mut lines = trace(&commit(true, true), false);
    let place = |lines: &[(&str, String)], name| lines.iter().position(|(n, _)| *n == name);
    let at = place(&lines, "commit").unwrap();
    let failed = "fdatasync(3</d/t-1/partition.metadata>) = -1 EIO (Input/output error)";
    lines.insert(at, ("failed", failed.to_owned()));
    let found = proof(&lines);
    assert_eq!((found.failed_syncs, found.unproven.len()), (1, 0));
    let said = ("said", written("/d/.lock", b"failed=yes\n", 102));
    let mut late = lines.clone();
    late.insert(place(&late, "answer").unwrap(), said.clone());
    assert_eq!(proof(&late).unproven, Vec::<String>::new());
    let at = place(&lines, "sync of the commit").unwrap();
    lines.insert(at, said);
    assert_eq!(proof(&lines).unproven.len(), 1);
}

#[test]
fn bytes_that_differ_from_what_was_asked_prove_nothing() {
    let mut lines = trace(&commit(true, true), false);
    for (name, line) in &mut lines {
        if *name == "append" {
            let mut bytes = stored();
            *bytes.last_mut().unwrap() ^= 1;
            *line = written(SEGMENT, &bytes, 0);
        }
    }
    assert_eq!(proof(&lines).unproven.len(), 1);
}

#[test]
fn what_lies_before_a_batch_must_be_durable_too() {
    // Another's batch lies before it, which no commit carries.
    let mut lines = trace(&commit(true, true), false);
    let first = stored();
    let mut data = vec![0; 8 + 4];
    data.extend_from_slice(&(first.len() as u64).to_le_bytes());
    data.extend_from_slice(&[0; 16]);
    data.extend_from_slice(&first);
    let mut mark = vec![1];
    mark.extend_from_slice(&[0; 8 + 4 + 1]);
    mark.extend_from_slice(&1_u32.to_le_bytes());
    mark.push(b't');
    let commit = journal::encode(1, &[(2, mark), (1, data)], WHOSE);
    let mut other = stored();
    *other.last_mut().unwrap() ^= 1;
    for (name, line) in &mut lines {
        match *name {
            "append" => *line = written(SEGMENT, &[other.clone(), stored()].concat(), 0),
            "commit" => *line = written(JOURNAL, &commit, 0),
            _ => {}
        }
    }
    let found = proof(&lines);
    assert_eq!(found.unproven.len(), 1, "{found:?}");
}

#[test]
fn a_refusal_is_owed_nothing() {
    let mut lines = trace(&commit(true, true), false);
    lines.retain(|(name, _)| !["append", "commit", "answer"].contains(name));
    lines.push(("answer", sent(&answer(1, 56))));
    let found = proof(&lines);
    assert_eq!(
        (found.requests, found.refused, found.unproven.len()),
        (0, 1, 0)
    );
}
