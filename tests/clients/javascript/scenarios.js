"use strict";
/**
 * The scenarios of the client matrix, told once for all clients in JavaScript, and the program that
 * runs one of them: `DRIVER BOOTSTRAP SCENARIO PREFIX`.
 *
 * Its last line is `pass`, or `n/a: FUNCTION` for what the client lacks. The line `restart` asks
 * whoever started it to kill the broker and start it again; the answer is a line, too.
 */

const { createInterface } = require("node:readline");
const {
  FIRST_TIMESTAMP_MS,
  FOREVER,
  Lacks,
  Exists,
  TooLarge,
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
} = require("./matrix");

/** Does what the client has, and says at the end what it lacks. */
async function each(...parts) {
  const lacks = [];
  for (const part of parts) {
    try {
      await part();
    } catch (error) {
      if (!(error instanceof Lacks)) throw error;
      lacks.push(error.message);
    }
  }
  if (lacks.length > 0) throw new Lacks(lacks.join(", "));
}

async function topics(client, topic) {
  const [name, years] = ["retention.ms", "315360000000"];
  const config = () => client.config(topic, name);
  const partitions = () => client.partitions(topic);
  const sent = spread("topics", 0, 50, 5);
  await client.create(topic, 3, FOREVER);
  await eventually("partitions", partitions, range(0, 3));
  await each(
    () => eventually(name, config, "-1"),
    async () => {
      await client.alter(topic, name, years);
      await eventually(name, config, years);
    },
    async () => {
      await client.grow(topic, 5);
      await eventually("partitions", partitions, range(0, 5));
      await produce(client, topic, sent);
      await read(client, topic, 5, placed(sent));
    },
    async () => {
      try {
        await client.create(topic, 3, FOREVER);
      } catch (error) {
        if (error instanceof Exists) return;
        throw error;
      }
      throw new Error("a topic was made twice");
    },
  );
}

async function codecs(client, topic) {
  for (const codec of client.codecs) {
    const one = `${topic}-${codec}`;
    await client.create(one, 3, FOREVER);
    const sent = spread("codecs", 0, 100);
    await produce(client, one, sent, { codec });
    await read(client, one, 3, placed(sent));
  }
}

async function records(client, topic) {
  await client.create(topic, 3, FOREVER);
  const empty = client.hasEmpty ? Buffer.alloc(0) : null;
  const odd = [
    {},
    { key: null },
    { value: null },
    { value: empty },
    { headers: [] },
    {
      key: empty,
      headers: [
        ["h", Buffer.from("1")],
        ["h", Buffer.from("2")],
        ["\u00fc", Buffer.from([0xff, 0])],
      ],
    },
  ];
  const sent = range(0, 120).map((i) => ({
    ...expected("records", i, (i * 7) % 3),
    ...odd[i % 8],
  }));
  await produce(client, topic, sent);
  await read(client, topic, 3, placed(sent));
}

async function idempotent(client, topic) {
  await client.create(topic, 3, FOREVER);
  const sent = spread("idempotent", 0, 1000);
  await produce(client, topic, sent, { idempotent: true });
  await read(client, topic, 3, placed(sent));
}

async function assign(client, topic) {
  if (!client.hasAssign) throw new Lacks("consumer.assign");
  await client.create(topic, 3, FOREVER);
  const sent = spread("assign", 0, 300);
  await produce(client, topic, sent);
  await read(client, topic, 3, placed(sent));
  const consumer = await client.consumer(topic, {});
  consumer.assign({ 0: "end", 1: "end", 2: "end" });
  await until("the ends", async () => {
    same("behind the ends", await consumer.poll(), []);
    return consumer.endsReached() === 3;
  });
  const later = spread("assign", 300, 303);
  await produce(client, topic, later);
  const log = placed([...sent, ...later]);
  const found = byPlace(await pollUntil(consumer, "from the end", 3));
  same(
    "from the end",
    found,
    log.filter(({ offset }) => offset === 100),
  );
  consumer.assign({ 1: 40 });
  same("from 40", await pollUntil(consumer, "from 40", 61), log.slice(101 + 40, 202));
  const at = (i) => FIRST_TIMESTAMP_MS + i * 1000;
  same("at its time", await consumer.offsetForTime(0, at(150)), 50);
  same("between two", await consumer.offsetForTime(0, at(150) + 1), 51);
  same("before all", await consumer.offsetForTime(2, 0), 0);
  same("behind all", await consumer.offsetForTime(2, at(400)), null);
  consumer.assign({ 0: await consumer.offsetForTime(0, at(200)) });
  same("from a time", await pollUntil(consumer, "from a time", 34), log.slice(67, 101));
  await consumer.close();
}

async function group(client, topic, settings = {}) {
  await client.create(topic, 6, FOREVER);
  const isCooperative = settings.strategy === "cooperative";
  const join = () => Member.join(client, topic, topic, settings);
  const first = await join();
  await membersUntil("the first has all", [first], () => share([first], 6));
  const second = await join();
  const both = [first, second];
  await membersUntil("two share", both, () => share(both, 6));
  if (isCooperative) same("only what moves is revoked", first.revoked(), second.partitions);
  const sent = spread("group", 0, 600, 6);
  await produce(client, topic, sent);
  const seen = () => byPlace([...first.seen, ...second.seen]);
  await membersUntil("600 records", both, () => seen().length >= 600);
  same("what both read", seen(), placed(sent));
  for (const member of both) {
    const parts = [...new Set(member.seen.map(({ partition }) => partition))].sort();
    same("what one read", parts, member.partitions);
  }
  const had = first.partitions;
  await second.leave();
  await membersUntil("one has all", [first], () => share([first], 6));
  const lost = first.revoked().filter((partition) => had.includes(partition));
  if (isCooperative) same("nothing that stays is revoked", lost, []);
  sent.push(...spread("group", 600, 660, 6));
  await produce(client, topic, sent.slice(600));
  await membersUntil("60 more", [first], () => seen().length >= 660);
  same("what one read on", seen(), placed(sent));
  await first.leave();
  const third = await join();
  await membersUntil("the third has all", [third], () => share([third], 6));
  sent.push(...spread("group", 660, 666, 6));
  await produce(client, topic, sent.slice(660));
  await membersUntil("the last 6", [third], () => third.seen.length >= 6);
  const last = placed(sent).filter(({ offset }) => offset === 110);
  same("from the commit", byPlace(third.seen), last);
  await third.leave();
}

function cooperative(client, topic) {
  return group(client, topic, { strategy: "cooperative" });
}

async function fixed(client, topic) {
  await client.create(topic, 6, FOREVER);
  const join = (name) => Member.join(client, topic, topic, { instance: `${topic}-${name}` });
  const [first, second] = [await join("a"), await join("b")];
  const both = [first, second];
  await membersUntil("two share", both, () => share(both, 6));
  const sent = spread("static", 0, 60, 6);
  await produce(client, topic, sent);
  await membersUntil("60", both, () => first.seen.length + second.seen.length >= 60);
  const [had, changes] = [second.partitions, [...first.changes]];
  await second.leave();
  const again = await join("b");
  await membersUntil("it is back", [first, again], () => share([first, again], 6));
  same("its partitions", again.partitions, had);
  sent.push(...spread("static", 60, 120, 6));
  await produce(client, topic, sent.slice(60));
  const seen = () => byPlace([...first.seen, ...second.seen, ...again.seen]);
  await membersUntil("60 more", [first, again], () => seen().length >= 120);
  same("what three read", seen(), placed(sent));
  same("the other's rebalances", first.changes, changes);
  await first.leave();
  await again.leave();
}

async function offsets(client, topic) {
  await client.create(topic, 3, FOREVER);
  const sent = spread("offsets", 0, 60);
  await produce(client, topic, sent);
  const committed = (partition) => client.committed(topic, topic, partition);
  const lag = async () => {
    const bounds = await client.bounds(topic);
    return Promise.all(bounds.map(async ({ high }, n) => high - (await committed(n))));
  };
  const consumer = await client.consumer(topic, { group: topic });
  await consumer.subscribe(() => {});
  // Nothing is committed: it begins where auto.offset.reset says.
  same("reset", byPlace(await pollUntil(consumer, "all", 60)), placed(sent));
  same("no commit yet", await committed(0), null);
  await consumer.commit({ 0: 20, 1: 20, 2: 20 });
  same("no lag", await lag(), [0, 0, 0]);
  sent.push(...spread("offsets", 60, 66));
  await produce(client, topic, sent.slice(60));
  const log = placed(sent);
  same("lag behind more records", await lag(), [2, 2, 2]);
  const found = byPlace(await pollUntil(consumer, "more", 6));
  same(
    "more",
    found,
    log.filter(({ offset }) => offset >= 20),
  );
  await consumer.commit({ 0: 5 });
  // Confluent's client tells a commit that follows another before the broker has answered it, on
  // Apache Kafka too.
  await eventually("committed", () => committed(0), 5);
  consumer.commitAsync({ 1: 7 });
  await eventually("committed later", () => committed(1), 7);
  same("another partition", await committed(2), 20);
  await consumer.seek(0, 3);
  same("behind a seek", await pollUntil(consumer, "seek", 19), log.slice(3, 22));
  consumer.pause(1);
  for (const partition of [0, 1, 2]) await consumer.seek(partition, 0);
  const unpaused = byPlace(await pollUntil(consumer, "44", 44));
  same("but the paused", unpaused, [...log.slice(0, 22), ...log.slice(44)]);
  same("the paused", await consumer.poll(), []);
  consumer.resume(1);
  same("resumed", await pollUntil(consumer, "22", 22), log.slice(22, 44));
  await consumer.seek(2, 1000);
  same("reset from beyond the end", await pollUntil(consumer, "22", 22), log.slice(44));
  // KafkaJS commits where a reset leads.
  await consumer.commit({ 2: 20 });
  await consumer.close();
  const back = await client.consumer(topic, { group: topic });
  await back.subscribe(() => {});
  const wanted = [...log.slice(5, 22), ...log.slice(29, 44), ...log.slice(64)];
  same("from the commits", byPlace(await pollUntil(back, "34", 34)), wanted);
  await back.close();
  await fromTheEnd(client, topic, log.length);
}

/** Who has no commit and begins at the end sees nothing that was there before. */
async function fromTheEnd(client, topic, held) {
  const late = await client.consumer(topic, { group: `${topic}-late`, reset: "latest" });
  await late.subscribe(() => {});
  const seen = [];
  let sent = held;
  await until("latest", async () => {
    await produce(client, topic, spread("offsets", sent, sent + 1));
    sent += 1;
    return seen.push(...(await late.poll())) > 0;
  });
  for (const record of seen) {
    const i = record.partition + record.offset * 3;
    same("behind the end", record, { ...expected("offsets", i, i % 3), offset: record.offset });
    same("not from before", i >= held, true);
  }
  await late.close();
}

async function deleteRecords(client, topic) {
  await client.create(topic, 3, FOREVER);
  const sent = spread("delete-records", 0, 60);
  await produce(client, topic, sent);
  await client.deleteRecords(topic, 1, 7);
  const bounds = async () => (await client.bounds(topic))[1];
  await eventually("log start", bounds, { low: 7, high: 20 });
  const log = placed(sent);
  await read(client, topic, 3, [...log.slice(0, 20), ...log.slice(27)]);
}

async function large(client, topic) {
  await client.create(topic, 1, FOREVER);
  const sized = (i, size) => {
    const value = Buffer.from(Uint8Array.from({ length: size }, (_, n) => n % 251));
    return { ...expected("large", i, 0), value };
  };
  const producer = await client.producer(topic, { requestBytesMax: 4 << 20 });
  const [passes, refused] = [sized(0, 900 << 10), sized(1, 2 << 20)];
  const after = expected("large", 2, 0);
  same("900 KiB", await producer.send([passes]), [0]);
  const answer = await producer.send([refused]).catch((error) => error);
  if (!(answer instanceof TooLarge)) throw new Error("2 MiB were not refused", { cause: answer });
  same("the next", await producer.send([after]), [1]);
  await producer.close();
  await read(client, topic, 1, placed([passes, after]));
}

async function admin(client, topic) {
  const both = [topic, `${topic}-other`];
  for (const name of both) await client.create(name, 1, FOREVER);
  const listed = async () => (await client.listTopics()).filter((name) => both.includes(name));
  await eventually("topics", async () => (await listed()).sort(), both);
  const member = await Member.join(client, topic, topic);
  await membersUntil("it has all", [member], () => share([member], 1));
  await produce(client, topic, [expected("admin", 0, 0)]);
  await membersUntil("a commit", [member], () => member.committed[0] === 1);
  const isListed = async () => (await client.listGroups()).includes(topic);
  await each(
    async () => {
      const [brokers, controller] = await client.describeCluster();
      same("one broker is the controller", brokers, [controller]);
    },
    async () => {
      same("listed", await isListed(), true);
      same("described", await client.describeGroup(topic), ["Stable", 1]);
      await member.leave();
      same("without members", await client.describeGroup(topic), ["Empty", 0]);
      await client.deleteGroup(topic);
      same("deleted", await isListed(), false);
    },
    async () => {
      await client.deleteTopics(both);
      await eventually("topics", listed, []);
    },
  );
}

/** Sends records to one partition, a few at a time, until it is ended. */
class Writer {
  acknowledged = [];
  error = null;
  #isEnding = false;
  #ended;

  constructor(producer, partition) {
    this.#ended = this.#run(producer, partition).catch((error) => (this.error = error));
  }

  async #run(producer, partition) {
    while (!this.#isEnding) {
      const from = this.acknowledged.length;
      const few = range(from, from + 5).map((i) => expected("restart", i, partition));
      const sent = await producer.send(few);
      this.acknowledged.push(...few.map((record, n) => ({ ...record, offset: sent[n] })));
    }
    await producer.close();
  }

  async end() {
    this.#isEnding = true;
    await this.#ended;
    if (this.error) throw this.error;
  }
}

async function restart(client, topic) {
  await client.create(topic, 2, FOREVER);
  const plain = new Writer(await client.producer(topic, {}), 0);
  const sure = new Writer(await client.producer(topic, { idempotent: true }), 1);
  const writers = [plain, sure];
  const member = await Member.join(client, topic, topic);
  const have = (counts) => {
    for (const { error } of writers) if (error) throw error;
    const enough = writers.every((writer, n) => writer.acknowledged.length >= counts[n]);
    return enough && Object.keys(member.committed).length === 2;
  };
  await membersUntil("200 each", [member], () => have([200, 200]));
  const [commits, before] = [{ ...member.committed }, member.seen.length];
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  console.log("restart");
  same("the frame's answer", (await lines.next()).value, "restarted");
  const counts = writers.map((writer) => writer.acknowledged.length + 200);
  await membersUntil("200 more", [member], () => have(counts));
  for (const writer of writers) await writer.end();
  const log = await readAll(client, topic, 2);
  const ends = Object.fromEntries(log.map(({ partition, offset }) => [partition, offset + 1]));
  const isRead = () => [0, 1].every((partition) => member.committed[partition] === ends[partition]);
  await membersUntil("all is committed", [member], isRead);
  await member.leave();
  for (const { partition, offset } of member.seen.slice(before)) {
    same(`${partition}/${offset} was not committed before`, offset >= commits[partition], true);
  }
  const place = ({ partition, offset }) => `${partition}/${offset}`;
  const once = new Map(byPlace(member.seen).map((record) => [place(record), record]));
  same("what the group read", [...once.values()], log);
  const kept = new Map(log.map((record) => [place(record), record]));
  const found = plain.acknowledged.map((record) => kept.get(place(record)));
  same("acknowledged", found, plain.acknowledged);
  same(
    "each once",
    log.filter(({ partition }) => partition === 1),
    sure.acknowledged,
  );
}

const SCENARIOS = {
  topics,
  codecs,
  records,
  idempotent,
  assign,
  group,
  cooperative,
  static: fixed,
  offsets,
  "delete-records": deleteRecords,
  large,
  admin,
  restart,
};

/** Runs the scenario that the command line names; `connect` makes the client of a bootstrap. */
async function main(connect) {
  const [bootstrap, scenario, prefix] = process.argv.slice(2);
  try {
    await SCENARIOS[scenario](await connect(bootstrap), `${prefix}-${scenario}`);
    console.log("pass");
    process.exit(0);
  } catch (error) {
    if (error instanceof Lacks) {
      console.log(`n/a: ${error.message}`);
      process.exit(0);
    }
    console.error(error);
    process.exit(1);
  }
}

module.exports = { main };
