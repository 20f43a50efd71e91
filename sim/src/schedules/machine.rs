//! The seams of such a machine but its disk: clock, tasks, numbers; no network.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use millrace_host::{
    BoxFuture, Clock, Completion, Connection, Host, Listener, Mono, Net, Now, Pool, Rng, Spawn,
    TaskHandle,
};
use shuttle::future::{JoinHandle, spawn, yield_now};

use super::Memory;

/// A machine with an empty disk; the disk's root is there.
pub fn machine() -> (Host, Arc<Memory>) {
    with_clock(Arc::new(AnyTime(Arc::default())))
}

/// One whose time stands still: whoever waits for a deadline waits for ever.
pub fn machine_without_time() -> (Host, Arc<Memory>) {
    with_clock(Arc::new(NoTime))
}

fn with_clock(clock: Arc<dyn Clock>) -> (Host, Arc<Memory>) {
    let disk = Arc::new(Memory::default());
    let host = Host {
        disk: Arc::clone(&disk) as Arc<dyn millrace_host::Disk>,
        net: Arc::new(Nowhere),
        clock,
        rng: Arc::new(Counted(AtomicU64::new(1))),
        spawn: Arc::new(Tasks),
        memory: Arc::new(Kept),
    };
    (host, disk)
}

/// Memory that nobody gives back.
#[derive(Debug)]
struct Kept;

impl millrace_host::Memory for Kept {
    fn give_back(&self) {}
}

/// Nanoseconds; each look takes one microsecond.
#[derive(Debug)]
struct AnyTime(Arc<AtomicU64>);

impl Clock for AnyTime {
    fn now(&self) -> Now {
        let mono = self.0.fetch_add(1_000, Ordering::Relaxed);
        Now {
            mono: Mono(mono),
            wall_ms: 1_700_000_000_000 + (mono / 1_000_000) as i64,
        }
    }

    fn sleep_until(&self, deadline: Mono) -> BoxFuture<'static, ()> {
        let time = Arc::clone(&self.0);
        Box::pin(async move {
            yield_now().await;
            time.fetch_max(deadline.0, Ordering::Relaxed);
        })
    }
}

#[derive(Debug)]
struct NoTime;

impl Clock for NoTime {
    fn now(&self) -> Now {
        Now {
            mono: Mono(0),
            wall_ms: 1_700_000_000_000,
        }
    }

    fn sleep_until(&self, _deadline: Mono) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

#[derive(Debug)]
struct Counted(AtomicU64);

impl Rng for Counted {
    fn fill(&self, buf: &mut [u8]) {
        for piece in buf.chunks_mut(8) {
            let next = self.0.fetch_add(1, Ordering::Relaxed);
            let drawn = next.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
            piece.copy_from_slice(&drawn[..piece.len()]);
        }
    }
}

#[derive(Debug)]
struct Tasks;

impl Spawn for Tasks {
    fn spawn(
        &self,
        _pool: Pool,
        _name: &'static str,
        task: BoxFuture<'static, ()>,
    ) -> Box<dyn TaskHandle> {
        Box::new(Task(spawn(task)))
    }

    fn kill(&self) {
        unreachable!("no model kills its machine: crash images and the simulation do");
    }
}

#[derive(Debug)]
struct Task(JoinHandle<()>);

impl TaskHandle for Task {
    fn abort(&self) {
        self.0.abort();
    }

    fn join(self: Box<Self>) -> BoxFuture<'static, bool> {
        Box::pin(async move { self.0.await.is_ok() })
    }
}

#[derive(Debug)]
struct Nowhere;

fn no_net<T: Send + 'static>() -> Completion<T> {
    Box::pin(std::future::ready(Err(io::ErrorKind::Unsupported.into())))
}

impl Net for Nowhere {
    fn listen(&self, _addr: SocketAddr, _backlog: u32) -> Completion<Box<dyn Listener>> {
        no_net()
    }

    fn connect(&self, _addr: SocketAddr) -> Completion<Connection> {
        no_net()
    }

    fn resolve(&self, _host: &str, _port: u16) -> Completion<Vec<SocketAddr>> {
        no_net()
    }
}
