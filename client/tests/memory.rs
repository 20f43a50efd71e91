//! How much memory a broker can make a client take, counted by the allocator: at most four times
//! the bytes that it sends, however it fills them, and 64 KiB.

use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};
use millrace_client::{Client, ClientOptions, Error};
use millrace_host::allocation::{Counting, begin_process, process_peak};
use millrace_host::real::{self, Options};
use millrace_host::{Connection, Host, Piece, Pool};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Holds the peak since `begin` against an answer.
fn within_bounds(what: &str, begin: usize, answer: &Bytes) {
    let peak = process_peak();
    assert!(peak >= answer.len(), "{what}: nothing was counted");
    let (taken, allowed) = (peak - begin, 4 * answer.len() + 64 * 1024);
    assert!(taken <= allowed, "{what}: {taken} of {allowed} bytes");
}

/// Elements of the dense answers.
const MANY: usize = 400_000;

/// A compact count of [`MANY`].
fn many(out: &mut BytesMut) {
    let told = MANY + 1;
    out.put_slice(&[
        told as u8 | 0x80,
        (told >> 7) as u8 | 0x80,
        (told >> 14) as u8,
    ]);
}

/// `ApiVersions` at version 4, with a row for one key after another, over and over. Ours are given
/// with the highest version 9.
fn versions() -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(0);
    many(&mut out);
    for row in 0..MANY {
        out.put_i16(row as i16);
        out.put_slice(&[0, 0, 0, 9, 0]);
    }
    out.put_slice(&[0, 0, 0, 0, 0]);
    out.freeze()
}

/// `Metadata` at version 9, of topics without name and partitions: ten bytes each.
fn metadata() -> Bytes {
    let mut out = BytesMut::new();
    // Throttle time, no brokers, no cluster id, no controller.
    out.put_slice(&[0, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
    many(&mut out);
    for _ in 0..MANY {
        out.put_slice(&[0, 0, 1, 0, 1, 0, 0, 0, 0, 0]);
    }
    out.put_slice(&[0, 0, 0, 0, 0]);
    out.freeze()
}

/// Answers each request with the next of `answers`: what stands before the body, and the body.
async fn broker(host: &Host, answers: Vec<(&'static [u8], Bytes)>) -> SocketAddr {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut listener = host.net.listen(any, 1).await.expect("a port");
    let address = listener.local_addr();
    let serving = async move {
        let mut connection = listener.accept().await.expect("the client");
        for (tags, body) in answers {
            let correlation_id = next_request(&mut connection).await;
            let frame_bytes = i32::try_from(4 + tags.len() + body.len()).expect("few bytes");
            let mut head = BytesMut::new();
            head.put_i32(frame_bytes);
            head.put_slice(&correlation_id);
            head.put_slice(tags);
            let pieces = vec![Piece::Bytes(head.freeze()), Piece::Bytes(body)];
            connection.write.send(pieces).await.expect("it reads");
        }
        next_request(&mut connection).await;
    };
    drop(host.spawn.spawn(Pool::Data, "a broker", Box::pin(serving)));
    address
}

/// The correlation id of the next request; of none at the end.
async fn next_request(connection: &mut Connection) -> [u8; 4] {
    let mut buf = BytesMut::new();
    loop {
        if let Some(length) = buf.first_chunk::<4>()
            && buf.len() >= 4 + u32::from_be_bytes(*length) as usize
        {
            return buf[8..12].try_into().expect("four bytes");
        }
        if connection.read.read(&mut buf, 4096).await.unwrap_or(0) == 0 {
            return [0; 4];
        }
    }
}

#[tokio::test]
async fn a_broker_takes_no_more_than_four_times_what_it_sends() {
    let host = real::host(&Options::default()).unwrap();
    let (versions, metadata) = (versions(), metadata());
    let answers: Vec<(&[u8], Bytes)> = vec![(&[], versions.clone()), (&[0], metadata.clone())];
    let address = broker(&host, answers).await;

    let before = begin_process();
    let client = Client::connect(&host, address, ClientOptions::default());
    let client = client.await.unwrap();
    within_bounds("connecting", before, &versions);

    let before = begin_process();
    let error = client.topic("asked").await.unwrap_err();
    within_bounds("describing a topic", before, &metadata);
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
    assert!(error.to_string().contains("missing"), "{error}");
}
