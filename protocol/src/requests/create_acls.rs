//! Kafka's `CreateAclsRequest`, versions 1–3, flexible from 2.

use super::{Array, Request, structure};

structure! {
    /// Asks that entries be added to access control lists.
    pub struct CreateAclsRequest<'a>: Request for CreateAcls {
        /// The `ACLs` that we want to create.
        pub creations: Array<'a, AclCreation<'a>>,
    }

    /// One entry to be added.
    pub struct AclCreation<'a> {
        /// The type of the resource.
        pub resource_type: i8,
        /// The resource name for the ACL.
        pub resource_name: &'a str,
        /// The pattern type for the ACL.
        pub resource_pattern_type: i8,
        /// The principal for the ACL.
        pub principal: &'a str,
        /// The host for the ACL.
        pub host: &'a str,
        /// The operation type for the ACL (read, write, etc.).
        pub operation: i8,
        /// The permission type for the ACL (allow, deny, etc.).
        pub permission_type: i8,
    }
}
