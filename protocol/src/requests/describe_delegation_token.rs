//! Kafka's `DescribeDelegationTokenRequest`, versions 1–3, flexible from 2.

use super::{Array, Request, structure};

structure! {
    /// Asks for delegation tokens by their owners.
    pub struct DescribeDelegationTokenRequest<'a>: Request for DescribeDelegationToken {
        /// Each owner that we want to describe delegation tokens for, or null to describe all
        /// tokens.
        pub owners: Option<Array<'a, DescribeDelegationTokenOwner<'a>>>,
    }

    /// An owner.
    pub struct DescribeDelegationTokenOwner<'a> {
        /// The owner principal type.
        pub principal_type: &'a str,
        /// The owner principal name.
        pub principal_name: &'a str,
    }
}
