"use strict";
/**
 * The client matrix in JavaScript: the records, the waits, and a member of a group.
 *
 * A driver gives a client to `scenarios.main`: an object that says how its library does each thing.
 * What always holds: contents are compared byte for byte, and every wait ends on a condition or
 * fails after `PATIENCE_MS`.
 */

const { inspect, isDeepStrictEqual } = require("node:util");

const PATIENCE_MS = 60_000;
// Of today: Apache Kafka, when it starts, forgets an idempotent producer whose last record is a day
// old by its timestamp; what that sends again is then there twice.
const FIRST_TIMESTAMP_MS = (Math.floor(Date.now() / 1000) - 2000) * 1000;
// No retention beside what a scenario asks for.
const FOREVER = { "retention.ms": "-1" };

/** The client has no such function: against no broker can it do that. */
class Lacks extends Error {}
/** A topic was refused because there is one of that name. */
class Exists extends Error {}
/** A record was refused for its size, by the client's own error for that. */
class TooLarge extends Error {}
/** A commit was refused because the group rebalances: what it held is read again. */
class Rejoining extends Error {}
/** The library leaves it to the application to ask again, since it has no connection. */
class Unreachable extends Error {}

/**
 * Record `i` of a scenario: all languages of the matrix have the same formula. Before a record is
 * sent, its offset is -1; headers are pairs of a name and bytes.
 */
function expected(scenario, i, partition) {
  const filling = String.fromCharCode(97 + (i % 26)).repeat((i * 37) % 500);
  return {
    partition,
    offset: -1,
    timestamp: FIRST_TIMESTAMP_MS + i * 1000,
    key: Buffer.from(`k${i % 7}`),
    value: Buffer.from(`${scenario}-${i}-${filling}`),
    headers: [
      ["h", Buffer.from(`${i}`)],
      ["empty", Buffer.alloc(0)],
    ],
  };
}

/** The numbers from `from` on, less than `to`. */
const range = (from, to) => Array.from({ length: to - from }, (_, n) => from + n);

/** Records `from` to `to` (not included), from partition to partition. */
function spread(scenario, from, to, partitions = 3) {
  return range(from, to).map((i) => expected(scenario, i, i % partitions));
}

function byPlace(records) {
  return [...records].sort((a, b) => a.partition - b.partition || a.offset - b.offset);
}

/** The records of a whole topic with the offsets that they get, in the order of the log. */
function placed(records) {
  const ends = new Map();
  const found = records.map((record) => {
    const offset = ends.get(record.partition) ?? 0;
    ends.set(record.partition, offset + 1);
    return { ...record, offset };
  });
  return byPlace(found);
}

/** Fails unless they are equal; of long lists it shows the first difference. */
function same(what, found, wanted) {
  if (isDeepStrictEqual(found, wanted)) return;
  if (Array.isArray(found) && Array.isArray(wanted)) {
    const at = found.findIndex((one, n) => n < wanted.length && !isDeepStrictEqual(one, wanted[n]));
    what = `${what}: ${found.length} in place of ${wanted.length}`;
    if (at >= 0) [what, found, wanted] = [`${what}, at ${at}`, found[at], wanted[at]];
  }
  throw new Error(`${what}: found ${inspect(found)}, wanted ${inspect(wanted)}`.slice(0, 2000));
}

const aMoment = () => new Promise((resolve) => setTimeout(resolve, 20));

/** Asks again and again until it is so. */
async function until(what, condition, state = () => "") {
  const deadline = Date.now() + PATIENCE_MS;
  while (!(await condition())) {
    if (Date.now() > deadline) {
      throw new Error(`${what}: not within ${PATIENCE_MS} ms: ${inspect(state())}`.slice(0, 2000));
    }
    await aMoment();
  }
}

/** Asks until the answer is the wanted one: a broker may show a change after its answer. */
async function eventually(what, ask, wanted) {
  let last;
  const isSo = async () => isDeepStrictEqual((last = await ask()), wanted);
  await until(what, isSo, () => ({ found: last, wanted }));
}

/** Sends them; each partition's must be acknowledged in order, without a gap. */
async function produce(client, topic, records, settings = {}) {
  const producer = await client.producer(topic, settings);
  const offsets = await producer.send(records);
  const last = new Map();
  records.forEach(({ partition }, n) => {
    const next = (last.get(partition) ?? offsets[n] - 1) + 1;
    same("acknowledged offset", offsets[n], next);
    last.set(partition, offsets[n]);
  });
  await producer.close();
}

/** Polls until so many came. */
async function pollUntil(consumer, what, count) {
  const found = [];
  const isSo = async () => found.push(...(await consumer.poll())) >= count;
  await until(what, isSo, () => `${found.length} of ${count} records`);
  return found;
}

/** All that the topic holds, from its beginning. */
async function readAll(client, topic, partitions) {
  const bounds = await client.bounds(topic);
  const held = bounds.reduce((sum, { low, high }) => sum + high - low, 0);
  const consumer = await client.reader(topic, range(0, partitions));
  const found = await pollUntil(consumer, topic, held);
  await consumer.close();
  return byPlace(found);
}

/** The topic must hold these records and no other. */
async function read(client, topic, partitions, wanted) {
  same(topic, await readAll(client, topic, partitions), wanted);
}

/** A member of a group: beside everything else it reads and commits until it leaves. */
class Member {
  seen = [];
  partitions = [];
  changes = [];
  committed = {};
  error = null;
  #pending = {};
  #isLeaving = false;
  #ended;

  static async join(client, topic, group, settings = {}) {
    const member = new Member();
    const consumer = await client.consumer(topic, { group, ...settings });
    await consumer.subscribe((kind, which) => member.changes.push([kind, which]));
    member.#ended = member.#run(consumer).catch((error) => (member.error = error));
    return member;
  }

  async #run(consumer) {
    while (!this.#isLeaving) {
      await this.#read(consumer);
      await aMoment();
    }
    await consumer.close();
  }

  async #read(consumer) {
    try {
      const records = await consumer.poll();
      this.partitions = consumer.assignment().sort();
      this.seen.push(...records);
      for (const { partition, offset } of byPlace(records)) this.#pending[partition] = offset + 1;
      if (Object.keys(this.#pending).length > 0) {
        await consumer.commit(this.#pending);
        Object.assign(this.committed, this.#pending);
        this.#pending = {};
      }
    } catch (error) {
      if (error instanceof Rejoining) this.#pending = {};
      else if (!(error instanceof Unreachable)) throw error;
    }
  }

  /** All partitions that were ever taken from it. */
  revoked() {
    const revoked = this.changes.filter(([kind]) => kind === "revoked");
    return [...new Set(revoked.flatMap(([, which]) => which))].sort();
  }

  async leave() {
    this.#isLeaving = true;
    await this.#ended;
    if (this.error) throw this.error;
  }
}

/** Waits until it is so; fails at once where a member failed. */
async function membersUntil(what, members, condition) {
  const isSo = () => {
    for (const { error } of members) if (error) throw error;
    return condition();
  };
  const state = () => members.map((m) => [m.partitions, m.seen.length, m.changes.slice(-6)]);
  await until(what, isSo, state);
}

/** Whether each has a part, and each partition one member. */
function share(members, partitions) {
  const parts = members.map((member) => member.partitions);
  const together = parts.flat().sort();
  return (
    parts.every((part) => part.length > 0) && isDeepStrictEqual(together, range(0, partitions))
  );
}

module.exports = {
  FIRST_TIMESTAMP_MS,
  FOREVER,
  PATIENCE_MS,
  Lacks,
  Exists,
  TooLarge,
  Rejoining,
  Unreachable,
  Member,
  byPlace,
  eventually,
  expected,
  membersUntil,
  placed,
  pollUntil,
  produce,
  range,
  read,
  readAll,
  same,
  share,
  spread,
  until,
};
