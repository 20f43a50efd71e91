//! The names under which faults are counted: each once it took effect, not when it was planted.
//!
//! What always holds: a name stands for one kind of fault, and a count of one for one fault: a power
//! cut with anything un-synced counts once, however many sectors it took.

/// A power cut while something was not synced.
pub const POWER_CUT: &str = "power cut";
/// A power cut that left a write in part.
pub const TORN_WRITE: &str = "torn write";
/// A power cut that took names.
pub const LOST_NAMES: &str = "lost names";
/// A power cut that flipped a bit of what was not synced, and the byte was read.
pub const CUT_FLIP: &str = "bit flipped by a power cut";
/// A kill while requests were unanswered or something was not synced.
pub const KILL: &str = "kill";
/// The error of a device, returned to a write.
pub const WRITE_ERROR: &str = "error on write";
/// The same to a read.
pub const READ_ERROR: &str = "error on read";
/// The same to a sync of a file.
pub const SYNC_ERROR: &str = "error on sync";
/// The same to a sync of a directory.
pub const SYNC_DIR_ERROR: &str = "error on sync of a directory";
/// The same to every other call.
pub const NAME_ERROR: &str = "error on a name";
/// The same to the machine itself, or an end of the file, inside a region that is sent in a reply.
pub const SEND_ERROR: &str = "error in a sent region";
/// The same to the machine itself, when it wrote back what was in its page cache.
pub const WRITE_BACK_ERROR: &str = "failed write-back";
/// A full disk refused a call.
pub const NO_SPACE: &str = "no space";
/// A write took a part of its bytes.
pub const SHORT_WRITE: &str = "short write";
/// A call that somebody waited for took much longer.
pub const SLOW: &str = "slow operation";
/// A call that somebody waited for did not end until the disk was healed.
pub const HUNG: &str = "hung operation";
/// A bit of a file at rest was flipped, and the byte was read.
pub const BIT_FLIP: &str = "bit flip at rest";
/// A bit was flipped on its way to the device, and the byte was read.
pub const WRITE_FLIP: &str = "bit flip on write";
/// A write reached the device at another place, and the bytes were read.
pub const MISDIRECTED: &str = "misdirected write";
/// A connection broke with a request unanswered.
pub const CUT: &str = "cut connection";
/// A peer lost its power with a request unanswered: nothing tells of it.
pub const HALF_OPEN: &str = "half-open connection";
/// One direction stood still and held something back.
pub const PARTITION: &str = "one-way partition";
/// One direction passed on little at a time.
pub const DRIP: &str = "drip";
/// A wall clock that had been moved was read.
pub const WALL_CLOCK: &str = "wall clock jump";
/// A directory that was away was looked for.
pub const ABSENT: &str = "absent directory";
/// A process ended while it was starting; counted by whoever ends it.
pub const START_CUT: &str = "start cut short";

/// Not a fault but its size: un-synced sectors that power cuts took.
pub const SECTORS_LOST: &str = "un-synced sectors lost";
/// The same: those that they left.
pub const SECTORS_KEPT: &str = "un-synced sectors kept";

/// All faults, for tables.
pub const ALL: [&str; 26] = [
    POWER_CUT,
    TORN_WRITE,
    LOST_NAMES,
    CUT_FLIP,
    KILL,
    WRITE_ERROR,
    READ_ERROR,
    SYNC_ERROR,
    SYNC_DIR_ERROR,
    NAME_ERROR,
    SEND_ERROR,
    WRITE_BACK_ERROR,
    NO_SPACE,
    SHORT_WRITE,
    SLOW,
    HUNG,
    BIT_FLIP,
    WRITE_FLIP,
    MISDIRECTED,
    CUT,
    HALF_OPEN,
    PARTITION,
    DRIP,
    WALL_CLOCK,
    ABSENT,
    START_CUT,
];
