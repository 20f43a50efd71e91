"""Compares what arrived with what is true. Arguments: what to compare (tables, compacted, lines, again, sink), bootstrap address, data
source name, directory, how often somebody was killed so far.

Waits until all has arrived; what is wrong for good (a step forward over something, a record that nobody wrote) is told
at once."""

import json
import pathlib
import sys
import time

import psycopg
from kafka import KafkaConsumer, TopicPartition

# What is under way arrives within this, restarts of workers included.
PATIENCE_S = 600
PAUSE_S = 0.5

# Each table with the columns of its key, and how a column is written by PostgreSQL as Debezium writes it.
TIME = "to_char({} at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US')"
TABLES = {
    "customers": (
        ["id"],
        {
            "id": "{}",
            "name": "{}",
            "email": "{}",
            "balance": "{}::text",
            "active": "{}",
            "born": "to_char({}, 'YYYY-MM-DD')",
            "seen": TIME,
            "profile": "{}",
            "photo": "replace(encode({}, 'base64'), E'\\n', '')",
            "tags": "{}",
            "score": "{}",
        },
    ),
    "orders": (
        ["customer", "number"],
        {
            "customer": "{}",
            "number": "{}",
            "state": "{}",
            "note": "{}",
            "placed": "to_char({}, 'YYYY-MM-DD\"T\"HH24:MI:SS.US')",
        },
    ),
    "ledger": (["id"], {"id": "{}", "account": "{}", "amount": "{}", "reason": "{}"}),
}


class NotYet(Exception):
    """Something has not arrived; what."""


def read(bootstrap, topic):
    """Everything in a topic, by partition in order, and how many offsets there are."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=None, enable_auto_commit=False)
    names = consumer.partitions_for_topic(topic)
    if not names:
        raise NotYet(f"topic {topic}")
    partitions = [TopicPartition(topic, name) for name in sorted(names)]
    consumer.assign(partitions)
    consumer.seek_to_beginning()
    ends = consumer.end_offsets(partitions)
    records = {partition: [] for partition in partitions}
    deadline = time.monotonic() + PATIENCE_S
    while any(consumer.position(partition) < ends[partition] for partition in partitions):
        if time.monotonic() > deadline:
            sys.exit(f"{topic} can't be read to its end {ends} within {PATIENCE_S} s")
        for partition, polled in consumer.poll(timeout_ms=200).items():
            records[partition] += polled
    consumer.close()
    return list(records.values()), sum(ends.values())


def steps(what, seen, true):
    """How often `seen` went back. Between two of these it goes on in the order of `true`, without a gap: a repetition
    is what a restart may cause, a step over something is a loss."""
    nth = {value: position for position, value in enumerate(true)}
    unknown = next((value for value in seen if value not in nth), None)
    if unknown is not None:
        sys.exit(f"{what}: {unknown!r} was never written")
    back, before = 0, -1
    for value in seen:
        position = nth[value]
        if position > before + 1:
            sys.exit(f"{what}: {true[position]!r} follows {true[before]!r}, over {true[before + 1]!r}")
        back += position <= before
        before = position
    if len(set(seen)) < len(true):
        raise NotYet(f"{what}: {len(set(seen))} of {len(true)}, the next is {true[len(set(seen))]!r}")
    return back


def normal(column, value):
    """A value of Debezium's as PostgreSQL writes it by our queries."""
    if value is None:
        return None
    if column == "profile":
        return json.loads(value)
    if column == "born":
        return value.rstrip("Z")
    if column in ("seen", "placed"):
        seconds, _, fraction = value.rstrip("Z").partition(".")
        if seconds.count(":") == 1:
            seconds += ":00"
        return f"{seconds}.{fraction:0<6}"
    return value


def rebuild(partitions, key_columns):
    """The rows that the records of a topic amount to, by key."""
    rows = {}
    for record in (record for records in partitions for record in records):
        key = json.loads(record.key)
        key = tuple(key[column] for column in key_columns)
        value = record.value and json.loads(record.value)
        if value is None or value["op"] == "d":
            rows.pop(key, None)
        else:
            rows[key] = {column: normal(column, value) for column, value in value["after"].items()}
    return rows


def tables(bootstrap, source, _directory, _kills):
    """What a consumer rebuilds from the topics is what stands in the tables."""
    said = []
    with psycopg.connect(source) as connection:
        for table, (key, columns) in TABLES.items():
            partitions, offsets = read(bootstrap, f"shop.public.{table}")
            rebuilt = rebuild(partitions, key)
            names = connection.execute(
                "select column_name from information_schema.columns where table_name = %s and table_schema = 'public'",
                [table],
            )
            names = [name for (name,) in names]
            written = [columns.get(name, "{}").format(name) for name in names]
            rows = connection.execute(f"select {', '.join(written)} from {table}").fetchall()
            rows = [dict(zip(names, row)) for row in rows]
            true = {tuple(row[column] for column in key): row for row in rows}
            for at in sorted(true.keys() | rebuilt.keys()):
                ours = rebuilt.get(at)
                # A column that was added later is not in records from before, and null in these rows.
                if ours is not None:
                    ours = {name: ours.get(name) for name in names}
                if ours != true.get(at):
                    raise NotYet(f"{table} {at}\n  in the table: {true.get(at)}\n  rebuilt:      {ours}")
            records = sum(len(records) for records in partitions)
            tombstones = sum(record.value is None for records in partitions for record in records)
            said.append(
                f"{table}: {len(true)} rows of {len(names)} columns from {records} records "
                f"({tombstones} tombstones) of {offsets} offsets"
            )
    return said


def compacted(bootstrap, _source, _directory, _kills):
    """Records have gone from the topic whose rows change most."""
    partitions, offsets = read(bootstrap, "shop.public.customers")
    records = sum(len(records) for records in partitions)
    if records == offsets:
        raise NotYet("compaction: every offset still has its record")
    return [f"customers: {offsets - records} of {offsets} records are compacted away"]


def lines(bootstrap, _source, directory, kills):
    """Every line of the file is in the topic and in the other file, in order, repeated only where somebody was
    killed."""
    directory = pathlib.Path(directory)
    true = (directory / "lines.txt").read_text(encoding="utf-8").split("\n")[:-1]
    partitions, _ = read(bootstrap, "lines")
    if len(partitions) != 1:
        sys.exit(f"the topic has {len(partitions)} partitions, not one as by default")
    said = []
    sink = (directory / "sink.txt").read_text(encoding="utf-8").split("\n")[:-1]
    places = {"topic": [record.value.decode() for record in partitions[0]], "sink.txt": sink}
    for what, seen in places.items():
        back = steps(f"lines in {what}", seen, true)
        # A record that is sent again by a producer, and a position that was not kept: two for each kill at most, one
        # more for each of the topic's own in what comes out of it.
        limit = 2 * kills if what == "topic" else 4 * kills
        if back > limit:
            sys.exit(f"lines in {what} go back {back} times, though only {kills} were killed")
        said.append(f"{what}: {len(true)} lines, {len(seen) - len(true)} repeated in {back} places")
    return said


def again(bootstrap, _source, directory, _kills):
    """A file that was written from the topic's beginning without any trouble is the topic, line by line."""
    partitions, _ = read(bootstrap, "lines")
    topic = [record.value.decode() for record in partitions[0]]
    again = (pathlib.Path(directory) / "again.txt").read_text(encoding="utf-8").split("\n")[:-1]
    if again != topic[: len(again)]:
        sys.exit("again.txt is not what is in the topic")
    if len(again) < len(topic):
        raise NotYet(f"again.txt: {len(again)} of {len(topic)} lines")
    return [f"again.txt: {len(again)} lines, the topic's"]


def sink(bootstrap, source, _directory, _kills):
    """The sink has written each record of the topic once, and made the same of them as stands at their source."""
    partitions, _ = read(bootstrap, "shop.public.ledger")
    with psycopg.connect(source) as connection:
        events = connection.execute('select partition, "offset", id from sink.events order by 1, 2, 3').fetchall()
        topic = [
            (record.partition, record.offset, json.loads(record.value)["after"]["id"])
            for records in partitions
            for record in records
        ]
        if len(events) > len(topic) or len(set(events)) < len(events):
            sys.exit(f"{len(topic)} records, {len(events)} were written by the sink, {len(set(events))} different ones")
        if events != topic:
            raise NotYet(f"the sink: {len(events)} of {len(topic)} records")
        true = connection.execute("select id, account, amount, reason from ledger order by id").fetchall()
        sunk = connection.execute("select id, account, amount, reason from sink.ledger order by id").fetchall()
        if true != sunk:
            raise NotYet(f"sink.ledger has {len(sunk)} rows, ledger {len(true)}")
        sums = connection.execute("select account, sum(amount)::bigint from ledger group by 1 order by 1").fetchall()
        balances = connection.execute("select account, amount from sink.balances order by 1").fetchall()
        if sums != balances:
            sys.exit(f"balances {balances}\nare not the sums {sums}")
        back = 0
        for records in partitions:
            seen = [json.loads(record.value)["after"]["id"] for record in records]
            back += steps(f"ids in partition {records[0].partition}" if records else "", seen, sorted(set(seen)))
    return [
        f"sink: {len(events)} records once each, {len(true)} rows; {len(topic) - len(true)} were repeated by "
        f"their source, in {back} places"
    ]


def main():
    kind, bootstrap, source, directory, kills = sys.argv[1:]
    compare = {"tables": tables, "compacted": compacted, "lines": lines, "again": again, "sink": sink}[kind]
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            said = compare(bootstrap, source, directory, int(kills))
            break
        except NotYet as missing:
            if time.monotonic() > deadline:
                sys.exit(f"not there after {PATIENCE_S} s: {missing}")
            time.sleep(PAUSE_S)
    print("\n".join(said), flush=True)


main()
