//! How many connections there may be, in all and from one address.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use millrace_host::Mono;
use millrace_host::sync::{Arc, Mutex, MutexGuard, PoisonError};
use millrace_probe::{Bug, planted};

/// Counts the open connections of a node.
#[derive(Debug)]
pub(crate) struct Gate {
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    connections_max: u32,
    per_ip_max: u32,
    /// What counts for these addresses in place of `per_ip_max`.
    per_ip_overrides: BTreeMap<IpAddr, u32>,
    total: u32,
    /// Only addresses with at least one connection.
    by_ip: BTreeMap<IpAddr, u32>,
    /// Connections that may be accepted in a second; 0 before it was said, for no limit.
    rate: u32,
    /// When all that were accepted would have been, had they come evenly at that rate.
    due: Mono,
}

/// As many as come in this time at the rate may be accepted at once.
const BURST: Duration = Duration::from_secs(1);

/// Which limit a connection met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// `max.connections`.
    Total,
    /// `max.connections.per.ip`.
    PerIp,
}

impl Full {
    /// The key that holds the limit.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Total => "max.connections",
            Self::PerIp => "max.connections.per.ip or its overrides",
        }
    }
}

/// A connection's place, until dropped.
#[derive(Debug)]
pub(crate) struct Place {
    gate: Arc<Gate>,
    ip: IpAddr,
}

impl Gate {
    /// Lets in at most `connections_max`, and `per_ip_max` from one address.
    pub(crate) fn new(connections_max: u32, per_ip_max: u32) -> Arc<Self> {
        let gate = Self {
            open: Mutex::default(),
        };
        gate.limit(connections_max, per_ip_max);
        Arc::new(gate)
    }

    /// From now on at most so many. Whoever is in stays in.
    pub(crate) fn limit(&self, connections_max: u32, per_ip_max: u32) {
        let mut open = self.open();
        open.connections_max = connections_max;
        open.per_ip_max = per_ip_max;
    }

    /// From now on these addresses have limits of their own, and all others that for every address.
    pub(crate) fn limit_some(&self, overrides: impl IntoIterator<Item = (IpAddr, u32)>) {
        let canonical = |(ip, count): (IpAddr, u32)| (ip.to_canonical(), count);
        self.open().per_ip_overrides = overrides.into_iter().map(canonical).collect();
    }

    /// From now on accepts at most so many in a second, on all listeners together.
    pub(crate) fn limit_rate(&self, per_second: u32) {
        let mut open = self.open();
        if open.rate != per_second {
            open.rate = per_second;
            open.due = Mono::default();
        }
    }

    /// A connection was accepted at `now`.
    pub(crate) fn accepted(&self, now: Mono) {
        let mut open = self.open();
        if open.rate > 0 {
            let apart = Duration::from_secs(1) / open.rate;
            open.due = open.due.max(now) + apart;
        }
    }

    /// How long no connection may be accepted from `now` on.
    pub(crate) fn wait(&self, now: Mono) -> Duration {
        let ahead = self.open().due.since(now);
        ahead.saturating_sub(BURST)
    }

    /// Takes a place for a connection from `ip`, or says which limit is met. An IPv4 address
    /// counts as the same one when it comes in IPv6 clothes.
    pub(crate) fn enter(self: &Arc<Self>, ip: IpAddr) -> Result<Place, Full> {
        let ip = ip.to_canonical();
        let mut open = self.open();
        if open.total >= open.connections_max {
            return Err(Full::Total);
        }
        let of_ip = open.by_ip.get(&ip).copied().unwrap_or(0);
        let own_max = open.per_ip_overrides.get(&ip).copied();
        if of_ip >= own_max.unwrap_or(open.per_ip_max) {
            return Err(Full::PerIp);
        }
        if planted(Bug::GateInTwoSteps) {
            drop(open);
            open = self.open();
        }
        open.total += 1;
        open.by_ip.insert(ip, of_ip + 1);
        drop(open);
        Ok(Place {
            gate: Arc::clone(self),
            ip,
        })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.gate.open();
        open.total -= 1;
        if let Some(of_ip) = open.by_ip.get_mut(&self.ip) {
            *of_ip -= 1;
            if *of_ip == 0 {
                open.by_ip.remove(&self.ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold_in_all_and_per_address_and_places_come_back() {
        let gate = Gate::new(3, 2);
        let [a, b]: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
        let mapped = "::ffff:10.0.0.1".parse().unwrap();
        let first = gate.enter(a).unwrap();
        let _second = gate.enter(mapped).unwrap();
        assert_eq!(gate.enter(a).unwrap_err(), Full::PerIp);
        let _third = gate.enter(b).unwrap();
        assert_eq!(gate.enter(b).unwrap_err(), Full::Total);
        drop(first);
        let _fourth = gate.enter(a).unwrap();
        assert_eq!(gate.open().by_ip.len(), 2);
    }

    #[test]
    fn an_address_with_a_limit_of_its_own_has_no_other() {
        let gate = Gate::new(100, 1);
        let [a, b, c]: [IpAddr; 3] =
            ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|ip| ip.parse().unwrap());
        gate.limit_some([("::ffff:10.0.0.1".parse().unwrap(), 2), (b, 0)]);
        let _places = [
            gate.enter(a).unwrap(),
            gate.enter(a).unwrap(),
            gate.enter(c).unwrap(),
        ];
        assert_eq!(gate.enter(a).unwrap_err(), Full::PerIp);
        assert_eq!(gate.enter(b).unwrap_err(), Full::PerIp);
        assert_eq!(gate.enter(c).unwrap_err(), Full::PerIp);
        gate.limit_some([]);
        gate.enter(b).unwrap();
    }

    #[test]
    fn a_second_lets_in_as_many_as_the_rate_and_then_one_at_a_time() {
        let gate = Gate::new(100, 100);
        let start = Mono(5_000_000_000);
        gate.accepted(start);
        assert_eq!(gate.wait(start), Duration::ZERO, "no limit yet");
        gate.limit_rate(4);
        for _ in 0..4 {
            assert_eq!(gate.wait(start), Duration::ZERO);
            gate.accepted(start);
        }
        gate.accepted(start);
        let apart = Duration::from_millis(250);
        assert_eq!(gate.wait(start), apart);
        assert_eq!(gate.wait(start + apart), Duration::ZERO);
        gate.accepted(start + apart);
        assert_eq!(gate.wait(start + apart), apart);
        gate.limit_rate(1000);
        assert_eq!(gate.wait(start + apart), Duration::ZERO);
    }
}
