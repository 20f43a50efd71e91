//! Kafka's error codes, as of Kafka 4.3: number, name, and whether a client may try again.
//!
//! Always: the codes are contiguous from -1 to 133, so that looking one up is an index; a code is
//! retriable exactly when the exception class Kafka's Java client maps it to is.

use std::fmt;

/// Declares the enum, its table, and holds both to the same order.
macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $name:literal, $retry:ident;)*) => {
        /// An error code of Kafka's protocol; `as i16` (or [`ErrorCode::code`]) is its number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(i16)]
        pub enum ErrorCode {
            $($(#[$doc])* $variant = $code,)*
        }

        impl ErrorCode {
            /// Every code, ascending by number, `UnknownServerError` (-1) first.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Kafka's name for the code, such as `"NOT_LEADER_OR_FOLLOWER"`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Whether a client may send the same request again and hope.
            pub const fn is_retriable(self) -> bool {
                match self { $(Self::$variant => error_codes!(@$retry),)* }
            }
        }
    };
    (@retry) => { true };
    (@final) => { false };
}

error_codes! {
    /// Catch-all server failure.
    UnknownServerError = -1, "UNKNOWN_SERVER_ERROR", final;
    /// Success.
    None = 0, "NONE", final;
    /// Fetch/list offset outside log start to log end; consumer resets.
    OffsetOutOfRange = 1, "OFFSET_OUT_OF_RANGE", final;
    /// CRC/size/format damage in a batch; NB producer retries it.
    CorruptMessage = 2, "CORRUPT_MESSAGE", retry;
    /// Topic or partition not known here (also used to hide undescribable topics).
    UnknownTopicOrPartition = 3, "UNKNOWN_TOPIC_OR_PARTITION", retry;
    /// Bad fetch size; unused today.
    InvalidFetchSize = 4, "INVALID_FETCH_SIZE", final;
    /// No leader at the moment; pre-v5 `ListOffsets` also gets it in place of 78.
    LeaderNotAvailable = 5, "LEADER_NOT_AVAILABLE", retry;
    /// This broker is not leader (or not a replica); client refreshes metadata.
    NotLeaderOrFollower = 6, "NOT_LEADER_OR_FOLLOWER", retry;
    /// Server-side wait (acks, controller op) expired.
    RequestTimedOut = 7, "REQUEST_TIMED_OUT", retry;
    /// Legacy, not for clients.
    BrokerNotAvailable = 8, "BROKER_NOT_AVAILABLE", final;
    /// Replica offline for admin/log-dir style calls.
    ReplicaNotAvailable = 9, "REPLICA_NOT_AVAILABLE", retry;
    /// Batch larger than `max.message.bytes`.
    MessageTooLarge = 10, "MESSAGE_TOO_LARGE", final;
    /// Legacy ZK controller epoch.
    StaleControllerEpoch = 11, "STALE_CONTROLLER_EPOCH", final;
    /// Commit metadata string longer than `offset.metadata.max.bytes`.
    OffsetMetadataTooLarge = 12, "OFFSET_METADATA_TOO_LARGE", final;
    /// Client side synthetic disconnect; also seen inside txn verification.
    NetworkException = 13, "NETWORK_EXCEPTION", retry;
    /// Coordinator shard still loading its partition.
    CoordinatorLoadInProgress = 14, "COORDINATOR_LOAD_IN_PROGRESS", retry;
    /// No coordinator elected / internal topic being created / coordinator stopping.
    CoordinatorNotAvailable = 15, "COORDINATOR_NOT_AVAILABLE", retry;
    /// Coordinator for that key lives elsewhere; re-run `FindCoordinator`.
    NotCoordinator = 16, "NOT_COORDINATOR", retry;
    /// Illegal topic name, or client write to an internal topic.
    InvalidTopicException = 17, "INVALID_TOPIC_EXCEPTION", final;
    /// Batch bigger than `segment.bytes`.
    RecordListTooLarge = 18, "RECORD_LIST_TOO_LARGE", final;
    /// ISR smaller than `min.insync.replicas`, nothing written (acks=-1).
    NotEnoughReplicas = 19, "NOT_ENOUGH_REPLICAS", retry;
    /// Written locally but ISR shrank below min before ack.
    NotEnoughReplicasAfterAppend = 20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", retry;
    /// Acks not in {-1,0,1}.
    InvalidRequiredAcks = 21, "INVALID_REQUIRED_ACKS", final;
    /// Classic generation mismatch.
    IllegalGeneration = 22, "ILLEGAL_GENERATION", final;
    /// No common assignor / protocol type clash / group is another type.
    InconsistentGroupProtocol = 23, "INCONSISTENT_GROUP_PROTOCOL", final;
    /// Null or empty group id.
    InvalidGroupId = 24, "INVALID_GROUP_ID", final;
    /// Member unknown to group; rejoin fresh.
    UnknownMemberId = 25, "UNKNOWN_MEMBER_ID", final;
    /// Session timeout outside `group.min`/`max.session.timeout.ms`.
    InvalidSessionTimeout = 26, "INVALID_SESSION_TIMEOUT", final;
    /// Rejoin needed; on Sync/Heartbeat/`OffsetCommit`.
    RebalanceInProgress = 27, "REBALANCE_IN_PROGRESS", final;
    /// Commit payload too large; effectively unused.
    InvalidCommitOffsetSize = 28, "INVALID_COMMIT_OFFSET_SIZE", final;
    /// No permission on topic.
    TopicAuthorizationFailed = 29, "TOPIC_AUTHORIZATION_FAILED", final;
    /// No permission on group.
    GroupAuthorizationFailed = 30, "GROUP_AUTHORIZATION_FAILED", final;
    /// No permission on cluster.
    ClusterAuthorizationFailed = 31, "CLUSTER_AUTHORIZATION_FAILED", final;
    /// Record timestamp outside before/after max.
    InvalidTimestamp = 32, "INVALID_TIMESTAMP", final;
    /// SASL mechanism not enabled; response lists enabled ones.
    UnsupportedSaslMechanism = 33, "UNSUPPORTED_SASL_MECHANISM", final;
    /// Request illegal in current SASL phase.
    IllegalSaslState = 34, "ILLEGAL_SASL_STATE", final;
    /// Version of API not served (`ApiVersions` special case), feature off, or broker too old.
    UnsupportedVersion = 35, "UNSUPPORTED_VERSION", final;
    /// Create of an existing topic.
    TopicAlreadyExists = 36, "TOPIC_ALREADY_EXISTS", final;
    /// Partition count below 1 / not an increase.
    InvalidPartitions = 37, "INVALID_PARTITIONS", final;
    /// RF below 1 or more than usable brokers.
    InvalidReplicationFactor = 38, "INVALID_REPLICATION_FACTOR", final;
    /// Manual assignment inconsistent.
    InvalidReplicaAssignment = 39, "INVALID_REPLICA_ASSIGNMENT", final;
    /// Config key/value rejected.
    InvalidConfig = 40, "INVALID_CONFIG", final;
    /// Send to active controller instead.
    NotController = 41, "NOT_CONTROLLER", retry;
    /// Structurally wrong request.
    InvalidRequest = 42, "INVALID_REQUEST", final;
    /// Log format too old; legacy.
    UnsupportedForMessageFormat = 43, "UNSUPPORTED_FOR_MESSAGE_FORMAT", final;
    /// Create/alter policy plugin or delete-records on compact-only topic refused.
    PolicyViolation = 44, "POLICY_VIOLATION", final;
    /// Sequence gap for idempotent producer.
    OutOfOrderSequenceNumber = 45, "OUT_OF_ORDER_SEQUENCE_NUMBER", final;
    /// Legacy: duplicate; current brokers answer success with the old offset instead.
    DuplicateSequenceNumber = 46, "DUPLICATE_SEQUENCE_NUMBER", final;
    /// Producer epoch older than known; recoverable (abort+bump) since 2.7.
    InvalidProducerEpoch = 47, "INVALID_PRODUCER_EPOCH", final;
    /// Operation not legal in txn state.
    InvalidTxnState = 48, "INVALID_TXN_STATE", final;
    /// Pid does not belong to transactional id (or id expired).
    InvalidProducerIdMapping = 49, "INVALID_PRODUCER_ID_MAPPING", final;
    /// Txn timeout over `transaction.max.timeout.ms` or not positive.
    InvalidTransactionTimeout = 50, "INVALID_TRANSACTION_TIMEOUT", final;
    /// Previous txn on same id still finishing; retry.
    ConcurrentTransactions = 51, "CONCURRENT_TRANSACTIONS", retry;
    /// Marker from an older txn-coordinator epoch.
    TransactionCoordinatorFenced = 52, "TRANSACTION_COORDINATOR_FENCED", final;
    /// No permission on transactional id, or 2PC not allowed.
    TransactionalIdAuthorizationFailed = 53, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", final;
    /// No authorizer configured (ACL APIs).
    SecurityDisabled = 54, "SECURITY_DISABLED", final;
    /// Skipped because a sibling in the batch failed.
    OperationNotAttempted = 55, "OPERATION_NOT_ATTEMPTED", final;
    /// Log dir failed; mapped to 6 for Fetch up to 5.
    KafkaStorageError = 56, "KAFKA_STORAGE_ERROR", retry;
    /// Log dir path not configured.
    LogDirNotFound = 57, "LOG_DIR_NOT_FOUND", final;
    /// Bad credentials.
    SaslAuthenticationFailed = 58, "SASL_AUTHENTICATION_FAILED", final;
    /// Legacy: producer state gone; current brokers accept or use 45.
    UnknownProducerId = 59, "UNKNOWN_PRODUCER_ID", final;
    /// Conflicting reassignment.
    ReassignmentInProgress = 60, "REASSIGNMENT_IN_PROGRESS", final;
    /// No `delegation.token.secret.key`.
    DelegationTokenAuthDisabled = 61, "DELEGATION_TOKEN_AUTH_DISABLED", final;
    /// No such token.
    DelegationTokenNotFound = 62, "DELEGATION_TOKEN_NOT_FOUND", final;
    /// Caller is not owner/renewer.
    DelegationTokenOwnerMismatch = 63, "DELEGATION_TOKEN_OWNER_MISMATCH", final;
    /// Token APIs need SASL/2-way TLS and not token auth itself.
    DelegationTokenRequestNotAllowed = 64, "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED", final;
    /// Not allowed on token.
    DelegationTokenAuthorizationFailed = 65, "DELEGATION_TOKEN_AUTHORIZATION_FAILED", final;
    /// Token expired.
    DelegationTokenExpired = 66, "DELEGATION_TOKEN_EXPIRED", final;
    /// Only User principals allowed.
    InvalidPrincipalType = 67, "INVALID_PRINCIPAL_TYPE", final;
    /// Delete/alter on group with members.
    NonEmptyGroup = 68, "NON_EMPTY_GROUP", final;
    /// Group missing.
    GroupIdNotFound = 69, "GROUP_ID_NOT_FOUND", final;
    /// Unknown incremental fetch session; client sends full fetch.
    FetchSessionIdNotFound = 70, "FETCH_SESSION_ID_NOT_FOUND", retry;
    /// Session epoch out of step.
    InvalidFetchSessionEpoch = 71, "INVALID_FETCH_SESSION_EPOCH", retry;
    /// Leader lacks the listener used by the client.
    ListenerNotFound = 72, "LISTENER_NOT_FOUND", retry;
    /// `Delete.topic.enable`=false.
    TopicDeletionDisabled = 73, "TOPIC_DELETION_DISABLED", final;
    /// Request leader epoch older than broker.
    FencedLeaderEpoch = 74, "FENCED_LEADER_EPOCH", retry;
    /// Request leader epoch newer than broker; retry.
    UnknownLeaderEpoch = 75, "UNKNOWN_LEADER_EPOCH", retry;
    /// Telemetry codec, or Produce below 7 with zstd.
    UnsupportedCompressionType = 76, "UNSUPPORTED_COMPRESSION_TYPE", final;
    /// Broker incarnation epoch out of date.
    StaleBrokerEpoch = 77, "STALE_BROKER_EPOCH", final;
    /// New leader HW below its epoch start; `ListOffsets` from 5.
    OffsetNotAvailable = 78, "OFFSET_NOT_AVAILABLE", retry;
    /// Join again using the member id in the response (KIP-394).
    MemberIdRequired = 79, "MEMBER_ID_REQUIRED", final;
    /// Preferred replica cannot lead.
    PreferredLeaderNotAvailable = 80, "PREFERRED_LEADER_NOT_AVAILABLE", retry;
    /// Group at max size.
    GroupMaxSizeReached = 81, "GROUP_MAX_SIZE_REACHED", final;
    /// Static instance id taken over by another member.
    FencedInstanceId = 82, "FENCED_INSTANCE_ID", final;
    /// No replica can be elected.
    EligibleLeadersNotAvailable = 83, "ELIGIBLE_LEADERS_NOT_AVAILABLE", retry;
    /// Desired leader already leads.
    ElectionNotNeeded = 84, "ELECTION_NOT_NEEDED", retry;
    /// Nothing to cancel/list.
    NoReassignmentInProgress = 85, "NO_REASSIGNMENT_IN_PROGRESS", final;
    /// `OffsetDelete` on a subscribed topic.
    GroupSubscribedToTopic = 86, "GROUP_SUBSCRIBED_TO_TOPIC", final;
    /// Record failed broker validation; details in `RecordErrors` (Produce from 8).
    InvalidRecord = 87, "INVALID_RECORD", final;
    /// `OffsetFetch`(`requireStable`) while txn offsets pending.
    UnstableOffsetCommit = 88, "UNSTABLE_OFFSET_COMMIT", retry;
    /// Controller mutation quota or telemetry push too early.
    ThrottlingQuotaExceeded = 89, "THROTTLING_QUOTA_EXCEEDED", retry;
    /// Newer producer owns the transactional id; fatal.
    ProducerFenced = 90, "PRODUCER_FENCED", final;
    /// Named resource absent (SCRAM user...).
    ResourceNotFound = 91, "RESOURCE_NOT_FOUND", final;
    /// Same resource twice in request.
    DuplicateResource = 92, "DUPLICATE_RESOURCE", final;
    /// SCRAM iterations/name out of bounds.
    UnacceptableCredential = 93, "UNACCEPTABLE_CREDENTIAL", final;
    /// Raft voter set disagreement.
    InconsistentVoterSet = 94, "INCONSISTENT_VOTER_SET", final;
    /// Wrong partition epoch / feature level.
    InvalidUpdateVersion = 95, "INVALID_UPDATE_VERSION", final;
    /// Feature update could not be applied.
    FeatureUpdateFailed = 96, "FEATURE_UPDATE_FAILED", final;
    /// Envelope principal undecodable.
    PrincipalDeserializationFailure = 97, "PRINCIPAL_DESERIALIZATION_FAILURE", final;
    /// Raft snapshot gone.
    SnapshotNotFound = 98, "SNAPSHOT_NOT_FOUND", final;
    /// Snapshot position invalid.
    PositionOutOfRange = 99, "POSITION_OUT_OF_RANGE", final;
    /// Topic id unknown here; metadata may lag.
    UnknownTopicId = 100, "UNKNOWN_TOPIC_ID", retry;
    /// Live broker already uses this node id.
    DuplicateBrokerRegistration = 101, "DUPLICATE_BROKER_REGISTRATION", final;
    /// Broker id not registered.
    BrokerIdNotRegistered = 102, "BROKER_ID_NOT_REGISTERED", final;
    /// Topic id differs from the log (topic recreated).
    InconsistentTopicId = 103, "INCONSISTENT_TOPIC_ID", retry;
    /// Cluster id mismatch.
    InconsistentClusterId = 104, "INCONSISTENT_CLUSTER_ID", final;
    /// `DescribeTransactions` miss.
    TransactionalIdNotFound = 105, "TRANSACTIONAL_ID_NOT_FOUND", final;
    /// Session switched between names and ids.
    FetchSessionTopicIdError = 106, "FETCH_SESSION_TOPIC_ID_ERROR", retry;
    /// ISR proposal has fenced/stopping/stale-epoch replica.
    IneligibleReplica = 107, "INELIGIBLE_REPLICA", final;
    /// `AlterPartition` applied but leadership moved.
    NewLeaderElected = 108, "NEW_LEADER_ELECTED", final;
    /// Follower asked for offset only in remote tier.
    OffsetMovedToTieredStorage = 109, "OFFSET_MOVED_TO_TIERED_STORAGE", final;
    /// KIP-848 member epoch wrong: drop all, rejoin with epoch 0.
    FencedMemberEpoch = 110, "FENCED_MEMBER_EPOCH", final;
    /// Static instance still held by live member.
    UnreleasedInstanceId = 111, "UNRELEASED_INSTANCE_ID", final;
    /// Server assignor name unknown.
    UnsupportedAssignor = 112, "UNSUPPORTED_ASSIGNOR", final;
    /// Commit/fetch offset with old member epoch: heartbeat then retry.
    StaleMemberEpoch = 113, "STALE_MEMBER_EPOCH", final;
    /// Broker vs controller endpoint mix-up.
    MismatchedEndpointType = 114, "MISMATCHED_ENDPOINT_TYPE", final;
    /// Endpoint type not offered.
    UnsupportedEndpointType = 115, "UNSUPPORTED_ENDPOINT_TYPE", final;
    /// No such controller.
    UnknownControllerId = 116, "UNKNOWN_CONTROLLER_ID", final;
    /// Telemetry subscription id outdated.
    UnknownSubscriptionId = 117, "UNKNOWN_SUBSCRIPTION_ID", final;
    /// Telemetry payload over `telemetry.max.bytes`.
    TelemetryTooLarge = 118, "TELEMETRY_TOO_LARGE", final;
    /// Broker registration refused.
    InvalidRegistration = 119, "INVALID_REGISTRATION", final;
    /// Abort txn and continue with same producer (KIP-890).
    TransactionAbortable = 120, "TRANSACTION_ABORTABLE", final;
    /// Share ack for record not acquired by this member.
    InvalidRecordState = 121, "INVALID_RECORD_STATE", final;
    /// Share session missing.
    ShareSessionNotFound = 122, "SHARE_SESSION_NOT_FOUND", retry;
    /// Share session epoch out of step.
    InvalidShareSessionEpoch = 123, "INVALID_SHARE_SESSION_EPOCH", retry;
    /// Share-group state epoch fenced.
    FencedStateEpoch = 124, "FENCED_STATE_EPOCH", final;
    /// Raft voter directory id mismatch.
    InvalidVoterKey = 125, "INVALID_VOTER_KEY", final;
    /// Voter already present.
    DuplicateVoter = 126, "DUPLICATE_VOTER", final;
    /// Voter absent.
    VoterNotFound = 127, "VOTER_NOT_FOUND", final;
    /// RE2J pattern invalid in `ConsumerGroupHeartbeat`.
    InvalidRegularExpression = 128, "INVALID_REGULAR_EXPRESSION", final;
    /// Client must re-bootstrap (KIP-1102/1242).
    RebootstrapRequired = 129, "REBOOTSTRAP_REQUIRED", final;
    /// Streams topology malformed.
    StreamsInvalidTopology = 130, "STREAMS_INVALID_TOPOLOGY", final;
    /// Streams topology epoch bad.
    StreamsInvalidTopologyEpoch = 131, "STREAMS_INVALID_TOPOLOGY_EPOCH", final;
    /// Streams topology epoch outdated.
    StreamsTopologyFenced = 132, "STREAMS_TOPOLOGY_FENCED", final;
    /// Share session cache full; broker delays the answer.
    ShareSessionLimitReached = 133, "SHARE_SESSION_LIMIT_REACHED", retry;
}

impl ErrorCode {
    /// The number on the wire.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The code with this number; `None` for a number Kafka 4.3 does not know.
    pub fn from_code(code: i16) -> Option<Self> {
        let index = usize::try_from(i32::from(code) + 1).ok()?;
        Self::ALL.get(index).copied()
    }

    /// Whether this stands for success.
    pub const fn is_none(self) -> bool {
        matches!(self, Self::None)
    }
}

impl fmt::Display for ErrorCode {
    /// The name and the number: `NOT_LEADER_OR_FOLLOWER (6)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.code())
    }
}

impl From<ErrorCode> for i16 {
    fn from(code: ErrorCode) -> Self {
        code.code()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_by_its_number_and_no_other_is() {
        assert_eq!(ErrorCode::ALL.len(), 135);
        for (code, expected) in (-1_i16..).zip(ErrorCode::ALL) {
            assert_eq!(expected.code(), code);
            assert_eq!(ErrorCode::from_code(code), Some(*expected));
        }
        for code in [i16::MIN, -2, 134, i16::MAX] {
            assert_eq!(ErrorCode::from_code(code), None);
        }
    }

    #[test]
    fn a_code_is_shown_by_kafkas_name_and_number() {
        assert_eq!(
            ErrorCode::NotLeaderOrFollower.to_string(),
            "NOT_LEADER_OR_FOLLOWER (6)"
        );
        assert_eq!(ErrorCode::ShareSessionLimitReached.code(), 133);
    }
}
