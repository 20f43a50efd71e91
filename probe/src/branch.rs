//! The branches that a proof must have been through: those of recovery, above all.

crate::listed! {
    /// A branch of the product that the simulation counts; one that is never reached is a finding.
    Branch {
        /// Groups were loaded, and among what was read is something removed.
        GroupRemovalsLoaded,
        /// A group was loaded with its members.
        GroupMembersLoaded,
        /// Somebody asked for a group that was being loaded.
        GroupAskedWhileLoading,
        /// The commit of what a group wrote failed: it is loaded anew.
        GroupCommitFailed,
        /// What a group decided could not be appended: nothing has happened.
        GroupAppendRefused,
        /// Groups were dropped because their partition is served no more: they are loaded anew.
        GroupsDropped,
        /// A new member was given an id to come back with (KIP-394).
        MemberIdGiven,
        /// It did not come back with it.
        PendingMemberLapsed,
        /// A new member's connection went before it was answered: it goes with it.
        NewMemberGone,
        /// A member was not heard of for its session.
        SessionLapsed,
        /// A rebalance ended without a member that did not join again in time.
        RebalanceTimedOut,
        /// A member did not ask for its assignment in time.
        SyncTimedOut,
        /// A static member took its predecessor's place, and what it was assigned.
        StaticMemberReplaced,
        /// A static member took its predecessor's place in a rebalance.
        StaticMemberRejoined,
        /// An offset of a group expired.
        GroupOffsetExpired,
        /// A group ended with the last of what it kept.
        GroupEndedByItself,
        /// An empty directory was made one of ours.
        DirectoryFormatted,
        /// What an interrupted format left was taken away (L3).
        FormatCutShort,
        /// A directory of ours was loaded: ledger, fold, replay.
        DirectoryLoaded,
        /// Neither ledger file could be read: the directory stays offline (L3).
        LedgersUnreadable,
        /// One of the two ledger files was torn or damaged, the other stood in for it (L1).
        LedgerBroken,
        /// One of the two slots of a single record was torn or damaged (L4).
        SlotBroken,
        /// Neither slot of a single record could be read: the start is refused (L4).
        SlotsUnreadable,
        /// A start on a full disk gave the reserve up (F4).
        StartUsesReserve,
        /// The last commit of the generation before was made again (J4).
        LastCommitRepeated,
        /// Two generations were unsettled: the older was settled before the start served (J4).
        OlderGenerationSettled,
        /// The last commit was torn, and nothing of it counted (R1).
        CommitTorn,
        /// A commit before the last was damaged: its partitions went offline (R1).
        CommitDamaged,
        /// A commit before the last could not be found: the start is refused (R1).
        CommitMissing,
        /// A commit that the ledger knows was read for its bytes only.
        CommitInLedger,
        /// A cut was found in the journal: bytes from before it are not replayed (R2).
        CutFolded,
        /// Bytes of a removed partition or segment were not replayed (R2, S4).
        ReplayOfRemoved,
        /// Bytes that were settled were not replayed (R2).
        ReplayBelowSettled,
        /// Bytes behind a later cut were not replayed (R2).
        ReplayEndedByCut,
        /// Bytes of the journal were written into a segment file.
        BytesReplayed,
        /// A segment file ended before where the journal continues it: the partition went offline (R2).
        ReplayLeavesGap,
        /// Replay made a segment file anew of which nothing was settled (R2).
        ReplayMadeFile,
        /// Replay made a partition's directory anew of which nothing was settled (R2).
        ReplayMadeDirectory,
        /// A partition.metadata that was gone or torn was written again by replay (R2).
        IdentityReplayed,
        /// An old generation's files were settled and removed (J4).
        GenerationRetired,
        /// A journal file had been let go by the run before.
        RetiredBefore,
        /// A journal file was settled and freed (S3).
        JournalFileGivenBack,
        /// A commit waited for a journal file to be given back (S3).
        JournalFull,
        /// A partition was opened by what its close mark says (R3).
        OpenedClean,
        /// A closed partition's file had another length: it was recovered (R3).
        ClosedOtherLength,
        /// A segment stood behind the close mark: the partition was recovered (R3).
        ClosedThenRolled,
        /// A partition whose damage is marked was refused.
        DamagedStaysOffline,
        /// A partition.metadata that was lost was written again at an open.
        IdentityWrittenAgain,
        /// A partition's directory named another topic: it was refused.
        DirectoryOfAnother,
        /// A partition was recovered: read, verified, written again and synced.
        PartitionRecovered,
        /// A partition was recovered on the boot that wrote it (R3).
        RecoveredSameBoot,
        /// A partition was recovered on another boot than wrote it (R3).
        RecoveredOtherBoot,
        /// A cut whose intent had no *done* was finished (C5).
        CutFinished,
        /// A partition's directory was gone though it was settled: offline (L2).
        DirectoryMissing,
        /// A partition's directory that was lost before anything in it was durable was made anew (R2).
        DirectoryMadeAnew,
        /// A segment below the mark did not follow the one before it: quarantine (R5).
        ChainBrokenBelowMark,
        /// A segment above the mark did not follow the one before it: the log is cut (R5).
        ChainBrokenAboveMark,
        /// A batch that did not follow the one before it, or not in its epoch, was not shown (A5).
        ChainBrokenAtRead,
        /// A settled segment of the marked length was taken as it is (R4).
        SealedSegmentTrusted,
        /// A segment below the mark was missing: offline (R5).
        SegmentMissing,
        /// The settled front of a segment could not be read at a recovery (R4).
        FrontUnreadable,
        /// A bad batch below the mark quarantined its segment (R5).
        QuarantinedBelowMark,
        /// More than the last write was damaged though the machine did not restart: offline (R5).
        DamagedWithoutReboot,
        /// The last write was incomplete on the same boot: it was cut (R5).
        CutIncompleteWrite,
        /// Behind a failed sync of the same boot: cut where its dropped bytes begin (R5).
        CutAfterFailure,
        /// A batch was incomplete after another boot: the log was cut there (R5).
        CutIncompleteBatch,
        /// Zeros reached to the end of the file: the log was cut there (R6).
        CutZeros,
        /// The log was cut at its first bad batch (R5).
        CutBadBatch,
        /// A segment whose mark was still on its way was taken in (R6).
        SegmentAdopted,
        /// A segment that was taken in ended in an incomplete or bad batch (R6).
        AdoptedSegmentCut,
        /// After a kill a page-cache topic was served from what the cache holds (A3).
        PageCacheBelieved,
        /// A segment file that is no part of the log was set aside (R6).
        SegmentSetAside,
        /// What retention had left behind was removed at a recovery.
        RetainedFileRemoved,
        /// Bytes behind a cut were kept in a .cut file (R5).
        CutBytesKept,
        /// Bytes behind a cut could not be kept.
        CutBytesNotKept,
        /// A cut took later segments with it (R5).
        CutOverSegments,
        /// The recovered end lay below the log start: the log began anew there (A3).
        RestartedEmpty,
        /// Segments were replaced by a cleaned one (K2).
        SegmentsReplaced,
        /// A cleaned segment ends in a batch of which only the header was left (K2).
        CleanedToHeader,
        /// A replacement that a crash had interrupted was finished at an opening (K3).
        ReplacementFinished,
        /// Files that cleaning or a replacement had left were removed at an opening (K3).
        CleanedSwept,
        /// Producers were loaded from a named snapshot (A2).
        SnapshotLoaded,
        /// A named snapshot was damaged or missing: an older one was used (A2).
        SnapshotDamaged,
        /// A snapshot that no mark names was removed (A2).
        SnapshotSwept,
        /// The directory of an unfinished first append was taken in (R6).
        DirectoryTakenIn,
        /// A directory that nobody knows was set aside (R6).
        StraySetAside,
        /// A directory of a topic under removal was left to that removal.
        DirectoryLeftToRemoval,
        /// A removal that a crash had interrupted was finished (C5).
        RemovalFinished,
        /// A removed partition's directory had been renamed before the crash.
        RemovedBefore,
        /// A removed partition's directory could not be told to be its own, and stayed.
        RemovedUnidentified,
        /// Files of removed partitions that a crash had left were removed at a start.
        DeletedSwept,
        /// Retention by time waited after a step of the wall clock (A4).
        TimeRetentionHeld,
        /// A wrong or missing index was built anew.
        IndexRebuilt,
        /// The metadata were read from a snapshot and the log behind it.
        MetadataSnapshotLoaded,
        /// A snapshot of the metadata was damaged: what stands before it was used.
        MetadataSnapshotDamaged,
        /// The metadata could not be read whole: the start is refused.
        MetadataUnreadable,
        /// A log directory that the machine failed was left out at a start.
        DirectoryLeftOut,
        /// A log directory that holds partitions was missing at a start.
        DirectoryAbsent,
        /// A directory was an older copy of what had served: it was refused, or accepted (A1).
        OldCopyFound,
        /// An empty directory was left alone while one with partitions was missing (A1).
        EmptyLeftAlone,
        /// A log directory failed in service: its partitions went offline (F1).
        DirectoryFailed,
        /// The directory of the metadata log failed in service: the node ended.
        MetadataDirectoryFailed,
        /// A start missed journal files that somebody removed.
        JournalMissing,
        /// A directory was no longer where it was opened: it went offline (F5).
        DirectoryGone,
        /// A copy that a run had not ended making was removed at a start (M4).
        CopySwept,
        /// A copy that its directory's ledger knew was given up before a record named it (M4).
        CopyDiscardedMarked,
        /// The name that a copy was to take was taken: the move failed (M2).
        CopyNameTaken,
        /// A partition moved to another directory (M3).
        PartitionMoved,
        /// A partition that was never written moved: by its record alone (M3).
        UnwrittenMoved,
        /// A move was given up for another wish, a removal or a stop (M5).
        MoveCancelled,
        /// A move failed, and the partition stayed where it was (M5).
        MoveFailed,
        /// A start found the note of a move that was not done, and wished it again (M6).
        MoveBegunAgain,
        /// Appends were held for too long: the copy went on, and tried again later (M2).
        HoldGivenUp,
        /// A copy that the metadata don't name was removed at a start: the record was never made, or
        /// it was made and the old copy not removed (M4).
        UnnamedCopyRemoved,
        /// A copy that the metadata don't name was left, since the named one is not there (M4).
        UnnamedCopyKept,
        /// A page-cache log that may have lost bytes began a new leader epoch (A3).
        EpochAfterLoss,
    }
}
