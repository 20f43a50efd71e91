"""kafka-python against a running broker: a topic made, each codec produced, everything consumed by
assignment and compared: value, key, headers, timestamp, offset. Then by a group: two members share
the partitions, one leaves, the other goes on; the next member begins where they committed. The
bootstrap address is the only argument; the last line says what was compared."""

import sys
import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

CODECS = [None, "gzip", "snappy", "lz4", "zstd"]
RECORDS = 2000
PARTITIONS = 3
PATIENCE_S = 60
FIRST_TIMESTAMP_MS = 1_700_000_000_000


def key(nth):
    return None if nth % 5 == 0 else b"key %d" % nth


def value(nth):
    return b"value %d " % nth + b"abcdefgh " * (nth % 40)


def headers(nth):
    return [("nth", b"%d" % nth), ("empty", b"")]


def create(bootstrap, topic):
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    admin.close()


def produce(bootstrap, topic, codec):
    producer = KafkaProducer(
        bootstrap_servers=bootstrap, compression_type=codec, acks="all", linger_ms=5
    )
    sent = [
        producer.send(
            topic,
            value=value(nth),
            key=key(nth),
            headers=headers(nth),
            partition=nth % PARTITIONS,
            timestamp_ms=FIRST_TIMESTAMP_MS + nth,
        )
        for nth in range(RECORDS)
    ]
    producer.flush(PATIENCE_S)
    for nth, future in enumerate(sent):
        offset = future.get(timeout=PATIENCE_S).offset
        assert offset == nth // PARTITIONS, f"record {nth} was acknowledged at {offset}"
    producer.close()


def consume(bootstrap, topic):
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    )
    partitions = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
    consumer.assign(partitions)
    consumer.seek_to_beginning()
    ends = consumer.end_offsets(partitions)
    assert sum(ends.values()) == RECORDS, f"{topic} ends at {ends}"
    deadline = time.monotonic() + PATIENCE_S
    seen = 0
    while seen < RECORDS:
        assert time.monotonic() < deadline, f"{seen} of {RECORDS} records of {topic} in time"
        for records in consumer.poll(timeout_ms=200).values():
            for record in records:
                nth = record.offset * PARTITIONS + record.partition
                found = (record.key, record.value, [tuple(header) for header in record.headers], record.timestamp)
                made = (key(nth), value(nth), headers(nth), FIRST_TIMESTAMP_MS + nth)
                assert found[2] == made[2], f"{topic} {nth}: {found}"
                assert found[:2] == made[:2] and found[3] == made[3], f"{topic} {nth}: {found}"
                seen += 1
    consumer.close()


def member(bootstrap, topic, group):
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_poll_records=50,
    )
    return consumer


def poll_until(members, seen, done):
    """Has every member poll, in turn, until `done`; what comes is noted as (partition, offset)."""
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < deadline, f"{len(seen)} seen, {[m.assignment() for m in members]}"
        for consumer in members:
            for records in consumer.poll(timeout_ms=100).values():
                seen.extend((record.partition, record.offset) for record in records)
                consumer.commit()


def consume_in_a_group(bootstrap, topic):
    group = f"group of {topic}"
    first, second = member(bootstrap, topic, group), member(bootstrap, topic, group)
    seen = []
    shared = lambda: first.assignment() and second.assignment()
    poll_until([first, second], seen, shared)
    both = first.assignment() | second.assignment()
    assert len(both) == PARTITIONS and not first.assignment() & second.assignment(), both
    second.close(autocommit=False)
    poll_until([first], seen, lambda: len(set(seen)) == RECORDS)
    assert len(first.assignment()) == PARTITIONS, first.assignment()
    first.close(autocommit=False)
    made = {(nth % PARTITIONS, nth // PARTITIONS) for nth in range(RECORDS)}
    assert set(seen) == made, f"{len(made - set(seen))} records were not seen"
    third = member(bootstrap, topic, group)
    again = []
    poll_until([third], again, lambda: third.assignment())
    ends = third.end_offsets(list(third.assignment()))
    committed = {partition: third.committed(partition) for partition in ends}
    assert committed == ends and not again, f"{committed} of {ends}, {again[:5]}"
    third.close(autocommit=False)
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    listed = {row["group_id"]: row for row in admin.list_groups()}
    assert listed[group]["protocol_type"] == "consumer", listed
    admin.delete_groups([group])
    assert group not in [row["group_id"] for row in admin.list_groups()]
    admin.close()


def main():
    bootstrap = sys.argv[1]
    for codec in CODECS:
        topic = f"kafka-python-{codec or 'none'}"
        create(bootstrap, topic)
        produce(bootstrap, topic, codec)
        consume(bootstrap, topic)
    consume_in_a_group(bootstrap, "kafka-python-none")
    print(f"kafka-python: {len(CODECS)} codecs, {RECORDS} records each, all alike; a group of two")


if __name__ == "__main__":
    main()
