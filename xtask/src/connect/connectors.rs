//! What the workers are asked for over REST: connectors that are made, paused, set back and deleted,
//! and the topics that the workers keep for themselves.

use std::process::Command;

use serde_json::{Value, json};

use super::workers::until;
use super::{Stage, lines, programs};
use crate::Outcome;
use crate::brokers::peer;
use crate::process::output;

/// The three topics of the workers, with how many partitions Connect makes of each.
const INTERNAL: [(&str, u32); 3] = [
    ("connect-configs", 1),
    ("connect-offsets", 25),
    ("connect-status", 5),
];
const CONNECTORS: [&str; 3] = ["file-source", "file-sink", "debezium"];
/// Whether the snapshot is past the first of the tables, whose rows then are on their way.
const SNAPSHOT: &str = "select count(*) from pg_stat_activity \
     where usename = 'debezium' and query ~ '\"(ledger|orders)\"'";
/// Lines that are written while nobody may read them.
const PAUSED_LINES: u32 = 100;

impl Stage {
    /// The workers have made their topics as they must be.
    pub(super) fn internal_topics(&self) -> Outcome {
        self.workers[0].ask("GET", "/connectors", None, 200)?;
        self.say("the workers serve");
        let address = self.broker.address();
        let described = output(Command::new(peer()).args([
            "run",
            "topics",
            "--bootstrap-server",
            &address,
            "--describe",
        ]))?;
        for (topic, partitions) in INTERNAL {
            let line = described
                .lines()
                .find(|line| line.contains("PartitionCount") && line.contains(topic));
            let wanted = [
                format!("PartitionCount: {partitions}\t"),
                "ReplicationFactor: 1\t".to_owned(),
                "cleanup.policy=compact".to_owned(),
            ];
            if !line.is_some_and(|line| wanted.iter().all(|wanted| line.contains(wanted))) {
                return Err(format!("{topic} is not {wanted:?}:\n{described}"));
            }
        }
        Ok(())
    }

    pub(super) fn create_connectors(&mut self, hard: bool) -> Outcome {
        for name in CONNECTORS {
            let body = json!({"name": name, "config": self.configuration(name, "sink.txt")?});
            let created = self.workers[0].ask("POST", "/connectors", Some(&body), 201)?;
            if created["config"]["connector.class"] != body["config"]["connector.class"] {
                return Err(format!("{name} was created as {created}"));
            }
        }
        if hard {
            // It begins the snapshot anew; that nothing is deleted meanwhile is Debezium's condition.
            until("the snapshot is under way", || {
                match self.postgres.number(SNAPSHOT)? {
                    1.. => Ok(()),
                    _ => Err("Debezium reads no table".to_owned()),
                }
            })?;
            self.kill_workers(&self.all_workers())?;
        }
        for name in CONNECTORS {
            self.workers[0].await_state(name, "RUNNING", 1)?;
        }
        self.compare(&["tables"])
    }

    /// A connector's configuration, with what only this run knows.
    fn configuration(&self, name: &str, sink: &str) -> Result<Value, String> {
        let file = programs::file(&format!("{name}.json"));
        let text = std::fs::read_to_string(&file).map_err(|error| error.to_string())?;
        let text = text
            .replace("@DATABASE_PORT@", &self.postgres.port.to_string())
            .replace("@DIRECTORY@", &self.directory.display().to_string())
            .replace("@SINK@", sink);
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))
    }

    /// A connector that is paused does nothing, after a kill of its worker neither, and goes on.
    pub(super) fn pause(&mut self, hard: bool) -> Outcome {
        self.say("a connector is paused");
        let name = "file-source";
        self.workers[0].ask("PUT", "/connectors/file-source/pause", None, 202)?;
        self.workers[0].await_state(name, "PAUSED", 1)?;
        let before = lines::newest(&self.directory.join("sink.txt"));
        lines::append(&self.directory.join("lines.txt"), PAUSED_LINES)?;
        if hard {
            self.kill_workers(&self.all_workers())?;
        }
        for worker in &self.workers {
            worker.await_state(name, "PAUSED", 1)?;
        }
        let after = lines::newest(&self.directory.join("sink.txt"));
        if after != before {
            return Err(format!(
                "line {after} came through a connector that is paused"
            ));
        }
        self.workers[0].ask("PUT", "/connectors/file-source/resume", None, 202)?;
        self.workers[0].await_state(name, "RUNNING", 1)?;
        let restart = "/connectors/file-source/restart?includeTasks=true";
        self.workers[0].ask("POST", restart, None, 202)?;
        self.workers[0].await_state(name, "RUNNING", 1)
    }

    /// A sink whose positions are removed reads its topic from the beginning, into another file.
    pub(super) fn read_again(&self) -> Outcome {
        let worker = &self.workers[0];
        self.compare(&["lines"])?;
        worker.ask("PUT", "/connectors/file-sink/stop", None, 204)?;
        worker.await_state("file-sink", "STOPPED", 0)?;
        let offsets = "/connectors/file-sink/offsets";
        let positions = worker.ask("GET", offsets, None, 200)?;
        let position = &positions["offsets"][0];
        if position["partition"]["kafka_topic"] != "lines"
            || position["offset"]["kafka_offset"] == 0
        {
            return Err(format!("the sink's positions are {positions}"));
        }
        worker.ask("DELETE", offsets, None, 200)?;
        let config = self.configuration("file-sink", "again.txt")?;
        worker.ask("PUT", "/connectors/file-sink/config", Some(&config), 200)?;
        worker.ask("PUT", "/connectors/file-sink/resume", None, 202)?;
        worker.await_state("file-sink", "RUNNING", 1)
    }

    /// Connectors that are deleted are gone, on every worker.
    pub(super) fn delete(&self) -> Outcome {
        self.say("connectors are deleted");
        for name in CONNECTORS {
            let path = format!("/connectors/{name}");
            self.workers[0].ask("DELETE", &path, None, 204)?;
            for worker in &self.workers {
                worker.ask("GET", &path, None, 404)?;
            }
        }
        let left = self.workers[0].ask("GET", "/connectors", None, 200)?;
        if left == json!([]) {
            Ok(())
        } else {
            Err(format!("connectors after all were deleted: {left}"))
        }
    }
}
