//! Kafka's `DescribeAclsResponse`, versions 1–3, flexible from 2.

use super::{Array, Response, structure};

structure! {
    /// Access control lists.
    pub struct DescribeAclsResponse<'a>: Response for DescribeAcls {
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32,
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// What is wrong.
        pub error_message: Option<&'a str>,
        /// Each Resource that is referenced in an ACL.
        pub resources: Array<'a, DescribeAclsResource<'a>>,
    }

    /// The access control list of one resource.
    pub struct DescribeAclsResource<'a> {
        /// The resource type.
        pub resource_type: i8,
        /// The resource name.
        pub resource_name: &'a str,
        /// The resource pattern type.
        pub pattern_type: i8,
        /// The `ACLs`.
        pub acls: Array<'a, AclDescription<'a>>,
    }

    /// One entry of an access control list.
    pub struct AclDescription<'a> {
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
