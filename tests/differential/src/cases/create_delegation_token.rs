//! `CreateDelegationToken`: tokens, of whoever asks. By default no client says who it is.

use millrace_protocol::api::Api;
use serde_json::json;

use crate::case::{Case, Suite};

pub(super) fn suite() -> Suite {
    Suite::of(Api::CreateDelegationToken).case(Case::named("tokens, of whoever asks").ask(json!({"OwnerPrincipalType":null,"OwnerPrincipalName":null,"Renewers":[{"PrincipalType":"User","PrincipalName":"a"}],"MaxLifetimeMs":1000})).vary())
}
