"""confluent-kafka-python, which is librdkafka, in the client matrix."""

from collections.abc import Callable
from typing import Any

import confluent_kafka
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    OFFSET_STORED,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

import matrix
from matrix import PATIENCE_S, Exists, Record, Rejoining, TooLarge, Unreachable
from scenarios import main

MOVED_ON = (
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.UNKNOWN_MEMBER_ID,
)


class Consumer(matrix.Consumer):
    def __init__(self, topic: str, has_group: bool, settings: dict[str, Any]):
        self.topic = topic
        self.start = OFFSET_STORED if has_group else OFFSET_BEGINNING
        # The ends that it came to: where a partition is read from its end, there is no other position.
        self.ends: dict[int, int] = {}
        self.consumer = confluent_kafka.Consumer(settings)

    def _at(self, partition: int, *offset: int) -> TopicPartition:
        return TopicPartition(self.topic, partition, *offset)

    def subscribe(self, changed: Callable[[str, set[int]], None]) -> None:
        hear = lambda kind: lambda _, places: changed(kind, {p.partition for p in places})
        self.consumer.subscribe([self.topic], on_assign=hear("assigned"), on_revoke=hear("revoked"))

    def assign(self, partitions: list[int]) -> None:
        self.consumer.assign([self._at(n, self.start) for n in partitions])

    def poll(self) -> list[Record]:
        found = []
        for message in self.consumer.consume(500, 0.1):
            place = message.partition(), message.offset()
            if message.error() and message.error().code() == KafkaError._PARTITION_EOF:
                self.ends |= [place]
            elif message.error():
                raise KafkaException(message.error())
            else:
                _, timestamp = message.timestamp()
                headers = tuple(message.headers() or ())
                found.append(Record(*place, timestamp, message.key(), message.value(), headers))
        return found

    def assignment(self) -> set[int]:
        return {place.partition for place in self.consumer.assignment()}

    def seek(self, partition: int, offset: int) -> None:
        self._seek(partition, offset)

    def _seek(self, partition: int, offset: int) -> None:
        """A seek is refused until the fetcher of a new assignment runs, which polls help."""
        deadline = matrix.Deadline("seek")
        while True:
            try:
                return self.consumer.seek(self._at(partition, offset))
            except KafkaException as error:
                if error.args[0].code() != KafkaError._STATE:
                    raise
                deadline.check()

    def seek_to_beginning(self, partitions: list[int]) -> None:
        for partition in partitions:
            self._seek(partition, OFFSET_BEGINNING)

    def seek_to_end(self, partitions: list[int]) -> None:
        self.ends = {}
        for partition in partitions:
            self._seek(partition, OFFSET_END)
        deadline = matrix.Deadline("the ends")
        while self.ends.keys() < set(partitions):
            deadline.check()
            matrix.same("records behind the ends", self.poll(), [])

    def position(self, partition: int) -> int:
        at = self.consumer.position([self._at(partition)])[0].offset
        return at if at >= 0 else self.ends.get(partition, -1)

    def beginning(self, partition: int) -> int:
        return self.consumer.get_watermark_offsets(self._at(partition), PATIENCE_S)[0]

    def end(self, partition: int) -> int:
        return self.consumer.get_watermark_offsets(self._at(partition), PATIENCE_S)[1]

    def offset_for_time(self, partition: int, timestamp_ms: int) -> int | None:
        asked = self._at(partition, timestamp_ms)
        found = self.consumer.offsets_for_times([asked], PATIENCE_S)[0].offset
        return None if found == OFFSET_END else found

    def committed(self, partition: int) -> int | None:
        found = self.consumer.committed([self._at(partition)], PATIENCE_S)[0].offset
        return None if found < 0 else found

    def commit(self, offsets: dict[int, int]) -> None:
        places = [self._at(n, at) for n, at in offsets.items()]
        try:
            committed = self.consumer.commit(offsets=places, asynchronous=False)
        except KafkaException as error:
            if error.args[0].code() in MOVED_ON:
                raise Rejoining from error
            if error.args[0].retriable():
                raise Unreachable from error
            raise
        for place in committed:
            if place.error:
                raise KafkaException(place.error)

    def commit_async(self, offsets: dict[int, int]) -> None:
        places = [self._at(n, at) for n, at in offsets.items()]
        self.consumer.commit(offsets=places, asynchronous=True)

    def pause(self, partition: int) -> None:
        self.consumer.pause([self._at(partition)])

    def resume(self, partition: int) -> None:
        self.consumer.resume([self._at(partition)])

    def close(self) -> None:
        self.consumer.close()


class Producer(matrix.Producer):
    def __init__(self, topic: str, settings: dict[str, Any]):
        self.topic = topic
        self.producer = confluent_kafka.Producer(settings)

    def send(self, record: Record) -> Callable[[], int]:
        reports: list[tuple[KafkaError | None, confluent_kafka.Message]] = []
        try:
            self.producer.produce(
                self.topic,
                value=record.value,
                key=record.key,
                headers=list(record.headers),
                partition=record.partition,
                timestamp=record.timestamp,
                on_delivery=lambda error, message: reports.append((error, message)),
            )
        except KafkaException as error:
            if error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
                raise TooLarge from error
            raise

        def offset() -> int:
            deadline = matrix.Deadline("a delivery report")
            while not reports:
                deadline.check()
                self.producer.poll(0.1)
            error, message = reports[0]
            if error and error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                raise TooLarge
            if error:
                raise KafkaException(error)
            return message.offset()

        return offset

    def close(self) -> None:
        self.producer.flush(PATIENCE_S)


class Client(matrix.Client):
    def __init__(self, bootstrap: str):
        self.bootstrap = bootstrap
        self.admin = AdminClient({"bootstrap.servers": bootstrap})

    def create(self, topic: str, partitions: int, configs: dict[str, str] = matrix.FOREVER) -> None:
        new = NewTopic(topic, partitions, 1, config=configs)
        try:
            self.admin.create_topics([new])[topic].result(PATIENCE_S)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
                raise Exists from error
            raise

    def partitions(self, topic: str) -> set[int]:
        return set(self.admin.list_topics(topic, PATIENCE_S).topics[topic].partitions)

    def config(self, topic: str, name: str) -> str:
        resource = ConfigResource(ResourceType.TOPIC, topic)
        return self.admin.describe_configs([resource])[resource].result(PATIENCE_S)[name].value

    def alter(self, topic: str, name: str, value: str) -> None:
        entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        self.admin.incremental_alter_configs([resource])[resource].result(PATIENCE_S)

    def grow(self, topic: str, partitions: int) -> None:
        new = NewPartitions(topic, partitions)
        self.admin.create_partitions([new])[topic].result(PATIENCE_S)

    def list_topics(self) -> set[str]:
        return set(self.admin.list_topics(timeout=PATIENCE_S).topics)

    def delete_topics(self, topics: list[str]) -> None:
        for future in self.admin.delete_topics(topics).values():
            future.result(PATIENCE_S)

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        place = TopicPartition(topic, partition, before)
        deleted = self.admin.delete_records([place])[place].result(PATIENCE_S)
        matrix.same("low watermark", deleted.low_watermark, before)

    def list_groups(self) -> set[str]:
        listed = self.admin.list_consumer_groups().result(PATIENCE_S)
        matrix.same("errors of brokers", listed.errors, [])
        return {group.group_id for group in listed.valid}

    def describe_group(self, group: str) -> tuple[str, int]:
        described = self.admin.describe_consumer_groups([group])[group].result(PATIENCE_S)
        return described.state.name.capitalize(), len(described.members)

    def delete_group(self, group: str) -> None:
        self.admin.delete_consumer_groups([group])[group].result(PATIENCE_S)

    def describe_cluster(self) -> tuple[list[int], int]:
        described = self.admin.describe_cluster().result(PATIENCE_S)
        return [node.id for node in described.nodes], described.controller.id

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
                "bootstrap.servers": self.bootstrap,
                "acks": "all",
                "enable.idempotence": idempotent,
                "compression.type": codec,
                "message.max.bytes": request_bytes_max,
                "linger.ms": 1,
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
            "bootstrap.servers": self.bootstrap,
            # It has no consumer without one, though nothing asks for it by assignment.
            "group.id": group or f"{topic}-none",
            "auto.offset.reset": reset,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "session.timeout.ms": 30_000,
            "heartbeat.interval.ms": 500,
            "partition.assignment.strategy": STRATEGIES[strategy],
        }
        if instance is not None:
            settings["group.instance.id"] = instance
        return Consumer(topic, group is not None, settings)


STRATEGIES = {"range": "range", "cooperative": "cooperative-sticky"}

if __name__ == "__main__":
    main(Client)
