//! The levers of the network.

use std::time::Duration;

use super::state::{Felt, cut_conn, wake_all};
use crate::World;
use crate::world::lock;

/// The shape of the network. Spans are least and most microseconds of virtual time; the
/// executor's timer rounds them up to whole milliseconds.
#[derive(Clone, Debug)]
pub struct NetOptions {
    /// From sending to arriving.
    pub latency_us: (u64, u64),
    /// Bytes one direction of a connection holds before the sender waits.
    pub buffer_bytes: usize,
    /// Most bytes that arrive together.
    pub segment_bytes: usize,
    /// How long a connection attempt goes on without an answer.
    pub connect_timeout: Duration,
    /// How long a peer of a node without power hears nothing before its connection breaks.
    pub half_open_us: (u64, u64),
    /// How many sent segments in ten thousand break their connection.
    pub break_per_10k: u32,
}

impl Default for NetOptions {
    fn default() -> Self {
        Self {
            latency_us: (0, 2000),
            buffer_bytes: 256 << 10,
            segment_bytes: 64 << 10,
            connect_timeout: Duration::from_secs(10),
            half_open_us: (200_000, 5_000_000),
            break_per_10k: 0,
        }
    }
}

/// A slow direction: at most `bytes` arrive together, one such part each `every`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drip {
    /// Bytes of one part.
    pub bytes: usize,
    /// Time between parts.
    pub every: Duration,
}

impl World {
    /// Stops what `from` sends to `to`, in that direction only: bytes wait, as TCP's do, until
    /// [`World::heal_net`]. New connections between the two wait and time out.
    pub fn partition(&self, from: &str, to: &str) {
        self.shared.event(format_args!("partition {from} to {to}"));
        lock(&self.shared.net)
            .stopped
            .insert((from.to_owned(), to.to_owned()), Felt::default());
    }

    /// Ends every partition and drip.
    pub fn heal_net(&self) {
        self.shared.event(format_args!("heal net"));
        let mut net = lock(&self.shared.net);
        net.stopped.clear();
        net.drips.clear();
        wake_all(&mut net);
    }

    /// Breaks every connection between the two nodes: both sides meet an error, bytes on their
    /// way may be lost.
    pub fn cut_connections(&self, a: &str, b: &str) {
        self.shared.event(format_args!("cut {a} {b}"));
        let mut net = lock(&self.shared.net);
        let between: Vec<u64> = net.between(a, b);
        for id in between {
            cut_conn(&self.shared, &mut net, id);
        }
    }

    /// Makes everything that `from` sends to `to` arrive slowly, until [`World::heal_net`].
    pub fn drip(&self, from: &str, to: &str, drip: Drip) {
        self.shared
            .event(format_args!("drip {from} to {to} {drip:?}"));
        lock(&self.shared.net)
            .drips
            .insert((from.to_owned(), to.to_owned()), (drip, Felt::default()));
    }

    /// Open connections of the world, half-open ones too.
    pub fn open_connections(&self) -> usize {
        lock(&self.shared.net).conns.len()
    }
}
