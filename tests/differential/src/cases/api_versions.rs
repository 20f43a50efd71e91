//! `ApiVersions`: what is served, and what becomes of a client that asks in a version nobody knows.

use millrace_protocol::api::Api;
use serde_json::json;

use crate::case::{Case, Step, Suite};

pub(super) fn suite() -> Suite {
    Suite::of(Api::ApiVersions)
        .case(
            Case::named("a client with a name")
                .ask(json!({"ClientSoftwareName": "differential", "ClientSoftwareVersion": "1.0"}))
                .vary(),
        )
        .case(named("a name with a space", "a b", "1.0"))
        .case(named("a name that begins with a dash", "-a", "1.0"))
        .case(named("a name that ends with a dot", "a.", "1.0"))
        .case(named("a name of all that is allowed", "a.B-9", "0.0-x.1"))
        .case(named("a version with a slash", "a", "1/0"))
        .case(
            Case::named("a version of the API that nobody knows")
                .step(Step::raw(18, 9, "00"))
                .ask(json!({"ClientSoftwareName": "a", "ClientSoftwareVersion": "1"})),
        )
        .case(
            Case::named("a negative version")
                .step(Step::raw(18, -1, ""))
                .ask(json!({"ClientSoftwareName": "a", "ClientSoftwareVersion": "1"})),
        )
        .case(
            Case::named("bytes behind the body")
                .versions(0..=0)
                .step(Step::raw(18, 0, "0011")),
        )
        .case(
            Case::named("a body that ends early")
                .versions(3..=3)
                .step(Step::raw(18, 3, "05aa")),
        )
        .case(
            Case::named("an API that nobody serves")
                .versions(0..=0)
                .step(Step::raw(999, 0, ""))
                .step(Step::raw(-1, 0, "")),
        )
}

fn named(case: &'static str, name: &str, version: &str) -> Case {
    Case::named(case).versions(3..=4).ask(json!({
        "ClientSoftwareName": name,
        "ClientSoftwareVersion": version,
    }))
}
