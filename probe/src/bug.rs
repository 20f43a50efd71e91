//! The bugs that can be planted: each is one rule of the product left out, at one place.

crate::listed! {
    /// A bug in the product; what it does and the rule of docs/durability.md that forbids it.
    Bug {
        /// What waits for a sync is answered when it was asked for (C1, F1).
        AckBeforeSync,
        /// A mark claims bytes that no sync has covered yet (C3).
        MarkBeforeSync,
        /// A direct sync is acknowledged though the mark of its segment is not durable (C4).
        AckBeforeMark,
        /// At a roll the old segment counts as settled without a sync.
        RollWithoutSync,
        /// The sync of a directory is left out (C4).
        DirectorySyncLost,
        /// What recovery read counts as durable though it was not written again and synced (R4).
        RecoveredTailNotSynced,
        /// After a failed sync the directory goes on, and what is in its page cache counts (F1).
        PageCacheTrustedAfterError,
        /// A failed sync is tried again, and the second one's success counts (F1).
        FailedSyncRetried,
        /// Recovery cuts at a bad batch below the mark (R5).
        CutBelowMark,
        /// What an index says is not held against the batch it points at.
        StaleIndexTrusted,
        /// A duplicate is acknowledged before its original is durable.
        DuplicateAckedAtOnce,
        /// After a restart only a producer's last batch is recognised, not its last five.
        WindowOfOneAfterRestart,
        /// A write that failed moves the producer's sequence on.
        SequenceAdvancedOnFailedWrite,
        /// The high watermark moves over what is only written.
        HighWatermarkOverUnflushed,
        /// A consumer is shown what lies above the high watermark.
        ReadPastHighWatermark,
        /// An empty directory is taken into use while one that holds partitions is missing (A1).
        EmptyDirectoryTakenForNew,
        /// A topic made again under a name takes the old one's directory for its own.
        OldDataUnderRecreatedName,
        /// A reply goes on after a region of it came up short.
        HalfReplyAfterShortRegion,
        /// A waiting fetch is not told of an append.
        FetchWakeUpLost,
        /// The room of a long frame is not given back with its memory, so that others wait for ever.
        FrameBudgetDeadlock,
        /// A cut in the journal is replayed though later bytes were synced directly (R2).
        OldCutReplayed,
        /// The mark of a new segment is written after its first bytes were acknowledged (C4).
        ExistenceMarkAfterAck,
        /// A start goes on behind the last commit, which may be torn on the disk, without making it
        /// again (J4).
        JournalContinuedAfterTornCommit,
        /// Commits are padded to 512 bytes only: two of them share a block (J2).
        CommitsShareBlock,
        /// The completion of a sync from before a cut confirms what was appended behind it (C6).
        FlushCompletionFromBeforeCut,
        /// A later range becomes durable and counts before an earlier one (C2).
        SuffixAckedBeforePrefix,
        /// A flushed mark reaches further than the data of its commit (C3).
        MarkAheadOfData,
        /// A file is changed before the intent of the change is durable (C5).
        ChangeBeforeIntent,
        /// A journal file is written again before what it holds is settled (S3).
        JournalFileReusedBeforeSettled,
        /// A descriptor is closed while bytes that it wrote are unsettled, and another one syncs them
        /// (S2).
        DescriptorClosedUnsettled,
        /// A directory that went offline is closed as if it were sound (F2).
        CleanCloseOfOfflineDirectory,
        /// A ledger that can't be read counts as one that says nothing (L3).
        UnreadableLedgerTakenAsEmpty,
        /// The ledger holds marks of a commit that is not durable yet (L1).
        SnapshotOfCommitInFlight,
        /// A second start forgets what a partition owed since the first (R3).
        RecoveryDebtForgotten,
        /// A segment behind a cut is removed without syncing its directory (R5).
        UnlinkOfCutSegmentLost,
        /// A snapshot of producers from above a cut is loaded (A2).
        ProducerSnapshotAboveCut,
        /// Recovery looks at checksums but not at base offsets (R4, A5).
        BaseOffsetFlipAccepted,
        /// No closing commit follows the last one (C7).
        NoClosingCommit,
        /// Nobody looks whether a directory is still where it was opened (F5).
        GoneDirectoryBelieved,
        /// Bytes in the journal are written into a segment that replaced theirs (S4, R2).
        ReplayIntoReplacedSegment,
        /// A partition whose directory is absent is looked for, and made anew, in another (A1).
        PartitionRecreatedElsewhere,
        /// A change of a configuration is seen and answered before its commit (A2).
        ConfigAckedBeforeCommit,
        /// Of a change of several keys only the first one is kept.
        ConfigChangedInPart,
        /// A change that was only to be validated is made.
        ValidateOnlyApplied,
        /// Configurations are left out of metadata snapshots (A2).
        ConfigsLeftOutOfSnapshot,
        /// The last partition of a topic that has several is left out of metadata snapshots (A2).
        AddedPartitionLeftOutOfSnapshot,
        /// A topic made again under a name has the configuration of the one before.
        ConfigInherited,
        /// A topic goes by the configuration that was resolved first while the process lives.
        TopicConfigResolvedOnce,
        /// A move is recorded while what was copied is in the page cache only (M2).
        MoveBeforeCopyIsDurable,
        /// Appends go on while the last bytes of a log are copied (M2).
        AppendsDuringHandover,
        /// Behind the record of a move the old copy goes on being served (M3).
        OldCopyServedAfterMove,
        /// A cleaned segment takes the place of others while it is in the page cache only (K2).
        CleanedNotSynced,
        /// A replacement counts as done while its names are in the page cache only (K2).
        ReplacedNamesNotSynced,
        /// A cleaned segment that no mark tells of takes the place of others at an opening (K3).
        HalfCleanedTaken,
        /// Compaction drops the latest record of a key with those before it.
        LatestRecordDropped,
        /// A map of keys that is full counts as one of the whole range.
        FullMapTakenForWhole,
        /// Compaction drops a tombstone in the round that first meets it.
        TombstoneDroppedAtOnce,
        /// Compaction looks at what may still be cut or aborted.
        CleanedPastStableEnd,
        /// A record of an aborted transaction counts as the latest of its key.
        AbortedRecordTakenForLatest,
        /// A transaction's marker goes while its data are left.
        MarkerDroppedBeforeData,
        /// Nothing is left of the last batch of a producer that is still remembered.
        LastBatchOfProducerDropped,
        /// Nothing is left of the last batch of a round.
        LastBatchOfRoundDropped,
        /// A decision about a group takes what is not committed yet for nothing.
        GroupDecidesOnCommitted,
        /// What a group's decision wrote is answered before it is committed.
        GroupReplyBeforeCommit,
        /// An offset is shown before it is committed.
        UncommittedOffsetShown,
        /// A group that is loaded goes on without its members' timers.
        GroupTimerLostOnReload,
        /// A rebalance ends in the generation that it began in.
        GenerationReused,
        /// Offsets are taken from whoever was a member of the group once.
        FencedCommitAccepted,
        /// A static member that starts again is a second member beside its first.
        StaticMemberDoubled,
        /// Offsets with a time to live expire while members read their topic.
        OffsetExpiredInUse,
        /// Removals are passed over when groups are loaded.
        GroupReplayDiffers,
        /// Groups keep the offsets of a topic that is deleted.
        OffsetsOutliveTopic,
        /// Offsets of a deleted topic are those of the next one of its name.
        OffsetsInherited,
        /// Who waits below the limit of unflushed bytes looks first and asks to be told then.
        LimitWakeUpLost,
        /// The gate counts the connections of an address, and lets in by that count later.
        GateInTwoSteps,
        /// The number of producers remembered is read, and written later.
        ProducersInTwoSteps,
        /// The client sends a batch of which an attempt was lost under another sequence number.
        RetriedUnderNewNumber,
        /// The client sends a batch that failed behind those that it was sent before.
        RetriedBehindOthers,
        /// A consumer commits the offset behind what it fetched, not behind what it gave out.
        CommitAheadOfDelivery,
        /// A consumer that is assigned a partition again goes on where it fetched last, not where the
        /// group committed.
        LostPositionKept,
    }
}

impl Bug {
    /// Whether no run of a whole broker can show it: no client can begin a transaction yet, and the
    /// log keeps by itself what these drop, or lets nothing near what they touch. They are hunted by
    /// the random histories of `broker/core/tests/compaction_properties.rs`.
    pub fn is_of_histories(self) -> bool {
        matches!(
            self,
            Self::AbortedRecordTakenForLatest
                | Self::MarkerDroppedBeforeData
                | Self::CleanedPastStableEnd
                | Self::LastBatchOfProducerDropped
                | Self::LastBatchOfRoundDropped
        )
    }

    /// Whether it is a bug of the client crate: such bugs are hunted by the client's own simulations
    /// (`client/tests/planted.rs`).
    pub fn is_of_clients(self) -> bool {
        matches!(
            self,
            Self::RetriedUnderNewNumber
                | Self::RetriedBehindOthers
                | Self::CommitAheadOfDelivery
                | Self::LostPositionKept
        )
    }

    /// Whether it takes two threads in the same lines at one time: such bugs are hunted by the models
    /// of schedules, the others by the general runs.
    pub fn is_of_threads(self) -> bool {
        matches!(
            self,
            Self::LimitWakeUpLost | Self::GateInTwoSteps | Self::ProducersInTwoSteps
        )
    }
}
