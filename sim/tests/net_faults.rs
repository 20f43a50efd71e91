//! Cuts, partitions, half-open connections and slow ones; clocks that jump; crashes of tasks.
#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::io::IoSlice;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use millrace_host::{Connection, FileSlice, Host, OpenMode, Piece, Pool, Vouched};
use millrace_sim::{
    DiskEffect, DiskFault, DiskOp, Drip, NetOptions, Sim, SimOptions, When, faults,
};

async fn pair(client: &Host, server: &Host) -> (Connection, Connection) {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut listener = server.net.listen(any, 8).await.unwrap();
    let connected = client.net.connect(listener.local_addr()).await.unwrap();
    (connected, listener.accept().await.unwrap())
}

fn text(text: &'static str) -> Vec<Piece> {
    vec![Piece::Bytes(Bytes::from_static(text.as_bytes()))]
}

async fn read(connection: &mut Connection) -> std::io::Result<BytesMut> {
    let mut buf = BytesMut::new();
    connection.read.read(&mut buf, 1 << 20).await?;
    Ok(buf)
}

/// Whether reading ends (by bytes, an end or an error) within 30 s of virtual time.
async fn answers(sim: &Sim, connection: &mut Connection) -> bool {
    tokio::select! {
        biased;
        _ = read(connection) => true,
        () = sim.pause(Duration::from_secs(30)) => false,
    }
}

#[test]
fn a_cut_connection_is_an_error_on_both_sides() {
    for seed in 0..20 {
        let sim = Sim::new(seed);
        sim.block_on(async {
            let (mut a, mut b) = pair(&sim.node("a"), &sim.node("b")).await;
            a.write.send(text("on its way")).await.unwrap();
            sim.cut_connections("b", "a");
            while read(&mut b).await.is_ok_and(|got| !got.is_empty()) {}
            assert!(read(&mut b).await.is_err());
            assert!(read(&mut a).await.is_err());
            assert!(a.write.send(text("more")).await.is_err());
            drop((a, b));
        });
        assert_eq!(sim.count(faults::CUT), 1);
        assert_eq!(sim.open_connections(), 0);
    }
}

#[test]
fn a_partition_holds_one_direction_and_heals() {
    let sim = Sim::new(2);
    sim.block_on(async {
        let (mut a, mut b) = pair(&sim.node("a"), &sim.node("b")).await;
        sim.partition("a", "b");
        a.write.send(text("held")).await.unwrap();
        assert!(!answers(&sim, &mut b).await);
        b.write.send(text("free")).await.unwrap();
        assert!(answers(&sim, &mut a).await, "the other direction is open");
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = sim.node("b").net.listen(addr, 8).await.unwrap();
        let connect = sim.node("a").net.connect(listener.local_addr()).await;
        assert_eq!(connect.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
        sim.heal_net();
        let mut got = BytesMut::new();
        while got.len() < 4 {
            got.extend_from_slice(&read(&mut b).await.unwrap());
        }
        assert_eq!(&got[..], b"held", "nothing is lost by waiting");
    });
}

#[test]
fn a_peer_without_power_is_silent_before_it_breaks_and_a_killed_one_closes() {
    let options = NetOptions {
        half_open_us: (40_000_000, 50_000_000),
        ..NetOptions::default()
    };
    let sim = Sim::with_options(SimOptions {
        net: options,
        ..SimOptions::default()
    });
    sim.block_on(async {
        let (mut a, _b) = pair(&sim.node("a"), &sim.node("b")).await;
        a.write.send(text("a request")).await.unwrap();
        sim.crash("b");
        a.write.send(text("into the void")).await.unwrap();
        assert!(!answers(&sim, &mut a).await, "half-open");
        assert!(answers(&sim, &mut a).await, "and then broken");
        let (mut a, _b) = pair(&sim.node("a"), &sim.node("b")).await;
        sim.kill("b");
        assert!(answers(&sim, &mut a).await);
    });
    assert_eq!(sim.count(faults::HALF_OPEN), 1);
}

#[test]
fn a_drip_is_slow_and_whole() {
    let sim = Sim::new(4);
    sim.block_on(async {
        let (mut a, mut b) = pair(&sim.node("a"), &sim.node("b")).await;
        sim.drip(
            "a",
            "b",
            Drip {
                bytes: 1,
                every: Duration::from_millis(100),
            },
        );
        let began = sim.elapsed();
        a.write.send(text("0123456789")).await.unwrap();
        let mut got = BytesMut::new();
        while got.len() < 10 {
            got.extend_from_slice(&read(&mut b).await.unwrap());
        }
        assert_eq!(&got[..], b"0123456789");
        assert!(sim.elapsed() >= began + Duration::from_secs(1));
    });
}

#[test]
fn random_breaks_happen() {
    let options = NetOptions {
        break_per_10k: 500,
        ..NetOptions::default()
    };
    let sim = Sim::with_options(SimOptions {
        seed: 8,
        net: options,
        ..SimOptions::default()
    });
    sim.block_on(async {
        for _ in 0..100 {
            let (mut a, _b) = pair(&sim.node("a"), &sim.node("b")).await;
            drop(a.write.send(text("x")).await);
        }
    });
    assert!(sim.count(faults::CUT) > 0);
    assert_eq!(sim.open_connections(), 0);
}

#[test]
fn a_wall_clock_jumps_alone() {
    let sim = Sim::new(1);
    let (a, b) = (sim.node("a"), sim.node("b"));
    sim.run_for(Duration::from_millis(1500));
    assert_eq!(a.clock.now(), b.clock.now());
    sim.move_wall_clock("a", -3_600_000);
    assert_eq!(a.clock.now().mono, b.clock.now().mono);
    assert_eq!(b.clock.now().wall_ms - a.clock.now().wall_ms, 3_600_000);
    assert_eq!(b.clock.now().wall_ms, 1_700_000_001_500);
}

struct Dropped(Arc<AtomicU32>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn forever(host: &Host, count: &Arc<AtomicU32>) {
    let held = Dropped(Arc::clone(count));
    host.spawn.spawn(
        Pool::Data,
        "forever",
        Box::pin(async move {
            std::future::pending::<()>().await;
            drop(held);
        }),
    );
}

#[test]
fn a_crash_drops_the_tasks_of_its_node_at_once_and_no_others() {
    let sim = Sim::new(1);
    let (a, b) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    for _ in 0..3 {
        forever(&sim.node("a"), &a);
        forever(&sim.node("b"), &b);
    }
    sim.run_for(Duration::from_millis(10));
    sim.crash("a");
    assert_eq!((a.load(Ordering::SeqCst), b.load(Ordering::SeqCst)), (3, 0));
    forever(&sim.node("a"), &a);
    assert_eq!(
        a.load(Ordering::SeqCst),
        3,
        "the next process has tasks of its own"
    );
    drop(sim);
    assert_eq!((a.load(Ordering::SeqCst), b.load(Ordering::SeqCst)), (4, 3));
}

#[test]
fn a_node_may_crash_itself_from_a_task_of_its_own() {
    let sim = Sim::new(1);
    let world = sim.world();
    let task = sim.node("a").spawn.spawn(
        Pool::Control,
        "suicide",
        Box::pin(async move {
            world.crash("a");
            std::future::pending::<()>().await;
        }),
    );
    assert!(!sim.block_on(task.join()));
    assert_eq!(sim.node("a").disk.boot_id().as_deref(), Some("boot-a-2"));
}

#[test]
fn a_panic_is_kept_for_the_test_to_see() {
    let sim = Sim::new(1);
    let task = sim
        .node("a")
        .spawn
        .spawn(Pool::Data, "bad", Box::pin(async { panic!("planted") }));
    assert!(!sim.block_on(task.join()));
    assert_eq!(sim.panics(), ["a/bad: planted"]);
}

#[test]
fn the_lines_of_a_run_can_be_kept() {
    let options = SimOptions {
        keep_lines: true,
        ..SimOptions::default()
    };
    let sim = Sim::with_options(options);
    sim.node("a").disk.create_dir(Path::new("/data")).unwrap();
    sim.note("made it");
    let lines = sim.trace_lines();
    assert!(lines[0].ends_with("mkdir a /data") && lines[1].ends_with("note made it"));
    assert_eq!(sim.trace().events, 2);
}

#[test]
fn a_region_that_fails_leaves_less_of_it_than_was_promised() {
    for (seed, effect) in (0..40).zip([DiskEffect::Error, DiskEffect::Short].into_iter().cycle()) {
        let sim = Sim::new(seed);
        sim.block_on(async {
            let (mut a, mut b) = pair(&sim.node("a"), &sim.node("b")).await;
            let disk = sim.node("b").disk;
            let file = disk.open(Path::new("/f"), OpenMode::Create).unwrap();
            file.write_vectored_at(&[IoSlice::new(&[7; 3000])], 0)
                .unwrap();
            sim.inject(
                "b",
                DiskFault {
                    op: DiskOp::Send,
                    path_contains: "/f".to_owned(),
                    when: When::Nth(2),
                    effect,
                },
            );
            let region = || {
                Piece::File(FileSlice {
                    file: Arc::clone(&file),
                    offset: 0,
                    len: 3000,
                    vouched: Vouched::default(),
                })
            };
            b.write.send(vec![region()]).await.unwrap();
            assert!(b.write.send(vec![region()]).await.is_err());
            b.write.shutdown().await.unwrap();
            let mut got = 0;
            loop {
                match read(&mut a).await.unwrap().len() {
                    0 => break,
                    len => got += len,
                }
            }
            assert!((3000..6000).contains(&got), "{got}");
        });
        assert_eq!(sim.count(faults::SEND_ERROR), 1);
    }
}
