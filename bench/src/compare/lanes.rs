//! Columns that take turns: each is a command of this program, run against its broker as often as is
//! asked for, every broker once in each turn.

use std::collections::BTreeMap;

use serde_json::json;

use super::plot::Line;
use super::run::{self, Beside, Report};
use super::site::{Kind, Site};
use super::table::{Column, Row, Section};
use super::{Compare, Size};
use crate::idle_node::drop_caches;
use crate::report::line;
use crate::text;

/// A column: who works, in which setting, by which command. In the command `{at}` stands for the
/// broker's address and process, `{topic}` for a topic of this run alone, `{address}`, `{data}` and
/// `{command}` for what they say, `{dir}` for the file system that brokers use, `{peer}` and
/// `{librdkafka}` for programs.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    kind: Kind,
    setting: String,
    command: String,
    over: Vec<usize>,
    before: Option<String>,
    beside: Option<String>,
    cold: bool,
}

impl Lane {
    fn new(kind: Kind, setting: &str, command: String) -> Self {
        Self {
            kind,
            setting: setting.to_owned(),
            command,
            over: Vec::new(),
            before: None,
            beside: None,
            cold: false,
        }
    }

    pub(super) fn machine(setting: &str, command: impl Into<String>) -> Self {
        Self::new(Kind::Machine, setting, command.into())
    }

    pub(super) fn kafka(setting: &str, command: impl Into<String>) -> Self {
        Self::new(Kind::Kafka, setting, command.into())
    }

    pub(super) fn millrace(setting: &str, command: impl Into<String>) -> Self {
        Self::new(Kind::Millrace, setting, command.into())
    }

    /// Shows its figures over those of these columns too.
    pub(super) fn over(mut self, columns: &[usize]) -> Self {
        self.over = columns.to_vec();
        self
    }

    /// After another command, which nobody counts.
    pub(super) fn before(mut self, command: impl Into<String>) -> Self {
        self.before = Some(command.into());
        self
    }

    /// With another command under way from before its start to its end.
    pub(super) fn beside(mut self, command: impl Into<String>) -> Self {
        self.beside = Some(command.into());
        self
    }

    /// Once what the machine caches is dropped.
    pub(super) fn cold(mut self) -> Self {
        self.cold = true;
        self
    }

    fn label(&self) -> String {
        let who = match self.kind {
            Kind::Machine => "machine",
            Kind::Kafka => "Kafka",
            Kind::Millrace => "Millrace",
        };
        if self.setting.is_empty() {
            who.to_owned()
        } else {
            format!("{who}, {}", self.setting)
        }
    }
}

/// The broker that a lane finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The same one all the time, warmed; what a run wrote is deleted behind it.
    Kept,
    /// As kept, and nothing is dropped from the caches between two runs.
    KeptHot,
    /// A new one on an empty directory for each run.
    Fresh,
    /// An empty directory, prepared; the command starts the broker.
    NotStarted,
}

/// A section of the table to be measured.
pub(super) struct Comparison {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) lanes: Vec<Lane>,
    pub(super) rows: Vec<Row>,
    pub(super) place: Place,
    /// `key=value` of both brokers.
    pub(super) settings: Vec<&'static str>,
}

/// The brokers of a comparison that stay.
pub(super) struct Brokers(Vec<Site>);

impl Brokers {
    pub(super) fn of(&self, kind: Kind) -> Option<&Site> {
        self.0.iter().find(|site| site.kind == kind)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Site> {
        self.0.iter()
    }
}

impl Compare<'_> {
    /// Kinds of brokers that are compared.
    pub(super) fn brokers(&self) -> impl Iterator<Item = Kind> {
        let kinds = self.kinds.iter().copied();
        kinds.filter(|kind| *kind != Kind::Machine)
    }

    /// Starts a broker of each kind, and warms it with a command.
    pub(super) async fn start(
        &mut self,
        settings: &[&str],
        warm: Option<&str>,
    ) -> Result<Brokers, String> {
        let mut brokers = Vec::new();
        for kind in self.brokers() {
            let mut site = Site::new(kind, &self.programs, settings)?;
            site.start(self.host).await?;
            brokers.push(site);
        }
        for site in &brokers {
            if let Some(warm) = warm {
                self.run(Some(site), warm, "warm")?;
                site.forget(self.host, "warm").await?;
            }
        }
        let brokers = Brokers(brokers);
        self.settle(&brokers)?;
        Ok(brokers)
    }

    /// A section of the table; what hardly anything was measured of is held against nothing.
    pub(super) fn section(
        &self,
        id: &str,
        title: &str,
        columns: Vec<Column>,
        rows: Vec<Row>,
    ) -> Section {
        let rows = if self.size == Size::Smoke {
            rows.into_iter().map(Row::unjudged).collect()
        } else {
            rows
        };
        Section::new(id, title, columns, rows)
    }

    /// What a load warms with: a JVM compiles what it runs for a while.
    pub(super) fn warming(&self, shape: &str) -> String {
        let records = self.size.of(3_000_000, 1_000_000, 1000);
        format!("load {{at}} --topic {{topic}} {shape} --records {records}")
    }

    /// Measures a section on brokers of its own.
    pub(super) async fn compare(
        &mut self,
        comparison: Comparison,
        warm: Option<&str>,
    ) -> Result<(), String> {
        let brokers = match comparison.place {
            Place::Kept | Place::KeptHot => self.start(&comparison.settings, warm).await?,
            Place::Fresh | Place::NotStarted => Brokers(Vec::new()),
        };
        self.take_turns(&brokers, comparison).await
    }

    /// Measures a section on brokers that are there.
    pub(super) async fn take_turns(
        &mut self,
        brokers: &Brokers,
        comparison: Comparison,
    ) -> Result<(), String> {
        let Comparison {
            id,
            title,
            lanes,
            rows,
            place,
            settings,
        } = comparison;
        let columns = lanes.iter().map(|lane| Column {
            label: lane.label(),
            over: lane.over.clone(),
        });
        let mut section = self.section(&id, &title, columns.collect(), rows);
        let mut plots: BTreeMap<String, Vec<Line>> = BTreeMap::new();
        for turn in 0..self.runs {
            for (at, lane) in lanes.iter().enumerate() {
                if !self.kinds.contains(&lane.kind) {
                    continue;
                }
                let topic = format!("{id}-{turn}-{at}");
                line(&format!(
                    "{id}, run {} of {}: {}",
                    turn + 1,
                    self.runs,
                    lane.label()
                ));
                let report = match place {
                    Place::Kept | Place::KeptHot => self.kept(brokers, lane, &topic, place).await?,
                    Place::Fresh | Place::NotStarted => {
                        self.fresh(lane, &topic, place, &settings).await?
                    }
                };
                self.out.json(&json!({
                    "scenario": id, "title": title, "column": lane.label(), "run": turn,
                    "command": lane.command, "figures": report.figures,
                }))?;
                section.add(at, |name| report.figures.get(name).copied());
                // The last run's, so that a plot is of one run.
                for (name, curve) in report.curves {
                    let lines = plots.entry(name).or_default();
                    lines.retain(|(label, _)| *label != lane.label());
                    lines.push((lane.label(), curve));
                }
            }
        }
        self.out.section(section, plots.into_iter().collect())
    }

    async fn kept(
        &mut self,
        brokers: &Brokers,
        lane: &Lane,
        topic: &str,
        place: Place,
    ) -> Result<Report, String> {
        let site = brokers.of(lane.kind);
        if lane.cold {
            self.settle(brokers)?;
        }
        if let Some(before) = &lane.before {
            self.run(site, before, topic)?;
        }
        let report = self.with_beside(site, lane, topic)?;
        if let Some(site) = site
            && lane.command.contains("{topic}")
        {
            site.forget(self.host, topic).await?;
        }
        if place == Place::Kept {
            self.settle(brokers)?;
        }
        Ok(report)
    }

    async fn fresh(
        &mut self,
        lane: &Lane,
        topic: &str,
        place: Place,
        settings: &[&str],
    ) -> Result<Report, String> {
        if lane.kind == Kind::Machine {
            return self.with_beside(None, lane, topic);
        }
        let mut site = Site::new(lane.kind, &self.programs, settings)?;
        if place == Place::Fresh {
            site.start(self.host).await?;
        }
        let report = self.with_beside(Some(&site), lane, topic)?;
        site.kill()?;
        drop(site);
        self.settle(&Brokers(Vec::new()))?;
        Ok(report)
    }

    fn with_beside(&self, site: Option<&Site>, lane: &Lane, topic: &str) -> Result<Report, String> {
        let Some(beside) = &lane.beside else {
            return self.run(site, &lane.command, topic);
        };
        let beside = Beside::start(&self.programs.own, &self.words(site, beside, topic))?;
        let report = self.run(site, &lane.command, topic)?;
        beside.end()?;
        Ok(report)
    }

    /// Runs a command of this program against a broker.
    pub(super) fn run(
        &self,
        site: Option<&Site>,
        command: &str,
        topic: &str,
    ) -> Result<Report, String> {
        let words = self.words(site, command, topic);
        line(&format!("  {}", run::shown(&words)));
        run::run(&self.programs.own, &words)
    }

    /// A command with everything filled in.
    pub(super) fn words(&self, site: Option<&Site>, command: &str, topic: &str) -> Vec<String> {
        let mut words = Vec::new();
        for word in command.split_ascii_whitespace() {
            match (word, site) {
                ("{dir}", _) => words.push(self.programs.dir.display().to_string()),
                ("{peer}", _) => words.push(self.programs.peer.display().to_string()),
                ("{librdkafka}", _) => {
                    let program = self.programs.librdkafka.iter();
                    words.extend(program.map(|program| program.display().to_string()));
                }
                ("{at}", Some(site)) => {
                    let (address, pid) = (site.address().to_string(), site.pid().to_string());
                    words.extend(["--bootstrap".to_owned(), address, "--pid".to_owned(), pid]);
                }
                ("{address}", Some(site)) => words.push(site.address().to_string()),
                ("{data}", Some(site)) => words.push(site.data().display().to_string()),
                ("{command}", Some(site)) => words.extend(site.command()),
                (word, _) => words.push(word.replace("{topic}", topic)),
            }
        }
        words
    }

    /// Syncs, and drops what the machine caches, as far as that is permitted.
    pub(super) fn settle(&mut self, brokers: &Brokers) -> Result<(), String> {
        if self.size == Size::Smoke {
            return Ok(());
        }
        let mut dropped = Ok("");
        for site in brokers.all() {
            dropped = site.drop_caches();
        }
        if brokers.0.is_empty() {
            let empty = tempfile::tempdir_in(&self.programs.dir).map_err(text)?;
            dropped = drop_caches(empty.path());
        }
        if dropped? != "s (cold cache)" {
            self.out.note(
                "dropping the machine's caches is not permitted here: the brokers' files were \
                 dropped, names and directories stayed cached",
            );
        }
        Ok(())
    }
}
