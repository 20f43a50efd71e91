//! The branches that a proof must have been through: those of recovery, above all.

crate::listed! {
    /// A branch of the product that the simulation counts; one that is never reached is a finding.
    Branch {
        /// A partition was recovered: read, verified, written again and synced.
        PartitionRecovered,
    }
}
