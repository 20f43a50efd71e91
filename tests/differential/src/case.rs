//! What a case is: what must exist, what is asked, what is looked at afterwards.
//!
//! What always holds: a case is data; nothing here knows a broker. Names in requests carry `~` (this
//! instance's own prefix) or `^` (its suite's), so that cases that run beside each other never meet.

use std::ops::RangeInclusive;

use millrace_protocol::api::Api;
use serde_json::{Value, json};

/// All cases of one API, and what they share.
#[derive(Clone, Debug)]
pub struct Suite {
    /// The API that its cases ask.
    pub api: Api,
    /// Done once, before the first case; its names carry `^`.
    pub shared: Vec<Step>,
    /// The cases.
    pub cases: Vec<Case>,
}

impl Suite {
    /// Without cases yet.
    pub fn of(api: Api) -> Self {
        Self {
            api,
            shared: Vec::new(),
            cases: Vec::new(),
        }
    }

    /// Adds what is done once, before the first case, in groups as the ready-made functions give them.
    #[must_use]
    pub fn shared(mut self, steps: impl IntoIterator<Item = Vec<Step>>) -> Self {
        self.shared.extend(steps.into_iter().flatten());
        self
    }

    /// Adds a case.
    #[must_use]
    pub fn case(mut self, case: Case) -> Self {
        self.cases.push(case);
        self
    }

    /// Adds cases.
    #[must_use]
    pub fn cases(mut self, cases: impl IntoIterator<Item = Case>) -> Self {
        self.cases.extend(cases);
        self
    }
}

/// One case; it runs once for each version, and once for each variation of a varied request.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name, unlike every other of its API.
    pub name: String,
    /// The versions; `None` is all that are served.
    pub versions: Option<RangeInclusive<i16>>,
    /// What must exist: each step is repeated until it goes well.
    pub setup: Vec<Step>,
    /// What is asked and recorded.
    pub asked: Vec<Step>,
    /// What is looked at afterwards, until it stays as it is.
    pub after: Vec<Step>,
    /// Whether the last request of the suite's API is varied too, field by field.
    pub varied: bool,
    /// What alone is varied: the beginning of a field's path; all where it is empty.
    pub varied_within: String,
    /// Variations that are left out: field and kind, `""` for all kinds.
    pub without: Vec<(String, String)>,
    /// Whether it changes what all share, and runs alone at the end.
    pub alone: bool,
}

impl Case {
    /// A case that asks nothing yet.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            versions: None,
            setup: Vec::new(),
            asked: Vec::new(),
            after: Vec::new(),
            varied: false,
            varied_within: String::new(),
            without: Vec::new(),
            alone: false,
        }
    }

    /// Only these versions.
    #[must_use]
    pub fn versions(mut self, versions: RangeInclusive<i16>) -> Self {
        self.versions = Some(versions);
        self
    }

    /// Adds what must exist, in groups of steps as the ready-made functions give them.
    #[must_use]
    pub fn setup(mut self, steps: impl IntoIterator<Item = Vec<Step>>) -> Self {
        self.setup.extend(steps.into_iter().flatten());
        self
    }

    /// Adds a request of the suite's API, at the instance's version.
    #[must_use]
    pub fn ask(self, body: Value) -> Self {
        self.step(Step::of(Call::Own(body)))
    }

    /// Adds any other request that is recorded.
    #[must_use]
    pub fn step(mut self, step: Step) -> Self {
        self.asked.push(step);
        self
    }

    /// Adds what is looked at afterwards.
    #[must_use]
    pub fn after(mut self, steps: impl IntoIterator<Item = Step>) -> Self {
        self.after.extend(steps);
        self
    }

    /// Varies the last request of the suite's API.
    #[must_use]
    pub fn vary(mut self) -> Self {
        self.varied = true;
        self
    }

    /// Varies of the last request of the suite's API only fields whose path begins so.
    #[must_use]
    pub fn vary_within(self, path: &str) -> Self {
        Self {
            varied_within: path.to_owned(),
            ..self.vary()
        }
    }

    /// Leaves a variation out (`""`: every one of that field).
    #[must_use]
    pub fn without(mut self, field: &str, kind: &str) -> Self {
        self.without.push((field.to_owned(), kind.to_owned()));
        self
    }

    /// Runs alone, behind all that run beside each other.
    #[must_use]
    pub fn alone(mut self) -> Self {
        self.alone = true;
        self
    }
}

/// What a step sends.
#[derive(Clone, Debug)]
pub enum Call {
    /// A request of the suite's API at the instance's version, or at the step's own.
    Own(Value),
    /// A request of another API.
    Of(Api, Value),
    /// Any key, version and body.
    Raw(i16, i16, String),
    /// Nothing: it takes the answer of what was begun on the connection.
    Finish,
}

/// One request and what becomes of its answer.
#[derive(Clone, Debug)]
pub struct Step {
    /// What is sent.
    pub call: Call,
    /// Its version; `None` is the instance's, or the highest that is served of another API.
    pub version: Option<i16>,
    /// The connection, by name.
    pub connection: String,
    /// Client id in the header.
    pub client: Option<String>,
    /// What is kept of the answer: name and path.
    pub saves: Vec<(String, String)>,
    /// Repeated until this path has this value.
    pub until: Option<(String, Value)>,
    /// Lists of which only the elements are kept that name this instance or its suite.
    pub mine: Vec<String>,
    /// Lists whose order says nothing.
    pub sorted: Vec<String>,
    /// Whether the answer isn't waited for yet.
    pub begins: bool,
    /// Whether there is no answer.
    pub silent: bool,
}

impl Step {
    fn of(call: Call) -> Self {
        Self {
            call,
            version: None,
            connection: String::new(),
            client: Some("differential".to_owned()),
            saves: Vec::new(),
            until: None,
            mine: Vec::new(),
            sorted: Vec::new(),
            begins: false,
            silent: false,
        }
    }

    /// What it asks, in a word.
    pub(crate) fn called(&self) -> &'static str {
        match &self.call {
            Call::Own(_) => "own request",
            Call::Of(api, _) => api.row().name,
            Call::Raw(..) => "raw request",
            Call::Finish => "finish",
        }
    }

    /// A request of any key and version with any body, in hexadecimal digits.
    pub fn raw(key: i16, version: i16, body: &str) -> Self {
        Self::of(Call::Raw(key, version, body.to_owned()))
    }

    /// Another request of the suite's API at the instance's version, for what `.ask` can't say.
    pub fn own(body: Value) -> Self {
        Self::of(Call::Own(body))
    }

    /// Takes the answer of what was begun on a connection.
    pub fn finish(connection: &str) -> Self {
        Self::of(Call::Finish).on(connection)
    }

    /// At this version.
    #[must_use]
    pub fn at(mut self, version: i16) -> Self {
        self.version = Some(version);
        self
    }

    /// Keeps a value of the answer as `$name`.
    #[must_use]
    pub fn save(mut self, name: &str, path: &str) -> Self {
        self.saves.push((name.to_owned(), path.to_owned()));
        self
    }

    /// Repeats it until a path has a value.
    #[must_use]
    pub fn until(mut self, path: &str, value: impl Into<Value>) -> Self {
        self.until = Some((path.to_owned(), value.into()));
        self
    }

    /// On another connection of the case.
    #[must_use]
    pub fn on(mut self, connection: &str) -> Self {
        connection.clone_into(&mut self.connection);
        self
    }

    /// Sends it without waiting for the answer.
    #[must_use]
    pub fn begin(mut self) -> Self {
        self.begins = true;
        self
    }

    /// Keeps of a list what names this instance or its suite.
    #[must_use]
    pub fn only_mine(mut self, list: &str) -> Self {
        self.mine.push(list.to_owned());
        self
    }

    /// Takes a list without its order.
    #[must_use]
    pub fn sorted(mut self, list: &str) -> Self {
        self.sorted.push(list.to_owned());
        self
    }

    /// No answer comes.
    #[must_use]
    pub fn silent(mut self) -> Self {
        self.silent = true;
        self
    }

    /// With this client id.
    #[must_use]
    pub fn client(mut self, id: &str) -> Self {
        self.client = Some(id.to_owned());
        self
    }

    /// Without a client id.
    #[must_use]
    pub fn client_null(mut self) -> Self {
        self.client = None;
        self
    }
}

/// A request of any API, at the highest version that is served.
pub fn ask(api: Api, body: Value) -> Step {
    Step::of(Call::Of(api, body)).at(api.row().served.max)
}

/// A topic with leaders for its partitions. Its id is `$name_id`, without the name's prefix.
pub fn topic(name: &str, partitions: i32) -> Vec<Step> {
    topic_with(name, partitions, &json!({}))
}

/// A topic with configurations. It keeps its records, whose times are of long ago, unless they say
/// for how long.
pub fn topic_with(name: &str, partitions: i32, configs: &Value) -> Vec<Step> {
    let mut configs = configs.clone();
    if configs.get("retention.ms").is_none() {
        configs["retention.ms"] = json!("-1");
    }
    let configs: Vec<Value> = configs
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| json!({"Name": name, "Value": value}))
        .collect();
    let create = json!({"Topics": [{"Name": name, "NumPartitions": partitions,
        "ReplicationFactor": 1, "Configs": configs}], "TimeoutMs": 30_000, "timeoutMs": 30_000});
    let create = only_known(Api::CreateTopics, create);
    let id = format!("{}_id", name.trim_start_matches(['~', '^']));
    let partitions: Vec<Value> = (0..partitions)
        .map(|index| json!({"PartitionIndex": index, "Timestamp": -1}))
        .collect();
    vec![
        ask(Api::CreateTopics, create),
        ask(
            Api::Metadata,
            json!({"Topics": [{"Name": name}], "AllowAutoTopicCreation": false}),
        )
        .save(&id, "Topics[0].TopicId"),
        // Metadata knows of it a moment before its log is open.
        ask(
            Api::ListOffsets,
            json!({"ReplicaId": -1, "Topics": [{"Name": name, "Partitions": partitions}]}),
        ),
    ]
}

/// Leaves out what the schema doesn't name, where two spellings are about.
fn only_known(api: Api, mut body: Value) -> Value {
    let fields = &crate::schema::message(api, true).fields;
    if let Some(body) = body.as_object_mut() {
        body.retain(|key, _| fields.iter().any(|field| field.name == *key));
    }
    body
}

/// So many records in a partition: keys `k0`.., values `v0`.., times 1000, 1001.., in one batch.
pub fn records(topic: &str, partition: i32, count: i32) -> Vec<Step> {
    let records: Vec<Value> = (0..count)
        .map(|n| json!({"k": format!("k{n}"), "v": format!("v{n}"), "t": n}))
        .collect();
    let body = json!({"Acks": -1, "TimeoutMs": 30_000, "TopicData": [{"Name": topic,
        "PartitionData": [{"Index": partition, "Records": {"batches": [{"records": records}]}}]}]});
    vec![ask(Api::Produce, body).at(12)]
}

/// A group with one member that has joined and synced: `$member`, `$generation`. On the connection
/// `""`, by client id `differential`, protocol type `consumer`, protocol `range`.
pub fn member(group: &str) -> Vec<Step> {
    let join = |id: &str| {
        json!({"GroupId": group, "SessionTimeoutMs": 60_000, "RebalanceTimeoutMs": 60_000,
        "MemberId": id, "ProtocolType": "consumer", "Protocols": [{"Name": "range", "Metadata": "m"}]})
    };
    vec![
        ask(Api::JoinGroup, join(""))
            .at(3)
            .save("member", "MemberId")
            .save("generation", "GenerationId"),
        ask(
            Api::SyncGroup,
            json!({"GroupId": group, "GenerationId": "$generation", "MemberId": "$member",
            "Assignments": [{"MemberId": "$member", "Assignment": "a"}]}),
        )
        .at(3),
    ]
}

/// An offset of a group without members.
pub fn commit(group: &str, topic: &str, partition: i32, offset: i64) -> Vec<Step> {
    let body = json!({"GroupId": group, "GenerationIdOrMemberEpoch": -1, "Topics": [{"Name": topic,
        "Partitions": [{"PartitionIndex": partition, "CommittedOffset": offset,
        "CommittedMetadata": "m"}]}]});
    vec![ask(Api::OffsetCommit, body).at(8)]
}
