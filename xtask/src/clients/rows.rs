//! The clients: how each is had, in which version, and what its driver's command is.

use super::{go, java, javascript, kcat, python, rust};

/// A client and how it is had.
#[derive(Debug)]
pub(super) struct Client {
    /// Its name on the command line and in the table.
    pub(super) name: &'static str,
    /// Its version, as the table shows it: that of the package that is installed.
    pub(super) version: &'static str,
    /// When it runs without being named.
    pub(super) when: When,
    /// Installs what is missing, builds the driver; the words of its command.
    pub(super) install: fn() -> Result<Vec<String>, String>,
}

/// When a client runs without being named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// In a smoke, too: it is there in seconds.
    Smoke,
    /// In the whole run.
    Whole,
    /// Only by its name: it is minutes long to build.
    Named,
}

/// All of them, in the order of the table.
pub(super) const ROWS: &[Client] = &[
    Client {
        name: "java",
        version: "kafka-clients 4.3.1",
        when: When::Smoke,
        install: java::current,
    },
    Client {
        name: "java-2.1",
        version: "kafka-clients 2.1.1",
        when: When::Whole,
        install: java::old,
    },
    Client {
        name: "kcat",
        version: "kcat 1.7.1, librdkafka 2.0.2 (Debian 12)",
        when: When::Smoke,
        install: kcat::install,
    },
    Client {
        name: "franz-go",
        version: "franz-go 1.22.2",
        when: When::Smoke,
        install: go::franz_go,
    },
    Client {
        name: "sarama",
        version: "Sarama 1.61.1",
        when: When::Whole,
        install: go::sarama,
    },
    Client {
        name: "kafka-go",
        version: "kafka-go 0.4.51",
        when: When::Whole,
        install: go::kafka_go,
    },
    Client {
        name: "kafka-python",
        version: "kafka-python 3.0.12",
        when: When::Smoke,
        install: python::kafka_python,
    },
    Client {
        name: "kafka-python-2.0.2",
        version: "kafka-python 2.0.2",
        when: When::Whole,
        install: python::kafka_python_old,
    },
    Client {
        name: "aiokafka",
        version: "aiokafka 0.14.0",
        when: When::Whole,
        install: python::aiokafka,
    },
    Client {
        name: "confluent-kafka-python",
        version: "confluent-kafka 2.16.1",
        when: When::Whole,
        install: python::confluent_kafka,
    },
    Client {
        name: "kafkajs",
        version: "KafkaJS 2.2.4",
        when: When::Whole,
        install: javascript::kafkajs,
    },
    Client {
        name: "confluent-kafka-javascript",
        version: "@confluentinc/kafka-javascript 1.10.1",
        when: When::Named,
        install: javascript::confluent,
    },
    Client {
        name: "rdkafka",
        version: "rdkafka 0.39.0",
        when: When::Whole,
        install: rust::rdkafka,
    },
    Client {
        name: "rskafka",
        version: "rskafka 0.6.0",
        when: When::Whole,
        install: rust::rskafka,
    },
];
