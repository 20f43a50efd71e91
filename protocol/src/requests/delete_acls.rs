//! Kafka's `DeleteAclsRequest`, versions 1–3, flexible from 2.

use super::{Array, Request, structure};

structure! {
    /// Asks that entries be removed from access control lists.
    pub struct DeleteAclsRequest<'a>: Request for DeleteAcls {
        /// The filters to use when deleting `ACLs`.
        pub filters: Array<'a, DeleteAclsFilter<'a>>,
    }

    /// Which entries are to be removed.
    pub struct DeleteAclsFilter<'a> {
        /// The resource type.
        pub resource_type_filter: i8,
        /// The resource name, or null to match any resource name.
        pub resource_name_filter: Option<&'a str>,
        /// The pattern type.
        pub pattern_type_filter: i8,
        /// The principal filter, or null to accept all principals.
        pub principal_filter: Option<&'a str>,
        /// The host filter, or null to accept all hosts.
        pub host_filter: Option<&'a str>,
        /// The ACL operation.
        pub operation: i8,
        /// The permission type.
        pub permission_type: i8,
    }
}
