//! `UpdateFeatures`: levels that there are and aren't; nothing is changed.

use millrace_protocol::api::Api;
use serde_json::{Value, json};

use crate::case::{Case, Step, Suite};

fn update(name: &str, level: i16, upgrade: i8) -> Value {
    json!({"Feature": name, "MaxVersionLevel": level, "UpgradeType": upgrade, "AllowDowngrade": upgrade > 1})
}

fn only_to_see(updates: Value) -> Step {
    let mut request = json!({"timeoutMs": 30000, "ValidateOnly": true});
    request["FeatureUpdates"] = updates;
    Step::own(request).sorted("Results")
}

pub(super) fn suite() -> Suite {
    let case =
        |name: &str, updates: Value| Case::named(name).versions(1..=2).step(only_to_see(updates));
    Suite::of(Api::UpdateFeatures)
        .case(case(
            "a feature that nobody knows",
            json!([update("no.such.feature", 1, 1)]),
        ))
        .case(case("a feature without a name", json!([update("", 1, 1)])))
        .case(case(
            "a level too high",
            json!([update("metadata.version", 1000, 1)]),
        ))
        .case(case(
            "a negative level",
            json!([update("metadata.version", -1, 1)]),
        ))
        .case(case(
            "the level that it has",
            json!([update("metadata.version", 29, 1)]),
        ))
        .case(case(
            "a lower level, as an upgrade",
            json!([update("metadata.version", 7, 1)]),
        ))
        .case(case(
            "an upgrade that nobody knows",
            json!([update("metadata.version", 29, 9)]),
        ))
        .case(case(
            "a feature twice",
            json!([update("group.version", 1, 1), update("group.version", 1, 1)]),
        ))
        .case(case("nothing", json!([])))
        .case(
            Case::named("a feature that nobody knows, in earnest").step(Step::own(
                json!({"timeoutMs": 30000, "FeatureUpdates": [update("no.such.feature", 1, 1)]}),
            ))
            .vary(),
        )
}
