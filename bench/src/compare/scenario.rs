//! The scenarios by name.

use clap::ValueEnum;

use super::{Compare, Size};

/// What is compared.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scenario {
    /// acks=1, batches of 1 MB: processor time for a record.
    P1,
    /// The same with small records in batches as a default client makes them.
    P1s,
    /// The same with compressed batches.
    P1z,
    /// Records a second to six partitions.
    P2,
    /// Durable: 100 partitions, batches of ten records.
    P3,
    /// Durable: large batches.
    P3b,
    /// Durable: one record in flight.
    P3c,
    /// From end to end at a fixed rate.
    P4,
    /// Readers that catch up, and what producers notice of them.
    P6,
    /// Memory: idle, loaded, with idle connections.
    P7,
    /// Start to the first acknowledged record, on an empty directory.
    P8,
    /// Killed while writing: start to the first acknowledged record.
    P9,
    /// Many partitions.
    P10,
    /// What a record costs as everything grows.
    P12,
    /// Partitions and record sizes, at a fixed rate and at the greatest, as in the `OpenMessaging`
    /// benchmark.
    Omb,
    /// Client libraries: what a record takes of each.
    Clients,
    /// Consumer groups: joins, heartbeats, commits, a start with many offsets.
    Groups,
    /// Compaction: its speed, and what producers notice of it.
    Compaction,
}

impl Scenario {
    /// What runs when nothing is named: all, but in a quick comparison what takes long however small
    /// it is made.
    pub(super) fn of(size: Size) -> Vec<Self> {
        let slow = [
            Self::P10,
            Self::P12,
            Self::Omb,
            Self::Clients,
            Self::Groups,
            Self::Compaction,
        ];
        let all = Self::value_variants().iter().copied();
        all.filter(|scenario| size != Size::Quick || !slow.contains(scenario))
            .collect()
    }
}

impl Compare<'_> {
    /// Measures one scenario.
    pub(super) async fn scenario(&mut self, scenario: Scenario) -> Result<(), String> {
        match scenario {
            Scenario::P1 => self.large_batches().await,
            Scenario::P1s => self.small_records().await,
            Scenario::P1z => self.compressed().await,
            Scenario::P2 => self.six_partitions().await,
            Scenario::P3 => self.hundred_partitions().await,
            Scenario::P3b => self.durable_large_batches().await,
            Scenario::P3c => self.one_in_flight().await,
            Scenario::P4 => self.end_to_end().await,
            Scenario::P6 => self.catching_up().await,
            Scenario::P7 => self.memory().await,
            Scenario::P8 => self.first_start().await,
            Scenario::P9 => self.killed().await,
            Scenario::P10 => self.many_partitions().await,
            Scenario::P12 => self.growth().await,
            Scenario::Omb => self.open_messaging().await,
            Scenario::Clients => self.clients().await,
            Scenario::Groups => self.groups().await,
            Scenario::Compaction => self.compaction().await,
        }
    }
}
