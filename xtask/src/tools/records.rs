//! Tools that look at offsets and records: `kafka-get-offsets`, `kafka-delete-records`,
//! `kafka-replica-verification`.

use super::Tools;
use crate::Outcome;

pub(super) fn run(tools: &Tools) -> Outcome {
    let of = ["--topic", "r"];
    tools.ask("get-offsets", &of, &["r:0:1000"])?;
    deleted(tools)?;
    let arguments = ["--broker-list", &tools.address, "--topics-include", "r"];
    let arguments = [&arguments[..], &["--report-interval-ms", "200"]].concat();
    tools.until(
        "replica-verification",
        &arguments,
        "max lag is 0 for partition r-0",
    )?;
    if tools.whole {
        offsets(tools)?;
    }
    Ok(())
}

fn deleted(tools: &Tools) -> Outcome {
    let asked = |offset: i64| {
        format!(
            "{{\"partitions\":[{{\"topic\":\"r\",\"partition\":0,\"offset\":{offset}}}],\
             \"version\":1}}"
        )
    };
    let file = tools.file("delete.json", &asked(400))?;
    let delete = ["--offset-json-file", &file];
    tools.ask("delete-records", &delete, &["low_watermark: 400"])?;
    let of = ["--topic", "r", "--time", "earliest"];
    tools.ask("get-offsets", &of, &["r:0:400"])?;
    if !tools.whole {
        return Ok(());
    }
    tools.file("delete.json", &asked(1001))?;
    tools.ask("delete-records", &delete, &["OffsetOutOfRangeException"])?;
    tools.file("delete.json", &asked(-1))?;
    tools.ask("delete-records", &delete, &["low_watermark: 1000"])?;
    let twice = asked(1).replace("}]", "},{\"topic\":\"r\",\"partition\":0,\"offset\":2}]");
    tools.file("delete.json", &twice)?;
    tools.refused("delete-records", &delete, &["duplicate topic partitions"])
}

/// Every kind of time that the tool knows.
fn offsets(tools: &Tools) -> Outcome {
    tools.produce("r", 10)?;
    for (time, offset) in [
        ("latest", 1010),
        ("-1", 1010),
        ("earliest", 1000),
        ("-2", 1000),
        ("0", 1000),
        ("earliest-local", 1000),
    ] {
        let said = format!("r:0:{offset}");
        tools.ask("get-offsets", &["--topic", "r", "--time", time], &[&said])?;
    }
    let newest = ["--topic", "r", "--time", "max-timestamp"];
    tools.ask("get-offsets", &newest, &["r:0:10"])?;
    let some = ["--topic-partitions", "r:0,t:0-3"];
    tools.ask("get-offsets", &some, &["r:0:1010", "t:0:", "t:2:"])?;
    let some = ["--topic", "t", "--partitions", "1,2"];
    tools.ask("get-offsets", &some, &["t:1:", "t:2:"])?;
    let unknown = ["--topic", "nope"];
    tools.refused(
        "get-offsets",
        &unknown,
        &["Could not match any topic-partitions"],
    )
}
