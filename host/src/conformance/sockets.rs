//! What a connection means: order, ends, half-closes, big ropes, back-pressure.

use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::files::create;
use super::{Bench, Check, pattern};
use crate::{Connection, FileSlice, Host, Listener, Piece, Pool, ReadHalf, Vouched};

pub(super) const CHECKS: &[Check] = &[
    ("bytes-arrive-in-order-both-ways", |b| {
        Box::pin(bytes_arrive_in_order_both_ways(b))
    }),
    ("a-half-close-leaves-the-other-half", |b| {
        Box::pin(a_half_close_leaves_the_other_half(b))
    }),
    ("dropping-a-writer-ends-its-stream", |b| {
        Box::pin(dropping_a_writer_ends_its_stream(b))
    }),
    ("dropping-both-halves-closes", |b| {
        Box::pin(dropping_both_halves_closes(b))
    }),
    ("a-big-rope-arrives-whole", |b| {
        Box::pin(a_big_rope_arrives_whole(b))
    }),
    ("a-short-file-ends-the-send", |b| {
        Box::pin(a_short_file_ends_the_send(b))
    }),
    ("what-nobody-vouches-for-is-not-sent", |b| {
        Box::pin(what_nobody_vouches_for_is_not_sent(b))
    }),
    ("a-slow-reader-slows-the-sender", |b| {
        Box::pin(a_slow_reader_slows_the_sender(b))
    }),
    ("a-read-takes-at-most-its-limit", |b| {
        Box::pin(a_read_takes_at_most_its_limit(b))
    }),
    ("an-abandoned-accept-loses-nothing", |b| {
        Box::pin(an_abandoned_accept_loses_nothing(b))
    }),
    ("an-address-has-one-listener", |b| {
        Box::pin(an_address_has_one_listener(b))
    }),
    ("ipv6-works-where-there-is-some", |b| {
        Box::pin(ipv6_works_where_there_is_some(b))
    }),
    ("names-are-looked-up", |b| Box::pin(names_are_looked_up(b))),
];

const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

async fn listen(host: &Host) -> Box<dyn Listener> {
    host.net.listen(LOOPBACK, 16).await.expect("a free port")
}

/// A connected pair: who connected, who accepted.
async fn pair(host: &Host) -> (Connection, Connection) {
    let mut listener = listen(host).await;
    let addr = listener.local_addr();
    assert_ne!(addr.port(), 0, "port 0 is told as the real one");
    let client = host.net.connect(addr).await.expect("listening");
    let server = listener.accept().await.expect("somebody connected");
    assert_eq!((client.peer, server.local), (addr, addr));
    assert_eq!(client.local, server.peer);
    (client, server)
}

async fn read_exact(read: &mut Box<dyn ReadHalf>, len: usize) -> Vec<u8> {
    let mut buf = BytesMut::new();
    while buf.len() < len {
        let count = read.read(&mut buf, len.min(64 << 10)).await.expect("open");
        assert_ne!(
            count,
            0,
            "the stream ended after {} of {len} bytes",
            buf.len()
        );
    }
    assert_eq!(buf.len(), len);
    buf.to_vec()
}

/// Reads up to the end of the stream or an error; says whether it was an end.
async fn read_to_end(read: &mut Box<dyn ReadHalf>) -> (usize, bool) {
    let mut total = 0;
    loop {
        let mut buf = BytesMut::new();
        match read.read(&mut buf, 64 << 10).await {
            Ok(0) => return (total, true),
            Ok(count) => total += count,
            Err(_) => return (total, false),
        }
    }
}

fn bytes(bytes: impl Into<Bytes>) -> Piece {
    Piece::Bytes(bytes.into())
}

async fn pause(host: &Host, span_ms: u64) {
    host.clock
        .sleep_until(host.clock.now().mono + Duration::from_millis(span_ms))
        .await;
}

async fn bytes_arrive_in_order_both_ways(bench: Bench) {
    let (mut client, mut server) = pair(&bench.host).await;
    for round in 0..20 {
        let sent = pattern(round, 1 + round as usize * 700);
        let rope = sent.chunks(11).map(|part| bytes(part.to_vec())).collect();
        client.write.send(rope).await.expect("open");
        assert_eq!(read_exact(&mut server.read, sent.len()).await, sent);
        server
            .write
            .send(vec![bytes(sent.clone())])
            .await
            .expect("open");
        assert_eq!(read_exact(&mut client.read, sent.len()).await, sent);
    }
    client
        .write
        .send(Vec::new())
        .await
        .expect("nothing to send");
    client
        .write
        .send(vec![bytes(Bytes::new())])
        .await
        .expect("nothing to send");
}

async fn a_half_close_leaves_the_other_half(bench: Bench) {
    let (mut client, mut server) = pair(&bench.host).await;
    client
        .write
        .send(vec![bytes("last words")])
        .await
        .expect("open");
    client.write.shutdown().await.expect("open");
    assert_eq!(read_exact(&mut server.read, 10).await, b"last words");
    assert_eq!(read_to_end(&mut server.read).await, (0, true));
    server
        .write
        .send(vec![bytes("the answer")])
        .await
        .expect("the other way is open");
    assert_eq!(read_exact(&mut client.read, 10).await, b"the answer");
    assert!(
        client.write.send(vec![bytes("more")]).await.is_err(),
        "its stream has ended"
    );
}

async fn dropping_a_writer_ends_its_stream(bench: Bench) {
    let (mut client, mut server) = pair(&bench.host).await;
    client.write.send(vec![bytes("bye")]).await.expect("open");
    drop(client.write);
    assert_eq!(read_to_end(&mut server.read).await, (3, true));
    server
        .write
        .send(vec![bytes("still")])
        .await
        .expect("the other way is open");
    assert_eq!(read_exact(&mut client.read, 5).await, b"still");
}

async fn dropping_both_halves_closes(bench: Bench) {
    let (client, mut server) = pair(&bench.host).await;
    drop(client);
    assert_eq!(read_to_end(&mut server.read).await.0, 0);
    for _ in 0..200 {
        if server.write.send(vec![bytes(vec![0; 1000])]).await.is_err() {
            return;
        }
        pause(&bench.host, 10).await;
    }
    panic!("sending to a closed connection went on without an error");
}

async fn a_big_rope_arrives_whole(bench: Bench) {
    let (mut client, mut server) = pair(&bench.host).await;
    let stored = pattern(9, 5 << 20);
    let file = create(&bench.host, &bench.at("f"), &stored);
    let slice = |offset: u64, len: u64| {
        Piece::File(FileSlice {
            file: Arc::clone(&file),
            offset,
            len,
            vouched: Vouched::default(),
        })
    };
    let memory = pattern(10, 3 << 20);
    let mut rope = vec![bytes("head"), slice(0, 1), slice(7, 0), bytes(Bytes::new())];
    rope.extend([
        slice(12_345, 4 << 20),
        bytes(memory.clone()),
        slice((5 << 20) - 3, 3),
    ]);
    rope.extend((0..300).map(|_| bytes("x")));
    let mut expected = b"head".to_vec();
    expected.push(stored[0]);
    expected.extend_from_slice(&stored[12_345..12_345 + (4 << 20)]);
    expected.extend_from_slice(&memory);
    expected.extend_from_slice(&stored[(5 << 20) - 3..]);
    expected.extend_from_slice(&[b'x'; 300]);
    let sender = async move {
        client.write.send(rope).await.expect("open");
        client
    };
    let sent = bench.host.spawn.spawn(
        Pool::Data,
        "sender",
        Box::pin(async {
            drop(sender.await);
        }),
    );
    let got = read_exact(&mut server.read, expected.len()).await;
    assert!(got == expected, "the rope arrived changed");
    assert!(sent.join().await);
    assert_eq!(read_to_end(&mut server.read).await.0, 0, "and nothing more");
}

async fn a_short_file_ends_the_send(bench: Bench) {
    let (mut client, mut server) = pair(&bench.host).await;
    let file = create(&bench.host, &bench.at("f"), &pattern(11, 1000));
    let slice = Piece::File(FileSlice {
        file,
        offset: 400,
        len: 601,
        vouched: Vouched::default(),
    });
    let sent = client
        .write
        .send(vec![bytes("12"), slice, bytes("never")])
        .await;
    assert_eq!(
        sent.map_err(|error| error.kind()),
        Err(ErrorKind::UnexpectedEof)
    );
    drop(client);
    assert!(read_to_end(&mut server.read).await.0 <= 602);
}

async fn what_nobody_vouches_for_is_not_sent(bench: Bench) {
    // More than the sockets' buffers take.
    const TOTAL: u64 = 48 << 20;
    let (mut client, mut server) = pair(&bench.host).await;
    let file = create(&bench.host, &bench.at("f"), b"");
    file.set_len(TOTAL).expect("there is room");
    let vouched = Vouched::default();
    let slice = FileSlice {
        file,
        offset: 0,
        len: TOTAL,
        vouched: vouched.clone(),
    };
    let rope = vec![Piece::File(slice.clone()), bytes("never")];
    let sending = Box::pin(async move {
        let sent = client.write.send(rope).await;
        let kind = sent.map_err(|error| error.kind());
        assert_eq!(kind, Err(ErrorKind::InvalidData));
    });
    let sent = bench.host.spawn.spawn(Pool::Data, "sender", sending);
    // It is under way, and nearly all of it is still to be read from the file.
    read_exact(&mut server.read, 1).await;
    vouched.withdraw();
    let (got, _) = read_to_end(&mut server.read).await;
    assert!((got as u64) < TOTAL - 1, "all of it was sent");
    assert!(sent.join().await, "the sender is told");
    let (mut client, mut server) = pair(&bench.host).await;
    let rope = vec![bytes("head"), Piece::File(slice)];
    assert!(client.write.send(rope).await.is_err());
    drop(client);
    assert!(read_to_end(&mut server.read).await.0 <= 4);
}

async fn a_slow_reader_slows_the_sender(bench: Bench) {
    const TOTAL: usize = 48 << 20;
    let (mut client, mut server) = pair(&bench.host).await;
    let done = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&done);
    let part = Bytes::from(vec![3; 1 << 20]);
    let task = bench.host.spawn.spawn(
        Pool::Data,
        "sender",
        Box::pin(async move {
            let rope = (0..TOTAL >> 20).map(|_| bytes(part.clone())).collect();
            client.write.send(rope).await.expect("open");
            told.store(true, Ordering::SeqCst);
        }),
    );
    pause(&bench.host, 300).await;
    assert!(
        !done.load(Ordering::SeqCst),
        "nobody reads, so not all can be taken"
    );
    assert_eq!(read_to_end(&mut server.read).await, (TOTAL, true));
    assert!(task.join().await);
    assert!(done.load(Ordering::SeqCst));
}

async fn a_read_takes_at_most_its_limit(bench: Bench) {
    let (mut client, mut server) = pair(&bench.host).await;
    client
        .write
        .send(vec![bytes("0123456789")])
        .await
        .expect("open");
    let mut buf = BytesMut::with_capacity(1000);
    for expected in 1..=10 {
        assert_eq!(server.read.read(&mut buf, 1).await.expect("open"), 1);
        assert_eq!(buf.len(), expected);
    }
    assert_eq!(&buf[..], b"0123456789");
    assert!(
        server.read.read(&mut buf, 0).await.is_err(),
        "a limit of 0 is a mistake"
    );
}

async fn an_abandoned_accept_loses_nothing(bench: Bench) {
    let mut listener = listen(&bench.host).await;
    {
        let mut accept = pin!(listener.accept());
        poll_fn(|cx| {
            assert!(accept.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
    }
    let mut client = bench
        .host
        .net
        .connect(listener.local_addr())
        .await
        .expect("listening");
    pause(&bench.host, 20).await;
    let mut server = listener.accept().await.expect("somebody connected");
    client.write.send(vec![bytes("hello")]).await.expect("open");
    assert_eq!(read_exact(&mut server.read, 5).await, b"hello");
}

async fn an_address_has_one_listener(bench: Bench) {
    let listener = listen(&bench.host).await;
    let addr = listener.local_addr();
    let second = bench.host.net.listen(addr, 16).await;
    assert_eq!(
        second.err().map(|error| error.kind()),
        Some(ErrorKind::AddrInUse)
    );
    drop(listener);
    let refused = bench.host.net.connect(addr).await;
    assert_eq!(
        refused.err().map(|error| error.kind()),
        Some(ErrorKind::ConnectionRefused)
    );
    drop(
        bench
            .host
            .net
            .listen(addr, 16)
            .await
            .expect("free again at once"),
    );
}

async fn ipv6_works_where_there_is_some(bench: Bench) {
    let addr = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0);
    let Ok(mut listener) = bench.host.net.listen(addr, 16).await else {
        return;
    };
    let mut client = bench
        .host
        .net
        .connect(listener.local_addr())
        .await
        .expect("listening");
    let mut server = listener.accept().await.expect("somebody connected");
    client.write.send(vec![bytes("six")]).await.expect("open");
    assert_eq!(read_exact(&mut server.read, 3).await, b"six");
}

async fn names_are_looked_up(bench: Bench) {
    let found = bench
        .host
        .net
        .resolve("localhost", 77)
        .await
        .expect("every machine has it");
    assert!(
        found
            .iter()
            .all(|addr| addr.ip().is_loopback() && addr.port() == 77)
    );
    assert!(!found.is_empty());
    let found = bench
        .host
        .net
        .resolve("127.0.0.1", 1)
        .await
        .expect("a number");
    assert_eq!(found, [SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1)]);
}
