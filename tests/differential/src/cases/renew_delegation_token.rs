//! `RenewDelegationToken`: tokens, renewed. By default no client says who it is.

use millrace_protocol::api::Api;
use serde_json::json;

use crate::case::{Case, Suite};

pub(super) fn suite() -> Suite {
    Suite::of(Api::RenewDelegationToken).case(
        Case::named("tokens, renewed")
            .ask(json!({"Hmac":"abc","RenewPeriodMs":1000}))
            .vary(),
    )
}
