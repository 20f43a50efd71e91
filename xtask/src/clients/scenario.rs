//! What clients do: one row for each scenario of the table.

use clap::ValueEnum;

/// A scenario, by its name on the drivers' command line.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scenario {
    /// Create with a configuration, describe, alter, add partitions; again is refused.
    Topics,
    /// Records in each codec that the client has, one topic each.
    Codecs,
    /// Null and empty keys and values, headers, timestamps, chosen partitions.
    Records,
    /// The idempotent producer: 1,000 records, each once and in order.
    Idempotent,
    /// By assignment: from the beginning, the end, an offset, a time.
    Assign,
    /// A group of two shares, one leaves, the other has all; a third begins where they were.
    Group,
    /// The same, cooperatively: what stays is not revoked.
    Cooperative,
    /// A static member restarts within its session: no rebalance, the same partitions.
    Static,
    /// Commits, positions, pauses, lag.
    Offsets,
    /// Records deleted before an offset.
    DeleteRecords,
    /// 900 KiB pass, 2 MiB are refused, the connection still serves.
    Large,
    /// List, describe, delete: topics, groups, the cluster.
    Admin,
    /// The broker is killed under a producer and a group.
    Restart,
}

impl Scenario {
    /// Its name.
    pub(super) fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// What it is about, in a line.
    pub(super) fn about(self) -> &'static str {
        match self {
            Self::Topics => {
                "create with three partitions and a configuration, describe, alter, add partitions; \
                 creating it again is refused"
            }
            Self::Codecs => "a hundred records in each codec that the client has, read back",
            Self::Records => {
                "keys, null and empty keys and values, headers, timestamps, chosen partitions"
            }
            Self::Idempotent => "an idempotent producer's 1,000 records, each once and in order",
            Self::Assign => {
                "partitions assigned by hand: from the beginning, the end, an offset, a time"
            }
            Self::Group => {
                "two members share, commit, one leaves, the other has all; a third begins where \
                 they were"
            }
            Self::Cooperative => "the same cooperatively; what stays is not revoked",
            Self::Static => {
                "a static member restarts within its session: same partitions, no rebalance"
            }
            Self::Offsets => "commit sync and async, committed, seek, reset, pause, resume, lag",
            Self::DeleteRecords => {
                "records deleted before an offset; reading from the beginning begins there"
            }
            Self::Large => "900 KiB pass, 2 MiB are refused clearly, the connection still serves",
            Self::Admin => "list and describe topics, groups and the cluster; delete them",
            Self::Restart => {
                "the broker is killed and started under a producer and a group: nothing \
                 acknowledged is lost, and the group goes on from its commit"
            }
        }
    }
}
