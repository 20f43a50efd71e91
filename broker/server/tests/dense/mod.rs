//! Requests whose elements are as small as they can be, and their answers' rows are not.

use bytes::{BufMut, BytesMut};
use millrace_protocol::api::Api;

/// A body between `head` and `tail`: an array of flexible versions with `count` elements.
pub(crate) fn dense(
    head: &[u8],
    count: u32,
    element: impl Fn(u32, &mut BytesMut),
    tail: &[u8],
) -> BytesMut {
    let mut body = BytesMut::from(head);
    let mut len = count + 1;
    while len >= 0x80 {
        body.put_u8(u8::try_from(len & 0x7f).unwrap() | 0x80);
        len >>= 7;
    }
    body.put_u8(u8::try_from(len).unwrap());
    for at in 0..count {
        element(at, &mut body);
    }
    body.put_slice(tail);
    body
}

/// Elements of these bytes, all alike.
fn alike(element: &[u8]) -> impl Fn(u32, &mut BytesMut) {
    move |_, body| body.put_slice(element)
}

/// Three letters: a name of its own for each, as a name that is repeated is one topic.
pub(crate) fn put_name(at: u32, body: &mut BytesMut) {
    let letter = |shift: u32| b'0' + u8::try_from((at >> shift) & 0x3f).unwrap();
    body.put_slice(&[4, letter(12), letter(6), letter(0)]);
}

/// For each API one of the densest requests that it reads.
pub(crate) fn densest() -> Vec<(Api, i16, BytesMut)> {
    let name = |at: u32, body: &mut BytesMut| {
        put_name(at, body);
        body.put_u8(0);
    };
    let index = |bytes: usize| {
        move |at: u32, body: &mut BytesMut| {
            body.put_u32(at);
            body.put_bytes(0, bytes);
        }
    };
    // One topic, `x`, with as many partitions as follow.
    let one = b"\x02\x02x";
    let at_one = |head: &[u8]| [head, &one[..]].concat();
    let fetch = at_one(b"\xff\xff\xff\xff\0\0\0\0\0\0\0\x01\0\x10\0\0\0\0\0\0\0\xff\xff\xff\xff");
    vec![
        (
            Api::FindCoordinator,
            4,
            dense(b"\x01", 240_000, alike(b"\x01"), b"\0"),
        ),
        (Api::Metadata, 9, dense(b"", 100_000, name, b"\0\0\0\0")),
        (
            Api::ListOffsets,
            6,
            dense(&at_one(b"\xff\xff\xff\xff\0"), 50_000, index(13), b"\0\0"),
        ),
        (
            Api::OffsetForLeaderEpoch,
            4,
            dense(&at_one(b"\xff\xff\xff\xff"), 50_000, index(9), b"\0\0"),
        ),
        (
            Api::DeleteRecords,
            2,
            dense(&at_one(b""), 50_000, index(9), b"\0\0\0\0\x01\0"),
        ),
        (
            Api::Produce,
            9,
            dense(&at_one(b"\0\0\x01\0\0\0\x01"), 50_000, index(2), b"\0\0"),
        ),
        (
            Api::Fetch,
            12,
            dense(&fetch, 20_000, index(29), b"\0\x01\x01\0"),
        ),
        (
            Api::DeleteTopics,
            5,
            dense(b"", 100_000, put_name, b"\0\0\0\x01\0"),
        ),
        (
            Api::CreateTopics,
            5,
            dense(
                b"",
                100_000,
                alike(b"\x01\0\0\0\0\0\x01\x01\x01\0"),
                b"\0\0\0\x01\0\0",
            ),
        ),
    ]
    .into_iter()
    .chain(densest_of_groups())
    .chain(densest_of_operators())
    .collect()
}

/// Those of groups' APIs.
fn densest_of_groups() -> Vec<(Api, i16, BytesMut)> {
    let number = |beside: usize| {
        move |at: u32, body: &mut BytesMut| {
            body.put_u32(at);
            body.put_bytes(0, beside);
        }
    };
    let group = |at: u32, body: &mut BytesMut| {
        put_name(at, body);
        body.put_slice(b"\x01\0");
    };
    let commit = b"\x02g\xff\xff\xff\xff\x01\0\x02\x02x";
    vec![
        (
            Api::OffsetCommit,
            8,
            dense(commit, 50_000, number(14), b"\0\0"),
        ),
        (Api::OffsetFetch, 8, dense(b"", 50_000, group, b"\0\0")),
        (
            Api::DescribeGroups,
            5,
            dense(b"", 100_000, alike(b"\x02g"), b"\0\0"),
        ),
        (Api::DeleteGroups, 2, dense(b"", 240_000, put_name, b"\0")),
    ]
}

/// Those of operators' APIs.
fn densest_of_operators() -> Vec<(Api, i16, BytesMut)> {
    let growing = |at: u32, body: &mut BytesMut| {
        put_name(at, body);
        body.put_slice(b"\0\0\0\0\0\0");
    };
    let name = |at: u32, body: &mut BytesMut| {
        put_name(at, body);
        body.put_u8(0);
    };
    let number = |beside: usize| {
        move |at: u32, body: &mut BytesMut| {
            body.put_u32(at);
            body.put_bytes(0, beside);
        }
    };
    // One topic, `x`, with as many partitions as follow.
    let at_one = |head: &[u8]| [head, &b"\x02\x02x"[..]].concat();
    vec![
        (
            Api::CreatePartitions,
            2,
            dense(b"", 100_000, growing, b"\0\0\0\x01\0\0"),
        ),
        (
            Api::DescribeTopicPartitions,
            0,
            dense(b"", 100_000, name, b"\0\0\0\x01\xff\0"),
        ),
        (
            Api::ElectLeaders,
            2,
            dense(&at_one(b"\0"), 100_000, number(0), b"\0\0\0\0\x01\0"),
        ),
        (
            Api::AlterPartitionReassignments,
            0,
            dense(&at_one(b"\0\0\0\x01"), 50_000, number(2), b"\0\0"),
        ),
        (
            Api::AlterReplicaLogDirs,
            2,
            dense(&at_one(b"\x02\x02x"), 100_000, number(0), b"\0\0\0"),
        ),
        (
            Api::DescribeProducers,
            0,
            dense(&at_one(b""), 100_000, number(0), b"\0\0"),
        ),
        (
            Api::DescribeQuorum,
            0,
            dense(&at_one(b""), 50_000, number(1), b"\0\0"),
        ),
        (
            Api::CreateAcls,
            2,
            dense(b"", 100_000, alike(b"\0\x01\0\x01\x01\0\0\0"), b"\0"),
        ),
        (
            Api::DeleteAcls,
            2,
            dense(b"", 100_000, alike(&[0; 8]), b"\0"),
        ),
    ]
}
