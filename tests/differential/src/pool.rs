//! All instances against one broker: what they share first, then many beside each other, then those
//! that need the broker for themselves.
//!
//! What always holds: outcomes come back in the order of the instances, however they ran.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use millrace_protocol::api::Api;
use serde_json::{Value, json};

use crate::case::{Suite, ask};
use crate::instance::Instance;
use crate::names::{Broker, Names};
use crate::run::{Outcome, Session, now};

/// Clients beside each other. Many of them wait for seconds in a rebalance.
const CLIENTS: usize = 64;
/// Instances that fail before the rest are left: the broker is gone, or nothing like what was recorded.
const FAILURES_MAX: usize = 40;
/// What is said of the rest.
pub const NOT_ASKED: &str = "not asked: too many failed before";
/// Groups whose names together reach each partition of the offsets topic.
const WARM_GROUPS: usize = 400;

/// Judges an observation of an instance: its place, and what was seen.
pub type Judge<'a> = dyn Fn(&Instance<'_>, usize, &Value) -> bool + Sync + 'a;

/// Runs all instances. With a judge, observations are repeated until it is content.
pub fn run(
    address: SocketAddr,
    salt: &str,
    suites: &[Suite],
    instances: &[Instance<'_>],
    judge: Option<&Judge<'_>>,
) -> Result<Vec<Result<Outcome, String>>, String> {
    let broker = learn(address)?;
    let shared = in_parallel(suites.len(), |place| {
        let suite = &suites[place];
        if !instances.iter().any(|instance| instance.suite == place) {
            return Ok(Names::default());
        }
        share(address, &broker, salt, suite)
    });
    let shared = shared.into_iter().collect::<Result<Vec<Names>, String>>()?;
    let failures = AtomicUsize::new(0);
    let one = |instance: &Instance<'_>| {
        if failures.load(Ordering::Relaxed) > FAILURES_MAX {
            return Err(NOT_ASKED.to_owned());
        }
        let label = format!("{salt}{}", instance.key);
        let names = Names::new(&label, &shared[instance.suite]);
        let own = (instance.key.api, instance.key.version);
        let mut session = Session::new(address, &broker, names, own);
        let outcome = match judge {
            None => session.run(instance, None),
            Some(judge) => {
                let settled = |place: usize, seen: &Value| judge(instance, place, seen);
                session.run(instance, Some(&settled))
            }
        };
        if outcome.is_err() {
            failures.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    };
    let mut outcomes = in_parallel(instances.len(), |place| {
        let instance = &instances[place];
        (!instance.case.alone).then(|| one(instance))
    });
    for (outcome, instance) in outcomes.iter_mut().zip(instances) {
        if outcome.is_none() {
            *outcome = Some(one(instance));
        }
    }
    Ok(outcomes
        .into_iter()
        .map(|outcome| outcome.expect("those that did not run beside others ran alone"))
        .collect())
}

/// Does what the cases of a suite share, once, and gives its names.
pub fn share(
    address: SocketAddr,
    broker: &Broker,
    salt: &str,
    suite: &Suite,
) -> Result<Names, String> {
    let own = format!("{salt}{}", suite.api.row().name);
    let mut names = Names::new(&own, &Names::default());
    names.suite = std::mem::take(&mut names.own).replacen('d', "s", 1);
    names.own.clone_from(&names.suite);
    names.saved.insert("cluster".into(), json!(broker.cluster));
    let directory = json!(broker.log_directory);
    names.saved.insert("logdir".into(), directory);
    let own = (suite.api, suite.api.row().served.max);
    let mut session = Session::new(address, broker, names, own);
    session.prepare(&suite.shared)?;
    Ok(session.names)
}

/// Calls a function for each number below a count, many at once; the results in order.
pub fn in_parallel<T: Send>(count: usize, call: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::with_capacity(count));
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS.min(count) {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    if place >= count {
                        return;
                    }
                    let result = call(place);
                    let found = found.lock();
                    found
                        .expect("who holds the lock only pushes")
                        .push((place, result));
                }
            });
        }
    });
    let mut found = found.into_inner().expect("all threads have ended");
    found.sort_by_key(|(place, _)| *place);
    found.into_iter().map(|(_, result)| result).collect()
}

/// What differs from broker to broker, and a coordinator that is there for every group.
pub fn learn(address: SocketAddr) -> Result<Broker, String> {
    let unknown = Broker::default();
    let own = (Api::DescribeCluster, 0);
    let mut session = Session::new(address, &unknown, Names::default(), own);
    session.prepare(&[
        ask(Api::DescribeCluster, json!({})).save("cluster", "ClusterId"),
        ask(Api::DescribeLogDirs, json!({"Topics": null})).save("logdir", "Results[0].LogDir"),
        ask(
            Api::FindCoordinator,
            json!({"CoordinatorKeys": ["warm"], "KeyType": 0}),
        ),
        // The first id is 0, which reads like none.
        ask(
            Api::InitProducerId,
            json!({"TransactionalId": null, "TransactionTimeoutMs": 60_000}),
        ),
    ])?;
    let deadline = now() + std::time::Duration::from_mins(1);
    for group in 0..WARM_GROUPS {
        let body = json!({"Groups": [{"GroupId": format!("warm-{group}"), "Topics": null}]});
        let step = ask(Api::OffsetFetch, body).save("error", "Groups[0].ErrorCode");
        session.prepare(&[step])?;
        if now() > deadline {
            return Err("the coordinator does not become ready for all groups".into());
        }
    }
    let text = |name: &str| {
        let saved = session.names.saved.get(name).and_then(Value::as_str);
        saved.unwrap_or_default().to_owned()
    };
    Ok(Broker {
        cluster: text("cluster"),
        log_directory: text("logdir"),
        port: address.port(),
        now_ms: now_ms(),
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "a developer's tool, not part of a node"
)]
fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}
