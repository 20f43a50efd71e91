"""The client matrix in Python: the records, the waits, and what a driver says of its library.

A driver gives a `Client` to `scenarios.main`. What always holds: contents are compared byte for
byte, and every wait ends on a condition or fails after `PATIENCE_S`.
"""

import threading
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

PATIENCE_S = 60
# Apache Kafka, when it starts, forgets an idempotent producer whose last record is a day old by its
# timestamp; what that sends again is then there twice.
FIRST_TIMESTAMP_MS = (int(time.time()) - 2000) * 1000
# No retention beside what a scenario asks for.
FOREVER = {"retention.ms": "-1"}


class Lacks(Exception):
    """The client has no such function: against no broker can it do that."""


class Exists(Exception):
    """A topic was refused because there is one of that name."""


class TooLarge(Exception):
    """A record was refused for its size, by the client's own error for that."""


class Rejoining(Exception):
    """A commit was refused because the group rebalances: what it held is read again."""


class Unreachable(Exception):
    """The library leaves it to the application to ask again, since it has no connection."""


@dataclass(frozen=True)
class Record:
    """A record, as it is sent and as it is read; before it is sent, its offset is -1."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]

    def but(self, **changes: Any) -> "Record":
        """The same, with these fields changed."""
        return replace(self, **changes)


def expected(scenario: str, i: int, partition: int, offset: int = -1) -> Record:
    """Record `i` of a scenario: all languages of the matrix have the same formula."""
    filling = chr(ord("a") + i % 26) * (i * 37 % 500)
    return Record(
        partition,
        offset,
        FIRST_TIMESTAMP_MS + i * 1000,
        b"k%d" % (i % 7),
        f"{scenario}-{i}-{filling}".encode(),
        (("h", b"%d" % i), ("empty", b"")),
    )


def spread(scenario: str, numbers: Iterable[int], partitions: int = 3) -> list[Record]:
    """These records, from partition to partition."""
    return [expected(scenario, i, i % partitions) for i in numbers]


def placed(records: Iterable[Record]) -> list[Record]:
    """The records of a whole topic with the offsets that they get, in the order of the log."""
    ends: dict[int, int] = {}
    found = []
    for record in records:
        offset = ends.get(record.partition, 0)
        ends[record.partition] = offset + 1
        found.append(record.but(offset=offset))
    return by_place(found)


def by_place(records: Iterable[Record]) -> list[Record]:
    return sorted(records, key=lambda record: (record.partition, record.offset))


def same(what: str, found: Any, wanted: Any) -> None:
    """Fails unless they are equal; of long lists it shows the first difference."""
    if found == wanted:
        return
    if isinstance(found, list) and isinstance(wanted, list):
        pairs = enumerate(zip(found, wanted))
        first = next((n for n, (one, other) in pairs if one != other), None)
        what = f"{what}: {len(found)} in place of {len(wanted)}"
        if first is not None:
            what, found, wanted = f"{what}, at {first}", found[first], wanted[first]
    raise AssertionError(f"{what}: found {found!r}, wanted {wanted!r}"[:2000])


class Deadline:
    """Waits for conditions of one purpose, all within `PATIENCE_S`."""

    def __init__(self, what: str, state: Callable[[], Any] = lambda: ""):
        self.what, self.state = what, state
        self.ends = time.monotonic() + PATIENCE_S
        self.changed = threading.Condition()

    def check(self) -> None:
        if time.monotonic() > self.ends:
            raise AssertionError(f"{self.what}: not within {PATIENCE_S} s: {self.state()}"[:2000])

    def until(self, condition: Callable[[], Any]) -> Any:
        """Asks again and again, a tenth of a second apart, until it is so."""
        with self.changed:
            while not (found := condition()):
                self.check()
                self.changed.wait(0.1)
            return found


def eventually(what: str, ask: Callable[[], Any], wanted: Any) -> None:
    """Asks until the answer is the wanted one: a broker may show a change after its answer."""
    last: list[Any] = [None]

    def is_so() -> bool:
        last[0] = ask()
        return last[0] == wanted

    Deadline(what, lambda: f"found {last[0]!r}, wanted {wanted!r}").until(is_so)


class Consumer:
    """How a library consumes one topic; partitions are named by number."""

    def subscribe(self, changed: Callable[[str, set[int]], None]) -> None:
        """Joins the group; `changed` hears "assigned" and "revoked" with the partitions."""
        raise NotImplementedError

    def assign(self, partitions: list[int]) -> None:
        raise NotImplementedError

    def poll(self) -> list[Record]:
        """What there is, or came within a tenth of a second; may raise `Unreachable`."""
        raise NotImplementedError

    def assignment(self) -> set[int]:
        raise NotImplementedError

    def seek(self, partition: int, offset: int) -> None:
        raise NotImplementedError

    def seek_to_beginning(self, partitions: list[int]) -> None:
        raise NotImplementedError

    def seek_to_end(self, partitions: list[int]) -> None:
        raise NotImplementedError

    def position(self, partition: int) -> int:
        raise NotImplementedError

    def beginning(self, partition: int) -> int:
        raise NotImplementedError

    def end(self, partition: int) -> int:
        raise NotImplementedError

    def offset_for_time(self, partition: int, timestamp_ms: int) -> int | None:
        """The first offset of that time or a later one; none behind the last."""
        raise NotImplementedError

    def committed(self, partition: int) -> int | None:
        raise NotImplementedError

    def commit(self, offsets: dict[int, int]) -> None:
        """Raises `Rejoining` where the group moved on; may raise `Unreachable`."""
        raise NotImplementedError

    def commit_async(self, offsets: dict[int, int]) -> None:
        raise NotImplementedError

    def pause(self, partition: int) -> None:
        raise NotImplementedError

    def resume(self, partition: int) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


class Producer:
    """How a library produces to one topic."""

    def send(self, record: Record) -> Callable[[], int]:
        """Sends it; what is given back waits for the acknowledgement and gives the offset."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


class Client:
    """How a library does what the scenarios ask for; what it can't do raises `Lacks`."""

    codecs = ["none", "gzip", "snappy", "lz4", "zstd"]
    has_idempotence = True

    def create(self, topic: str, partitions: int, configs: dict[str, str] = FOREVER) -> None:
        raise NotImplementedError

    def partitions(self, topic: str) -> set[int]:
        raise NotImplementedError

    def config(self, topic: str, name: str) -> str:
        raise NotImplementedError

    def alter(self, topic: str, name: str, value: str) -> None:
        raise NotImplementedError

    def grow(self, topic: str, partitions: int) -> None:
        raise NotImplementedError

    def list_topics(self) -> set[str]:
        raise NotImplementedError

    def delete_topics(self, topics: list[str]) -> None:
        raise NotImplementedError

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        raise NotImplementedError

    def list_groups(self) -> set[str]:
        raise NotImplementedError

    def describe_group(self, group: str) -> tuple[str, int]:
        """Its state and how many members it has."""
        raise NotImplementedError

    def delete_group(self, group: str) -> None:
        raise NotImplementedError

    def describe_cluster(self) -> tuple[list[int], int]:
        """The ids of the brokers, and which is the controller."""
        raise NotImplementedError

    def producer(
        self,
        topic: str,
        codec: str = "none",
        idempotent: bool = False,
        request_bytes_max: int = 1 << 20,
    ) -> Producer:
        raise NotImplementedError

    def consumer(
        self,
        topic: str,
        group: str | None = None,
        reset: str = "earliest",
        strategy: str = "range",
        instance: str | None = None,
    ) -> Consumer:
        """Without automatic commits."""
        raise NotImplementedError


def produce(client: Client, topic: str, records: list[Record], **settings: Any) -> None:
    """Sends them; each partition's must be acknowledged in order, without a gap."""
    producer = client.producer(topic, **settings)
    sent = [(record.partition, producer.send(record)) for record in records]
    last: dict[int, int] = {}
    for partition, acknowledged in sent:
        offset = acknowledged()
        same("acknowledged offset", offset, last.get(partition, offset - 1) + 1)
        last[partition] = offset
    producer.close()


def poll_until(consumer: Consumer, what: str, count: int) -> list[Record]:
    """Polls until so many came."""
    found: list[Record] = []
    deadline = Deadline(what, lambda: f"{len(found)} of {count} records")
    while len(found) < count:
        deadline.check()
        found.extend(consumer.poll())
    return found


def read_all(client: Client, topic: str, partitions: int) -> list[Record]:
    """All that the topic holds, read by assignment from its beginning."""
    consumer = client.consumer(topic)
    numbers = list(range(partitions))
    consumer.assign(numbers)
    consumer.seek_to_beginning(numbers)
    held = sum(consumer.end(n) - consumer.beginning(n) for n in numbers)
    found = poll_until(consumer, topic, held)
    consumer.close()
    return by_place(found)


def read(client: Client, topic: str, partitions: int, wanted: list[Record]) -> None:
    """The topic must hold these records and no other."""
    same(topic, read_all(client, topic, partitions), wanted)


class Member:
    """A member of a group in a thread of its own: it reads and commits until it leaves."""

    def __init__(self, client: Client, topic: str, group: str, **settings: Any):
        self.seen: list[Record] = []
        self.partitions: set[int] = set()
        self.changes: list[tuple[str, set[int]]] = []
        self.pending: dict[int, int] = {}
        self.committed: dict[int, int] = {}
        self.error: str | None = None
        self.leaving = threading.Event()
        consumer = client.consumer(topic, group, **settings)
        self.thread = threading.Thread(target=self._run, args=(consumer,), daemon=True)
        self.thread.start()

    def _run(self, consumer: Consumer) -> None:
        try:
            consumer.subscribe(lambda kind, which: self.changes.append((kind, which)))
            while not self.leaving.is_set():
                self._read(consumer)
            consumer.close()
        except BaseException:
            self.error = traceback.format_exc()

    def _read(self, consumer: Consumer) -> None:
        try:
            records = consumer.poll()
            self.partitions = consumer.assignment()
            self.seen.extend(records)
            self.pending |= {record.partition: record.offset + 1 for record in by_place(records)}
            if self.pending:
                consumer.commit(self.pending)
                self.committed |= self.pending
            self.pending = {}
        except Rejoining:
            self.pending = {}
        except Unreachable:
            self.leaving.wait(0.1)

    def revoked(self) -> set[int]:
        return set().union(*(which for kind, which in self.changes if kind == "revoked"))

    def leave(self) -> None:
        self.leaving.set()
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive(), "the member does not end"
        assert self.error is None, self.error


def members_until(what: str, members: list[Member], condition: Callable[[], bool]) -> None:
    """Waits until it is so; fails at once where a member failed."""

    def is_so() -> bool:
        for member in members:
            assert member.error is None, member.error
        return condition()

    state = lambda: [(m.partitions, len(m.seen), m.changes[-6:]) for m in members]
    Deadline(what, state).until(is_so)


def share(members: list[Member], partitions: int) -> bool:
    """Whether each has a part, and each partition one member."""
    parts = [member.partitions for member in members]
    together = [partition for part in parts for partition in part]
    return all(parts) and sorted(together) == list(range(partitions))
