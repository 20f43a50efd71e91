//! What gets through: records through each listener by each mechanism, sessions that are renewed, files
//! that are replaced.

use std::fs;
use std::time::Duration;

use millrace_client::{
    Admin, Cluster, Consumer, ConsumerOptions, Delivery, GroupOptions, NewTopic, OffsetOf,
    OffsetOrFind, Producer, ProducerOptions, Record, Records, Sasl, Security,
};

use crate::token::bearer;
use crate::{PASSWORD, Stage, USER, both, encrypted, known, say, text};

/// Records through each listener.
const RECORDS: usize = 500;
/// Tokens of the suite last this long.
const TOKEN_S: i64 = 300;
/// Renewals that are waited for; the suite's broker wants one every few seconds.
const RENEWALS: u64 = 3;

/// Runs all of it.
pub(crate) async fn all(stage: &Stage) -> Result<(), String> {
    let scram_256 = || Sasl::scram_sha_256(USER, PASSWORD);
    let scram_512 = || Sasl::scram_sha_512(USER, PASSWORD);
    let plain = || Sasl::plain(USER, PASSWORD);
    let token = || bearer(&stage.host, USER, TOKEN_S);
    let ways: [(&str, &str, Security); 9] = [
        ("ssl", "ssl", encrypted(stage.tls("ca.pem"))),
        (
            "client-certificate",
            "mtls",
            encrypted(stage.tls_as_client()),
        ),
        ("plain", "sasl", known(plain())),
        ("scram-sha-256", "sasl", known(scram_256())),
        ("scram-sha-512", "sasl", known(scram_512())),
        ("oauthbearer", "sasl", known(token())),
        ("ssl-plain", "sasl_ssl", both(stage.tls("ca.pem"), plain())),
        (
            "ssl-scram-sha-512",
            "sasl_ssl",
            both(stage.tls("ca.pem"), scram_512()),
        ),
        (
            "ssl-oauthbearer",
            "sasl_ssl",
            both(stage.tls("ca.pem"), token()),
        ),
    ];
    for (name, listener, security) in ways {
        let cluster = stage.connect(listener, security).await;
        let cluster = cluster.map_err(|reason| format!("{name}: {reason}"))?;
        let through = stage.within(go_through(&cluster, name)).await?;
        through.map_err(|reason| format!("{name}: {reason}"))?;
        say(&format!(
            "pass {name}: {RECORDS} records produced and read, by hand and in a group"
        ));
    }
    renewals(stage).await?;
    replaced_files(stage).await
}

async fn go_through(cluster: &Cluster, name: &str) -> Result<(), String> {
    let topic = format!("through-{name}");
    let made = Admin::new(cluster)
        .create_topics(&[NewTopic::new(topic.as_str(), 1)])
        .await
        .map_err(text)?;
    for outcome in made.into_values() {
        outcome.map_err(text)?;
    }
    produce(cluster, &topic, RECORDS).await?;

    let consumer = Consumer::new(cluster, ConsumerOptions::default());
    let begin = OffsetOrFind::Find(OffsetOf::Start);
    let assigned = consumer.assign([(topic.as_str(), 0, begin)]).await;
    assigned.map_err(text)?;
    read(&consumer).await?;

    let group = GroupOptions::new(format!("group-{name}"), [topic.as_str()]);
    let member = Consumer::subscribe(cluster, from_start(), group).map_err(text)?;
    read(&member).await?;
    member.commit().await.map_err(text)?;
    member.close().await.map_err(text)
}

fn from_start() -> ConsumerOptions {
    ConsumerOptions {
        reset: millrace_client::Reset::Earliest,
        ..ConsumerOptions::default()
    }
}

async fn produce(cluster: &Cluster, topic: &str, count: usize) -> Result<(), String> {
    let producer = Producer::new(cluster, &ProducerOptions::default()).map_err(text)?;
    let mut deliveries: Vec<Delivery> = Vec::with_capacity(count);
    for number in 0..count {
        let value = number.to_string();
        let record = Record::to(topic).value(&value);
        deliveries.push(producer.send(&record).await.map_err(text)?);
    }
    producer.flush().await;
    for delivery in deliveries {
        delivery.wait().await.map_err(text)?;
    }
    Ok(())
}

/// Reads what was produced, each record at its place.
async fn read(consumer: &Consumer) -> Result<(), String> {
    let mut scratch = Records::scratch();
    let mut values: Vec<String> = Vec::new();
    while values.len() < RECORDS {
        let records = consumer.next().await.map_err(text)?;
        let kept = records.read_records(&mut scratch, |record| {
            let value = record.value.unwrap_or_default();
            values.push(String::from_utf8_lossy(value).into_owned());
        });
        kept.map_err(text)?;
    }
    let expected = (0..RECORDS).map(|number| number.to_string());
    if values.into_iter().eq(expected) {
        Ok(())
    } else {
        Err("other records came back".to_owned())
    }
}

/// On one connection the client says who it is again and again, and nothing ends.
async fn renewals(stage: &Stage) -> Result<(), String> {
    for (name, sasl) in [
        ("scram-sha-256", Sasl::scram_sha_256(USER, PASSWORD)),
        ("oauthbearer", bearer(&stage.host, USER, TOKEN_S)),
    ] {
        let options = stage.options("renewed", known(sasl))?;
        let metrics = options.connection.metrics.clone();
        let working = async {
            let cluster = Cluster::connect(&stage.host, options).await.map_err(text)?;
            let client = cluster.any_broker().await.map_err(text)?;
            let begun = metrics.figures();
            let admin = Admin::new(&cluster);
            // What is asked again and again goes over one connection, which the broker would end.
            while metrics.figures().authentications < begun.authentications + RENEWALS {
                admin.describe_cluster().await.map_err(text)?;
                stage
                    .host
                    .clock
                    .sleep_until(stage.host.clock.now().mono + PAUSE)
                    .await;
            }
            let now = metrics.figures();
            if now.disconnects > 0 || now.connections > begun.connections + 1 {
                return Err(format!("connections ended: {now:?}"));
            }
            drop(client);
            Ok(())
        };
        let renewed = stage.within(working).await?;
        renewed.map_err(|reason| format!("renewals by {name}: {reason}"))?;
        say(&format!(
            "pass renewals by {name}: {RENEWALS} on one connection"
        ));
    }
    Ok(())
}

/// Between two requests of who waits for a renewal.
const PAUSE: Duration = Duration::from_millis(50);

/// A client goes by the files as they are when it connects.
async fn replaced_files(stage: &Stage) -> Result<(), String> {
    let path = stage.files.join("changing.pem");
    let copy = |from: &str| {
        fs::copy(stage.files.join(from), &path)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    copy("other-ca.pem")?;
    let security = encrypted(stage.tls("changing.pem"));
    if stage.connect("ssl", security.clone()).await.is_ok() {
        return Err("a foreign authority was trusted".to_owned());
    }
    copy("ca.pem")?;
    stage.connect("ssl", security).await?;
    say("pass replaced authority, without a restart");
    Ok(())
}
