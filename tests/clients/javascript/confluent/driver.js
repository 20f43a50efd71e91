"use strict";
/**
 * Confluent's JavaScript client, which is librdkafka, in the client matrix, by its callbacks' API: the
 * other one, in the manner of KafkaJS, has less.
 */

const { promisify } = require("node:util");
const Kafka = require("@confluentinc/kafka-javascript");

const { Exists, Lacks, PATIENCE_MS, Rejoining, TooLarge, Unreachable } = require("../matrix");
const { main } = require("../scenarios");

const { CODES } = Kafka;
const MOVED_ON = [
  CODES.ERRORS.ERR_ILLEGAL_GENERATION,
  CODES.ERRORS.ERR_REBALANCE_IN_PROGRESS,
  CODES.ERRORS.ERR_UNKNOWN_MEMBER_ID,
];
// librdkafka's names of offsets that are none.
const [BEGINNING, END] = [-2, -1];

/** Calls a method whose last argument is a callback. */
const call = (object, method, ...arguments_) => promisify(object[method]).apply(object, arguments_);

class Consumer {
  #topic;
  #consumer;
  #reached = new Set();
  #changed = () => {};

  static async connect(topic, settings) {
    const consumer = new Consumer();
    consumer.#topic = topic;
    consumer.#consumer = new Kafka.KafkaConsumer({ ...settings, rebalance_cb: true });
    consumer.#consumer.setDefaultConsumeTimeout(100);
    consumer.#consumer.on("partition.eof", ({ partition }) => consumer.#reached.add(partition));
    consumer.#consumer.on("rebalance", ({ code }, places) => {
      const kind = code === CODES.ERRORS.ERR__ASSIGN_PARTITIONS ? "assigned" : "revoked";
      consumer.#changed(
        kind,
        places.map(({ partition }) => partition),
      );
    });
    await call(consumer.#consumer, "connect", {});
    return consumer;
  }

  async subscribe(changed) {
    this.#changed = changed;
    this.#consumer.subscribe([this.#topic]);
  }

  /** Offsets by partition; "end" is what the library makes of it. */
  assign(offsets) {
    const places = this.#places(offsets);
    this.#reached.clear();
    this.#consumer.assign(places.map((at) => (at.offset === "end" ? { ...at, offset: END } : at)));
  }

  /** Of how many partitions it has come to the end. */
  endsReached() {
    return this.#reached.size;
  }

  #places(offsets) {
    return Object.entries(offsets).map(([partition, offset]) => ({
      topic: this.#topic,
      partition: Number(partition),
      offset,
    }));
  }

  async poll() {
    const messages = await call(this.#consumer, "consume", 500);
    return messages.map(({ partition, offset, timestamp, key, value, headers }) => ({
      partition,
      offset,
      timestamp,
      key: key ?? null,
      value,
      headers: (headers ?? []).flatMap((header) => Object.entries(header)),
    }));
  }

  assignment() {
    return this.#consumer.assignments().map(({ partition }) => partition);
  }

  async seek(partition, offset) {
    await call(this.#consumer, "seek", { topic: this.#topic, partition, offset }, PATIENCE_MS);
  }

  async offsetForTime(partition, timestamp) {
    const asked = [{ topic: this.#topic, partition, offset: timestamp }];
    const [{ offset }] = await call(this.#consumer, "offsetsForTimes", asked, PATIENCE_MS);
    return offset === END ? null : offset;
  }

  pause(partition) {
    this.#consumer.pause([{ topic: this.#topic, partition }]);
  }

  resume(partition) {
    this.#consumer.resume([{ topic: this.#topic, partition }]);
  }

  async commit(offsets) {
    try {
      await call(this.#consumer, "commitCb", this.#places(offsets));
    } catch (error) {
      if (MOVED_ON.includes(error.code)) throw new Rejoining("", { cause: error });
      if (error.isRetriable) throw new Unreachable("", { cause: error });
      throw error;
    }
  }

  commitAsync(offsets) {
    this.#consumer.commit(this.#places(offsets));
  }

  async close() {
    await call(this.#consumer, "disconnect");
  }
}

class Producer {
  #topic;
  #producer;

  static async connect(topic, settings) {
    const producer = new Producer();
    producer.#topic = topic;
    producer.#producer = new Kafka.Producer({ ...settings, dr_cb: true });
    producer.#producer.on("delivery-report", (error, { offset, opaque }) => opaque(error, offset));
    await call(producer.#producer, "connect", {});
    producer.#producer.setPollInterval(10);
    return producer;
  }

  async send(records) {
    try {
      return await Promise.all(records.map((record) => this.#send(record)));
    } catch (error) {
      const isLarge = error.code === CODES.ERRORS.ERR_MSG_SIZE_TOO_LARGE;
      throw isLarge ? new TooLarge("", { cause: error }) : error;
    }
  }

  #send({ partition, key, value, timestamp, headers }) {
    const pairs = headers.map(([name, one]) => ({ [name]: one }));
    return new Promise((resolve, reject) => {
      const report = (error, offset) => (error ? reject(error) : resolve(offset));
      this.#producer.produce(this.#topic, partition, value, key, timestamp, report, pairs);
    });
  }

  async close() {
    await call(this.#producer, "disconnect", PATIENCE_MS);
  }
}

class Client {
  codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
  hasAssign = true;
  // It sends an empty buffer as none.
  hasEmpty = false;
  #bootstrap;
  #admin;
  #asker;

  async connect(bootstrap) {
    this.#bootstrap = bootstrap;
    this.#admin = Kafka.AdminClient.create({ "bootstrap.servers": bootstrap });
    this.#asker = new Kafka.Producer({ "bootstrap.servers": bootstrap });
    await call(this.#asker, "connect", {});
    return this;
  }

  #ask(method, ...arguments_) {
    return call(this.#admin, method, ...arguments_);
  }

  async create(topic, partitions, config) {
    const asked = { topic, num_partitions: partitions, replication_factor: 1, config };
    try {
      await this.#ask("createTopic", asked, PATIENCE_MS);
    } catch (error) {
      const isThere = error.code === CODES.ERRORS.ERR_TOPIC_ALREADY_EXISTS;
      throw isThere ? new Exists(topic) : error;
    }
  }

  async partitions(topic) {
    const [described] = await this.#ask("describeTopics", [topic], { timeout: PATIENCE_MS });
    return described.partitions.map(({ partition }) => partition).sort();
  }

  async config() {
    throw new Lacks("AdminClient.describeConfigs");
  }

  async alter() {
    throw new Lacks("AdminClient.alterConfigs");
  }

  async grow(topic, partitions) {
    await this.#ask("createPartitions", topic, partitions, PATIENCE_MS);
  }

  listTopics() {
    return this.#ask("listTopics", { timeout: PATIENCE_MS });
  }

  async deleteTopics(topics) {
    for (const topic of topics) await this.#ask("deleteTopic", topic, PATIENCE_MS);
  }

  async deleteRecords(topic, partition, offset) {
    const places = [{ topic, partition, offset }];
    await this.#ask("deleteRecords", places, { timeout: PATIENCE_MS });
  }

  async listGroups() {
    const { groups } = await this.#ask("listGroups", { timeout: PATIENCE_MS });
    return groups.map(({ groupId }) => groupId);
  }

  async describeGroup(group) {
    const { groups } = await this.#ask("describeGroups", [group], { timeout: PATIENCE_MS });
    const names = { 3: "Stable", 5: "Empty" };
    return [names[groups[0].state], groups[0].members.length];
  }

  async deleteGroup(group) {
    await this.#ask("deleteGroups", [group], { timeout: PATIENCE_MS });
  }

  async describeCluster() {
    throw new Lacks("AdminClient.describeCluster");
  }

  async bounds(topic) {
    const partitions = await this.partitions(topic);
    const ask = (partition) =>
      call(this.#asker, "queryWatermarkOffsets", topic, partition, PATIENCE_MS);
    const bounds = await Promise.all(partitions.map(ask));
    return bounds.map(({ lowOffset, highOffset }) => ({ low: lowOffset, high: highOffset }));
  }

  async committed(groupId, topic, partition) {
    const asked = [{ groupId, partitions: [{ topic, partition }] }];
    const options = { timeout: PATIENCE_MS };
    const [{ partitions }] = await this.#ask("listConsumerGroupOffsets", asked, options);
    return partitions[0].offset < 0 ? null : partitions[0].offset;
  }

  producer(topic, { codec = "none", idempotent = false, requestBytesMax = 1 << 20 }) {
    return Producer.connect(topic, {
      "bootstrap.servers": this.#bootstrap,
      "enable.idempotence": idempotent,
      "compression.type": codec,
      "message.max.bytes": requestBytesMax,
      "linger.ms": 1,
    });
  }

  consumer(topic, { group, reset = "earliest", strategy = "range", instance }) {
    const settings = {
      "bootstrap.servers": this.#bootstrap,
      // It has no consumer without one, though nothing asks for it by assignment.
      "group.id": group ?? `${topic}-none`,
      "auto.offset.reset": reset,
      "enable.auto.commit": false,
      "enable.partition.eof": true,
      "session.timeout.ms": 30_000,
      "heartbeat.interval.ms": 500,
      "partition.assignment.strategy": strategy === "range" ? "range" : "cooperative-sticky",
    };
    if (instance) settings["group.instance.id"] = instance;
    return Consumer.connect(topic, settings);
  }

  async reader(topic, partitions) {
    const consumer = await this.consumer(topic, {});
    consumer.assign(Object.fromEntries(partitions.map((partition) => [partition, BEGINNING])));
    return consumer;
  }
}

main((bootstrap) => new Client().connect(bootstrap));
