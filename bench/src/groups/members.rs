//! Members that join at once, and stay: all of a scenario's, and the figures.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use millrace_client::{Client, ClientOptions, NewTopic, Topic};
use millrace_host::{Host, Mono, Pool};
use millrace_protocol::error_code::ErrorCode;
use tokio::sync::{Semaphore, mpsc, watch};

use super::board::Board;
use super::member::{Done, Member, Phase, Shared, Told, group_id};
use super::{Plan, percentiles, seconds, wire};
use crate::cpu::{cpu_time, resident_bytes};
use crate::load::ends;
use crate::report::{cpu_per_million, figure, per_second};
use crate::text;

/// Connections that are being made at once.
const CONNECTING_MAX: usize = 64;
/// What members have to tell and nobody has heard yet.
const TOLD_MAX: usize = 1024;
/// How long joining may take; it may wait for the rebalance timeout of a member that was lost.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(10);
/// How long the coordinator, or a topic, may take until it is there.
const COORDINATOR_TIMEOUT: Duration = Duration::from_mins(1);
/// Between two questions for it, or for a topic.
const TRY_EVERY: Duration = Duration::from_millis(20);
/// Between the last assignment and the measurement.
const SETTLE: Duration = Duration::from_secs(1);
/// Groups whose offsets one request asks for.
const GROUPS_PER_REQUEST: usize = 100;

/// What runs, and what is heard of it.
struct Run {
    shared: Arc<Shared>,
    phase: watch::Sender<Phase>,
    told: mpsc::Receiver<Told>,
    board: Board,
    done: Vec<Done>,
    connected: usize,
}

/// Has all members join and stay, then reads back what they committed.
pub(super) async fn run(host: &Host, plan: Plan) -> Result<(), String> {
    let client = connect(host, &plan).await?;
    let partitions = i32::try_from(plan.members * plan.commit_partitions).map_err(text)?;
    let topic = NewTopic::new(format!("{}-topic", plan.prefix), partitions);
    let topic = make(host, &client, &topic).await?;
    until_coordinated(host, &client, &group_id(&plan.prefix, 0)).await?;
    let all = plan.groups * plan.members;
    let shared = Arc::new(Shared::new(host, plan, topic)?);
    let mut run = start(shared);
    run.hear(|run| run.connected == all).await?;
    let plan = run.shared.plan.clone();
    figure("groups", plan.groups, "");
    figure("members", all, "");
    let cpu = || plan.pid.map(cpu_time).transpose().map_err(text);

    let (before, start) = (cpu()?, run.now());
    run.phase.send_replace(Phase::Joining);
    run.hear(|run| run.board.is_complete()).await?;
    let joined = run
        .board
        .last()
        .map_or(Duration::ZERO, |at| at.since(start));
    figure("all members assigned", seconds(joined), "s");
    let (highest, rebalances) = run.board.generations();
    figure("rebalances until then", rebalances, "");
    figure("of one group, most", highest, "");
    if let (Some(before), Some(after)) = (before, cpu()?) {
        let cpu = after.saturating_sub(before);
        figure("joining: broker cpu", seconds(cpu), "s");
    }

    // All members hear of it at once, which takes us a while, and is nobody's latency.
    let from = run.now() + SETTLE;
    run.phase
        .send_replace(Phase::Measured(from, from + plan.stay));
    host.clock.sleep_until(from).await;
    let between = cpu()?;
    run.hear(|run| run.done.len() == all).await?;
    let stayed = run.now().since(from);
    let spent = match (between, cpu()?) {
        (Some(before), Some(after)) => Some(after.saturating_sub(before)),
        _ => None,
    };
    run.print(stayed, spent)?;
    let read = run.read_back(&client).await?;
    figure("offsets read back", read, "all right");
    run.judge()
}

/// Makes a topic, which a broker may get to know a little after it was made.
pub(crate) async fn make(host: &Host, client: &Client, topic: &NewTopic) -> Result<Topic, String> {
    let made = client.create_topic(topic).await.map_err(text)?;
    let deadline = host.clock.now().mono + COORDINATOR_TIMEOUT;
    loop {
        let failed = match client.topic(&made.name).await {
            Ok(known) if known == made => {
                // Named in the metadata, and not yet led everywhere.
                ends(host, client, &made).await?;
                return Ok(made);
            }
            Ok(known) => format!("{known:?} in place of {made:?}"),
            Err(error) => error.to_string(),
        };
        let now = host.clock.now().mono;
        if now > deadline {
            return Err(format!("a topic that was made isn't there: {failed}"));
        }
        host.clock.sleep_until(now + TRY_EVERY).await;
    }
}

/// The coordinator's topic is made by the first who asks.
pub(super) async fn until_coordinated(
    host: &Host,
    client: &Client,
    group: &str,
) -> Result<(), String> {
    let deadline = host.clock.now().mono + COORDINATOR_TIMEOUT;
    loop {
        let code = wire::find_coordinator(client, group).await?;
        let now = host.clock.now().mono;
        if code == ErrorCode::None {
            return Ok(());
        }
        if now > deadline {
            return Err(format!("no coordinator: {code:?}"));
        }
        host.clock.sleep_until(now + TRY_EVERY).await;
    }
}

async fn connect(host: &Host, plan: &Plan) -> Result<Client, String> {
    let options = ClientOptions {
        client_id: "millrace-bench".to_owned(),
        in_flight_max: 4,
        request_timeout: REQUEST_TIMEOUT,
        ..ClientOptions::default()
    };
    let client = Client::connect(host, plan.bootstrap, options).await;
    client.map_err(|error| {
        format!("{error} (a member takes a connection: `ulimit -n` of both sides limits them)")
    })
}

/// Starts every member's task; they connect, and wait.
fn start(shared: Arc<Shared>) -> Run {
    let (phase, phases) = watch::channel(Phase::Connecting);
    let (told_by, told) = mpsc::channel(TOLD_MAX);
    let connecting = Arc::new(Semaphore::new(CONNECTING_MAX));
    let (groups, members) = (shared.plan.groups, shared.plan.members);
    for number in 0..groups * members {
        let place = (number / members, number % members);
        let (shared, told_by) = (Arc::clone(&shared), told_by.clone());
        let (connecting, phase) = (Arc::clone(&connecting), phases.clone());
        let spawn = Arc::clone(&shared.host.spawn);
        let living = live(shared, place, connecting, (phase, told_by));
        drop(spawn.spawn(Pool::Data, "group member", Box::pin(living)));
    }
    Run {
        shared,
        phase,
        told,
        board: Board::new(groups, members),
        done: Vec::new(),
        connected: 0,
    }
}

async fn live(
    shared: Arc<Shared>,
    (group, number): (usize, usize),
    connecting: Arc<Semaphore>,
    (phase, told): (watch::Receiver<Phase>, mpsc::Sender<Told>),
) {
    let permit = connecting.acquire().await;
    let connected = connect(&shared.host, &shared.plan).await;
    drop(permit);
    match connected {
        Ok(client) => {
            let member = Member {
                shared,
                client,
                group,
                number,
                phase,
                told,
            };
            member.run().await;
        }
        // Nobody listens any more when another one failed first.
        Err(reason) => drop(told.send(Told::Failed(reason)).await),
    }
}

impl Run {
    fn now(&self) -> Mono {
        self.shared.host.clock.now().mono
    }

    /// Hears what the members have to tell until that is so.
    async fn hear(&mut self, is_so: impl Fn(&Self) -> bool) -> Result<(), String> {
        while !is_so(self) {
            match self.told.recv().await.ok_or("the members are gone")? {
                Told::Connected => self.connected += 1,
                Told::Synced(synced) => self.board.synced(synced)?,
                Told::Done(done) => self.done.push(done),
                Told::Failed(reason) => return Err(reason),
            }
        }
        Ok(())
    }

    fn print(&self, stayed: Duration, spent: Option<Duration>) -> Result<(), String> {
        let plan = &self.shared.plan;
        figure("measured", seconds(stayed), "s");
        let lock = self.shared.heartbeats.lock();
        let heartbeats = lock.unwrap_or_else(PoisonError::into_inner);
        figure("heartbeats", heartbeats.len(), "");
        percentiles("heartbeat", &heartbeats);
        let commits: u64 = self.done.iter().map(|done| done.commits).sum();
        if plan.commit_every.is_some() {
            let lock = self.shared.commits.lock();
            let latencies = lock.unwrap_or_else(PoisonError::into_inner);
            figure("commits", commits, "");
            let rate = format!("{:.0}", per_second(commits, stayed));
            figure("commits acknowledged", rate, "/s");
            percentiles("commit", &latencies);
        }
        if let Some(spent) = spent {
            if spent.is_zero() && stayed > Duration::from_secs(1) {
                return Err("the process of --pid did nothing: it is not the broker".into());
            }
            let share = spent.as_secs_f64() / stayed.as_secs_f64().max(1e-9) * 100.0;
            figure("broker cpu", format!("{share:.1}"), "% of a core");
            if commits > 0 {
                cpu_per_million("broker", spent, commits);
            } else if !heartbeats.is_empty() {
                cpu_per_million("broker", spent, heartbeats.len());
            }
        }
        if let Some(pid) = plan.pid {
            let (peak, now) = resident_bytes(pid).map_err(text)?;
            figure("broker peak resident", peak >> 20, "MiB");
            figure("broker resident", now >> 20, "MiB");
        }
        Ok(())
    }

    /// Asks for everything that members committed; each must be the last that was acknowledged.
    async fn read_back(&self, client: &Client) -> Result<usize, String> {
        let plan = &self.shared.plan;
        let mut expected = BTreeMap::new();
        for done in self.done.iter().filter(|done| done.committed > 0) {
            for partition in plan.partitions_of(done.member) {
                let group = group_id(&plan.prefix, done.group);
                expected.insert((group, partition), done.committed);
            }
        }
        let count = expected.len();
        let names: Vec<String> = (0..plan.groups)
            .map(|number| group_id(&plan.prefix, number))
            .collect();
        let asked = [wire::Asked {
            topic: &self.shared.topic,
            partitions: (0..self.shared.topic.partitions).collect(),
        }];
        for groups in names.chunks(GROUPS_PER_REQUEST) {
            let request = wire::fetch(client, groups, &asked).map_err(text)?;
            let answer = client.call(&request).await.map_err(text)?;
            let code = wire::fetched(&answer, |group, _, partition, offset| {
                let known = expected.remove(&(group.to_owned(), partition));
                if offset == known.unwrap_or(-1) {
                    Ok(())
                } else {
                    Err(format!(
                        "{group}, partition {partition}: offset {offset} in place of {known:?}"
                    ))
                }
            })?;
            if code != ErrorCode::None {
                return Err(format!("offsets can't be read back: {code:?}"));
            }
        }
        if expected.is_empty() {
            Ok(count)
        } else {
            Err(format!("{} offsets are missing", expected.len()))
        }
    }

    /// Whether every member stayed one.
    fn judge(&self) -> Result<(), String> {
        let expelled: u64 = self.done.iter().map(|done| done.expelled).sum();
        let rejoined: u64 = self.done.iter().map(|done| done.rejoined).sum();
        figure("members expelled", expelled, "");
        figure("joins while measured", rejoined, "");
        if expelled > 0 {
            return Err(format!("{expelled} times a member was no member any more"));
        }
        Ok(())
    }
}
