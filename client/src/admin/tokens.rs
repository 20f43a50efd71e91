//! Delegation tokens: what lets in in somebody's place for a time (KIP-48, KIP-373).
//!
//! What always holds: a token's secret is shown by no formatting.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use millrace_protocol::messages::create_delegation_token_request::CreatableRenewers;
use millrace_protocol::messages::describe_delegation_token_request::DescribeDelegationTokenOwner;
use millrace_protocol::messages::{
    CreateDelegationTokenRequest, DescribeDelegationTokenRequest, ExpireDelegationTokenRequest,
    RenewDelegationTokenRequest,
};

use super::Admin;
use super::route::{Lost, To};
use crate::Error;
use crate::client::refuse;

/// The broker's own choice.
const UNSET_MS: i64 = -1;

/// Somebody, as a broker knows them.
///
/// ```
/// # use millrace_client::Principal;
/// assert_eq!(Principal::user("alice").name, "alice");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Principal {
    /// What kind, nearly always `User`.
    pub kind: String,
    /// The name.
    pub name: String,
}

impl Principal {
    /// A user.
    pub fn user(name: impl Into<String>) -> Self {
        Self::of("User", &name.into())
    }

    fn of(kind: &str, name: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            name: name.to_owned(),
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.name)
    }
}

/// A token to be made. By default one's own, renewed by nobody else, for as long as the broker allows.
///
/// ```no_run
/// # use std::time::Duration;
/// # use millrace_client::{Admin, Error, NewDelegationToken, Principal};
/// # async fn example(admin: &Admin) -> Result<(), Error> {
/// let for_a_job = NewDelegationToken {
///     renewers: vec![Principal::user("scheduler")],
///     lifetime: Some(Duration::from_hours(12)),
///     ..NewDelegationToken::default()
/// };
/// let token = admin.create_delegation_token(&for_a_job).await?;
/// admin.renew_delegation_token(&token.hmac, Some(Duration::from_hours(1))).await?;
/// admin.expire_delegation_token(&token.hmac, None).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewDelegationToken {
    /// In whose place it lets in; whoever asks, for `None`. Another's takes Kafka 3.3.
    pub owner: Option<Principal>,
    /// Who may renew it beside the owner.
    pub renewers: Vec<Principal>,
    /// How long it may be renewed at all.
    pub lifetime: Option<Duration>,
}

/// A token. Its times are in milliseconds since 1970.
///
/// ```no_run
/// # use millrace_client::{Admin, Cluster, Error};
/// # async fn example(cluster: Cluster) -> Result<(), Error> {
/// for token in Admin::new(&cluster).describe_delegation_tokens(None).await? {
///     println!("{token:?}");
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct DelegationToken {
    /// Its name: the user's in SCRAM.
    pub id: String,
    /// Its secret, by which it is renewed; in base64 the password in SCRAM.
    pub hmac: Bytes,
    /// In whose place it lets in.
    pub owner: Principal,
    /// Who asked for it; the owner, to a broker before Kafka 3.3.
    pub requester: Principal,
    /// When it was made.
    pub issued_ms: i64,
    /// Until when it is good, unless it is renewed.
    pub expires_ms: i64,
    /// Until when it can be renewed.
    pub ends_ms: i64,
    /// Who may renew it beside the owner.
    pub renewers: Vec<Principal>,
}

impl fmt::Debug for DelegationToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DelegationToken")
            .field("id", &self.id)
            .field("owner", &self.owner)
            .field("requester", &self.requester)
            .field("issued_ms", &self.issued_ms)
            .field("expires_ms", &self.expires_ms)
            .field("ends_ms", &self.ends_ms)
            .field("renewers", &self.renewers)
            .finish_non_exhaustive()
    }
}

impl Admin {
    /// Makes a token. The connection must know who asks, and not by a token itself.
    pub async fn create_delegation_token(
        &self,
        new: &NewDelegationToken,
    ) -> Result<DelegationToken, Error> {
        let request = |_| {
            let mut request = CreateDelegationTokenRequest::default();
            request.owner_principal_type = new.owner.as_ref().map(|owner| (&*owner.kind).into());
            request.owner_principal_name = new.owner.as_ref().map(|owner| (&*owner.name).into());
            let renewer = |principal: &Principal| {
                let mut renewer = CreatableRenewers::default();
                renewer.principal_type = (&*principal.kind).into();
                renewer.principal_name = (&*principal.name).into();
                renewer
            };
            request.renewers = new.renewers.iter().map(renewer).collect();
            request.max_lifetime_ms = new.lifetime.map_or(UNSET_MS, millis);
            request
        };
        self.call(To::Controller, Lost::Tell, request, |answer| {
            let told = answer.read()?;
            refuse(told.error_code, || "to make a delegation token".to_owned())?;
            let owner = Principal::of(told.principal_type, told.principal_name);
            let requester = (
                told.token_requester_principal_type,
                told.token_requester_principal_name,
            );
            Ok(DelegationToken {
                id: told.token_id.to_owned(),
                hmac: answer.share(told.hmac),
                requester: requester_or(requester, &owner),
                owner,
                issued_ms: told.issue_timestamp_ms,
                expires_ms: told.expiry_timestamp_ms,
                ends_ms: told.max_timestamp_ms,
                renewers: new.renewers.clone(),
            })
        })
        .await
    }

    /// Makes a token good for so much longer, or for as long as the broker renews by itself. Gives until
    /// when, in milliseconds since 1970.
    pub async fn renew_delegation_token(
        &self,
        hmac: &Bytes,
        period: Option<Duration>,
    ) -> Result<i64, Error> {
        let request = |_| {
            let mut request = RenewDelegationTokenRequest::default();
            request.hmac = hmac.clone();
            request.renew_period_ms = period.map_or(UNSET_MS, millis);
            request
        };
        self.call(To::Controller, Lost::AskAgain, request, |answer| {
            let told = answer.read()?;
            refuse(told.error_code, || "to renew a delegation token".to_owned())?;
            Ok(told.expiry_timestamp_ms)
        })
        .await
    }

    /// Ends a token in so long, or at once for `None`. Gives when, in milliseconds since 1970.
    pub async fn expire_delegation_token(
        &self,
        hmac: &Bytes,
        after: Option<Duration>,
    ) -> Result<i64, Error> {
        let request = |_| {
            let mut request = ExpireDelegationTokenRequest::default();
            request.hmac = hmac.clone();
            request.expiry_time_period_ms = after.map_or(UNSET_MS, millis);
            request
        };
        self.call(To::Controller, Lost::Tell, request, |answer| {
            let told = answer.read()?;
            refuse(told.error_code, || "to end a delegation token".to_owned())?;
            Ok(told.expiry_timestamp_ms)
        })
        .await
    }

    /// The tokens of these owners, or all that whoever asks may see.
    pub async fn describe_delegation_tokens(
        &self,
        owners: Option<&[Principal]>,
    ) -> Result<Vec<DelegationToken>, Error> {
        let request = |_| {
            let owner = |principal: &Principal| {
                let mut owner = DescribeDelegationTokenOwner::default();
                owner.principal_type = (&*principal.kind).into();
                owner.principal_name = (&*principal.name).into();
                owner
            };
            let mut request = DescribeDelegationTokenRequest::default();
            request.owners = owners.map(|owners| owners.iter().map(owner).collect());
            request
        };
        self.call(To::Any, Lost::AskAgain, request, |answer| {
            let told = answer.read()?;
            refuse(told.error_code, || {
                "to describe delegation tokens".to_owned()
            })?;
            let mut tokens = Vec::new();
            for token in told.tokens {
                let owner = Principal::of(token.principal_type, token.principal_name);
                let requester = (
                    token.token_requester_principal_type,
                    token.token_requester_principal_name,
                );
                let renewers = token.renewers.into_iter();
                tokens.push(DelegationToken {
                    id: token.token_id.to_owned(),
                    hmac: answer.share(token.hmac),
                    requester: requester_or(requester, &owner),
                    owner,
                    issued_ms: token.issue_timestamp,
                    expires_ms: token.expiry_timestamp,
                    ends_ms: token.max_timestamp,
                    renewers: renewers
                        .map(|one| Principal::of(one.principal_type, one.principal_name))
                        .collect(),
                });
            }
            Ok(tokens)
        })
        .await
    }
}

/// Who asked; nobody is named by a broker that knows owners only.
fn requester_or((kind, name): (&str, &str), owner: &Principal) -> Principal {
    if kind.is_empty() {
        return owner.clone();
    }
    Principal::of(kind, name)
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let alice = Principal::user("alice");
        let token = DelegationToken {
            id: "t".to_owned(),
            hmac: Bytes::from_static(b"secret"),
            owner: alice.clone(),
            requester: alice,
            issued_ms: 1,
            expires_ms: 2,
            ends_ms: 3,
            renewers: Vec::new(),
        };
        let shown = format!("{token:?}");
        assert!(shown.contains("alice") && !shown.contains("secret"));
        assert!(!shown.contains("115, 101"), "{shown}");
        assert_eq!(requester_or(("", ""), &token.owner), token.owner);
    }
}
