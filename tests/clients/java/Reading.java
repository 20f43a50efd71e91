// Scenarios about places: where a consumer begins, what it commits, where a log begins.

import java.time.Duration;
import java.util.Collections;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.common.TopicPartition;

final class Reading {
    private static final int PARTITIONS = 3;
    private static final int RECORDS = 90;
    private static final long EACH = RECORDS / PARTITIONS;

    private Reading() {}

    private static String filled() throws Exception {
        String topic = Administration.create("", PARTITIONS);
        Content.produce(topic, PARTITIONS, 0, RECORDS);
        return topic;
    }

    static void assign() throws Exception {
        String topic = filled();
        try (Reader reader = new Reader(topic, PARTITIONS, null)) {
            reader.consumer.seekToBeginning(reader.partitions);
            reader.check(RECORDS);
            reader.consumer.seek(reader.at(0), 17);
            reader.consumer.seek(reader.at(1), 29);
            reader.consumer.seek(reader.at(2), 0);
            reader.check(13 + 1 + 30);
            reader.consumer.seekToEnd(reader.partitions);
            for (TopicPartition at : reader.partitions) {
                Driver.equal(reader.consumer.position(at), EACH, "the position at the end of " + at);
            }
            Content.produce(topic, PARTITIONS, RECORDS, RECORDS + 6);
            reader.check(6);
            byTime(reader);
        }
    }

    private static void byTime(Reader reader) throws Exception {
        Map<TopicPartition, Long> times = new HashMap<>();
        times.put(reader.at(0), Content.timestamp(45));
        // Between two records the later one counts.
        times.put(reader.at(1), Content.timestamp(43) + 1);
        times.put(reader.at(2), Content.timestamp(RECORDS + 100));
        Map<TopicPartition, OffsetAndTimestamp> found = reader.consumer.offsetsForTimes(times);
        Driver.equal(found.get(reader.at(0)).offset(), 15L, "the offset of record 45's time");
        Driver.equal(found.get(reader.at(0)).timestamp(), Content.timestamp(45), "the time there");
        Driver.equal(found.get(reader.at(1)).offset(), 15L, "the offset behind record 43's time");
        Driver.equal(found.get(reader.at(1)).timestamp(), Content.timestamp(46), "the time there");
        Driver.expect(found.get(reader.at(2)) == null, "there is something later than all: " + found);
        reader.consumer.seek(reader.at(0), 15);
        reader.consumer.seek(reader.at(1), 15);
        reader.check(17 + 17);
    }

    static void offsets() throws Exception {
        String topic = filled();
        String group = Driver.prefix + "-g";
        try (Reader reader = new Reader(topic, PARTITIONS, group)) {
            reader.check(RECORDS);
            TopicPartition zero = reader.at(0);
            TopicPartition one = reader.at(1);
            OffsetAndMetadata ten = new OffsetAndMetadata(10, "by hand");
            reader.consumer.commitSync(Collections.singletonMap(zero, ten));
            Driver.equal(Version.committed(reader.consumer, zero), ten, "what was committed");
            CompletableFuture<Exception> came = new CompletableFuture<>();
            Map<TopicPartition, OffsetAndMetadata> twenty = Collections.singletonMap(one, new OffsetAndMetadata(20));
            reader.consumer.commitAsync(twenty, (offsets, failure) -> came.complete(failure));
            Driver.until("the answer to a commit", () -> {
                reader.consumer.poll(Duration.ofMillis(10));
                return came.isDone();
            });
            Driver.expect(came.get() == null, "the commit failed: " + came.get());
            Driver.equal(Version.committed(reader.consumer, one).offset(), 20L, "what was committed later");
            Driver.expect(Version.committed(reader.consumer, reader.at(2)) == null, "an offset that nobody committed");
        }
        try (Reader reader = new Reader(topic, PARTITIONS, group)) {
            reader.check(20 + 10 + 30);
            moves(reader);
            pauses(reader);
        }
    }

    private static void moves(Reader reader) throws Exception {
        TopicPartition zero = reader.at(0);
        reader.consumer.seekToBeginning(reader.partitions);
        Driver.equal(reader.consumer.position(zero), 0L, "the beginning");
        reader.consumer.seekToEnd(reader.partitions);
        Driver.equal(reader.consumer.position(zero), EACH, "the end");
        reader.consumer.seek(zero, 12);
        long lag = reader.consumer.endOffsets(reader.partitions).get(zero) - reader.consumer.position(zero);
        Driver.equal(lag, 18L, "the lag");
        reader.check(18);
    }

    private static void pauses(Reader reader) throws Exception {
        reader.consumer.seekToBeginning(reader.partitions);
        reader.consumer.pause(reader.partitions.subList(0, 2));
        for (ConsumerRecord<byte[], byte[]> record : reader.read(30)) {
            Driver.equal(record.partition(), 2, "what is read while others pause");
        }
        reader.consumer.resume(reader.consumer.paused());
        reader.check(60);
    }

    static void deleteRecords() throws Exception {
        String topic = filled();
        TopicPartition one = new TopicPartition(topic, 1);
        Map<TopicPartition, RecordsToDelete> before = Collections.singletonMap(one, RecordsToDelete.beforeOffset(12));
        long low = Driver.get(Driver.admin.deleteRecords(before).lowWatermarks().get(one)).lowWatermark();
        Driver.equal(low, 12L, "the low watermark");
        before = Collections.singletonMap(one, RecordsToDelete.beforeOffset(EACH + 1));
        Driver.refused(Driver.admin.deleteRecords(before).all(), "OffsetOutOfRangeException");
        try (Reader reader = new Reader(topic, PARTITIONS, null)) {
            Map<TopicPartition, Long> begin = reader.consumer.beginningOffsets(reader.partitions);
            Driver.equal(begin.get(one), 12L, "the beginning of what lost records");
            Driver.equal(begin.get(reader.at(0)), 0L, "the beginning of what lost none");
            reader.consumer.seekToBeginning(reader.partitions);
            reader.check(30 + 18 + 30);
            // Where nothing is any more, a consumer goes to what is left.
            reader.consumer.seek(one, 3);
            Driver.until("the first that is left", () -> {
                for (ConsumerRecord<byte[], byte[]> record : reader.consumer.poll(Duration.ofMillis(100))) {
                    Driver.equal(record.offset(), 12L, "the first offset that is left");
                    Content.check(record, PARTITIONS);
                    return true;
                }
                return false;
            });
        }
    }
}
