//! The alterations of one API, each in turn, and which of them no case sees.
//!
//! What always holds: an alteration counts as seen only by an instance that is as recorded without it
//! on the same broker, or on one that nothing altered before; one is in force at a time, and none
//! while an instance makes what it needs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use millrace_differential::case::Suite;
use millrace_differential::instance::{self, Instance, Key};
use millrace_differential::names::{self, Names};
use millrace_differential::pool;
use millrace_differential::run::{Limits, Outcome, Session, Watched};
use millrace_probe::alter;
use serde_json::Value;

use crate::altering::{Altering, Listening};
use crate::broker::Running;
use crate::judge::Judge;
use crate::points::{Point, of_default, points};

/// Instances that an alteration changes something for before it counts as unseen.
const TRIES: usize = 96;
/// So many of them are tried beside each other behind the first.
const BESIDE: usize = 16;

/// How long is waited for what an alteration may have taken away.
const ALTERED: Limits = Limits {
    answer: Duration::from_secs(30),
    awaited: Duration::from_secs(30),
    settled: Duration::from_secs(5),
};

/// A broker with what a suite's cases share.
struct Ground {
    broker: Running,
    known: names::Broker,
    shared: Names,
}

impl Ground {
    fn fresh(suite: &Suite) -> Result<Self, String> {
        let broker = Running::start(suite.api)?;
        let known = pool::learn(broker.address)?;
        let shared = pool::share(broker.address, &known, "meta", suite)?;
        Ok(Self {
            broker,
            known,
            shared,
        })
    }

    /// A client with what an instance needs.
    fn session(&self, instance: &Instance<'_>, salt: &str) -> Result<Session<'_>, String> {
        let Key { api, version, .. } = instance.key;
        let names = Names::new(&format!("meta{salt}{}", instance.key), &self.shared);
        let mut session = Session::new(self.broker.address, &self.known, names, (api, version));
        session.prepare(&instance.case.setup)?;
        session.watched = Some(Vec::new());
        Ok(session)
    }
}

/// The alterations of one API.
pub(crate) struct Hunt<'a> {
    judge: &'a Judge,
    suite: &'a Suite,
    instances: Vec<Instance<'a>>,
}

/// What became of them.
pub(crate) struct Found {
    /// How many were tried.
    pub(crate) tried: usize,
    /// Those that no case saw.
    pub(crate) green: Vec<String>,
}

impl<'a> Hunt<'a> {
    pub(crate) fn new(judge: &'a Judge, suite: &'a Suite) -> Result<Self, String> {
        let instances = instance::all(std::slice::from_ref(suite))?;
        Ok(Self {
            judge,
            suite,
            instances,
        })
    }

    /// Tries them all.
    pub(crate) fn run(&self) -> Result<Found, String> {
        let ground = Ground::fresh(self.suite)?;
        let found = self.points(&ground)?;
        let mut green = Vec::new();
        let mut seen = Vec::new();
        for (point, places) in &found {
            match self.witness(&ground, point, places)? {
                Some(witness) => seen.push((point, witness)),
                None => green.push(point.to_string()),
            }
        }
        // What an alteration left on the broker may be what a later one was seen by.
        let witnesses: BTreeSet<usize> = seen.iter().map(|(_, witness)| *witness).collect();
        let witnesses: Vec<usize> = witnesses.into_iter().collect();
        let spoiled = self.red_unaltered(&ground, "control", &witnesses);
        drop(ground);
        for (point, _) in seen.iter().filter(|(_, place)| spoiled.contains(place)) {
            let ground = Ground::fresh(self.suite)?;
            if self.witness(&ground, point, &found[point])?.is_none() {
                green.push(point.to_string());
            }
        }
        Ok(Found {
            tried: found.len(),
            green,
        })
    }

    /// What there is to alter, and the instances that show it. All must be as recorded.
    fn points(&self, ground: &Ground) -> Result<BTreeMap<Point, Vec<usize>>, String> {
        let listening = Arc::new(Listening::default());
        alter(Some(Arc::<Listening>::clone(&listening)));
        let all: Vec<usize> = (0..self.instances.len()).collect();
        let plain = self.unaltered(ground, "plain", &all);
        alter(None);
        let mut found: BTreeMap<Point, Vec<usize>> = BTreeMap::new();
        let mut red = Vec::new();
        for (place, (is_red, watched)) in all.iter().zip(plain) {
            if is_red {
                red.push(self.instances[*place].key.to_string());
            }
            for point in points(self.suite.api, &watched) {
                found.entry(point).or_default().push(*place);
            }
        }
        if !red.is_empty() {
            return Err(format!("red without alterations: {}", red.join("; ")));
        }
        for name in listening.defaults(self.suite.api) {
            found.insert(of_default(name), all.clone());
        }
        for places in found.values_mut() {
            *places = self.spread(places);
        }
        Ok(found)
    }

    /// Instances as they stand: whether each is red, and what went over the wire for its API.
    fn unaltered(
        &self,
        ground: &Ground,
        salt: &str,
        places: &[usize],
    ) -> Vec<(bool, Vec<Watched>)> {
        let one = |place: usize| {
            let instance = &self.instances[place];
            match ground.session(instance, salt) {
                Err(_) => (true, Vec::new()),
                Ok(mut session) => {
                    let is_red = self.is_red(instance, &mut session);
                    (is_red, session.watched.take().unwrap_or_default())
                }
            }
        };
        let beside = pool::in_parallel(places.len(), |turn| {
            let is_alone = self.instances[places[turn]].case.alone;
            (!is_alone).then(|| one(places[turn]))
        });
        let all = beside.into_iter().zip(places);
        all.map(|(done, place)| done.unwrap_or_else(|| one(*place)))
            .collect()
    }

    /// Those of some instances that are red as they stand.
    fn red_unaltered(&self, ground: &Ground, salt: &str, places: &[usize]) -> BTreeSet<usize> {
        let outcomes = self.unaltered(ground, salt, places);
        let red = places.iter().zip(outcomes);
        red.filter(|(_, (is_red, _))| *is_red)
            .map(|(place, _)| *place)
            .collect()
    }

    /// An instance that is red when the point is altered, first of one, then of many beside each other.
    fn witness(
        &self,
        ground: &Ground,
        point: &Point,
        places: &[usize],
    ) -> Result<Option<usize>, String> {
        let mut bitten = 0;
        let mut rest = places;
        while !rest.is_empty() && bitten < TRIES {
            let len = self.beside(rest, rest.len() == places.len());
            let (tried, later) = rest.split_at(len);
            rest = later;
            let altering = Arc::new(Altering::new(self.suite.api, point.alteration()));
            let red = self.red_altered(ground, point, tried, &altering)?;
            if altering.fired() == 0 {
                continue;
            }
            if red.is_some() {
                return Ok(red);
            }
            bitten += tried.len();
        }
        Ok(None)
    }

    /// How many of these are tried beside each other: one that needs the broker for itself has it.
    fn beside(&self, places: &[usize], is_first: bool) -> usize {
        let is_alone = |place: &usize| self.instances[*place].case.alone;
        let most = if is_first { 1 } else { BESIDE };
        let others = places.iter().take_while(|place| !is_alone(place));
        others.take(most).count().max(1)
    }

    /// The first of some instances that is red when they are altered.
    fn red_altered(
        &self,
        ground: &Ground,
        point: &Point,
        places: &[usize],
        altering: &Arc<Altering>,
    ) -> Result<Option<usize>, String> {
        let salt = point.to_string();
        let sessions = pool::in_parallel(places.len(), |turn| {
            ground.session(&self.instances[places[turn]], &salt)
        });
        let sessions = sessions.into_iter().zip(places).map(|(session, place)| {
            let session = session.map_err(|reason| {
                format!("{}, behind {point}: {reason}", self.instances[*place].key)
            })?;
            Ok(Mutex::new(session))
        });
        let sessions = sessions.collect::<Result<Vec<_>, String>>()?;
        alter(Some(Arc::<Altering>::clone(altering)));
        let red = pool::in_parallel(places.len(), |turn| {
            let session = sessions[turn].lock();
            let mut session = session.unwrap_or_else(PoisonError::into_inner);
            session.limits = ALTERED;
            self.is_red(&self.instances[places[turn]], &mut session)
        });
        alter(None);
        let red = red.into_iter().zip(places);
        Ok(red
            .filter(|(is_red, _)| *is_red)
            .map(|(_, place)| *place)
            .next())
    }

    /// Whether an instance comes to something else than was recorded. It has what it needs.
    fn is_red(&self, instance: &Instance<'_>, session: &mut Session<'_>) -> bool {
        let key = &instance.key;
        let asked = match session.ask(instance) {
            Ok(asked) if !self.judge.is_red_already(key, &asked) => asked,
            Ok(_) | Err(_) => return true,
        };
        let settled = |place: usize, seen: &Value| self.judge.is_settled(key, place, seen);
        let after = session.look(instance, Some(&settled));
        let outcome = after.map(|after| Outcome { asked, after });
        self.judge.is_red(key, outcome)
    }

    /// Instances in an order in which few tell much: each case once, then the others.
    fn spread(&self, places: &[usize]) -> Vec<usize> {
        let mut seen: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        let mut ranked: Vec<(usize, bool, usize)> = places
            .iter()
            .map(|place| {
                let key = &self.instances[*place].key;
                let times = seen.entry((&key.case, &key.variation)).or_default();
                *times += 1;
                (*times, !key.variation.is_empty(), *place)
            })
            .collect();
        ranked.sort_unstable();
        ranked.into_iter().map(|(_, _, place)| place).collect()
    }
}
