//! `SaslHandshake`: a mechanism, where nobody is asked. By default no client says who it is.

use millrace_protocol::api::Api;
use serde_json::json;

use crate::case::{Case, Suite};

pub(super) fn suite() -> Suite {
    Suite::of(Api::SaslHandshake).case(
        Case::named("a mechanism, where nobody is asked")
            .ask(json!({"Mechanism":"PLAIN"}))
            .vary(),
    )
}
