"""kafka-python against a running broker: a topic made, each codec produced, everything consumed by
assignment and compared: value, key, headers, timestamp, offset. The bootstrap address is the only
argument; the last line says what was compared."""

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


def main():
    bootstrap = sys.argv[1]
    for codec in CODECS:
        topic = f"kafka-python-{codec or 'none'}"
        create(bootstrap, topic)
        produce(bootstrap, topic, codec)
        consume(bootstrap, topic)
    print(f"kafka-python: {len(CODECS)} codecs, {RECORDS} records each, all alike")


main()
