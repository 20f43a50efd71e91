//! Running instances against a broker, many beside each other.
//!
//! What always holds: what must exist is waited for, never slept for; what a case asks is asked once;
//! what is looked at afterwards is asked again until it stays, or is what was recorded.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use millrace_protocol::api::Api;
use serde_json::{Value, json};

use crate::case::{Call, Step, topic};
use crate::instance::Instance;
use crate::names::{Broker, Names, digest};
use crate::peer::{Connection, Failure};
use crate::{places, read, schema, write};

/// What must exist does so within this.
const SETUP_LIMIT: Duration = Duration::from_mins(1);
/// An answer comes within this, the longest wait of a rebalance included.
const ANSWER_LIMIT: Duration = Duration::from_secs(90);
/// Between two tries of what isn't there yet.
const PAUSE: Duration = Duration::from_millis(20);
/// What is looked at stays as it is for this long before it is recorded.
const STAYS: Duration = Duration::from_secs(8);
/// What is looked at becomes what was recorded within this.
const SETTLE_LIMIT: Duration = Duration::from_secs(15);

/// What came of an instance: its answers, masked.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Of what was asked, in order.
    pub asked: Vec<Value>,
    /// Of what was looked at afterwards.
    pub after: Vec<Value>,
}

/// Whether an observation is what it should be; `None` while recording.
pub type Settled<'a> = Option<&'a dyn Fn(usize, &Value) -> bool>;

/// For how long a session waits for what doesn't come.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For an answer.
    pub answer: Duration,
    /// For an answer that says what its step waits for.
    pub awaited: Duration,
    /// For what is looked at to be as it was recorded.
    pub settled: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            answer: ANSWER_LIMIT,
            awaited: SETUP_LIMIT,
            settled: SETTLE_LIMIT,
        }
    }
}

/// One client of the broker, with the connections and names of one instance.
#[derive(Debug)]
pub struct Session<'a> {
    address: SocketAddr,
    broker: &'a Broker,
    /// Connections by name, each with what is under way: API and version, as far as these are known.
    connections: BTreeMap<String, Line>,
    /// The instance's names.
    pub names: Names,
    /// The API and version that `Call::Own` means.
    own: (Api, i16),
    /// Bodies of the API's own requests and answers, where somebody wants to see them.
    pub watched: Option<Vec<Watched>>,
    /// How long it waits.
    pub limits: Limits,
}

/// A request or an answer as it went over the wire.
#[derive(Clone, Debug)]
pub struct Watched {
    /// Whether it is a request.
    pub is_request: bool,
    /// Its version.
    pub version: i16,
    /// Its body.
    pub body: Vec<u8>,
}

#[derive(Debug)]
struct Line {
    connection: Connection,
    under_way: VecDeque<Option<(Api, i16)>>,
}

/// An answer as it is recorded, and whole.
struct Answer {
    shown: Value,
    whole: Value,
}

impl Answer {
    fn word(word: &str) -> Self {
        Self {
            shown: json!(word),
            whole: Value::Null,
        }
    }
}

impl<'a> Session<'a> {
    /// A session without connections yet.
    pub fn new(address: SocketAddr, broker: &'a Broker, names: Names, own: (Api, i16)) -> Self {
        Self {
            address,
            broker,
            connections: BTreeMap::new(),
            names,
            own,
            watched: None,
            limits: Limits::default(),
        }
    }

    fn watch(&mut self, is_request: bool, call: Option<(Api, i16)>, body: &[u8]) {
        if let (Some(watched), Some((api, version))) = (&mut self.watched, call)
            && api == self.own.0
        {
            watched.push(Watched {
                is_request,
                version,
                body: body.to_vec(),
            });
        }
    }

    /// Does what must be done until it has gone well.
    pub fn prepare(&mut self, steps: &[Step]) -> Result<(), String> {
        for step in steps {
            let deadline = now() + SETUP_LIMIT;
            loop {
                let answer = self.step(step, None)?;
                if answer.shown == "closed" {
                    return Err(format!(
                        "the setup's {} closes the connection",
                        step.called()
                    ));
                }
                let is_done = match &step.until {
                    Some((path, value)) => places::at(&answer.whole, path) == Some(value),
                    None => went_well(step, &answer.whole),
                };
                if is_done {
                    break;
                }
                if now() > deadline {
                    let answer = answer.shown.to_string();
                    let answer: String = answer.chars().take(200).collect();
                    return Err(format!("the setup's {} ends with {answer}", step.called()));
                }
                self.pause(step);
            }
        }
        Ok(())
    }

    /// Runs an instance.
    pub fn run(
        &mut self,
        instance: &Instance<'_>,
        settled: Settled<'_>,
    ) -> Result<Outcome, String> {
        self.prepare(&instance.case.setup)?;
        let asked = self.ask(instance)?;
        if settled.is_none() {
            self.await_metadata(instance)?;
        }
        let after = self.look(instance, settled)?;
        Ok(Outcome { asked, after })
    }

    /// Asks what an instance asks. What must exist does already.
    pub fn ask(&mut self, instance: &Instance<'_>) -> Result<Vec<Value>, String> {
        let mut asked = Vec::new();
        for (place, step) in instance.case.asked.iter().enumerate() {
            let varied = instance.varied.as_ref();
            let varied = varied.filter(|_| instance.varied_at() == Some(place));
            let answer = self.awaited(step, varied)?;
            asked.push(self.names.mask(self.broker, &answer.shown));
        }
        Ok(asked)
    }

    /// Waits until the broker has applied what the instance changed of its metadata, where that is
    /// looked at: a topic made now is there only behind all that was changed before.
    fn await_metadata(&mut self, instance: &Instance<'_>) -> Result<(), String> {
        let own = self.own.0;
        let of_metadata = [Api::Metadata, Api::DescribeConfigs];
        let is_of_metadata = |step: &Step| match &step.call {
            Call::Of(api, _) => of_metadata.contains(api),
            Call::Own(_) => of_metadata.contains(&own),
            Call::Raw(..) | Call::Finish => false,
        };
        if !instance.case.after.iter().any(is_of_metadata) {
            return Ok(());
        }
        // Of no name that is the instance's own, for it is none of what is looked at.
        let name = format!("applied-{:016x}", digest(&self.names.own));
        let steps = topic(&name, 1).into_iter();
        self.prepare(&steps.map(|step| step.on("applied")).collect::<Vec<_>>())
    }

    /// Looks at what an instance looks at behind what it asked.
    pub fn look(
        &mut self,
        instance: &Instance<'_>,
        settled: Settled<'_>,
    ) -> Result<Vec<Value>, String> {
        let mut after = Vec::new();
        for (place, step) in instance.case.after.iter().enumerate() {
            let here = settled.map(|settled| move |seen: &Value| settled(place, seen));
            let here = here.as_ref().map(|here| here as &dyn Fn(&Value) -> bool);
            after.push(self.observe(step, here)?);
        }
        Ok(after)
    }

    /// Asks again until the answer is as it should be, or stays as it is.
    fn observe(
        &mut self,
        step: &Step,
        settled: Option<&dyn Fn(&Value) -> bool>,
    ) -> Result<Value, String> {
        let deadline = now() + self.limits.settled;
        let mut last: Option<(Value, Instant)> = None;
        loop {
            let answer = self.step(step, None)?;
            let mut names = self.names.clone();
            let shown = names.mask(self.broker, &answer.shown);
            let since = match last {
                Some((before, since)) if before == shown => since,
                _ => now(),
            };
            let is_done = match settled {
                Some(settled) => settled(&shown),
                None => now() >= since + STAYS,
            };
            if is_done || now() > deadline {
                self.names = names;
                return Ok(shown);
            }
            last = Some((shown, since));
            self.pause(step);
        }
    }

    /// Asks once, or until the answer has what the step waits for.
    fn awaited(&mut self, step: &Step, varied: Option<&Value>) -> Result<Answer, String> {
        let deadline = now() + self.limits.awaited;
        loop {
            let answer = self.step(step, varied)?;
            let awaited = step.until.as_ref();
            let is_there =
                awaited.is_none_or(|(path, value)| places::at(&answer.whole, path) == Some(value));
            if is_there || now() > deadline {
                return Ok(answer);
            }
            self.pause(step);
        }
    }

    /// Between two tries: until the broker says something of itself, such as goodbye, or for a moment.
    fn pause(&self, step: &Step) {
        if let Some(line) = self.connections.get(&step.connection) {
            line.connection.listen(PAUSE);
        }
    }

    fn step(&mut self, step: &Step, varied: Option<&Value>) -> Result<Answer, String> {
        let outcome = self.exchange(step, varied);
        let (call, bytes) = match outcome {
            Ok(Some(answered)) => answered,
            Ok(None) => return Ok(Answer::word(if step.begins { "begun" } else { "silent" })),
            Err(Failure::Closed) => {
                self.connections.remove(&step.connection);
                return Ok(Answer::word("closed"));
            }
            Err(Failure::Broken(reason)) => return Err(reason),
        };
        let Some((api, version)) = call else {
            let bytes = crate::batches::hex(&bytes);
            return Ok(Answer {
                shown: json!({ "raw": bytes }),
                whole: Value::Null,
            });
        };
        let message = schema::message(api, false);
        // ApiVersions answers a version that it doesn't have by version 0.
        let version = if api == Api::ApiVersions && !api.row().served.contains(version) {
            0
        } else {
            version
        };
        let mut shown = read::body(message, version, &bytes)
            .map_err(|reason| format!("{api:?} {version} can't be read: {reason}"))?;
        let whole = read::whole(message, version, &bytes)?;
        for list in &step.mine {
            let names = &self.names;
            places::each(&mut shown, list, &mut |list| {
                if let Some(list) = list.as_array_mut() {
                    list.retain(|element| names.are_in(element));
                }
            });
        }
        for list in &step.sorted {
            places::each(&mut shown, list, &mut |list| {
                if let Some(list) = list.as_array_mut() {
                    list.sort_by_cached_key(ToString::to_string);
                }
            });
        }
        for (name, path) in &step.saves {
            if let Some(value) = places::at(&whole, path) {
                self.names.saved.insert(name.clone(), value.clone());
            }
        }
        Ok(Answer {
            shown: json!({ api.row().name: shown }),
            whole,
        })
    }

    /// Sends and receives; `None` where no answer is awaited.
    #[expect(
        clippy::type_complexity,
        reason = "what was asked, and the answer's bytes"
    )]
    fn exchange(
        &mut self,
        step: &Step,
        varied: Option<&Value>,
    ) -> Result<Option<(Option<(Api, i16)>, Vec<u8>)>, Failure> {
        let (own, own_version) = self.own;
        let (call, key, version, body) = match &step.call {
            Call::Finish => return self.receive(&step.connection).map(Some),
            Call::Raw(key, version, body) => {
                let api = Api::from_key(*key)
                    .filter(|api| api.row().served.contains(*version) || *api == Api::ApiVersions);
                let body = crate::batches::unhex(body);
                let body = body.ok_or(Failure::Broken("no hexadecimal digits".into()))?;
                (api.map(|api| (api, *version)), *key, *version, body)
            }
            Call::Own(body) => {
                let version = step.version.unwrap_or(own_version);
                let body = self.body(own, version, varied.unwrap_or(body))?;
                (Some((own, version)), own.key(), version, body)
            }
            Call::Of(api, body) => {
                let version = step.version.unwrap_or(api.row().served.max);
                let body = self.body(*api, version, body)?;
                (Some((*api, version)), api.key(), version, body)
            }
        };
        self.watch(true, call, &body);
        if !self.connections.contains_key(&step.connection) {
            let line = Line {
                connection: Connection::open(self.address, self.limits.answer)?,
                under_way: VecDeque::new(),
            };
            self.connections.insert(step.connection.clone(), line);
        }
        let line = self.connections.get_mut(&step.connection);
        let line = line.expect("it was put there where it wasn't");
        let client = step.client.as_deref();
        line.connection
            .send(key, version, client, &body, !step.silent)?;
        if step.silent {
            return Ok(None);
        }
        line.under_way.push_back(call);
        if step.begins {
            return Ok(None);
        }
        self.receive(&step.connection).map(Some)
    }

    #[expect(
        clippy::type_complexity,
        reason = "what was asked, and the answer's bytes"
    )]
    fn receive(&mut self, connection: &str) -> Result<(Option<(Api, i16)>, Vec<u8>), Failure> {
        let line = self.connections.get_mut(connection);
        let line = line.ok_or(Failure::Broken("nothing was begun there".into()))?;
        let bytes = line.connection.receive()?;
        let call = line.under_way.pop_front().flatten();
        self.watch(false, call, &bytes);
        Ok((call, bytes))
    }

    fn body(&self, api: Api, version: i16, body: &Value) -> Result<Vec<u8>, Failure> {
        let filled = self.names.fill(body).map_err(Failure::Broken)?;
        write::body(schema::message(api, true), version, &filled)
            .map_err(|reason| Failure::Broken(format!("{api:?} {version}: {reason}")))
    }
}

/// Whether a step of a setup has done what it should: that a topic is there already is well, too.
fn went_well(step: &Step, whole: &Value) -> bool {
    let there_already = 36;
    let is_create = matches!(step.call, Call::Of(Api::CreateTopics, _));
    places::errors(whole).all(|code| is_create && code == there_already)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a developer's tool, not part of a node"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
