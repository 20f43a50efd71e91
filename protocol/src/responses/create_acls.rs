//! Kafka's `CreateAclsResponse`, versions 1–3, flexible from 2.

use super::{Array, Response, structure};

structure! {
    /// What became of entries to be added.
    pub struct CreateAclsResponse<'a>: Response for CreateAcls {
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32,
        /// The results for each ACL creation.
        pub results: Array<'a, AclCreationResult<'a>>,
    }

    /// What became of one entry.
    pub struct AclCreationResult<'a> {
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// What is wrong.
        pub error_message: Option<&'a str>,
    }
}
