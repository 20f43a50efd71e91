// The broker is killed and started under two producers and a group.

import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;

final class Restart {
    private static final int PARTITIONS = 3;
    private static final int RECORDS = 600;

    private Restart() {}

    /** A producer that writes all the time, and where each of its records was acknowledged. */
    private static final class Writer extends Thread {
        final String topic;
        final KafkaProducer<byte[], byte[]> producer;
        final Map<Integer, Long> acknowledged = new ConcurrentHashMap<>();
        final Map<Integer, Exception> failed = new ConcurrentHashMap<>();
        final AtomicInteger allowed = new AtomicInteger(150);

        Writer(String topic, boolean isIdempotent) {
            this.topic = topic;
            producer = Content.producer("enable.idempotence", "" + isIdempotent, "retries", "1000000", "batch.size", "1000");
            setDaemon(true);
        }

        @Override
        public void run() {
            try {
                for (int nth = 0; nth < RECORDS; nth++) {
                    int which = nth;
                    Driver.until("leave to write", () -> which < allowed.get());
                    producer.send(Content.record(topic, PARTITIONS, nth), (where, failure) -> note(which, where, failure));
                }
                producer.close();
            } catch (Exception error) {
                failed.put(-1, error);
            }
        }

        private void note(int nth, RecordMetadata where, Exception failure) {
            if (failure == null) {
                acknowledged.put(nth, where.offset());
            } else {
                failed.put(nth, failure);
            }
        }

        boolean has(int count) {
            Driver.expect(failed.isEmpty(), topic + ": not written: " + failed);
            return acknowledged.size() >= count;
        }
    }

    static void run() throws Exception {
        Writer plain = new Writer(Administration.create("-plain", PARTITIONS), false);
        Writer once = new Writer(Administration.create("-once", PARTITIONS), true);
        plain.start();
        once.start();
        String group = Driver.prefix + "-g";
        Groups.Member member = new Groups.Member(once.topic, PARTITIONS, Groups.settings(group, null));
        Groups.until("what was written is read", () -> member.read.size() == 150 && plain.has(150), member);
        // What comes now is under way when the broker dies.
        plain.allowed.set(RECORDS);
        once.allowed.set(RECORDS);
        Driver.restart();
        Groups.until("all is written", () -> plain.has(RECORDS) && once.has(RECORDS), member);
        Groups.until("all is read", () -> member.read.size() == RECORDS, member);
        for (int nth = 0; nth < 150; nth++) {
            Driver.equal(member.read.get(nth), 1, "how often record " + nth + ", committed before the kill, was read");
        }
        member.end();
        try (Reader reader = new Reader(once.topic, PARTITIONS, group)) {
            for (TopicPartition at : reader.partitions) {
                Driver.equal(Version.committed(reader.consumer, at).offset(), (long) RECORDS / PARTITIONS, "" + at);
            }
            reader.consumer.seekToBeginning(reader.partitions);
            reader.check(RECORDS);
        }
        plain(plain);
    }

    /** What was acknowledged is where it was acknowledged; what is twice is whole. */
    private static void plain(Writer plain) throws Exception {
        Set<Integer> seen = ConcurrentHashMap.newKeySet();
        try (Reader reader = new Reader(plain.topic, PARTITIONS, null)) {
            long count = reader.consumer.endOffsets(reader.partitions).values().stream().mapToLong(Long::longValue).sum();
            for (ConsumerRecord<byte[], byte[]> record : reader.read(Math.toIntExact(count))) {
                int nth = Integer.parseInt(new String(record.headers().lastHeader("h").value()));
                Content.check(record, nth, Content.key(nth), Content.value(nth));
                Long at = plain.acknowledged.get(nth);
                if (at == record.offset()) {
                    seen.add(nth);
                }
            }
        }
        Driver.equal(seen.size(), RECORDS, "what is where it was acknowledged");
    }
}
