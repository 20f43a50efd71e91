//! `InitProducerId`: new producers, and those who tell what they had. (Who wants a transaction is among
//! the differences.)

use millrace_protocol::api::Api;
use serde_json::{Value, json};

use crate::case::{Case, Step, Suite, ask};

fn init(said: Value) -> Value {
    super::with(
        json!({"TransactionalId": null, "TransactionTimeoutMs": 60000}),
        said,
    )
}

pub(super) fn suite() -> Suite {
    let had = |id: Value, epoch: i16| json!({"ProducerId": id, "ProducerEpoch": epoch});
    // Kafka asks its controller for ids when somebody asks first, and says 14 until it has some.
    let first = ask(Api::InitProducerId, init(json!({})));
    Suite::of(Api::InitProducerId)
        .shared([vec![first]])
        .case(
            Case::named("a new producer")
                .ask(init(json!({})))
                .vary()
                // Transactions.
                .without("TransactionalId", "unknown")
                .without("TransactionalId", "max"),
        )
        .case(
            Case::named("two producers")
                .ask(init(json!({})))
                .ask(init(json!({}))),
        )
        .case(
            Case::named("a transactional id without letters")
                .ask(init(json!({"TransactionalId": ""}))),
        )
        .case(Case::named("no time").ask(init(json!({"TransactionTimeoutMs": 0}))))
        .case(
            Case::named("a producer that tells what it had")
                .versions(3..=5)
                .step(Step::own(init(json!({}))).save("pid", "ProducerId"))
                .ask(init(had(json!("$pid"), 0)))
                .ask(init(had(json!("$pid"), 7))),
        )
        .case(
            Case::named("an id without an epoch")
                .versions(3..=5)
                .ask(init(had(json!(5), -1))),
        )
        .case(
            Case::named("an epoch without an id")
                .versions(3..=5)
                .ask(init(had(json!(-1), 5))),
        )
        .case(
            Case::named("the last epoch")
                .versions(3..=5)
                .ask(init(had(json!(5), i16::MAX))),
        )
}
