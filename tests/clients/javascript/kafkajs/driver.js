"use strict";
/**
 * KafkaJS in the client matrix. It leaves three codecs to other packages, and has consumers in groups
 * only: what reads a whole topic is a group of one.
 */

const {
  CompressionCodecs,
  CompressionTypes,
  ConfigResourceTypes,
  Kafka,
  logLevel,
} = require("kafkajs");
const snappy = require("kafkajs-snappy");
const lz4 = require("lz4-napi");
const { ZstdCodec } = require("zstd-codec");

const { Exists, Lacks, Rejoining, TooLarge, Unreachable } = require("../matrix");
const { main } = require("../scenarios");

const CODECS = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
};
const MOVED_ON = ["REBALANCE_IN_PROGRESS", "ILLEGAL_GENERATION", "UNKNOWN_MEMBER_ID"];

/** Gives KafkaJS the codecs that it has no code for. */
async function addCodecs() {
  const { Simple } = await new Promise((resolve) => ZstdCodec.run(resolve));
  const zstd = new Simple();
  CompressionCodecs[CompressionTypes.Snappy] = snappy;
  CompressionCodecs[CompressionTypes.LZ4] = () => ({
    compress: ({ buffer }) => lz4.compressFrame(buffer),
    decompress: (buffer) => lz4.decompressFrame(buffer),
  });
  CompressionCodecs[CompressionTypes.ZSTD] = () => ({
    compress: async ({ buffer }) => Buffer.from(zstd.compress(buffer)),
    decompress: async (buffer) => Buffer.from(zstd.decompress(buffer)),
  });
}

class Consumer {
  #topic;
  #consumer;
  #reset;
  #arrived = [];
  #partitions = [];
  #crash = null;

  constructor(kafka, topic, { group, reset = "earliest" }) {
    this.#topic = topic;
    this.#reset = reset;
    this.#consumer = kafka.consumer({
      groupId: group,
      sessionTimeout: 30_000,
      heartbeatInterval: 500,
      maxWaitTimeInMs: 100,
    });
  }

  async subscribe(changed) {
    const { CRASH, GROUP_JOIN, REBALANCING } = this.#consumer.events;
    this.#consumer.on(GROUP_JOIN, ({ payload }) => {
      this.#partitions = payload.memberAssignment[this.#topic] ?? [];
      changed("assigned", this.#partitions);
    });
    this.#consumer.on(REBALANCING, () => {
      changed("revoked", this.#partitions);
      this.#partitions = [];
    });
    // It begins again by itself after errors that pass.
    this.#consumer.on(CRASH, ({ payload }) => {
      if (!payload.restart) this.#crash = payload.error;
    });
    await this.#consumer.connect();
    await this.#consumer.subscribe({
      topic: this.#topic,
      fromBeginning: this.#reset === "earliest",
    });
    await this.#consumer.run({
      autoCommit: false,
      eachBatch: async ({ batch }) => {
        this.#arrived.push(...batch.messages.map((message) => record(batch.partition, message)));
      },
    });
  }

  async poll() {
    if (this.#crash) throw this.#crash;
    return this.#arrived.splice(0);
  }

  assignment() {
    return [...this.#partitions];
  }

  async seek(partition, offset) {
    this.#consumer.seek({ topic: this.#topic, partition, offset: `${offset}` });
  }

  pause(partition) {
    this.#consumer.pause([{ topic: this.#topic, partitions: [partition] }]);
  }

  resume(partition) {
    this.#consumer.resume([{ topic: this.#topic, partitions: [partition] }]);
  }

  async commit(offsets) {
    const places = Object.entries(offsets).map(([partition, offset]) => ({
      topic: this.#topic,
      partition: Number(partition),
      offset: `${offset}`,
    }));
    try {
      await this.#consumer.commitOffsets(places);
    } catch (error) {
      if (MOVED_ON.includes(error.type)) throw new Rejoining("", { cause: error });
      if (error.retriable) throw new Unreachable("", { cause: error });
      throw error;
    }
  }

  commitAsync(offsets) {
    this.commit(offsets);
  }

  async close() {
    await this.#consumer.disconnect();
  }
}

function record(partition, { offset, timestamp, key, value, headers }) {
  const flat = Object.entries(headers ?? {}).flatMap(([name, values]) =>
    [values].flat().map((one) => [name, one]),
  );
  return {
    partition,
    offset: Number(offset),
    timestamp: Number(timestamp),
    key,
    value,
    headers: flat,
  };
}

class Producer {
  constructor(producer, topic, codec) {
    Object.assign(this, { producer, topic, codec });
  }

  /** One request; the answer has the offset of each partition's first record. */
  async send(records) {
    const messages = records.map(({ partition, key, value, timestamp, headers }) => {
      const grouped = {};
      for (const [name, one] of headers) (grouped[name] ??= []).push(one);
      return { partition, key, value, timestamp: `${timestamp}`, headers: grouped };
    });
    const request = { topic: this.topic, compression: CODECS[this.codec], acks: -1, messages };
    const answers = await this.producer.send(request).catch((error) => {
      throw error.type === "MESSAGE_TOO_LARGE" ? new TooLarge("", { cause: error }) : error;
    });
    const next = new Map(answers.map((one) => [one.partition, Number(one.baseOffset)]));
    return records.map(({ partition }) => {
      const offset = next.get(partition);
      next.set(partition, offset + 1);
      return offset;
    });
  }

  close() {
    return this.producer.disconnect();
  }
}

class Client {
  codecs = Object.keys(CODECS);
  hasAssign = false;
  hasEmpty = true;
  #kafka;
  #admin;
  #groups = 0;

  async connect(bootstrap) {
    await addCodecs();
    this.#kafka = new Kafka({
      brokers: [bootstrap],
      logLevel: logLevel.NOTHING,
      retry: { initialRetryTime: 100, maxRetryTime: 1000, retries: 100 },
    });
    this.#admin = this.#kafka.admin();
    await this.#admin.connect();
    return this;
  }

  async create(topic, numPartitions, configs) {
    const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }));
    const topics = [{ topic, numPartitions, replicationFactor: 1, configEntries }];
    if (!(await this.#admin.createTopics({ topics }))) throw new Exists(topic);
  }

  async partitions(topic) {
    const { topics } = await this.#admin.fetchTopicMetadata({ topics: [topic] });
    return topics[0].partitions.map(({ partitionId }) => partitionId).sort();
  }

  async config(topic, name) {
    const resources = [{ type: ConfigResourceTypes.TOPIC, name: topic, configNames: [name] }];
    const answer = await this.#admin.describeConfigs({ resources, includeSynonyms: false });
    return answer.resources[0].configEntries[0].configValue;
  }

  async alter(topic, name, value) {
    const configEntries = [{ name, value }];
    const resources = [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries }];
    await this.#admin.alterConfigs({ validateOnly: false, resources });
  }

  async grow(topic, count) {
    await this.#admin.createPartitions({ topicPartitions: [{ topic, count }] });
  }

  listTopics() {
    return this.#admin.listTopics();
  }

  async deleteTopics(topics) {
    await this.#admin.deleteTopics({ topics });
  }

  async deleteRecords(topic, partition, before) {
    // Another admin, which learns where the leaders are: what the first learned while the topic was
    // being made it never learns anew.
    const admin = this.#kafka.admin();
    await admin.connect();
    await admin.fetchTopicOffsets(topic);
    await admin.deleteTopicRecords({ topic, partitions: [{ partition, offset: `${before}` }] });
    await admin.disconnect();
  }

  async listGroups() {
    const { groups } = await this.#admin.listGroups();
    return groups.map(({ groupId }) => groupId);
  }

  async describeGroup(group) {
    const { groups } = await this.#admin.describeGroups([group]);
    return [groups[0].state, groups[0].members.length];
  }

  async deleteGroup(group) {
    await this.#admin.deleteGroups([group]);
  }

  async describeCluster() {
    const { brokers, controller } = await this.#admin.describeCluster();
    return [brokers.map(({ nodeId }) => nodeId), controller];
  }

  async bounds(topic) {
    const offsets = await this.#admin.fetchTopicOffsets(topic);
    const bounds = offsets.map(({ partition, low, high }) => [
      partition,
      Number(low),
      Number(high),
    ]);
    return bounds.sort(([a], [b]) => a - b).map(([, low, high]) => ({ low, high }));
  }

  async committed(groupId, topic, partition) {
    const [{ partitions }] = await this.#admin.fetchOffsets({ groupId, topics: [topic] });
    const offset = Number(partitions.find((one) => one.partition === partition).offset);
    return offset < 0 ? null : offset;
  }

  async producer(topic, { codec = "none", idempotent = false }) {
    const producer = this.#kafka.producer({ idempotent, maxInFlightRequests: 1 });
    await producer.connect();
    return new Producer(producer, topic, codec);
  }

  async consumer(topic, settings) {
    if (settings.strategy) throw new Lacks("a cooperative assigner");
    if (settings.instance) throw new Lacks("group.instance.id");
    return new Consumer(this.#kafka, topic, settings);
  }

  async reader(topic) {
    this.#groups += 1;
    const consumer = await this.consumer(topic, { group: `${topic}-reader-${this.#groups}` });
    await consumer.subscribe(() => {});
    return consumer;
  }
}

main((bootstrap) => new Client().connect(bootstrap));
