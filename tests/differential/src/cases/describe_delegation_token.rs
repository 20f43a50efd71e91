//! `DescribeDelegationToken`: tokens, described. By default no client says who it is.

use millrace_protocol::api::Api;
use serde_json::json;

use crate::case::{Case, Suite};

pub(super) fn suite() -> Suite {
    Suite::of(Api::DescribeDelegationToken).case(
        Case::named("tokens, described")
            .ask(json!({"Owners":[{"PrincipalType":"User","PrincipalName":"a"}]}))
            .vary(),
    )
}
