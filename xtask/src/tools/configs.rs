//! `kafka-configs` on what is neither a topic nor a broker's plain keys: loggers, groups, client
//! metrics, listeners.

use super::{Tools, absent};
use crate::Outcome;

pub(super) fn run(tools: &Tools) -> Outcome {
    loggers(tools)?;
    if tools.whole {
        groups(tools)?;
        listeners(tools)?;
    }
    Ok(())
}

/// Levels while the broker runs.
fn loggers(tools: &Tools) -> Outcome {
    const LOGGER: &str = "millrace_server";
    let of = ["--entity-type", "broker-loggers", "--entity-name", "1"];
    let describe = [&of[..], &["--describe"]].concat();
    let told = tools.ask("configs", &describe, &["root=INFO"])?;
    absent(&told, "millrace_server=DEBUG")?;
    let set = [
        &of[..],
        &["--alter", "--add-config", "millrace_server=DEBUG"],
    ]
    .concat();
    let done = "Completed updating config for broker-logger 1.";
    tools.ask("configs", &set, &[done])?;
    tools.ask("configs", &describe, &["millrace_server=DEBUG"])?;
    if !tools.whole {
        return Ok(());
    }
    let back = [&of[..], &["--alter", "--delete-config", LOGGER]].concat();
    tools.ask("configs", &back, &[done])?;
    let told = tools.ask("configs", &describe, &["root=INFO"])?;
    absent(&told, "millrace_server=DEBUG")?;
    for (bad, said) in [
        ("millrace_server=LOUD", "LOUD"),
        ("no.such.logger=INFO", "no.such.logger"),
    ] {
        let bad = [&of[..], &["--alter", "--add-config", bad]].concat();
        tools.refused("configs", &bad, &[said])?;
    }
    Ok(())
}

/// What isn't there yet is described, and refused when it is asked for.
fn groups(tools: &Tools) -> Outcome {
    let of = ["--entity-type", "groups", "--entity-name", "g"];
    let said = [
        "consumer.session.timeout.ms=45000",
        "DEFAULT_CONFIG:group.consumer.session.timeout.ms=45000",
    ];
    tools.ask(
        "configs",
        &[&of[..], &["--describe", "--all"]].concat(),
        &said,
    )?;
    let asked = [
        "--alter",
        "--add-config",
        "consumer.session.timeout.ms=50000",
    ];
    tools.refused("configs", &[&of[..], &asked].concat(), &["no effect"])?;
    let asked = ["--alter", "--add-config", "nonsense=1"];
    let said = ["Unknown group config name: nonsense"];
    tools.refused("configs", &[&of[..], &asked].concat(), &said)?;
    let of = ["--entity-type", "client-metrics", "--entity-name", "m"];
    let said = ["interval.ms=300000"];
    tools.ask(
        "configs",
        &[&of[..], &["--describe", "--all"]].concat(),
        &said,
    )?;
    let asked = ["--alter", "--add-config", "interval.ms=1000"];
    tools.refused("configs", &[&of[..], &asked].concat(), &["no effect"])
}

/// One more while the broker runs, and gone again.
fn listeners(tools: &Tools) -> Outcome {
    let of = ["--entity-type", "brokers", "--entity-name", "1"];
    let alter = |what: &str| {
        let set = ["--alter", "--add-config", what];
        tools.ask(
            "configs",
            &[&of[..], &set].concat(),
            &["Completed updating"],
        )
    };
    let both = "listeners=[PLAINTEXT://127.0.0.1:0,MORE://127.0.0.1:0]";
    let set = ["--alter", "--add-config", both];
    let said = ["listener.security.protocol.map knows"];
    tools.refused("configs", &[&of[..], &set].concat(), &said)?;
    alter("listener.security.protocol.map=[PLAINTEXT:PLAINTEXT,MORE:PLAINTEXT]")?;
    alter(both)?;
    let said = ["MORE://127.0.0.1:0"];
    tools.ask("configs", &[&of[..], &["--describe"]].concat(), &said)?;
    let back = "listeners,listener.security.protocol.map";
    let back = ["--alter", "--delete-config", back];
    tools.ask(
        "configs",
        &[&of[..], &back].concat(),
        &["Completed updating"],
    )?;
    let told = tools.ask("configs", &[&of[..], &["--describe"]].concat(), &[])?;
    absent(&told, "MORE://")
}
