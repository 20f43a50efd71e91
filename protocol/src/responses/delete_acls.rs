//! Kafka's `DeleteAclsResponse`, versions 1–3, flexible from 2.

use super::{Array, Response, structure};

structure! {
    /// What became of entries to be removed.
    pub struct DeleteAclsResponse<'a>: Response for DeleteAcls {
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32,
        /// The results for each filter.
        pub filter_results: Array<'a, DeleteAclsFilterResult<'a>>,
    }

    /// What became of one filter.
    pub struct DeleteAclsFilterResult<'a> {
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// What is wrong.
        pub error_message: Option<&'a str>,
        /// The `ACLs` which matched this filter.
        pub matching_acls: Array<'a, DeleteAclsMatchingAcl<'a>>,
    }

    /// One entry that matched.
    pub struct DeleteAclsMatchingAcl<'a> {
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// What is wrong.
        pub error_message: Option<&'a str>,
        /// The ACL resource type.
        pub resource_type: i8,
        /// The ACL resource name.
        pub resource_name: &'a str,
        /// The ACL resource pattern type.
        pub pattern_type: i8,
        /// The ACL principal.
        pub principal: &'a str,
        /// The ACL host.
        pub host: &'a str,
        /// The ACL operation.
        pub operation: i8,
        /// The ACL permission type.
        pub permission_type: i8,
    }
}
