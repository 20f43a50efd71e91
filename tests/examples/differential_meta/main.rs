//! Whether the differential bites: each error code that a handler answers, each field of its answers,
//! each field of its requests and each default that it applies is altered in turn, in the broker; the
//! cases of its API must fail each time. What stays green is printed: there a case is missing, or what
//! is altered says nothing (`green.tsv`, each with its reason).
//!
//! `meta [API..]`: without names, every API.

mod altering;
mod broker;
mod points;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use millrace_differential::case::Suite;
use millrace_differential::differences::{Staying, between};
use millrace_differential::instance::{self, Instance, Key};
use millrace_differential::masks::Masks;
use millrace_differential::names::{Broker, Names};
use millrace_differential::record::{self, Recorded};
use millrace_differential::run::{Outcome, Session, Watched};
use millrace_differential::{cases, pool};
use millrace_probe::alter;

use altering::{Alteration, Altering, Listening};
use points::{Point, of_default, points};

/// Instances that are tried before an alteration counts as unseen.
const TRIES: usize = 8;

const GREEN: &str = include_str!("green.tsv");

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    match run(&wanted) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "the output of a developer's tool")]
fn run(wanted: &[String]) -> Result<(), String> {
    let broker = broker::Running::start()?;
    let mut suites = cases::suites();
    let is_wanted =
        |suite: &Suite| wanted.is_empty() || wanted.iter().any(|api| api == suite.api.row().name);
    suites.retain(is_wanted);
    let judge = Judge::read()?;
    let known = pool::learn(broker.address)?;
    let (mut altered, mut green, mut stale) = (0, Vec::new(), Vec::new());
    for suite in &suites {
        let hunt = Hunt {
            address: broker.address,
            broker: &known,
            judge: &judge,
            suite,
        };
        let (tried, stayed) = hunt.run()?;
        let name = suite.api.row().name;
        println!("{name}: {tried} alterations, {} stay green", stayed.len());
        altered += tried;
        let mut reasons: BTreeMap<&str, &str> = allowed(name).collect();
        for point in stayed {
            if reasons.remove(point.as_str()).is_none() {
                println!("    {point}");
                green.push(format!("{name}: {point}"));
            }
        }
        stale.extend(reasons.keys().map(|point| format!("{name}: {point}")));
    }
    println!("{altered} alterations in {} handlers", suites.len());
    if !stale.is_empty() {
        return Err(format!("green.tsv: these turn red: {}", stale.join("; ")));
    }
    match green.len() {
        0 => Ok(()),
        count => Err(format!("{count} alterations stay green")),
    }
}

/// What may stay green of an API, and why.
fn allowed(api: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let rows = GREEN.lines().filter(|line| !line.starts_with('#'));
    let rows = rows.filter_map(move |line| {
        let (of, rest) = line.split_once('\t')?;
        (of == api).then_some(rest)
    });
    rows.filter_map(|rest| rest.split_once('\t'))
}

/// Says of an outcome whether the differential would be red.
struct Judge {
    recorded: Recorded,
    masks: Masks,
    staying: Staying,
}

impl Judge {
    fn read() -> Result<Self, String> {
        Ok(Self {
            recorded: record::read()?,
            masks: Masks::read()?,
            staying: Staying::read()?,
        })
    }

    fn masked(&self, mut outcome: Outcome) -> Outcome {
        let mut masks = self.masks.clone();
        let answers = outcome.asked.iter_mut().chain(&mut outcome.after);
        answers.for_each(|answer| masks.apply(answer));
        outcome
    }

    fn is_red(&self, key: &Key, outcome: Result<Outcome, String>) -> bool {
        let (Some(recorded), Ok(outcome)) = (self.recorded.get(key), outcome) else {
            return true;
        };
        let recorded = self.masked(recorded.clone());
        let differences = between(&recorded, &self.masked(outcome));
        differences
            .iter()
            .any(|difference| self.staying.find(key, difference).is_none())
    }
}

/// The alterations of one API.
struct Hunt<'a> {
    address: SocketAddr,
    broker: &'a Broker,
    judge: &'a Judge,
    suite: &'a Suite,
}

impl Hunt<'_> {
    /// How many alterations were tried, and which stayed green.
    fn run(&self) -> Result<(usize, Vec<String>), String> {
        let suites = [self.suite.clone()];
        let instances = instance::all(&suites)?;
        let shared = pool::share(self.address, self.broker, "meta", self.suite)?;
        let listening = Arc::new(Listening::default());
        alter(Some(Arc::<Listening>::clone(&listening)));
        let plain = pool::in_parallel(instances.len(), |place| {
            self.one(&instances[place], &shared, "plain", None)
        });
        alter(None);
        let mut found: BTreeMap<Point, Vec<usize>> = BTreeMap::new();
        for (place, (outcome, watched)) in plain.into_iter().enumerate() {
            if self.judge.is_red(&instances[place].key, outcome) {
                continue;
            }
            for point in points(self.suite.api, &watched) {
                found.entry(point).or_default().push(place);
            }
        }
        let mut stayed = Vec::new();
        let mut tried = 0;
        for (point, places) in &found {
            tried += 1;
            if !self.is_seen(point, &spread(&instances, places), &instances, &shared) {
                stayed.push(point.to_string());
            }
        }
        for name in listening.defaults(self.suite.api) {
            tried += 1;
            let point = of_default(name);
            let all: Vec<usize> = (0..instances.len()).collect();
            if !self.is_seen(&point, &spread(&instances, &all), &instances, &shared) {
                stayed.push(point.to_string());
            }
        }
        Ok((tried, stayed))
    }

    /// Whether any of the instances fails when the point is altered.
    fn is_seen(
        &self,
        point: &Point,
        places: &[usize],
        instances: &[Instance<'_>],
        shared: &Names,
    ) -> bool {
        let mut bitten = 0;
        places.iter().enumerate().any(|(turn, place)| {
            if bitten >= TRIES {
                return false;
            }
            let instance = &instances[*place];
            let altering = Arc::new(Altering::new(self.suite.api, point.alteration()));
            let salt = format!("{point}{turn}");
            let by = Some(&altering);
            let (outcome, _) = self.one(instance, shared, &salt, by);
            alter(None);
            let has_bitten = altering.fired() > 0;
            bitten += usize::from(has_bitten);
            has_bitten && self.judge.is_red(&instance.key, outcome)
        })
    }

    /// One instance, altered while it asks, and what went over the wire for its API.
    fn one(
        &self,
        instance: &Instance<'_>,
        shared: &Names,
        salt: &str,
        by: Option<&Arc<Altering>>,
    ) -> (Result<Outcome, String>, Vec<Watched>) {
        let names = Names::new(&format!("meta{salt}{}", instance.key), shared);
        let own = (instance.key.api, instance.key.version);
        let mut session = Session::new(self.address, self.broker, names, own);
        if let Err(reason) = session.prepare(&instance.case.setup) {
            return (Err(reason), Vec::new());
        }
        session.watched = Some(Vec::new());
        if let Some(by) = by {
            alter(Some(Arc::<Altering>::clone(by)));
        }
        let mut case = instance.case.clone();
        case.setup.clear();
        let prepared = Instance {
            case: &case,
            ..instance.clone()
        };
        let outcome = session.run(&prepared, None);
        (outcome, session.watched.take().unwrap_or_default())
    }
}

/// Instances in an order in which few tell much: each case once, then the others.
fn spread(instances: &[Instance<'_>], places: &[usize]) -> Vec<usize> {
    let mut seen: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut ranked: Vec<(usize, bool, usize)> = places
        .iter()
        .map(|place| {
            let key = &instances[*place].key;
            let times = seen.entry((&key.case, &key.variation)).or_default();
            *times += 1;
            (*times, !key.variation.is_empty(), *place)
        })
        .collect();
    ranked.sort_unstable();
    ranked.into_iter().map(|(_, _, place)| place).collect()
}

/// What the broker is altered by, for messages.
impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.alteration() {
            Alteration::Code { path, from } => write!(f, "code {from} in {path}"),
            Alteration::Answer { path } => write!(f, "answer {path}"),
            Alteration::Ignored { path } => write!(f, "ignored {path}"),
            Alteration::Default { name } => write!(f, "default {name}"),
        }
    }
}
