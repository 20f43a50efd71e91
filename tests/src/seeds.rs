//! Every seed that ever failed, with what it found when it was drawn. (A change of what is drawn makes
//! another run of a seed; what it found has a test of its own beside the code.) The simulation's smoke
//! runs them all; a few run in the tests too, where debug assertions look on.

use crate::shape::Row;
use crate::simulation::Setup;

/// A seed, run with promises that were drawn from it or with those of a row.
type Once = (Option<Row>, u64);

const ONCE_FAILED: &[Once] = &[
    // A full disk refused a producer's first batch; the one behind it overtook it.
    (None, 3_966_469_980),
    // The workload itself did not see a topic that was made while it stopped.
    (None, 16),
    // Retention passed the newest named snapshot of producers, and a power cut followed.
    (None, 25),
    // What a kill left in the page cache counted as settled at the next roll; a power cut followed.
    (None, 2_022),
    // A time index went on behind a start that did not know the largest time before it.
    (None, 1_028),
    // Page-cache topics: that of the page cache above, and an oracle that took for a survivor what was
    // sent again.
    (Some(Row::PageCache), 3),
    (Some(Row::PageCache), 9),
    (Some(Row::PageCache), 14),
    (Some(Row::PageCache), 18),
    (Some(Row::PageCache), 73),
    // Removals of several topics of one name took the directory away that had been made since, or
    // names that a removal had taken away were still to be synced.
    (Some(Row::Churn), 1202),
    (Some(Row::Churn), 1209),
    (Some(Row::Churn), 1220),
    // The workload took a change whose outcome is unknown for refused.
    (Some(Row::Churn), 1207),
    (Some(Row::Churn), 1225),
    (Some(Row::Churn), 1238),
    (Some(Row::Churn), 1254),
    (Some(Row::Churn), 1282),
    // A producer id that could not be had was an error for good.
    (Some(Row::AcksMixed), 25),
    (Some(Row::AcksMixed), 38),
    // Whoever read a log back over two connections took for a gap what retention had removed between.
    (None, 1101),
    // A commit by name met a topic that had been made while the one that it was for was removed; the
    // book had not noted that it may.
    (None, 5406),
    // A leader epoch flipped in a log whose ledger had been made anew some lives before.
    (None, 7339),
    (None, 9274),
    // Groups were loaded from a log whose directory had failed, served until the next change that could
    // not be written, and missing in lists between.
    (None, 7156),
    // A member of a cooperative group lost by its own clock, between joining and its part, what it had
    // said to hold: it did not join again, and nobody had that partition.
    (None, 1039),
    // One who read a table slowly had the value of a key and not, a second later, what had deleted it
    // meanwhile and was gone by then, as it may: the next reading may not.
    (None, 21_131),
];

/// The runs of them.
pub fn once_failed() -> impl Iterator<Item = Setup> {
    ONCE_FAILED.iter().map(|(row, seed)| Setup {
        seed: *seed,
        row: *row,
        ..Setup::default()
    })
}
