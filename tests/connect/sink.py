"""Materialises a topic of changes into PostgreSQL, exactly once, until it is killed. Arguments: bootstrap address, topic,
data source name.

The position in the topic is a row of the same database and moves in the transaction that writes what was read up to
there. A transaction begins by locking these rows: a predecessor that was killed may still have one under way, and
whoever comes second goes on from where the first one ended."""

import json
import sys
import time

import psycopg
from kafka import KafkaConsumer, TopicPartition

POLL_MS = 200
# The broker may be away just now.
PATIENCE_MS = 120_000
RECORDS_MAX = 500


def positions(cursor, partitions):
    """Locks the positions; where to read on, by partition."""
    for partition in partitions:
        cursor.execute("insert into sink.positions values (%s, 0) on conflict do nothing", [partition])
    cursor.execute("select partition, next from sink.positions order by partition for update")
    return dict(cursor.fetchall())


def apply(cursor, record):
    """Writes one record: that it was read, and what it says."""
    row = json.loads(record.value)["after"]
    cursor.execute("insert into sink.events values (%s, %s, %s)", [record.partition, record.offset, row["id"]])
    # What captures changes may repeat them after a crash: a row that is known says nothing new.
    cursor.execute(
        "insert into sink.ledger values (%(id)s, %(account)s, %(amount)s, %(reason)s) on conflict do nothing", row
    )
    if cursor.rowcount == 1:
        cursor.execute(
            "insert into sink.balances values (%(account)s, %(amount)s) "
            "on conflict (account) do update set amount = sink.balances.amount + excluded.amount",
            row,
        )


def main():
    bootstrap, topic, source = sys.argv[1:]
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=None,
        enable_auto_commit=False,
        bootstrap_timeout_ms=PATIENCE_MS,
        reconnect_backoff_max_ms=500,
        max_poll_records=RECORDS_MAX,
    )
    while not (partitions := sorted(consumer.partitions_for_topic(topic))):
        time.sleep(POLL_MS / 1000)
    assigned = [TopicPartition(topic, partition) for partition in partitions]
    consumer.assign(assigned)
    with psycopg.connect(source) as connection:
        expected = {}
        while True:
            polled = consumer.poll(timeout_ms=POLL_MS)
            with connection.transaction(), connection.cursor() as cursor:
                stored = positions(cursor, partitions)
                if stored != expected:
                    # The first time, and when a predecessor's last transaction ended after we looked.
                    for partition in assigned:
                        consumer.seek(partition, stored[partition.partition])
                    expected = stored
                    continue
                for partition, records in polled.items():
                    for record in records:
                        apply(cursor, record)
                    expected[partition.partition] = records[-1].offset + 1
                    cursor.execute(
                        "update sink.positions set next = %s where partition = %s",
                        [expected[partition.partition], partition.partition],
                    )


main()
