//! The table of APIs: one row for each that this broker serves.
//!
//! What always holds: what is advertised, served, dispatched and authorised comes from these rows
//! and nowhere else; a row names the operation that it is authorised by, or doesn't compile; the
//! versions are those of Apache Kafka 4.3.1.

/// Whether the next request of a connection may begin while this one waits for its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ordering {
    /// The next effect may begin while this one's reply waits for its condition.
    Overlaps,
    /// Begins when the waits before it have ended; the next begins when its reply is complete.
    Barrier,
}

/// What an API is authorised by: operation and kind of resource (Kafka's matrix, KIP-11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorizedBy {
    /// Anyone who may connect.
    Connection,
    /// `WRITE` on each topic, and on the transactional id where there is one.
    WriteTopic,
    /// `READ` on each topic.
    ReadTopic,
    /// `DESCRIBE` on each topic.
    DescribeTopic,
    /// `DESCRIBE` on the group or transactional id.
    DescribeCoordinated,
    /// `READ` on the group, and on each topic whose offsets are named.
    ReadGroup,
    /// `DESCRIBE` on the group; of all groups those are told that it is given for.
    DescribeGroup,
    /// `DELETE` on the group.
    DeleteGroup,
    /// `CREATE` on the cluster or the topic.
    CreateTopic,
    /// `DELETE` on each topic.
    DeleteTopic,
    /// `ALTER` on each topic.
    AlterTopic,
    /// `DESCRIBE` on the cluster.
    DescribeCluster,
    /// `ALTER` on the cluster.
    AlterCluster,
    /// `DESCRIBE_CONFIGS` on each topic, or on the cluster for all else.
    DescribeConfigs,
    /// `ALTER_CONFIGS` on each topic, or on the cluster for all else.
    AlterConfigs,
    /// The rules of delegation tokens: their owner and renewers, and rights on users and tokens.
    DelegationToken,
    /// `WRITE` on the transactional id, else `IDEMPOTENT_WRITE` on the cluster or `WRITE` on any
    /// topic.
    WriteAnything,
}

/// An inclusive range of versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The lowest.
    pub min: i16,
    /// The highest.
    pub max: i16,
}

impl Versions {
    /// Whether `version` lies within.
    pub const fn contains(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }
}

/// One API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiRow {
    /// Which API.
    pub api: Api,
    /// Kafka's name, for logs and metrics.
    pub name: &'static str,
    /// What `ApiVersions` says. Produce says 0 although 0–2 are refused: older librdkafka takes
    /// its absence for a lack of compression (KAFKA-18659).
    pub advertised: Versions,
    /// What is served.
    pub served: Versions,
    /// The first version with compact encodings and tag sections; `i16::MAX` when there is none.
    pub first_flexible: i16,
    /// Its place in the order of a connection.
    pub ordering: Ordering,
    /// What it is authorised by.
    pub authorized_by: AuthorizedBy,
}

impl ApiRow {
    /// Whether `version` is flexible.
    pub const fn is_flexible(&self, version: i16) -> bool {
        version >= self.first_flexible
    }

    /// The version of the request header: 1, or 2 with a tag section.
    pub const fn request_header_version(&self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// The version of the response header: 0, or 1 with a tag section. `ApiVersions` always
    /// answers with 0: the client doesn't know yet what the broker speaks (KIP-511).
    pub const fn response_header_version(&self, version: i16) -> i16 {
        if self.is_flexible(version) && !matches!(self.api, Api::ApiVersions) {
            1
        } else {
            0
        }
    }
}

macro_rules! api_table {
    ($($api:ident = $key:literal, advertised $amin:literal..=$amax:literal,
       served $smin:literal..=$smax:literal, flexible $flexible:literal,
       $ordering:ident, $authorized:ident;)*) => {
        /// An API that is served, by Kafka's key.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        pub enum Api {
            $(
                #[doc = concat!("Key ", stringify!($key), ".")]
                $api = $key,
            )*
        }

        /// Every row, in order of the key.
        pub const TABLE: &[ApiRow] = &[$(ApiRow {
            api: Api::$api,
            name: stringify!($api),
            advertised: Versions { min: $amin, max: $amax },
            served: Versions { min: $smin, max: $smax },
            first_flexible: $flexible,
            ordering: Ordering::$ordering,
            authorized_by: AuthorizedBy::$authorized,
        }),*];

        impl Api {
            /// The API with this key; `None` when it isn't served.
            pub const fn from_key(key: i16) -> Option<Self> {
                match key {
                    $($key => Some(Self::$api),)*
                    _ => None,
                }
            }
        }
    };
}

api_table! {
    Produce = 0, advertised 0..=13, served 3..=13, flexible 9, Overlaps, WriteTopic;
    Fetch = 1, advertised 4..=18, served 4..=18, flexible 12, Barrier, ReadTopic;
    ListOffsets = 2, advertised 1..=11, served 1..=11, flexible 6, Barrier, DescribeTopic;
    Metadata = 3, advertised 0..=13, served 0..=13, flexible 9, Barrier, DescribeTopic;
    OffsetCommit = 8, advertised 2..=10, served 2..=10, flexible 8, Barrier, ReadGroup;
    OffsetFetch = 9, advertised 1..=10, served 1..=10, flexible 6, Barrier, DescribeGroup;
    FindCoordinator = 10, advertised 0..=6, served 0..=6, flexible 3, Barrier, DescribeCoordinated;
    JoinGroup = 11, advertised 0..=9, served 0..=9, flexible 6, Barrier, ReadGroup;
    Heartbeat = 12, advertised 0..=4, served 0..=4, flexible 4, Barrier, ReadGroup;
    LeaveGroup = 13, advertised 0..=5, served 0..=5, flexible 4, Barrier, ReadGroup;
    SyncGroup = 14, advertised 0..=5, served 0..=5, flexible 4, Barrier, ReadGroup;
    DescribeGroups = 15, advertised 0..=6, served 0..=6, flexible 5, Barrier, DescribeGroup;
    ListGroups = 16, advertised 0..=5, served 0..=5, flexible 3, Barrier, DescribeGroup;
    SaslHandshake = 17, advertised 0..=1, served 0..=1, flexible 32767, Barrier, Connection;
    ApiVersions = 18, advertised 0..=4, served 0..=4, flexible 3, Barrier, Connection;
    CreateTopics = 19, advertised 2..=7, served 2..=7, flexible 5, Barrier, CreateTopic;
    DeleteTopics = 20, advertised 1..=6, served 1..=6, flexible 4, Barrier, DeleteTopic;
    DeleteRecords = 21, advertised 0..=2, served 0..=2, flexible 2, Barrier, DeleteTopic;
    InitProducerId = 22, advertised 0..=5, served 0..=5, flexible 2, Barrier, WriteAnything;
    OffsetForLeaderEpoch = 23, advertised 2..=4, served 2..=4, flexible 4, Barrier, DescribeTopic;
    DescribeAcls = 29, advertised 1..=3, served 1..=3, flexible 2, Barrier, DescribeCluster;
    CreateAcls = 30, advertised 1..=3, served 1..=3, flexible 2, Barrier, AlterCluster;
    DeleteAcls = 31, advertised 1..=3, served 1..=3, flexible 2, Barrier, AlterCluster;
    DescribeConfigs = 32, advertised 1..=4, served 1..=4, flexible 4, Barrier, DescribeConfigs;
    AlterConfigs = 33, advertised 0..=2, served 0..=2, flexible 2, Barrier, AlterConfigs;
    AlterReplicaLogDirs = 34, advertised 1..=2, served 1..=2, flexible 2, Barrier, AlterCluster;
    DescribeLogDirs = 35, advertised 1..=5, served 1..=5, flexible 2, Barrier, DescribeCluster;
    SaslAuthenticate = 36, advertised 0..=2, served 0..=2, flexible 2, Barrier, Connection;
    CreatePartitions = 37, advertised 0..=3, served 0..=3, flexible 2, Barrier, AlterTopic;
    CreateDelegationToken = 38, advertised 1..=3, served 1..=3, flexible 2, Barrier, DelegationToken;
    RenewDelegationToken = 39, advertised 1..=2, served 1..=2, flexible 2, Barrier, DelegationToken;
    ExpireDelegationToken = 40, advertised 1..=2, served 1..=2, flexible 2, Barrier, DelegationToken;
    DescribeDelegationToken = 41, advertised 1..=3, served 1..=3, flexible 2, Barrier, DelegationToken;
    DeleteGroups = 42, advertised 0..=2, served 0..=2, flexible 2, Barrier, DeleteGroup;
    ElectLeaders = 43, advertised 0..=2, served 0..=2, flexible 2, Barrier, AlterCluster;
    IncrementalAlterConfigs = 44, advertised 0..=1, served 0..=1, flexible 1, Barrier, AlterConfigs;
    AlterPartitionReassignments = 45, advertised 0..=1, served 0..=1, flexible 0, Barrier, AlterCluster;
    ListPartitionReassignments = 46, advertised 0..=0, served 0..=0, flexible 0, Barrier, DescribeCluster;
    OffsetDelete = 47, advertised 0..=0, served 0..=0, flexible 32767, Barrier, DeleteGroup;
    DescribeQuorum = 55, advertised 0..=2, served 0..=2, flexible 0, Barrier, DescribeCluster;
    UpdateFeatures = 57, advertised 0..=2, served 0..=2, flexible 0, Barrier, AlterCluster;
    DescribeCluster = 60, advertised 0..=2, served 0..=2, flexible 0, Barrier, Connection;
    DescribeProducers = 61, advertised 0..=0, served 0..=0, flexible 0, Barrier, ReadTopic;
    ListConfigResources = 74, advertised 0..=1, served 0..=1, flexible 0, Barrier, DescribeConfigs;
    DescribeTopicPartitions = 75, advertised 0..=0, served 0..=0, flexible 0, Barrier, DescribeTopic;
}

/// One more than the highest key.
const KEYS: usize = TABLE[TABLE.len() - 1].api as usize + 1;

/// The place in [`TABLE`] of the row of each key; of keys without a row, 0, never asked for.
const PLACES: [u8; KEYS] = {
    let mut places = [0; KEYS];
    let mut at = 0;
    while at < TABLE.len() {
        places[TABLE[at].api as usize] = at as u8;
        at += 1;
    }
    places
};

impl Api {
    /// Kafka's key.
    pub const fn key(self) -> i16 {
        self as i16
    }

    /// Its place in [`TABLE`]. O(1).
    pub const fn index(self) -> usize {
        PLACES[self as usize] as usize
    }

    /// Its row.
    pub fn row(self) -> &'static ApiRow {
        &TABLE[self.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_order_and_found_by_key() {
        assert!(TABLE.is_sorted_by_key(|row| row.api.key()));
        for row in TABLE {
            assert_eq!(Api::from_key(row.api.key()), Some(row.api));
            assert_eq!(row.api.row(), row);
            assert!(row.served.min >= row.advertised.min, "{}", row.name);
            assert_eq!(row.served.max, row.advertised.max, "{}", row.name);
        }
    }

    /// What a broker listener of Apache Kafka 4.3.1 says, recorded from a running one: key, name,
    /// lowest and highest version.
    const KAFKA: &[(i16, &str, i16, i16)] = &[
        (0, "Produce", 0, 13),
        (1, "Fetch", 4, 18),
        (2, "ListOffsets", 1, 11),
        (3, "Metadata", 0, 13),
        (8, "OffsetCommit", 2, 10),
        (9, "OffsetFetch", 1, 10),
        (10, "FindCoordinator", 0, 6),
        (11, "JoinGroup", 0, 9),
        (12, "Heartbeat", 0, 4),
        (13, "LeaveGroup", 0, 5),
        (14, "SyncGroup", 0, 5),
        (15, "DescribeGroups", 0, 6),
        (16, "ListGroups", 0, 5),
        (17, "SaslHandshake", 0, 1),
        (18, "ApiVersions", 0, 4),
        (19, "CreateTopics", 2, 7),
        (20, "DeleteTopics", 1, 6),
        (21, "DeleteRecords", 0, 2),
        (22, "InitProducerId", 0, 5),
        (23, "OffsetForLeaderEpoch", 2, 4),
        (24, "AddPartitionsToTxn", 0, 5),
        (25, "AddOffsetsToTxn", 0, 4),
        (26, "EndTxn", 0, 5),
        (27, "WriteTxnMarkers", 1, 2),
        (28, "TxnOffsetCommit", 0, 5),
        (29, "DescribeAcls", 1, 3),
        (30, "CreateAcls", 1, 3),
        (31, "DeleteAcls", 1, 3),
        (32, "DescribeConfigs", 1, 4),
        (33, "AlterConfigs", 0, 2),
        (34, "AlterReplicaLogDirs", 1, 2),
        (35, "DescribeLogDirs", 1, 5),
        (36, "SaslAuthenticate", 0, 2),
        (37, "CreatePartitions", 0, 3),
        (38, "CreateDelegationToken", 1, 3),
        (39, "RenewDelegationToken", 1, 2),
        (40, "ExpireDelegationToken", 1, 2),
        (41, "DescribeDelegationToken", 1, 3),
        (42, "DeleteGroups", 0, 2),
        (43, "ElectLeaders", 0, 2),
        (44, "IncrementalAlterConfigs", 0, 1),
        (45, "AlterPartitionReassignments", 0, 1),
        (46, "ListPartitionReassignments", 0, 0),
        (47, "OffsetDelete", 0, 0),
        (48, "DescribeClientQuotas", 0, 1),
        (49, "AlterClientQuotas", 0, 1),
        (50, "DescribeUserScramCredentials", 0, 0),
        (51, "AlterUserScramCredentials", 0, 0),
        (55, "DescribeQuorum", 0, 2),
        (57, "UpdateFeatures", 0, 2),
        (60, "DescribeCluster", 0, 2),
        (61, "DescribeProducers", 0, 0),
        (64, "UnregisterBroker", 0, 0),
        (65, "DescribeTransactions", 0, 0),
        (66, "ListTransactions", 0, 2),
        (68, "ConsumerGroupHeartbeat", 0, 1),
        (69, "ConsumerGroupDescribe", 0, 1),
        (74, "ListConfigResources", 0, 1),
        (75, "DescribeTopicPartitions", 0, 0),
        (76, "ShareGroupHeartbeat", 1, 1),
        (77, "ShareGroupDescribe", 1, 1),
        (78, "ShareFetch", 1, 2),
        (79, "ShareAcknowledge", 1, 2),
        (80, "AddRaftVoter", 0, 1),
        (81, "RemoveRaftVoter", 0, 0),
        (83, "InitializeShareGroupState", 0, 0),
        (84, "ReadShareGroupState", 0, 0),
        (85, "WriteShareGroupState", 0, 1),
        (86, "DeleteShareGroupState", 0, 0),
        (87, "ReadShareGroupStateSummary", 0, 1),
        (88, "StreamsGroupHeartbeat", 0, 0),
        (89, "StreamsGroupDescribe", 0, 0),
        (90, "DescribeShareGroupOffsets", 0, 1),
        (91, "AlterShareGroupOffsets", 0, 0),
        (92, "DeleteShareGroupOffsets", 0, 0),
    ];

    /// Rows of Kafka's table that are not served yet.
    const MISSING: &[&str] = &[
        "AddPartitionsToTxn",
        "AddOffsetsToTxn",
        "EndTxn",
        "WriteTxnMarkers",
        "TxnOffsetCommit",
        "DescribeClientQuotas",
        "AlterClientQuotas",
        "DescribeUserScramCredentials",
        "AlterUserScramCredentials",
        "UnregisterBroker",
        "DescribeTransactions",
        "ListTransactions",
        "ConsumerGroupHeartbeat",
        "ConsumerGroupDescribe",
        "ShareGroupHeartbeat",
        "ShareGroupDescribe",
        "ShareFetch",
        "ShareAcknowledge",
        "AddRaftVoter",
        "RemoveRaftVoter",
        "InitializeShareGroupState",
        "ReadShareGroupState",
        "WriteShareGroupState",
        "DeleteShareGroupState",
        "ReadShareGroupStateSummary",
        "StreamsGroupHeartbeat",
        "StreamsGroupDescribe",
        "DescribeShareGroupOffsets",
        "AlterShareGroupOffsets",
        "DeleteShareGroupOffsets",
    ];

    #[test]
    fn kafkas_table_is_served_but_for_the_rows_that_are_listed_as_missing() {
        let expected = KAFKA.iter().filter(|row| !MISSING.contains(&row.1));
        let rows = TABLE.iter().map(|row| {
            let advertised = row.advertised;
            (row.api.key(), row.name, advertised.min, advertised.max)
        });
        assert_eq!(
            rows.collect::<Vec<_>>(),
            expected.copied().collect::<Vec<_>>()
        );
        for name in MISSING {
            assert!(
                KAFKA.iter().any(|row| row.1 == *name),
                "{name} is no row of Kafka's"
            );
        }
        for key in i16::MIN..=i16::MAX {
            let served = TABLE.iter().any(|row| row.api.key() == key);
            assert_eq!(Api::from_key(key).is_some(), served, "{key}");
        }
    }

    #[test]
    fn only_produce_overlaps_and_only_produce_advertises_what_it_refuses() {
        for row in TABLE {
            let is_produce = row.api == Api::Produce;
            assert_eq!(
                row.ordering == Ordering::Overlaps,
                is_produce,
                "{}",
                row.name
            );
            assert_eq!(row.advertised != row.served, is_produce, "{}", row.name);
        }
    }

    #[test]
    fn flexible_versions_are_the_codecs() {
        use kafka_wire::KafkaMessage;

        use crate::messages::{ApiVersionsRequest, FetchRequest, ProduceRequest};
        fn first<M: KafkaMessage>() -> i16 {
            M::FLEXIBLE_VERSIONS.map_or(i16::MAX, |range| range.min().value())
        }
        assert_eq!(Api::Produce.row().first_flexible, first::<ProduceRequest>());
        assert_eq!(Api::Fetch.row().first_flexible, first::<FetchRequest>());
        assert_eq!(
            Api::ApiVersions.row().first_flexible,
            first::<ApiVersionsRequest>()
        );
    }
}
