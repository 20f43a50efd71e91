"""The scenarios of the client matrix, told once for all clients in Python, and the program that
runs one of them: `DRIVER BOOTSTRAP SCENARIO PREFIX`.

Its last line is `pass`, or `n/a: FUNCTION` for what the client lacks. The line `restart` asks
whoever started it to kill the broker and start it again; the answer is a line, too.
"""

import sys
import threading
import traceback
from collections.abc import Callable

from matrix import (
    FIRST_TIMESTAMP_MS,
    Client,
    Exists,
    Lacks,
    Member,
    Producer,
    Record,
    TooLarge,
    by_place,
    eventually,
    expected,
    members_until,
    placed,
    poll_until,
    produce,
    read,
    read_all,
    same,
    share,
    spread,
)


def topics(client: Client, topic: str) -> None:
    name, years = "retention.ms", "315360000000"
    client.create(topic, 3, {name: "-1"})
    eventually("partitions", lambda: client.partitions(topic), {0, 1, 2})
    eventually(name, lambda: client.config(topic, name), "-1")
    client.alter(topic, name, years)
    eventually(name, lambda: client.config(topic, name), years)
    client.grow(topic, 5)
    eventually("partitions", lambda: client.partitions(topic), {0, 1, 2, 3, 4})
    sent = spread("topics", range(50), 5)
    produce(client, topic, sent)
    read(client, topic, 5, placed(sent))
    try:
        client.create(topic, 3)
    except Exists:
        return
    raise AssertionError("a topic was made twice")


def codecs(client: Client, topic: str) -> None:
    for codec in client.codecs:
        client.create(f"{topic}-{codec}", 3)
        sent = spread("codecs", range(100))
        produce(client, f"{topic}-{codec}", sent, codec=codec)
        read(client, f"{topic}-{codec}", 3, placed(sent))


def records(client: Client, topic: str) -> None:
    client.create(topic, 3)
    odd = {1: {"key": None}, 2: {"value": None}, 3: {"value": b""}, 4: {"headers": ()}}
    odd[5] = {"key": b"", "headers": (("h", b"1"), ("h", b"2"), ("\u00fc", b"\xff\x00"))}
    sent = [expected("records", i, i * 7 % 3).but(**odd.get(i % 8, {})) for i in range(120)]
    produce(client, topic, sent)
    read(client, topic, 3, placed(sent))


def idempotent(client: Client, topic: str) -> None:
    if not client.has_idempotence:
        raise Lacks("enable.idempotence")
    client.create(topic, 3)
    sent = spread("idempotent", range(1000))
    produce(client, topic, sent, idempotent=True)
    read(client, topic, 3, placed(sent))


def assign(client: Client, topic: str) -> None:
    client.create(topic, 3)
    sent = spread("assign", range(300))
    produce(client, topic, sent)
    read(client, topic, 3, placed(sent))
    consumer = client.consumer(topic)
    consumer.assign([0, 1, 2])
    consumer.seek_to_end([0, 1, 2])
    same("ends", [consumer.position(n) for n in range(3)], [100, 100, 100])
    later = spread("assign", range(300, 303))
    produce(client, topic, later)
    log = placed(sent + later)
    found = by_place(poll_until(consumer, "from the end", 3))
    same("from the end", found, [record for record in log if record.offset == 100])
    consumer.assign([1])
    consumer.seek(1, 40)
    same("from 40", poll_until(consumer, "from 40", 61), log[101 + 40 : 202])
    at = lambda i: FIRST_TIMESTAMP_MS + i * 1000
    same("at its time", consumer.offset_for_time(0, at(150)), 50)
    same("between two", consumer.offset_for_time(0, at(150) + 1), 51)
    same("before all", consumer.offset_for_time(2, 0), 0)
    same("behind all", consumer.offset_for_time(2, at(400)), None)
    consumer.assign([0])
    consumer.seek(0, consumer.offset_for_time(0, at(200)) or 0)
    same("from a time", poll_until(consumer, "from a time", 34), log[67:101])
    consumer.close()


def group(client: Client, topic: str, strategy: str = "range") -> None:
    client.create(topic, 6)
    join = lambda: Member(client, topic, topic, strategy=strategy)
    first = join()
    members_until("the first has all", [first], lambda: share([first], 6))
    second = join()
    both = [first, second]
    members_until("two share", both, lambda: share(both, 6))
    if strategy == "cooperative":
        same("only what moves is revoked", first.revoked(), second.partitions)
    sent = spread("group", range(600), 6)
    produce(client, topic, sent)
    seen = lambda: by_place(first.seen + second.seen)
    members_until("600 records", both, lambda: len(seen()) >= 600)
    same("what both read", seen(), placed(sent))
    for member in both:
        same("what one read", {record.partition for record in member.seen}, member.partitions)
    had = set(first.partitions)
    second.leave()
    members_until("one has all", [first], lambda: share([first], 6))
    if strategy == "cooperative":
        same("nothing that stays is revoked", first.revoked() & had, set())
    sent += spread("group", range(600, 660), 6)
    produce(client, topic, sent[600:])
    members_until("60 more", [first], lambda: len(seen()) >= 660)
    same("what one read on", seen(), placed(sent))
    first.leave()
    third = join()
    members_until("the third has all", [third], lambda: share([third], 6))
    sent += spread("group", range(660, 666), 6)
    produce(client, topic, sent[660:])
    members_until("the last 6", [third], lambda: len(third.seen) >= 6)
    last = [record for record in placed(sent) if record.offset == 110]
    same("from the commit", by_place(third.seen), last)
    third.leave()


def cooperative(client: Client, topic: str) -> None:
    group(client, topic, strategy="cooperative")


def static(client: Client, topic: str) -> None:
    client.create(topic, 6)
    join = lambda name: Member(client, topic, topic, instance=f"{topic}-{name}")
    first, second = join("a"), join("b")
    both = [first, second]
    members_until("two share", both, lambda: share(both, 6))
    sent = spread("static", range(60), 6)
    produce(client, topic, sent)
    members_until("60 records", both, lambda: len(first.seen) + len(second.seen) >= 60)
    had, changes = set(second.partitions), list(first.changes)
    second.leave()
    again = join("b")
    members_until("it is back", [first, again], lambda: share([first, again], 6))
    same("its partitions", again.partitions, had)
    sent += spread("static", range(60, 120), 6)
    produce(client, topic, sent[60:])
    seen = lambda: by_place(first.seen + second.seen + again.seen)
    members_until("60 more", [first, again], lambda: len(seen()) >= 120)
    same("what three read", seen(), placed(sent))
    same("what it read on", {record.partition for record in again.seen}, had)
    same("the other's rebalances", first.changes, changes)
    first.leave()
    again.leave()


def offsets(client: Client, topic: str) -> None:
    client.create(topic, 3)
    sent = spread("offsets", range(60))
    produce(client, topic, sent)
    consumer = client.consumer(topic, topic)
    consumer.assign([0, 1, 2])
    same("no commit yet", consumer.committed(0), None)
    # Nothing is committed: it begins where auto.offset.reset says.
    same("reset", by_place(poll_until(consumer, "all", 60)), placed(sent))
    lag = lambda: [consumer.end(n) - consumer.position(n) for n in range(3)]
    same("lag at the end", lag(), [0, 0, 0])
    sent += spread("offsets", range(60, 66))
    produce(client, topic, sent[60:])
    log = placed(sent)
    same("lag behind more records", lag(), [2, 2, 2])
    found = by_place(poll_until(consumer, "more", 6))
    same("more", found, [record for record in log if record.offset >= 20])
    same("lag at the new end", lag(), [0, 0, 0])
    consumer.commit({0: 5})
    same("committed", consumer.committed(0), 5)
    consumer.commit_async({1: 7})
    # The answer is taken by whoever polls.
    eventually("committed later", lambda: consumer.poll() or consumer.committed(1), 7)
    same("another partition", consumer.committed(2), None)
    consumer.seek(0, 3)
    same("behind a seek", poll_until(consumer, "seek", 19), log[3:22])
    consumer.pause(1)
    consumer.seek_to_beginning([0, 1, 2])
    same("but the paused", by_place(poll_until(consumer, "44", 44)), log[:22] + log[44:])
    same("the paused", consumer.poll(), [])
    consumer.resume(1)
    same("resumed", poll_until(consumer, "22", 22), log[22:44])
    consumer.seek(2, 1000)
    same("reset from beyond the end", poll_until(consumer, "22", 22), log[44:])
    consumer.close()
    back = client.consumer(topic, topic)
    back.assign([0, 1])
    found = by_place(poll_until(back, "32", 32))
    same("from the commits", found, log[5:22] + log[29:44])
    back.close()
    late = client.consumer(topic, f"{topic}-late", reset="latest")
    late.assign([0])
    eventually("latest", lambda: late.poll() or late.position(0), 22)
    late.close()


def delete_records(client: Client, topic: str) -> None:
    client.create(topic, 3)
    sent = spread("delete-records", range(60))
    produce(client, topic, sent)
    client.delete_records(topic, 1, 7)
    consumer = client.consumer(topic)
    consumer.assign([1])
    eventually("log start", lambda: consumer.beginning(1), 7)
    same("log end", consumer.end(1), 20)
    consumer.close()
    log = placed(sent)
    read(client, topic, 3, log[:20] + log[27:])


def large(client: Client, topic: str) -> None:
    client.create(topic, 1)
    sized = lambda i, size: expected("large", i, 0).but(value=bytes(n % 251 for n in range(size)))
    producer = client.producer(topic, request_bytes_max=4 << 20)
    passes, refused, after = sized(0, 900 << 10), sized(1, 2 << 20), expected("large", 2, 0)
    same("900 KiB", producer.send(passes)(), 0)
    try:
        producer.send(refused)()
        raise AssertionError("2 MiB were taken")
    except TooLarge:
        pass
    same("the next", producer.send(after)(), 1)
    producer.close()
    read(client, topic, 1, placed([passes, after]))


def admin(client: Client, topic: str) -> None:
    both = [topic, f"{topic}-other"]
    for name in both:
        client.create(name, 1)
    brokers, controller = client.describe_cluster()
    same("one broker is the controller", brokers, [controller])
    eventually("topics", lambda: set(both) <= client.list_topics(), True)
    member = Member(client, topic, topic)
    members_until("it has all", [member], lambda: share([member], 1))
    produce(client, topic, [expected("admin", 0, 0)])
    members_until("a commit", [member], lambda: member.committed == {0: 1})
    same("listed", topic in client.list_groups(), True)
    same("described", client.describe_group(topic), ("Stable", 1))
    member.leave()
    same("without members", client.describe_group(topic), ("Empty", 0))
    lacks = []
    try:
        client.delete_group(topic)
        same("deleted", topic in client.list_groups(), False)
    except Lacks as function:
        lacks.append(str(function))
    client.delete_topics(both)
    eventually("topics", lambda: set(both) & client.list_topics(), set())
    if lacks:
        raise Lacks(", ".join(lacks))


class Writer:
    """Sends records to one partition, some at a time, from its own thread until it is ended."""

    WINDOW = 5

    def __init__(self, producer: Producer, partition: int):
        self.acknowledged: list[Record] = []
        self.error: str | None = None
        self.ending = threading.Event()
        run = lambda: self._run(producer, partition)
        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def _run(self, producer: Producer, partition: int) -> None:
        flying: list[tuple[Record, Callable[[], int]]] = []
        try:
            while flying or not self.ending.is_set():
                if not self.ending.is_set():
                    count = len(self.acknowledged) + len(flying)
                    record = expected("restart", count, partition)
                    flying.append((record, producer.send(record)))
                if len(flying) >= self.WINDOW or self.ending.is_set():
                    record, acknowledged = flying.pop(0)
                    self.acknowledged.append(record.but(offset=acknowledged()))
            producer.close()
        except BaseException:
            self.error = traceback.format_exc()

    def end(self) -> None:
        self.ending.set()
        self.thread.join()
        assert self.error is None, self.error


def restart(client: Client, topic: str) -> None:
    client.create(topic, 2)
    writers = [Writer(client.producer(topic), 0)]
    if client.has_idempotence:
        writers.append(Writer(client.producer(topic, idempotent=True), 1))
    member = Member(client, topic, topic)

    def have(counts: list[int]) -> bool:
        for writer in writers:
            assert writer.error is None, writer.error
        has_enough = [len(w.acknowledged) >= count for w, count in zip(writers, counts)]
        return all(has_enough) and len(member.committed) == len(writers)

    members_until("200 each", [member], lambda: have([200, 200]))
    commits, before = dict(member.committed), len(member.seen)
    print("restart", flush=True)
    same("the frame's answer", sys.stdin.readline(), "restarted\n")
    counts = [len(writer.acknowledged) + 200 for writer in writers]
    members_until("200 more", [member], lambda: have(counts))
    for writer in writers:
        writer.end()
    log = read_all(client, topic, 2)
    ends = {record.partition: record.offset + 1 for record in log}
    members_until("all is committed", [member], lambda: member.committed == ends)
    member.leave()
    for record in member.seen[before:]:
        assert record.offset >= commits[record.partition], f"{record} was committed before"
    same("what the group read", by_place(set(member.seen)), log)
    plain = [record for record in log if record.partition == 0]
    lost = set(writers[0].acknowledged) - set(plain)
    same("lost", lost, set())
    if client.has_idempotence:
        sure = [record for record in log if record.partition == 1]
        same("each once", sure, writers[1].acknowledged)


SCENARIOS: dict[str, Callable[[Client, str], None]] = {
    "topics": topics,
    "codecs": codecs,
    "records": records,
    "idempotent": idempotent,
    "assign": assign,
    "group": group,
    "cooperative": cooperative,
    "static": static,
    "offsets": offsets,
    "delete-records": delete_records,
    "large": large,
    "admin": admin,
    "restart": restart,
}


def main(connect: Callable[[str], Client]) -> None:
    """Runs the scenario that the command line names."""
    bootstrap, scenario, prefix = sys.argv[1:]
    try:
        SCENARIOS[scenario](connect(bootstrap), f"{prefix}-{scenario}")
    except Lacks as function:
        print(f"n/a: {function}")
        return
    print("pass")
