//! `DescribeAcls`: nobody decides who may do what, by default.

use millrace_protocol::api::Api;
use serde_json::json;

use crate::case::{Case, Suite};

pub(super) fn suite() -> Suite {
    Suite::of(Api::DescribeAcls).case(
        Case::named("those of topics")
            .ask(
                json!({"ResourceTypeFilter": 2, "ResourceNameFilter": "~t", "PatternTypeFilter": 3,
                "PrincipalFilter": null, "HostFilter": null, "Operation": 1, "PermissionType": 1}),
            )
            .vary(),
    )
}
