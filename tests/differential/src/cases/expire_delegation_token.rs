//! `ExpireDelegationToken`: tokens, ended. By default no client says who it is.

use millrace_protocol::api::Api;
use serde_json::json;

use crate::case::{Case, Suite};

pub(super) fn suite() -> Suite {
    Suite::of(Api::ExpireDelegationToken).case(
        Case::named("tokens, ended")
            .ask(json!({"Hmac":"abc","ExpiryTimePeriodMs":1000}))
            .vary(),
    )
}
