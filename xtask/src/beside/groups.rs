//! Consumer groups of both brokers: members that join, live and commit, and a start with many
//! offsets.

use super::brokers::{Kind, Running, Site};
use super::table::Figures;
use super::{Beside, get, started};
use crate::Outcome;
use crate::process::println;

/// A scenario of `millrace-bench groups`, how many groups of how many members, and what of its
/// figures is shown.
type Scenario = (&'static str, usize, usize, &'static [Shown]);
/// A row of the table, and the figure that stands there.
type Shown = (&'static str, &'static str);

const SCENARIOS: &[Scenario] = &[
    (
        "one",
        1,
        1000,
        &[
            ("1,000 join one group: s", "all members assigned"),
            ("1,000 join one group: broker CPU s", "joining: broker cpu"),
        ],
    ),
    (
        "commits",
        100,
        10,
        &[
            ("10,000 commits/s: acknowledged/s", "commits acknowledged"),
            ("10,000 commits/s: p99 ms", "commit p99"),
            (
                "10,000 commits/s: CPU s per million",
                "broker cpu per million",
            ),
        ],
    ),
    (
        "many",
        1000,
        10,
        &[
            ("10,000 join 1,000 groups: s", "all members assigned"),
            ("10,000 in 1,000 groups: heartbeat p99 ms", "heartbeat p99"),
            (
                "10,000 in 1,000 groups: CPU s per million heartbeats",
                "broker cpu per million",
            ),
        ],
    ),
];

impl Beside {
    pub(super) fn groups(&mut self) -> Outcome {
        let sites = self.sites()?;
        let brokers = started(&sites)?;
        for (site, broker) in sites.iter().zip(&brokers) {
            self.members(site, broker, &SCENARIOS[1])?;
        }
        for _ in 0..self.runs {
            for scenario in SCENARIOS {
                for (site, broker) in sites.iter().zip(&brokers) {
                    let figures = self.members(site, broker, scenario)?;
                    for (row, name) in scenario.3 {
                        self.table.add(row, (site.kind, ""), get(&figures, name)?);
                    }
                }
            }
        }
        brokers.into_iter().try_for_each(Running::stop)?;
        for _ in 0..self.runs {
            for kind in self.kinds {
                self.start_with_offsets(*kind)?;
            }
        }
        Ok(())
    }

    fn members(
        &self,
        site: &Site,
        broker: &Running<'_>,
        (name, groups, members, _): &Scenario,
    ) -> Result<Figures, String> {
        let groups = self.records(*groups).max(1);
        let (groups, members) = (groups.to_string(), members.to_string());
        let (address, pid) = (site.address(), broker.pid.to_string());
        let mut all = vec!["groups", name, "--bootstrap", &address, "--pid", &pid];
        all.extend(["--groups", &groups, "--members", &members]);
        if self.scale > 1 {
            all.extend(["--seconds", "1", "--heartbeat-ms", "100"]);
        }
        let figures = self.bench(&all)?;
        println(&format!("{:?}: groups {name}: {figures:?}", site.kind));
        Ok(figures)
    }

    /// A million offsets, a stop, a start, a kill and a start again.
    fn start_with_offsets(&mut self, kind: Kind) -> Outcome {
        let site = Site::new(kind, &self.millrace)?;
        if kind == Kind::Kafka {
            // Its directory must be formatted first.
            site.start()?.stop()?;
        }
        let groups = self.records(1000).to_string();
        let (address, data, command) = (site.address(), site.path(), site.command());
        let mut all = vec!["groups", "load", "--bootstrap", &address, "--data", &data];
        all.extend(["--groups", &groups, "--"]);
        all.extend(command.iter().map(String::as_str));
        let figures = self.bench(&all)?;
        println(&format!("{kind:?}: groups load: {figures:?}"));
        for (row, name) in [
            (
                "a million offsets, stopped: start to all groups answered, s",
                "clean: until every group",
            ),
            (
                "a million offsets, killed: start to all groups answered, s",
                "kill -9: until every group",
            ),
        ] {
            self.table.add(row, (kind, ""), get(&figures, name)?);
        }
        Ok(())
    }
}
