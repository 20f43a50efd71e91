"""kafka-python as an idempotent writer while its broker is killed again and again. Arguments:
bootstrap address, topic (of three partitions), a file. Writes until standard input ends, then waits for what is under
way; each delivery report is a line `partition offset value` of the file. Ends with 1 when a record
was given up."""

import sys
import threading

from kafka import KafkaProducer

PARTITIONS = 3
PAUSE_S = 0.004
# Far longer than any kill lasts: nothing may be given up.
PATIENCE_S = 300


def main():
    bootstrap, topic, path = sys.argv[1:]
    producer = KafkaProducer(
        bootstrap_servers=bootstrap,
        acks="all",
        enable_idempotence=True,
        linger_ms=2,
        retry_backoff_ms=20,
        reconnect_backoff_ms=10,
        reconnect_backoff_max_ms=100,
        request_timeout_ms=10_000,
        delivery_timeout_ms=PATIENCE_S * 1000,
        max_block_ms=PATIENCE_S * 1000,
    )
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    failed = []
    with open(path, "w", buffering=1) as reports:

        def told(value, metadata):
            reports.write(f"{metadata.partition} {metadata.offset} {value}\n")

        nth = 0
        while not over.wait(PAUSE_S) and not failed:
            value = f"python-{nth}"
            sent = producer.send(topic, value.encode(), partition=nth % PARTITIONS)
            sent.add_callback(lambda metadata, value=value: told(value, metadata))
            sent.add_errback(failed.append)
            nth += 1
        producer.flush(timeout=PATIENCE_S)
        producer.close(timeout=PATIENCE_S)
    if failed:
        sys.exit(f"{len(failed)} records given up, first: {failed[0]!r}")


main()
