// What the programs of the mirror's suite agree on: the topics, what a record of theirs is told by, and
// how a topic is read whole.

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.function.Predicate;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

final class Mirrored {
    /** Four partitions, more from the middle of the run on. */
    static final String ORDERS = "orders";
    /** Compacted, with tombstones. */
    static final String TABLE = "table";
    /** Its first records are deleted before it is mirrored: its offsets differ afterwards. */
    static final String TRIMMED = "trimmed";
    static final List<String> TOPICS = List.of(ORDERS, TABLE, TRIMMED);
    /** How many records of `trimmed` go. */
    static final long TRIMMED_RECORDS = 150;
    /** The header with a record's number within its partition. */
    static final String NUMBER = "number";
    static final long PATIENCE_MS = 180_000;

    private Mirrored() {}

    /** A condition that may need asking. */
    interface Condition {
        boolean holds() throws Exception;
    }

    /** Waits for a condition, which does not hold while a topic that it asks for is not there. */
    static void until(String what, Condition condition) throws Exception {
        long end = System.currentTimeMillis() + PATIENCE_MS;
        for (;;) {
            try {
                if (condition.holds()) {
                    return;
                }
            } catch (ExecutionException failure) {
                if (!(failure.getCause() instanceof UnknownTopicOrPartitionException)) {
                    throw failure;
                }
            }
            if (System.currentTimeMillis() > end) {
                throw new IllegalStateException("not within " + PATIENCE_MS + " ms: " + what);
            }
            Thread.sleep(200);
        }
    }

    static Admin admin(String address) {
        return Admin.create(Map.of("bootstrap.servers", address));
    }

    static long number(ConsumerRecord<byte[], byte[]> record) {
        Header header = record.headers().lastHeader(NUMBER);
        return ByteBuffer.wrap(header.value()).getLong();
    }

    static Map<TopicPartition, Long> offsets(Admin admin, List<String> topics, OffsetSpec at) throws Exception {
        Map<TopicPartition, OffsetSpec> asked = new HashMap<>();
        admin.describeTopics(topics).allTopicNames().get().forEach((name, topic) -> topic.partitions()
                .forEach(partition -> asked.put(new TopicPartition(name, partition.partition()), at)));
        Map<TopicPartition, Long> found = new HashMap<>();
        admin.listOffsets(asked).all().get().forEach((partition, result) -> found.put(partition, result.offset()));
        return found;
    }

    /** Gives the records of these partitions from their beginning on, until the taker says that it has enough. */
    static void each(String address, List<TopicPartition> partitions, Map<TopicPartition, Long> from,
            Predicate<ConsumerRecord<byte[], byte[]>> taker, Condition enough) throws Exception {
        Map<String, Object> properties = Map.of("bootstrap.servers", address, "auto.offset.reset", "none");
        try (var consumer = new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(partitions);
            from.forEach(consumer::seek);
            long end = System.currentTimeMillis() + PATIENCE_MS;
            while (!enough.holds()) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    if (!taker.test(record)) {
                        return;
                    }
                }
                if (System.currentTimeMillis() > end) {
                    throw new IllegalStateException("not all of " + partitions + " comes within " + PATIENCE_MS + " ms");
                }
            }
        }
    }

    /** Every record that these topics have now, by partition. */
    static Map<TopicPartition, List<ConsumerRecord<byte[], byte[]>>> whole(String address, List<String> topics)
            throws Exception {
        Map<TopicPartition, List<ConsumerRecord<byte[], byte[]>>> records = new HashMap<>();
        try (Admin admin = admin(address)) {
            Map<TopicPartition, Long> starts = offsets(admin, topics, OffsetSpec.earliest());
            Map<TopicPartition, Long> ends = offsets(admin, topics, OffsetSpec.latest());
            Map<TopicPartition, Long> left = new HashMap<>();
            ends.forEach((partition, end) -> {
                records.put(partition, new ArrayList<>());
                if (end > starts.get(partition)) {
                    left.put(partition, end);
                }
            });
            each(address, new ArrayList<>(ends.keySet()), starts, record -> {
                TopicPartition partition = new TopicPartition(record.topic(), record.partition());
                records.get(partition).add(record);
                if (record.offset() + 1 >= left.getOrDefault(partition, Long.MAX_VALUE)) {
                    left.remove(partition);
                }
                return true;
            }, left::isEmpty);
        }
        return records;
    }

    /** Numbers by partition, of a file of lines `topic TAB partition TAB number`; none where there is no file. */
    static Map<TopicPartition, Long> read(Path file) throws IOException {
        Map<TopicPartition, Long> numbers = new HashMap<>();
        if (Files.exists(file)) {
            for (String line : Files.readAllLines(file)) {
                String[] fields = line.split("\t");
                numbers.put(new TopicPartition(fields[0], Integer.parseInt(fields[1])), Long.parseLong(fields[2]));
            }
        }
        return numbers;
    }

    static void write(Path file, Map<TopicPartition, Long> numbers) throws IOException {
        Map<String, Long> sorted = new TreeMap<>();
        numbers.forEach((partition, number) -> sorted.put(partition.topic() + "\t" + partition.partition(), number));
        try (PrintWriter out = new PrintWriter(file.toFile(), "UTF-8")) {
            sorted.forEach((partition, number) -> out.println(partition + "\t" + number));
        }
    }
}
