//! How many connections there may be, in all and from one address.

use std::collections::BTreeMap;
use std::net::IpAddr;

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
    total: u32,
    /// Only addresses with at least one connection.
    by_ip: BTreeMap<IpAddr, u32>,
}

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
            Self::PerIp => "max.connections.per.ip",
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

    /// Takes a place for a connection from `ip`, or says which limit is met. An IPv4 address
    /// counts as the same one when it comes in IPv6 clothes.
    pub(crate) fn enter(self: &Arc<Self>, ip: IpAddr) -> Result<Place, Full> {
        let ip = ip.to_canonical();
        let mut open = self.open();
        if open.total >= open.connections_max {
            return Err(Full::Total);
        }
        let of_ip = open.by_ip.get(&ip).copied().unwrap_or(0);
        if of_ip >= open.per_ip_max {
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
}
