//! `CreateAcls`: nobody decides who may do what, by default.

use millrace_protocol::api::Api;
use serde_json::json;

use crate::case::{Case, Suite};

pub(super) fn suite() -> Suite {
    let one = json!({"ResourceType": 2, "ResourceName": "~t", "ResourcePatternType": 3,
        "Principal": "User:a", "Host": "*", "Operation": 3, "PermissionType": 3});
    Suite::of(Api::CreateAcls)
        .case(Case::named("one").ask(json!({"Creations": [one]})).vary())
        .case(Case::named("several").ask(json!({"Creations": [one, one, one]})))
}
