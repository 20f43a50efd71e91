//! Listeners in Kafka's notation, `NAME://host:port`, and the addresses that clients are told.
//! Every listener has an advertised address that a client elsewhere could connect to. Which listeners
//! there are changes while a broker runs, as Kafka's do; the address of one that stays does not.

use std::collections::BTreeMap;

use crate::error::ConfigError;
use crate::key::{Check, Key, Kind};
use crate::values::Values;

const LISTENERS: &str = "listeners";
const ADVERTISED: &str = "advertised.listeners";
const PROTOCOLS: &str = "listener.security.protocol.map";
const FORM: &str = "NAME://host:port, several separated by commas, an IPv6 address in brackets, \
                    as PLAINTEXT://127.0.0.1:9092; port 0 takes a free one";
/// Longest host name there is (RFC 1035).
const HOST_CHARS_MAX: usize = 253;

pub(crate) const KEYS: &[Key] = &[
    // Kafka listens on every address by default; here only on this machine, until told otherwise.
    Key::kafka(
        LISTENERS,
        Kind::List,
        Some("PLAINTEXT://127.0.0.1:9092"),
        "Addresses on which the broker accepts Kafka clients; port 0 takes a free one. While it runs \
         listeners come and go by their names; the first that it was started with stays.",
    )
    .check(Check::NotEmpty)
    .dynamic_per_broker(),
    Key::kafka(
        ADVERTISED,
        Kind::List,
        None,
        "Addresses that clients are told, by listener name; else those of listeners.",
    )
    .check(Check::NotEmpty),
    Key::kafka(
        PROTOCOLS,
        Kind::Text,
        Some("PLAINTEXT:PLAINTEXT"),
        "Which security protocol a listener name means, as NAME:PROTOCOL; PLAINTEXT is served.",
    )
    .dynamic_per_broker(),
];

/// The keys that together say which listeners there are while a broker runs.
pub(crate) const DYNAMIC: [&str; 2] = [LISTENERS, PROTOCOLS];

/// The address that clients of a listener are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertised {
    /// Host name or address, without brackets.
    pub host: String,
    /// Port; 0 stands for the port that the listener was bound to.
    pub port: u16,
}

/// One address that clients connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Name, in capitals.
    pub name: String,
    /// Host name or address to bind, without brackets. `0.0.0.0` and `::` bind all.
    pub host: String,
    /// Port to bind; 0 takes a free one.
    pub port: u16,
    /// What clients of this listener are told.
    pub advertised: Advertised,
}

/// One item of a list of listeners.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Endpoint {
    name: String,
    host: String,
    port: u16,
}

pub(crate) fn read(values: &Values) -> Result<Vec<Listener>, ConfigError> {
    let bound = endpoints(values, LISTENERS)?;
    check_protocols(values, &bound)?;
    check_bound(values, &bound)?;
    let mut told: BTreeMap<String, Endpoint> = BTreeMap::new();
    for endpoint in endpoints(values, ADVERTISED)? {
        if !bound.iter().any(|listener| listener.name == endpoint.name) {
            let rule = "only names that stand in listeners";
            return Err(values.refuse(ADVERTISED, rule));
        }
        if is_wildcard(&endpoint.host) {
            let rule = "hosts that clients can connect to; an address of all interfaces (0.0.0.0, \
                        [::] or none) is not one";
            return Err(values.refuse(ADVERTISED, rule));
        }
        if told.insert(endpoint.name.clone(), endpoint).is_some() {
            return Err(values.refuse(ADVERTISED, "each listener name once"));
        }
    }
    bound
        .into_iter()
        .map(|endpoint| listener(values, endpoint, &told))
        .collect()
}

/// Whether a broker that was started with some listeners, and now has those of `live`, can go on with
/// `wanted`: what stays keeps its address, what comes back too, and the first stays. `values` are
/// those that are asked for.
pub(crate) fn check_change(
    values: &Values,
    (started, live): (&[Listener], &[Listener]),
    wanted: &[Listener],
) -> Result<(), ConfigError> {
    let named = |name: &str| wanted.iter().find(|one| one.name == name);
    if let Some(first) = started.first()
        && named(&first.name).is_none()
    {
        let rule = format!(
            "lists with {}, the first that the broker was started with: the others come and go \
             while it runs",
            first.name
        );
        return Err(values.refuse(LISTENERS, &rule));
    }
    for one in started.iter().chain(live) {
        let other = named(&one.name);
        if other.is_some_and(|other| (&other.host, other.port) != (&one.host, one.port)) {
            let rule = format!(
                "lists in which {} keeps its address while the broker runs: give the other address \
                 a name of its own, or change it in the file and start the broker again",
                one.name
            );
            return Err(values.refuse(LISTENERS, &rule));
        }
    }
    Ok(())
}

fn listener(
    values: &Values,
    bound: Endpoint,
    told: &BTreeMap<String, Endpoint>,
) -> Result<Listener, ConfigError> {
    let advertised = match told.get(&bound.name) {
        Some(endpoint) => Advertised {
            host: endpoint.host.clone(),
            port: endpoint.port,
        },
        None if is_wildcard(&bound.host) => {
            let rule = "an address of all interfaces (0.0.0.0, [::] or none) only when \
                        advertised.listeners says where clients reach it, as \
                        advertised.listeners=PLAINTEXT://broker-1.example:9092";
            return Err(values.refuse(LISTENERS, rule));
        }
        None => Advertised {
            host: bound.host.clone(),
            port: bound.port,
        },
    };
    // No host is Kafka's notation for every interface.
    let host = if bound.host.is_empty() {
        "0.0.0.0".to_owned()
    } else {
        bound.host
    };
    Ok(Listener {
        name: bound.name,
        host,
        port: bound.port,
        advertised,
    })
}

fn endpoints(values: &Values, key: &str) -> Result<Vec<Endpoint>, ConfigError> {
    let items = values.list(key).unwrap_or_default();
    items
        .iter()
        .map(|item| endpoint(item).ok_or_else(|| values.refuse(key, FORM)))
        .collect()
}

fn endpoint(text: &str) -> Option<Endpoint> {
    let (name, address) = text.split_once("://")?;
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || !name.chars().all(named) {
        return None;
    }
    let (host, port) = address.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(rest) => {
            let host = rest.strip_suffix(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            host
        }
        None => host,
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let ipv6 = host.contains(':');
    if host.len() > HOST_CHARS_MAX || (!ipv6 && !host.chars().all(fits)) {
        return None;
    }
    if ipv6 && !address.starts_with('[') {
        return None;
    }
    if port.is_empty() || !port.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    Some(Endpoint {
        name: name.to_ascii_uppercase(),
        host: host.to_owned(),
        port: port.parse().ok()?,
    })
}

/// Names are distinct, and so are addresses but for port 0.
fn check_bound(values: &Values, bound: &[Endpoint]) -> Result<(), ConfigError> {
    for (i, one) in bound.iter().enumerate() {
        for other in &bound[..i] {
            if one.name == other.name {
                return Err(values.refuse(LISTENERS, "each listener name once"));
            }
            if one.port != 0 && one.port == other.port && one.host == other.host {
                return Err(values.refuse(LISTENERS, "each address once"));
            }
        }
    }
    Ok(())
}

/// Every listener name means a security protocol, and one that is served.
fn check_protocols(values: &Values, bound: &[Endpoint]) -> Result<(), ConfigError> {
    let text = values.text(PROTOCOLS).unwrap_or_default();
    let mut map = BTreeMap::new();
    for item in text
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
    {
        let Some((name, protocol)) = item.split_once(':') else {
            return Err(values.refuse(PROTOCOLS, "NAME:PROTOCOL, several separated by commas"));
        };
        map.insert(
            name.trim().to_ascii_uppercase(),
            protocol.trim().to_ascii_uppercase(),
        );
    }
    for listener in bound {
        match map.get(&listener.name).map(String::as_str) {
            Some("PLAINTEXT") => {}
            Some("SSL" | "SASL_PLAINTEXT" | "SASL_SSL") => {
                let rule = "PLAINTEXT for every listener: TLS and SASL have no effect in this \
                            version of Millrace";
                return Err(values.refuse(PROTOCOLS, rule));
            }
            Some(_) => {
                return Err(values.refuse(PROTOCOLS, "the protocol PLAINTEXT for each name"));
            }
            None if matches!(
                listener.name.as_str(),
                "SSL" | "SASL_PLAINTEXT" | "SASL_SSL"
            ) =>
            {
                let rule = "PLAINTEXT listeners: TLS and SASL have no effect in this version of \
                            Millrace";
                return Err(values.refuse(LISTENERS, rule));
            }
            None => {
                let rule = "listener names that listener.security.protocol.map knows; PLAINTEXT is \
                            the one it knows by default";
                return Err(values.refuse(LISTENERS, rule));
            }
        }
    }
    Ok(())
}

fn is_wildcard(host: &str) -> bool {
    host.is_empty()
        || host
            .parse()
            .is_ok_and(|ip: std::net::IpAddr| ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use crate::BrokerConfig;

    type Pairs<'a> = &'a [(&'a str, &'a str)];

    fn listeners(pairs: Pairs<'_>) -> Result<Vec<String>, String> {
        let config = BrokerConfig::from_pairs(pairs.iter().copied()).map_err(|e| e.to_string())?;
        let show = |l: &super::Listener| {
            let told = &l.advertised;
            format!(
                "{} {} {} -> {} {}",
                l.name, l.host, l.port, told.host, told.port
            )
        };
        Ok(config.network.listeners.iter().map(show).collect())
    }

    #[test]
    fn listeners_are_read_as_kafka_writes_them() {
        let cases: [(Pairs<'_>, &[&str]); 7] = [
            (&[], &["PLAINTEXT 127.0.0.1 9092 -> 127.0.0.1 9092"]),
            (
                &[("listeners", "plaintext://localhost:0")],
                &["PLAINTEXT localhost 0 -> localhost 0"],
            ),
            (
                &[("listeners", "PLAINTEXT://[::1]:9092")],
                &["PLAINTEXT ::1 9092 -> ::1 9092"],
            ),
            (
                &[
                    ("listeners", "PLAINTEXT://:9092"),
                    ("advertised.listeners", "PLAINTEXT://b:1"),
                ],
                &["PLAINTEXT 0.0.0.0 9092 -> b 1"],
            ),
            (
                &[
                    ("listeners", "PLAINTEXT://[::]:0"),
                    ("advertised.listeners", "PLAINTEXT://[fe80::1]:0"),
                ],
                &["PLAINTEXT :: 0 -> fe80::1 0"],
            ),
            (
                &[
                    ("listeners", "IN://10.0.0.1:1 , OUT://10.0.0.1:2"),
                    (
                        "listener.security.protocol.map",
                        "IN:PLAINTEXT, OUT:plaintext",
                    ),
                    ("advertised.listeners", "OUT://host-2.example:5"),
                ],
                &[
                    "IN 10.0.0.1 1 -> 10.0.0.1 1",
                    "OUT 10.0.0.1 2 -> host-2.example 5",
                ],
            ),
            (
                &[
                    ("listeners", "PLAINTEXT://a:0,B://a:0"),
                    (
                        "listener.security.protocol.map",
                        "PLAINTEXT:PLAINTEXT,B:PLAINTEXT",
                    ),
                ],
                &["PLAINTEXT a 0 -> a 0", "B a 0 -> a 0"],
            ),
        ];
        for (pairs, expected) in cases {
            assert_eq!(listeners(pairs).unwrap(), expected, "{pairs:?}");
        }
    }

    #[test]
    fn a_listener_that_cannot_serve_is_refused_with_the_reason() {
        let map = "listener.security.protocol.map";
        let cases: [(Pairs<'_>, &str); 16] = [
            (&[("listeners", "")], "not empty"),
            (&[("listeners", "127.0.0.1:9092")], "NAME://host:port"),
            (
                &[("listeners", "PLAINTEXT://127.0.0.1")],
                "NAME://host:port",
            ),
            (
                &[("listeners", "PLAINTEXT://127.0.0.1:70000")],
                "NAME://host:port",
            ),
            (
                &[("listeners", "PLAINTEXT://127.0.0.1:+1")],
                "NAME://host:port",
            ),
            (
                &[("listeners", "PLAINTEXT://::1:9092")],
                "IPv6 address in brackets",
            ),
            (
                &[("listeners", "PLAINTEXT://[1.2.3.4]:9092")],
                "IPv6 address in brackets",
            ),
            (&[("listeners", "PLAINTEXT://a b:9092")], "NAME://host:port"),
            (
                &[("listeners", "PLAINTEXT://0.0.0.0:9092")],
                "advertised.listeners says",
            ),
            (
                &[("listeners", "PLAINTEXT://:9092")],
                "advertised.listeners says",
            ),
            (
                &[("advertised.listeners", "PLAINTEXT://[::]:9092")],
                "clients can connect to",
            ),
            (
                &[("advertised.listeners", "OTHER://a:9092")],
                "names that stand in listeners",
            ),
            (
                &[("listeners", "SSL://a:9092")],
                "TLS and SASL have no effect",
            ),
            (
                &[("listeners", "EXTERNAL://a:9092")],
                "listener.security.protocol.map knows",
            ),
            (
                &[("listeners", "PLAINTEXT://a:1,PLAINTEXT://a:2")],
                "each listener name once",
            ),
            (
                &[
                    ("listeners", "A://a:1,B://a:1"),
                    (map, "A:PLAINTEXT,B:PLAINTEXT"),
                ],
                "each address once",
            ),
        ];
        for (pairs, reason) in cases {
            let message = listeners(pairs).unwrap_err();
            assert!(message.contains(reason), "{pairs:?}: {message}");
        }
    }

    #[test]
    fn the_admin_listener_can_be_moved_and_switched_off() {
        let admin = |pairs: &[(&'static str, &'static str)]| {
            BrokerConfig::from_pairs(pairs.iter().copied()).map(|c| c.network.admin)
        };
        let default = admin(&[]).unwrap().unwrap();
        assert_eq!((default.address.port(), default.is_default), (9644, true));
        let moved = admin(&[("admin.listener", "[::1]:0")]).unwrap().unwrap();
        assert_eq!((moved.address.port(), moved.is_default), (0, false));
        assert_eq!(admin(&[("admin.listener", "")]).unwrap(), None);
        assert!(admin(&[("admin.listener", "localhost")]).is_err());
    }
}
