//! `DeleteAcls`: nobody decides who may do what, by default.

use millrace_protocol::api::Api;
use serde_json::json;

use crate::case::{Case, Suite};

pub(super) fn suite() -> Suite {
    let one = json!({"ResourceTypeFilter": 2, "ResourceNameFilter": "~t", "PatternTypeFilter": 3,
        "PrincipalFilter": null, "HostFilter": null, "Operation": 1, "PermissionType": 1});
    Suite::of(Api::DeleteAcls)
        .case(Case::named("one").ask(json!({"Filters": [one]})).vary())
        .case(Case::named("several").ask(json!({"Filters": [one, one]})))
}
