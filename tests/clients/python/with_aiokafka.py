"""aiokafka in the client matrix. Its coroutines run on a loop in a thread of its own, where the
scenarios, which know nothing of coroutines, wait for them."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from aiokafka import (
    AIOKafkaConsumer,
    AIOKafkaProducer,
    ConsumerRebalanceListener,
    TopicPartition,
)
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    KafkaError,
    MessageSizeTooLargeError,
    RebalanceInProgressError,
    TopicAlreadyExistsError,
    UnknownMemberIdError,
    for_code,
)

import matrix
from matrix import PATIENCE_S, Exists, Lacks, Record, Rejoining, TooLarge, Unreachable
from scenarios import main

MOVED_ON = (
    CommitFailedError,
    IllegalGenerationError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)

LOOP = asyncio.new_event_loop()
threading.Thread(target=LOOP.run_forever, daemon=True).start()


def wait(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run_coroutine_threadsafe(coroutine, LOOP).result(PATIENCE_S)


async def made(library: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
    """The library's objects belong to the loop in which they are made."""
    return library(*arguments, **settings)


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
        self.consumer = wait(made(AIOKafkaConsumer, **settings))
        wait(self.consumer.start())

    def _at(self, partition: int) -> TopicPartition:
        return TopicPartition(self.topic, partition)

    def subscribe(self, changed: Callable[[str, set[int]], None]) -> None:
        wait(made(self.consumer.subscribe, [self.topic], listener=Listener(changed)))

    def assign(self, partitions: list[int]) -> None:
        wait(made(self.consumer.assign, [self._at(n) for n in partitions]))

    def poll(self) -> list[Record]:
        polled = wait(self.consumer.getmany(timeout_ms=100))
        return [
            Record(r.partition, r.offset, r.timestamp, r.key, r.value, tuple(r.headers))
            for records in polled.values()
            for r in records
        ]

    def assignment(self) -> set[int]:
        return {place.partition for place in self.consumer.assignment()}

    def seek(self, partition: int, offset: int) -> None:
        wait(made(self.consumer.seek, self._at(partition), offset))

    def seek_to_beginning(self, partitions: list[int]) -> None:
        wait(self.consumer.seek_to_beginning(*map(self._at, partitions)))

    def seek_to_end(self, partitions: list[int]) -> None:
        wait(self.consumer.seek_to_end(*map(self._at, partitions)))

    def position(self, partition: int) -> int:
        return wait(self.consumer.position(self._at(partition)))

    def beginning(self, partition: int) -> int:
        return wait(self.consumer.beginning_offsets([self._at(partition)]))[self._at(partition)]

    def end(self, partition: int) -> int:
        return wait(self.consumer.end_offsets([self._at(partition)]))[self._at(partition)]

    def offset_for_time(self, partition: int, timestamp_ms: int) -> int | None:
        at = self._at(partition)
        found = wait(self.consumer.offsets_for_times({at: timestamp_ms}))[at]
        return None if found is None else found.offset

    def committed(self, partition: int) -> int | None:
        return wait(self.consumer.committed(self._at(partition)))

    def commit(self, offsets: dict[int, int]) -> None:
        try:
            wait(self.consumer.commit({self._at(n): at for n, at in offsets.items()}))
        except MOVED_ON as error:
            raise Rejoining from error
        except KafkaError as error:
            if error.retriable:
                raise Unreachable from error
            raise

    def commit_async(self, offsets: dict[int, int]) -> None:
        commit = self.consumer.commit({self._at(n): at for n, at in offsets.items()})
        asyncio.run_coroutine_threadsafe(commit, LOOP)

    def pause(self, partition: int) -> None:
        wait(made(self.consumer.pause, self._at(partition)))

    def resume(self, partition: int) -> None:
        wait(made(self.consumer.resume, self._at(partition)))

    def close(self) -> None:
        wait(self.consumer.stop())


class Producer(matrix.Producer):
    def __init__(self, topic: str, settings: dict[str, Any]):
        self.topic = topic
        self.producer = wait(made(AIOKafkaProducer, **settings))
        wait(self.producer.start())

    def send(self, record: Record) -> Callable[[], int]:
        try:
            sent = wait(self._send(record))
        except MessageSizeTooLargeError as error:
            raise TooLarge from error

        async def taken() -> int:
            return (await sent).offset

        def offset() -> int:
            try:
                return wait(taken())
            except MessageSizeTooLargeError as error:
                raise TooLarge from error

        return offset

    async def _send(self, record: Record) -> Any:
        return await self.producer.send(
            self.topic,
            value=record.value,
            key=record.key,
            headers=list(record.headers),
            partition=record.partition,
            timestamp_ms=record.timestamp,
        )

    def close(self) -> None:
        wait(self.producer.stop())


class Client(matrix.Client):
    def __init__(self, bootstrap: str):
        self.bootstrap = bootstrap
        self.admin = wait(made(AIOKafkaAdminClient, bootstrap_servers=bootstrap))
        wait(self.admin.start())

    def create(self, topic: str, partitions: int, configs: dict[str, str] = matrix.FOREVER) -> None:
        new = NewTopic(topic, partitions, 1, topic_configs=configs)
        for _, code, message in wait(self.admin.create_topics([new])).topic_errors:
            error = for_code(code)
            if error is TopicAlreadyExistsError:
                raise Exists
            matrix.same(message, code, 0)

    def partitions(self, topic: str) -> set[int]:
        described = wait(self.admin.describe_topics([topic]))[0]
        return {partition["partition"] for partition in described["partitions"]}

    def config(self, topic: str, name: str) -> str:
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        _, _, _, _, entries = wait(self.admin.describe_configs([resource]))[0].resources[0]
        return next(entry[1] for entry in entries if entry[0] == name)

    def alter(self, topic: str, name: str, value: str) -> None:
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, {name: value})
        for code, message, _, _ in wait(self.admin.alter_configs([resource]))[0].resources:
            matrix.same(message, code, 0)

    def grow(self, topic: str, partitions: int) -> None:
        wait(self.admin.create_partitions({topic: NewPartitions(partitions)}))

    def list_topics(self) -> set[str]:
        return set(wait(self.admin.list_topics()))

    def delete_topics(self, topics: list[str]) -> None:
        wait(self.admin.delete_topics(topics))

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        place = TopicPartition(topic, partition)
        wait(self.admin.delete_records({place: RecordsToDelete(before)}))

    def list_groups(self) -> set[str]:
        return {group[0] for group in wait(self.admin.list_consumer_groups())}

    def describe_group(self, group: str) -> tuple[str, int]:
        described = wait(self.admin.describe_consumer_groups([group]))[0].groups[0]
        _, _, state, _, _, members, *_ = described
        return state, len(members)

    def delete_group(self, group: str) -> None:
        raise Lacks("AIOKafkaAdminClient.delete_consumer_groups")

    def describe_cluster(self) -> tuple[list[int], int]:
        described = wait(self.admin.describe_cluster())
        return [broker["node_id"] for broker in described["brokers"]], described["controller_id"]

    def producer(
        self,
        topic: str,
        codec: str = "none",
        idempotent: bool = False,
        request_bytes_max: int = 1 << 20,
    ) -> Producer:
        return Producer(
            topic,
            {
                "bootstrap_servers": self.bootstrap,
                "acks": "all",
                "enable_idempotence": idempotent,
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
        if strategy != "range":
            raise Lacks("a cooperative assignor")
        return Consumer(
            topic,
            {
                "bootstrap_servers": self.bootstrap,
                "group_id": group,
                "group_instance_id": instance,
                "auto_offset_reset": reset,
                "enable_auto_commit": False,
                "session_timeout_ms": 30_000,
                "heartbeat_interval_ms": 500,
                "partition_assignment_strategy": [RangePartitionAssignor],
            },
        )


if __name__ == "__main__":
    main(Client)
