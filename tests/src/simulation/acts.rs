//! Making a fault happen, and healing it.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use millrace_host::Host;
use millrace_log::partition_metadata;
use millrace_protocol::ids::TopicId;
use millrace_sim::{DiskEffect, DiskFault, DiskOp, Drip, FaultId, When, World, faults as counted};

use super::{BROKER, CLIENTS, Failure, Run};
use crate::faults::schedule::Draw;
use crate::faults::{DiskTrouble, End, Fault, What};
use crate::groups::Crowd;
use crate::ledger::Barred;
use crate::liveness;
use crate::shape::{Row, TOPIC};
use crate::table;
use crate::workload::{Plan, Workload};

/// How long after a failed sync its directory may still acknowledge what it had written before.
const HEARD_WITHIN: Duration = Duration::from_millis(100);
/// A broker in trouble may acknowledge nothing: the next fault waits no longer for records.
const RECORDS_WITHIN: Duration = Duration::from_secs(2);
/// A clock that is off by more is a jump: the oracle goes by the time that has truly passed.
const JUMP_MS: i64 = 3_600_000;

/// One of so many runs has consumer groups.
const GROUPS_ONE_IN: u64 = 2;

/// One of so many runs has a compacted topic.
const TABLES_ONE_IN: u64 = 2;

/// How a fault ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Heal {
    /// One of the disk.
    Disk(FaultId),
    /// All of the net.
    Net,
}

/// What a run has besides what its row asks for: limits so small that they are met.
pub(super) fn shape(
    world: &World,
    (seed, row): (u64, Row),
    plan: &mut Plan,
    settings: &mut Vec<(&'static str, String)>,
) {
    let mut draw = Draw::new(seed ^ 0x73_6861_7065);
    let rows = [Row::AcksAll, Row::SyncError];
    if draw.below(2) == 0 && rows.contains(&row) {
        plan.batch_records *= 8;
        plan.record_bytes = plan.record_bytes.min(100);
    }
    let mut io = Draw::new(seed ^ 0x74_7769_6365);
    for reading in &mut plan.consumers {
        reading.twice = io.below(3) == 0;
    }
    let mut admin = Draw::new(seed ^ 0x61_646d_696e);
    plan.admin = (admin.below(2) == 0).then(|| Duration::from_millis(2 + admin.below(100)));
    let mut moves = Draw::new(seed ^ 0x6d_6f76_6573);
    // Where a failed sync is judged, everything stays where it was.
    let moved = moves.below(4) > 0 && row != Row::SyncError;
    plan.moves = moved.then(|| Duration::from_millis(1 + moves.below(40)));
    let rate = [i64::MAX, i64::MAX, 1_000_000, 30_000, 3000][moves.below(5) as usize];
    settings.push((
        "replica.alter.log.dirs.io.max.bytes.per.second",
        rate.to_string(),
    ));
    let mut groups = Draw::new(seed ^ 0x73_6861_7265);
    if groups.below(GROUPS_ONE_IN) == 0 {
        let (crowd, own) = Crowd::draw(seed);
        plan.groups = Some(crowd);
        settings.extend(own);
    }
    if Draw::new(seed ^ 0x63_6c65_616e).below(TABLES_ONE_IN) == 0 {
        let (keeper, own) = table::Keeper::draw(seed);
        plan.table = Some(keeper);
        settings.extend(own);
    }
    let between = [20_971_520, 200, 1000][draw.below(3) as usize];
    let own = [
        (
            "metadata.log.max.record.bytes.between.snapshots",
            between.to_string(),
        ),
        (
            "log.cut.keep.bytes",
            [0_u64, 100, 67_108_864][draw.below(3) as usize].to_string(),
        ),
    ];
    for (key, value) in own {
        settings.retain(|(known, _)| *known != key);
        settings.push((key, value));
    }
    world.note("shaped");
}

impl Run {
    /// Waits for a fault's moment and makes it happen.
    pub(super) async fn happen(
        &mut self,
        fault: Fault,
        workload: &mut Workload,
        clients: &Host,
    ) -> Result<(), Failure> {
        let when_down = matches!(
            fault.what,
            What::StartCut(..) | What::DiskAtStart(_) | What::Absent { .. }
        );
        if when_down && self.broker.is_some() {
            return Ok(());
        }
        if !when_down {
            if self.broker.is_none() {
                self.start().await?;
            }
            self.wait_for(fault, workload).await?;
        }
        self.world.note(&format!("fault {fault}"));
        match fault.what {
            What::End(end, away_ms) => self.end(end, away_ms).await,
            What::StartCut(end, after_ms) => self.cut_start(end, after_ms).await,
            What::Disk(trouble) | What::DiskAtStart(trouble) => self.plant(trouble),
            What::SyncError { directory, nth } => {
                self.sync_error((directory, nth), workload, clients).await;
            }
            What::Cut => self.world.cut_connections(CLIENTS, BROKER),
            What::Partition { to_broker, ms } => {
                let (from, to) = way(to_broker);
                self.world.partition(from, to);
                self.heal_after(ms, Heal::Net);
            }
            What::Drip {
                to_broker,
                bytes,
                ms,
            } => {
                let (from, to) = way(to_broker);
                let every = Duration::from_millis(1);
                self.world.drip(from, to, Drip { bytes, every });
                self.heal_after(ms, Heal::Net);
            }
            What::Clock(off_ms) => self.move_wall_clock(off_ms),
            What::Absent {
                directory,
                leaves_empty,
            } => self.take_away(directory, leaves_empty),
            What::Gone {
                directory,
                leaves_empty,
            } => {
                let which = (directory, leaves_empty);
                self.lose_directory(which, workload, clients).await;
            }
            What::RotBegins | What::Flip { .. } | What::WriteRot { .. } => {}
        }
        Ok(())
    }

    /// Until so many more records are acknowledged, if they are, and so much time has passed.
    async fn wait_for(&mut self, fault: Fault, workload: &mut Workload) -> Result<(), Failure> {
        let target = workload.progress.acknowledged() + fault.records;
        let until = self.world.elapsed() + RECORDS_WITHIN;
        while workload.progress.acknowledged() < target && self.world.elapsed() < until {
            workload.is_alive()?;
            self.pause_ms(10).await;
        }
        self.pause_ms(fault.ms).await;
        Ok(())
    }

    fn plant(&mut self, trouble: DiskTrouble) {
        let directory = trouble.directory.and_then(|at| self.directories.get(at));
        let fault = DiskFault {
            op: trouble.op,
            path_contains: directory.map_or_else(String::new, |path| format!("{path}/")),
            when: match trouble.nth {
                Some(nth) => When::Nth(nth),
                None => When::PerMille(trouble.per_mille),
            },
            effect: trouble.effect,
        };
        let id = self.world.inject(BROKER, fault);
        self.heal_after(trouble.ms, Heal::Disk(id));
    }

    /// One sync of one directory fails. What is sent to its partitions from then on is not
    /// acknowledged in this life.
    async fn sync_error(
        &mut self,
        (directory, nth): (usize, u64),
        workload: &Workload,
        clients: &Host,
    ) {
        let Some(directory) = self.directories.get(directory) else {
            return;
        };
        let directory = format!("{directory}/");
        let before = self.errors().syncs;
        let fault = DiskFault {
            op: DiskOp::Sync,
            path_contains: directory.clone(),
            when: When::Nth(nth),
            effect: DiskEffect::Error,
        };
        let id = self.world.inject(BROKER, fault);
        for _ in 0..200 {
            if self.errors().syncs > before {
                self.pause_ms(HEARD_WITHIN.as_millis() as u64).await;
                let topic = workload.topic();
                let barred = Barred {
                    life: workload.progress.life(),
                    since: clients.clock.now().mono,
                    incarnation: topic.number,
                    partitions: self.partitions_in(&directory, topic.topic.id),
                };
                workload.progress.ledger().barred.push(barred);
                return;
            }
            self.pause_ms(5).await;
        }
        self.world.heal_disk(BROKER, Some(id));
    }

    /// The partitions of the workload's topic that lie in a directory: by the id inside, since what
    /// is left of a topic that was removed may stand there under the same name.
    pub(super) fn partitions_in(&self, directory: &str, id: TopicId) -> BTreeSet<i32> {
        let files = self.world.files(BROKER);
        let number = |path: &Path| {
            let home = path.strip_prefix(directory).ok()?.parent()?;
            let number = home.to_str()?.strip_prefix(TOPIC)?.strip_prefix('-')?;
            path.ends_with(partition_metadata::FILE_NAME)
                .then_some(())?;
            let text = self.world.read_file(BROKER, path)?;
            let owner = partition_metadata::parse(str::from_utf8(&text).ok()?).ok()?;
            (owner == id.to_bytes()).then_some(())?;
            number.parse().ok()
        };
        files.iter().filter_map(|(path, _)| number(path)).collect()
    }

    /// The next start is cut short.
    async fn cut_start(&mut self, end: End, after_ms: u64) {
        let Ok(config) = self.config() else { return };
        let host = self.broker_host();
        let life = Duration::from_millis(after_ms);
        let started = tokio::select! {
            biased;
            started = millrace_server::Broker::start(config, host) => started.ok(),
            () = self.world.pause(life) => None,
        };
        if started.is_none() {
            self.world.count_fault(counted::START_CUT);
        }
        self.broker = started;
        self.end(end, 0).await;
    }

    /// The broker's wall clock is off by so much from now on.
    fn move_wall_clock(&mut self, off_ms: i64) {
        self.world
            .move_wall_clock(BROKER, off_ms - self.wall_off_ms);
        self.wall_off_ms = off_ms;
        if let Some(progress) = self.progress.as_ref().filter(|_| off_ms.abs() < JUMP_MS) {
            progress.broker_ahead(off_ms);
        }
    }

    /// Takes a directory away that the cluster knows to hold partitions: another would be begun anew.
    fn take_away(&mut self, directory: usize, leaves_empty: bool) {
        let Some(path) = self.directories.get(directory) else {
            return;
        };
        let witnessed = Path::new(path).join(format!("{}-", liveness::TOPIC));
        let witnessed = witnessed.to_string_lossy().into_owned();
        let files = self.world.files(BROKER);
        let mut paths = files.iter().map(|(path, _)| path.to_string_lossy());
        let known = paths.any(|path| path.starts_with(&witnessed));
        if known && self.away.is_none() && self.world.take_away(BROKER, path, leaves_empty) {
            self.away = Some(path.clone());
        }
    }

    fn heal_after(&mut self, ms: u64, heal: Heal) {
        let at = self.world.elapsed() + Duration::from_millis(ms);
        self.heals.push((at, heal));
    }

    pub(super) fn next_heal(&self) -> Option<Duration> {
        self.heals.iter().map(|(at, _)| *at).min()
    }

    /// Heals what is due.
    pub(super) fn heal_due(&mut self) {
        let now = self.world.elapsed();
        for (_, heal) in self.heals.extract_if(.., |(at, _)| *at <= now) {
            match heal {
                Heal::Disk(id) => self.world.heal_disk(BROKER, Some(id)),
                Heal::Net => self.world.heal_net(),
            }
        }
    }

    /// Nothing that was planted is left.
    pub(super) fn heal_everything(&mut self) {
        self.heals.clear();
        self.world.heal_disk(BROKER, None);
        self.world.heal_net();
    }

    /// Whether a fault of the disk is planted, or one has struck in this life.
    pub(super) fn is_disk_in_trouble(&self) -> bool {
        let planted = self
            .heals
            .iter()
            .any(|(_, heal)| matches!(heal, Heal::Disk(_)));
        planted || self.errors() != self.errors_before
    }
}

/// From whom, to whom.
fn way(to_broker: bool) -> (&'static str, &'static str) {
    if to_broker {
        (CLIENTS, BROKER)
    } else {
        (BROKER, CLIENTS)
    }
}
