//! `AlterReplicaLogDirs`: to directories that there aren't, and of partitions that there aren't.

use millrace_protocol::api::Api;
use serde_json::{Value, json};

use crate::case::{Case, Suite, topic};

fn to(path: &str, topics: Value) -> Value {
    let mut directory = json!({"Path": path});
    directory["Topics"] = topics;
    json!({"Dirs": [directory]})
}

pub(super) fn suite() -> Suite {
    let row = |name: &str, partitions: &[i32]| json!({"Name": name, "Partitions": partitions});
    Suite::of(Api::AlterReplicaLogDirs)
        .shared([topic("^t", 2)])
        .case(
            Case::named("a directory that there isn't")
                .ask(to("/no/such/directory", json!([row("^t", &[0])])))
                .vary(),
        )
        .case(
            Case::named("a directory that is no path").ask(to("any", json!([row("^t", &[0, 1])]))),
        )
        .case(
            Case::named("partitions and topics that there aren't").ask(to(
                "/no/such/directory",
                json!([row("^t", &[9]), row("~no", &[0]), row("", &[0])]),
            )),
        )
        .case(Case::named("none").ask(json!({"Dirs": []})))
        .case(Case::named("no topics").ask(to("/no/such/directory", json!([]))))
        .case(Case::named("no partitions").ask(to("/no/such/directory", json!([row("^t", &[])]))))
}
