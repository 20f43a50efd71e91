//! Access control lists: who may do what, and from where (KIP-11, prefixes by KIP-290).
//!
//! What always holds: an entry is told as the broker keeps it, with a code that a later Kafka may have
//! added as [`AclResource::Other`] and its like, never left out.

use millrace_protocol::messages::create_acls_request::AclCreation;
use millrace_protocol::messages::delete_acls_request::DeleteAclsFilter;
use millrace_protocol::messages::{CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest};

use super::route::{Lost, To};
use super::topics::{because, not_the_controller};
use super::{Admin, Outcomes};
use crate::Error;
use crate::client::refuse;

/// Asks for everything of its kind.
const ANY: i8 = 1;

/// An enumeration with Kafka's codes.
macro_rules! coded {
    ($(#[$about:meta])* $name:ident { $($(#[$what:meta])* $variant:ident = $code:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$what])* $variant,)+
            /// A code that this version doesn't know.
            Other(i8),
        }

        impl $name {
            fn code(self) -> i8 {
                match self {
                    $(Self::$variant => $code,)+
                    Self::Other(code) => code,
                }
            }

            fn of(code: i8) -> Self {
                match code {
                    $($code => Self::$variant,)+
                    other => Self::Other(other),
                }
            }
        }
    };
}

coded! {
    /// What an entry is about.
    ///
    /// ```
    /// # use millrace_client::{Acl, AclOperation, AclResource};
    /// let acl = Acl::allow("User:alice", AclOperation::Read, AclResource::Group, "billing");
    /// assert_eq!(acl.resource, AclResource::Group);
    /// ```
    AclResource {
        /// A topic.
        Topic = 2,
        /// A consumer group.
        Group = 3,
        /// The cluster itself; its name is `kafka-cluster`.
        Cluster = 4,
        /// A transactional id.
        TransactionalId = 5,
        /// A delegation token.
        DelegationToken = 6,
        /// A user's tokens.
        User = 7,
    }
}

coded! {
    /// How an entry's name is meant.
    ///
    /// ```
    /// # use millrace_client::{Acl, AclOperation, AclPattern, AclResource};
    /// let mut acl = Acl::allow("User:alice", AclOperation::Read, AclResource::Topic, "orders-");
    /// acl.pattern = AclPattern::Prefixed;
    /// ```
    AclPattern {
        /// As it stands; `*` alone is every name.
        Literal = 3,
        /// Every name that begins so.
        Prefixed = 4,
    }
}

coded! {
    /// What somebody may do, or may not.
    ///
    /// ```
    /// # use millrace_client::{Acl, AclOperation, AclResource};
    /// let acl = Acl::allow("User:alice", AclOperation::Write, AclResource::Topic, "orders");
    /// assert_eq!(acl.operation, AclOperation::Write);
    /// ```
    AclOperation {
        /// Everything.
        All = 2,
        /// Fetch, and take part in a group.
        Read = 3,
        /// Produce.
        Write = 4,
        /// Make.
        Create = 5,
        /// Delete.
        Delete = 6,
        /// Change.
        Alter = 7,
        /// See.
        Describe = 8,
        /// What brokers ask of each other.
        ClusterAction = 9,
        /// See the configuration.
        DescribeConfigs = 10,
        /// Change the configuration.
        AlterConfigs = 11,
        /// Produce as an idempotent producer.
        IdempotentWrite = 12,
        /// Make tokens for a user.
        CreateTokens = 13,
        /// See a user's tokens.
        DescribeTokens = 14,
        /// Take part in two-phase commits (KIP-939).
        TwoPhaseCommit = 15,
    }
}

coded! {
    /// Whether they may.
    ///
    /// ```
    /// # use millrace_client::{Acl, AclOperation, AclPermission, AclResource};
    /// let mut acl = Acl::allow("User:bob", AclOperation::Delete, AclResource::Topic, "orders");
    /// acl.permission = AclPermission::Deny;
    /// ```
    AclPermission {
        /// They may not, whatever else is allowed.
        Deny = 2,
        /// They may.
        Allow = 3,
    }
}

/// An entry.
///
/// ```no_run
/// # use millrace_client::{Acl, AclOperation, AclPattern, AclResource, Admin, Error};
/// # async fn example(admin: &Admin) -> Result<(), Error> {
/// let read = Acl::allow("User:alice", AclOperation::Read, AclResource::Topic, "orders");
/// let all_shops = Acl {
///     pattern: AclPattern::Prefixed,
///     ..Acl::allow("User:shop", AclOperation::Write, AclResource::Topic, "shop-")
/// };
/// for (acl, added) in admin.create_acls(&[read, all_shops]).await? {
///     println!("{} may {:?}: {added:?}", acl.principal, acl.operation);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Acl {
    /// What kind of thing it is about.
    pub resource: AclResource,
    /// That thing's name, or how it begins.
    pub name: String,
    /// Which of both.
    pub pattern: AclPattern,
    /// Whom it concerns, such as `User:alice`; `User:*` is everybody.
    pub principal: String,
    /// From where, as an address; `*` is anywhere.
    pub host: String,
    /// What it says about.
    pub operation: AclOperation,
    /// What it says.
    pub permission: AclPermission,
}

impl Acl {
    /// Allows somebody an operation on one thing, from anywhere.
    pub fn allow(
        principal: impl Into<String>,
        operation: AclOperation,
        resource: AclResource,
        name: impl Into<String>,
    ) -> Self {
        Self {
            resource,
            name: name.into(),
            pattern: AclPattern::Literal,
            principal: principal.into(),
            host: "*".to_owned(),
            operation,
            permission: AclPermission::Allow,
        }
    }

    /// One as a broker tells it: kind, name and pattern of what it is about; whom it concerns, and from
    /// where; operation and permission.
    fn told(
        (resource, name, pattern): (i8, &str, i8),
        (principal, host): (&str, &str),
        (operation, permission): (i8, i8),
    ) -> Self {
        Self {
            resource: AclResource::of(resource),
            name: name.to_owned(),
            pattern: AclPattern::of(pattern),
            principal: principal.to_owned(),
            host: host.to_owned(),
            operation: AclOperation::of(operation),
            permission: AclPermission::of(permission),
        }
    }
}

/// Which names a filter takes.
///
/// ```
/// # use millrace_client::{AclFilter, AclNames, AclPattern};
/// let prefix = AclFilter {
///     name: Some("orders-".to_owned()),
///     names: AclNames::Exactly(AclPattern::Prefixed),
///     ..AclFilter::default()
/// };
/// assert_ne!(prefix.names, AclNames::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum AclNames {
    /// Entries of this name, whatever their pattern.
    #[default]
    Any,
    /// Entries that concern the thing of this name: of the name itself, of a prefix, of every name.
    Matching,
    /// Entries of this name and pattern.
    Exactly(AclPattern),
}

/// Entries to find; what is `None` may be anything.
///
/// ```no_run
/// # use millrace_client::{AclFilter, AclNames, AclResource, Admin, Error};
/// # async fn example(admin: &Admin) -> Result<(), Error> {
/// let orders = AclFilter {
///     resource: Some(AclResource::Topic),
///     name: Some("orders".to_owned()),
///     names: AclNames::Matching,
///     ..AclFilter::default()
/// };
/// for acl in admin.describe_acls(&orders).await? {
///     println!("{acl:?}");
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct AclFilter {
    /// Of this kind.
    pub resource: Option<AclResource>,
    /// Of this name.
    pub name: Option<String>,
    /// How the name is meant.
    pub names: AclNames,
    /// Concerning this one.
    pub principal: Option<String>,
    /// From here.
    pub host: Option<String>,
    /// About this.
    pub operation: Option<AclOperation>,
    /// Saying this.
    pub permission: Option<AclPermission>,
}

impl AclFilter {
    fn resource_code(&self) -> i8 {
        self.resource.map_or(ANY, AclResource::code)
    }

    fn pattern_code(&self) -> i8 {
        match self.names {
            AclNames::Any => ANY,
            AclNames::Matching => 2,
            AclNames::Exactly(pattern) => pattern.code(),
        }
    }

    fn operation_code(&self) -> i8 {
        self.operation.map_or(ANY, AclOperation::code)
    }

    fn permission_code(&self) -> i8 {
        self.permission.map_or(ANY, AclPermission::code)
    }
}

impl Admin {
    /// Adds entries. One that is there already stays as it is.
    pub async fn create_acls(&self, acls: &[Acl]) -> Result<Outcomes<Acl, ()>, Error> {
        let request = |_| {
            let mut request = CreateAclsRequest::default();
            request.creations = acls.iter().map(creation).collect();
            request
        };
        self.call(To::Controller, Lost::AskAgain, request, |answer| {
            let mut outcomes = Outcomes::new();
            for (acl, told) in acls.iter().zip(answer.read()?.results) {
                let what = || because(format!("to add {acl:?}"), told.error_message);
                outcomes.insert(acl.clone(), refuse(told.error_code, what));
            }
            not_the_controller(&outcomes)?;
            Ok(outcomes)
        })
        .await
    }

    /// The entries that a filter finds, in their order.
    pub async fn describe_acls(&self, filter: &AclFilter) -> Result<Vec<Acl>, Error> {
        let request = |_| {
            let mut request = DescribeAclsRequest::default();
            request.resource_type_filter = filter.resource_code();
            request.resource_name_filter = filter.name.as_deref().map(Into::into);
            request.pattern_type_filter = filter.pattern_code();
            request.principal_filter = filter.principal.as_deref().map(Into::into);
            request.host_filter = filter.host.as_deref().map(Into::into);
            request.operation = filter.operation_code();
            request.permission_type = filter.permission_code();
            request
        };
        self.call(To::Any, Lost::AskAgain, request, |answer| {
            let answer = answer.read()?;
            refuse(answer.error_code, || {
                because("to describe ACLs".to_owned(), answer.error_message)
            })?;
            let mut found = Vec::new();
            for resource in answer.resources {
                let about = (
                    resource.resource_type,
                    resource.resource_name,
                    resource.pattern_type,
                );
                found.extend(resource.acls.into_iter().map(|acl| {
                    let says = (acl.operation, acl.permission_type);
                    Acl::told(about, (acl.principal, acl.host), says)
                }));
            }
            found.sort();
            Ok(found)
        })
        .await
    }

    /// Removes what filters find. Gives for each of them the entries that were found, and whether they
    /// are gone.
    pub async fn delete_acls(
        &self,
        filters: &[AclFilter],
    ) -> Result<Outcomes<AclFilter, Outcomes<Acl, ()>>, Error> {
        let request = |_| {
            let mut request = DeleteAclsRequest::default();
            request.filters = filters.iter().map(deletion).collect();
            request
        };
        self.call(To::Controller, Lost::Tell, request, |answer| {
            let mut outcomes = Outcomes::new();
            for (filter, told) in filters.iter().zip(answer.read()?.filter_results) {
                let what = || because(format!("to delete {filter:?}"), told.error_message);
                let found = refuse(told.error_code, what).map(|()| {
                    let gone = told.matching_acls.into_iter().map(|acl| {
                        let what = || because("to delete an ACL".to_owned(), acl.error_message);
                        let outcome = refuse(acl.error_code, what);
                        let about = (acl.resource_type, acl.resource_name, acl.pattern_type);
                        let says = (acl.operation, acl.permission_type);
                        (Acl::told(about, (acl.principal, acl.host), says), outcome)
                    });
                    gone.collect::<Outcomes<_, _>>()
                });
                outcomes.insert(filter.clone(), found);
            }
            not_the_controller(&outcomes)?;
            Ok(outcomes)
        })
        .await
    }
}

fn creation(acl: &Acl) -> AclCreation {
    let mut creation = AclCreation::default();
    creation.resource_type = acl.resource.code();
    creation.resource_name = (&*acl.name).into();
    creation.resource_pattern_type = acl.pattern.code();
    creation.principal = (&*acl.principal).into();
    creation.host = (&*acl.host).into();
    creation.operation = acl.operation.code();
    creation.permission_type = acl.permission.code();
    creation
}

fn deletion(filter: &AclFilter) -> DeleteAclsFilter {
    let mut deletion = DeleteAclsFilter::default();
    deletion.resource_type_filter = filter.resource_code();
    deletion.resource_name_filter = filter.name.as_deref().map(Into::into);
    deletion.pattern_type_filter = filter.pattern_code();
    deletion.principal_filter = filter.principal.as_deref().map(Into::into);
    deletion.host_filter = filter.host.as_deref().map(Into::into);
    deletion.operation = filter.operation_code();
    deletion.permission_type = filter.permission_code();
    deletion
}
