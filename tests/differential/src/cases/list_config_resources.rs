//! `ListConfigResources`: what configurations there are of.

use millrace_protocol::api::Api;
use serde_json::{Value, json};

use crate::case::{Case, Step, Suite, topic};

fn list(kinds: Value) -> Step {
    let mut request = json!({});
    request["ResourceTypes"] = kinds;
    Step::own(request)
        .only_mine("ConfigResources")
        .sorted("ConfigResources")
}

pub(super) fn suite() -> Suite {
    let case = |name: &str, kinds: Value| Case::named(name).versions(1..=1).step(list(kinds));
    Suite::of(Api::ListConfigResources)
        .shared([topic("^t", 1)])
        .case(Case::named("all").step(list(json!([]))))
        .case(case("topics", json!([2])).vary())
        .case(case("topics and brokers", json!([2, 4])))
        .case(
            Case::named("brokers")
                .versions(1..=1)
                .step(Step::own(json!({"ResourceTypes": [4]})).sorted("ConfigResources")),
        )
        .case(
            Case::named("loggers")
                .versions(1..=1)
                .step(Step::own(json!({"ResourceTypes": [8]})).sorted("ConfigResources")),
        )
        .case(case("client metrics", json!([16])))
        .case(case("groups", json!([32])))
        .case(case("something that nobody knows", json!([64])))
        .case(case(
            "something that nobody knows, and topics",
            json!([-1, 2]),
        ))
        .case(case("something unknown", json!([0])))
        .case(case("a kind twice", json!([2, 2])))
}
