//! Levels of loggers, described and changed by Kafka's protocol (`BROKER_LOGGER`, KIP-412). Codes and
//! words are Apache Kafka's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use millrace_protocol::api::Api;
use millrace_protocol::messages::alter_configs_request::AlterConfigsResource;
use millrace_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use millrace_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};
use millrace_server::{LoggerChange, LoggerError, Loggers};

use crate::configs::{alter, alter_all, change, describe};
use crate::node::{Node, with};

const LOGGER: i8 = 8;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// A logger below the root.
const ROOM: &str = "millrace_log";

#[derive(Debug)]
struct Recorded(Mutex<BTreeMap<String, &'static str>>);

impl Loggers for Recorded {
    fn levels(&self) -> Vec<(String, &'static str)> {
        self.0.lock().unwrap().clone().into_iter().collect()
    }

    fn exists(&self, name: &str) -> bool {
        name == "root" || name == ROOM
    }

    fn change(&self, changes: &[LoggerChange<'_>]) -> Result<(), LoggerError> {
        for change in changes {
            let level = change.level.map(|level| match level.to_string().as_str() {
                "debug" => "DEBUG",
                "error" => "ERROR",
                _ => "TRACE",
            });
            let root = self.0.lock().unwrap()["root"];
            let name = change.logger.to_owned();
            self.0.lock().unwrap().insert(name, level.unwrap_or(root));
        }
        Ok(())
    }
}

/// Every logger with its level, as described.
async fn levels(node: &mut Node) -> Vec<(String, String)> {
    let result = describe(node, 4, (LOGGER, "1"), None).await;
    assert_eq!(result.error_code, 0);
    let row = |row: DescribeConfigsResourceResult| {
        assert_eq!(
            (row.config_source, row.read_only, row.is_sensitive),
            (6, false, false)
        );
        assert!(row.synonyms.is_empty());
        (row.name.to_string(), row.value.unwrap().to_string())
    };
    result.configs.into_iter().map(row).collect()
}

#[test]
fn levels_are_seen_and_change_while_the_node_runs() {
    with(&[], async |mut node| {
        // A node that was started without loggers has none.
        assert_eq!(levels(&mut node).await, []);
        let first = BTreeMap::from([("root".to_owned(), "INFO"), (ROOM.to_owned(), "INFO")]);
        let loggers = Arc::new(Recorded(Mutex::new(first)));
        node.restart_with(loggers).await;
        let of = |room: &str, root: &str| {
            vec![
                (ROOM.to_owned(), room.to_owned()),
                ("root".to_owned(), root.to_owned()),
            ]
        };
        assert_eq!(levels(&mut node).await, of("INFO", "INFO"));
        let one = describe(&mut node, 4, (LOGGER, "1"), Some(&[ROOM])).await;
        assert_eq!(one.configs.len(), 1);
        let wanted = [(ROOM, SET, Some("DEBUG")), ("root", SET, Some("FATAL"))];
        let validated = vec![change(LOGGER, "1", &wanted)];
        let done = alter_all(&mut node, 1, validated, true).await;
        assert_eq!(done, [(0, String::new())]);
        assert_eq!(levels(&mut node).await, of("INFO", "INFO"));
        let done = alter(&mut node, LOGGER, "1", &wanted).await;
        assert_eq!(done, (0, String::new()));
        assert_eq!(levels(&mut node).await, of("DEBUG", "ERROR"));
        let done = alter(&mut node, LOGGER, "1", &[(ROOM, DELETE, None)]).await;
        assert_eq!(done, (0, String::new()));
        assert_eq!(levels(&mut node).await, of("ERROR", "ERROR"));
    });
}

#[test]
fn what_kafka_refuses_of_loggers_is_refused_whole() {
    with(&[], async |mut node| {
        let first = BTreeMap::from([("root".to_owned(), "INFO"), (ROOM.to_owned(), "INFO")]);
        node.restart_with(Arc::new(Recorded(Mutex::new(first))))
            .await;
        let valid = "as it is not a supported log level. Valid log levels are DEBUG, ERROR, FATAL, \
                     INFO, TRACE, WARN";
        for (wanted, code, words) in [
            (
                ("z", SET, Some("INFO")),
                40,
                "Logger z does not exist!".to_owned(),
            ),
            (
                (ROOM, SET, Some("loud")),
                40,
                format!("Cannot set the log level of {ROOM} to loud {valid}"),
            ),
            (
                ("root", DELETE, None),
                42,
                "Removing the log level of the root logger is not allowed".to_owned(),
            ),
            (
                (ROOM, APPEND, Some("INFO")),
                42,
                "APPEND operation is not allowed for the BROKER_LOGGER resource".to_owned(),
            ),
            (
                (ROOM, SUBTRACT, Some("INFO")),
                42,
                "SUBTRACT operation is not allowed for the BROKER_LOGGER resource".to_owned(),
            ),
            (
                (ROOM, SET, None),
                42,
                format!("Null value not supported for : {ROOM}"),
            ),
        ] {
            // What stands before it isn't changed either.
            let both = [("root", SET, Some("DEBUG")), wanted];
            let both = if wanted.0 == "root" {
                &both[1..]
            } else {
                &both
            };
            let said = alter(&mut node, LOGGER, "1", both).await;
            assert_eq!(said, (code, words));
        }
        let (code, _) = alter(&mut node, LOGGER, "7", &[(ROOM, SET, Some("INFO"))]).await;
        assert_eq!(code, 42);
        assert_eq!(
            describe(&mut node, 4, (LOGGER, "7"), None).await.error_code,
            42
        );
        assert!(
            levels(&mut node)
                .await
                .iter()
                .all(|(_, level)| level == "INFO")
        );
        // The older API replaces what is set as a whole, which levels are not.
        let mut request = AlterConfigsRequest::default();
        let mut resource = AlterConfigsResource::default();
        resource.resource_type = LOGGER;
        resource.resource_name = "1".into();
        request.resources = vec![resource];
        let answer: AlterConfigsResponse = node.client.ask(Api::AlterConfigs, 2, &request).await;
        assert_eq!(answer.responses[0].error_code, 42);
    });
}
