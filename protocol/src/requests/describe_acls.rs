//! Kafka's `DescribeAclsRequest`, versions 1–3, flexible from 2.

use super::{Request, structure};

structure! {
    /// Asks for access control lists that match a filter.
    pub struct DescribeAclsRequest<'a>: Request for DescribeAcls {
        /// The resource type.
        pub resource_type_filter: i8,
        /// The resource name, or null to match any resource name.
        pub resource_name_filter: Option<&'a str>,
        /// The resource pattern to match.
        pub pattern_type_filter: i8,
        /// The principal to match, or null to match any principal.
        pub principal_filter: Option<&'a str>,
        /// The host to match, or null to match any host.
        pub host_filter: Option<&'a str>,
        /// The operation to match.
        pub operation: i8,
        /// The permission type to match.
        pub permission_type: i8,
    }
}
