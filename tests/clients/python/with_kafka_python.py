"""kafka-python in the client matrix: the current version and 2.0.2, which much software still has."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    KafkaError,
    MessageSizeTooLargeError,
    RebalanceInProgressError,
    TopicAlreadyExistsError,
    UnknownMemberIdError,
)

import matrix
from matrix import PATIENCE_S, Exists, Lacks, Record, Rejoining, TooLarge, Unreachable
from scenarios import main

IS_OLD = kafka.__version__.startswith("2.0.")
MOVED_ON = (
    CommitFailedError,
    IllegalGenerationError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)


@contextmanager
def asked_again() -> Iterator[None]:
    """Errors that the library gives to the application though they pass."""
    try:
        yield
    except KafkaError as error:
        if error.retriable and not isinstance(error, MOVED_ON):
            raise Unreachable from error
        raise


class Listener(ConsumerRebalanceListener):
    def __init__(self, changed: Callable[[str, set[int]], None]):
        self.changed = changed

    def on_partitions_assigned(self, assigned: Any) -> None:
        self.changed("assigned", {place.partition for place in assigned})

    def on_partitions_revoked(self, revoked: Any) -> None:
        self.changed("revoked", {place.partition for place in revoked})


class Consumer(matrix.Consumer):
    def __init__(self, topic: str, settings: dict[str, Any]):
        self.topic = topic
        self.consumer = KafkaConsumer(**settings)

    def _at(self, partition: int) -> TopicPartition:
        return TopicPartition(self.topic, partition)

    def subscribe(self, changed: Callable[[str, set[int]], None]) -> None:
        self.consumer.subscribe([self.topic], listener=Listener(changed))

    def assign(self, partitions: list[int]) -> None:
        self.consumer.assign([self._at(n) for n in partitions])

    def poll(self) -> list[Record]:
        with asked_again():
            polled = self.consumer.poll(timeout_ms=100)
        return [
            Record(r.partition, r.offset, r.timestamp, r.key, r.value, tuple(map(tuple, r.headers)))
            for records in polled.values()
            for r in records
        ]

    def assignment(self) -> set[int]:
        return {place.partition for place in self.consumer.assignment()}

    def seek(self, partition: int, offset: int) -> None:
        self.consumer.seek(self._at(partition), offset)

    def seek_to_beginning(self, partitions: list[int]) -> None:
        self.consumer.seek_to_beginning(*map(self._at, partitions))

    def seek_to_end(self, partitions: list[int]) -> None:
        self.consumer.seek_to_end(*map(self._at, partitions))

    def position(self, partition: int) -> int:
        return self.consumer.position(self._at(partition))

    def beginning(self, partition: int) -> int:
        return self.consumer.beginning_offsets([self._at(partition)])[self._at(partition)]

    def end(self, partition: int) -> int:
        return self.consumer.end_offsets([self._at(partition)])[self._at(partition)]

    def offset_for_time(self, partition: int, timestamp_ms: int) -> int | None:
        at = self._at(partition)
        found = self.consumer.offsets_for_times({at: timestamp_ms})[at]
        return None if found is None else found.offset

    def committed(self, partition: int) -> int | None:
        return self.consumer.committed(self._at(partition))

    def _offsets(self, offsets: dict[int, int]) -> dict[TopicPartition, OffsetAndMetadata]:
        more = () if IS_OLD else (-1,)
        return {self._at(n): OffsetAndMetadata(at, "", *more) for n, at in offsets.items()}

    def commit(self, offsets: dict[int, int]) -> None:
        try:
            with asked_again():
                self.consumer.commit(self._offsets(offsets))
        except MOVED_ON as error:
            raise Rejoining from error

    def commit_async(self, offsets: dict[int, int]) -> None:
        self.consumer.commit_async(self._offsets(offsets))

    def pause(self, partition: int) -> None:
        self.consumer.pause(self._at(partition))

    def resume(self, partition: int) -> None:
        self.consumer.resume(self._at(partition))

    def close(self) -> None:
        self.consumer.close(autocommit=False)


class Producer(matrix.Producer):
    def __init__(self, topic: str, settings: dict[str, Any]):
        self.topic = topic
        self.producer = KafkaProducer(**settings)

    def send(self, record: Record) -> Callable[[], int]:
        future = self.producer.send(
            self.topic,
            value=record.value,
            key=record.key,
            headers=list(record.headers),
            partition=record.partition,
            timestamp_ms=record.timestamp,
        )

        def offset() -> int:
            try:
                return future.get(timeout=PATIENCE_S).offset
            except MessageSizeTooLargeError as error:
                raise TooLarge from error

        return offset

    def close(self) -> None:
        self.producer.close()


class Client(matrix.Client):
    has_idempotence = not IS_OLD

    def __init__(self, bootstrap: str):
        self.bootstrap = bootstrap
        self.admin = KafkaAdminClient(bootstrap_servers=bootstrap)

    def create(self, topic: str, partitions: int, configs: dict[str, str] = matrix.FOREVER) -> None:
        try:
            self.admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=configs)])
        except TopicAlreadyExistsError as error:
            raise Exists from error

    def partitions(self, topic: str) -> set[int]:
        described = self.admin.describe_topics([topic])[0]
        number = "partition" if IS_OLD else "partition_index"
        return {partition[number] for partition in described["partitions"]}

    def config(self, topic: str, name: str) -> str:
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        found = self.admin.describe_configs([resource])
        if IS_OLD:
            _, _, _, _, entries = found[0].resources[0]
            return next(entry[1] for entry in entries if entry[0] == name)
        return found["topic"][topic][name]["value"]

    def alter(self, topic: str, name: str, value: str) -> None:
        self.admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {name: value})])

    def grow(self, topic: str, partitions: int) -> None:
        self.admin.create_partitions({topic: NewPartitions(partitions)})

    def list_topics(self) -> set[str]:
        return set(self.admin.list_topics())

    def delete_topics(self, topics: list[str]) -> None:
        self.admin.delete_topics(topics)

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        if IS_OLD:
            raise Lacks("KafkaAdminClient.delete_records")
        self.admin.delete_records({TopicPartition(topic, partition): before})

    def list_groups(self) -> set[str]:
        if IS_OLD:
            return {group for group, _ in self.admin.list_consumer_groups()}
        return {group["group_id"] for group in self.admin.list_groups()}

    def describe_group(self, group: str) -> tuple[str, int]:
        if IS_OLD:
            found = self.admin.describe_consumer_groups([group])[0]
            return found.state, len(found.members)
        described = self.admin.describe_groups([group])[group]
        return described["group_state"], len(described["members"])

    def delete_group(self, group: str) -> None:
        if IS_OLD:
            self.admin.delete_consumer_groups([group])
        else:
            self.admin.delete_groups([group])

    def describe_cluster(self) -> tuple[list[int], int]:
        described = self.admin.describe_cluster()
        number = "node_id" if IS_OLD else "broker_id"
        return [broker[number] for broker in described["brokers"]], described["controller_id"]

    def producer(
        self,
        topic: str,
        codec: str = "none",
        idempotent: bool = False,
        request_bytes_max: int = 1 << 20,
    ) -> Producer:
        settings: dict[str, Any] = {} if IS_OLD else {"enable_idempotence": idempotent}
        return Producer(
            topic,
            settings
            | {
                "bootstrap_servers": self.bootstrap,
                "acks": "all",
                "retries": 1000,
                "compression_type": None if codec == "none" else codec,
                "max_request_size": request_bytes_max,
                "linger_ms": 1,
            },
        )

    def consumer(
        self,
        topic: str,
        group: str | None = None,
        reset: str = "earliest",
        strategy: str = "range",
        instance: str | None = None,
    ) -> Consumer:
        settings: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap,
            "group_id": group,
            "auto_offset_reset": reset,
            "enable_auto_commit": False,
            "session_timeout_ms": 30_000,
            "heartbeat_interval_ms": 500,
            "partition_assignment_strategy": [assignor(strategy)],
        }
        if instance is not None:
            if IS_OLD:
                raise Lacks("group_instance_id")
            settings["group_instance_id"] = instance
        return Consumer(topic, settings)


def assignor(strategy: str) -> type:
    if strategy == "range":
        return RangePartitionAssignor
    if IS_OLD:
        raise Lacks("CooperativeStickyAssignor")
    from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor

    return CooperativeStickyAssignor


if __name__ == "__main__":
    main(Client)
