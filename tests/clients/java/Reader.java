// A consumer of partitions that are assigned by hand, and what it must find.

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.function.BiConsumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

final class Reader implements AutoCloseable {
    final KafkaConsumer<byte[], byte[]> consumer;
    final List<TopicPartition> partitions;

    /** Reads all partitions of a topic, from the beginning unless it is moved. */
    Reader(String topic, int partitions, String group) {
        this.consumer = new KafkaConsumer<>(properties(group), new ByteArrayDeserializer(), new ByteArrayDeserializer());
        this.partitions = partitions(topic, partitions);
        consumer.assign(this.partitions);
    }

    static Properties properties(String group) {
        Properties properties = Driver.properties();
        if (group != null) {
            properties.put("group.id", group);
        }
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", "false");
        return properties;
    }

    static List<TopicPartition> partitions(String topic, int count) {
        List<TopicPartition> partitions = new ArrayList<>();
        for (int partition = 0; partition < count; partition++) {
            partitions.add(new TopicPartition(topic, partition));
        }
        return partitions;
    }

    TopicPartition at(int partition) {
        return partitions.get(partition);
    }

    /** Polls until so many records came: not one more, each right behind the one before it in its partition. */
    List<ConsumerRecord<byte[], byte[]>> read(int count) throws Exception {
        long[] next = new long[partitions.size()];
        for (TopicPartition at : partitions) {
            next[at.partition()] = consumer.position(at);
        }
        List<ConsumerRecord<byte[], byte[]>> found = new ArrayList<>();
        Driver.until(() -> found.size() + " of " + count + " records came", () -> {
            for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100))) {
                Driver.equal(record.offset(), next[record.partition()]++, "the next offset of " + record.partition());
                found.add(record);
            }
            return found.size() >= count;
        });
        Driver.equal(found.size(), count, "the count of records");
        return found;
    }

    /** Reads so many records, each as it was sent. */
    void check(int count) throws Exception {
        check(count, (record, nth) -> Content.check(record, partitions.size()));
    }

    void check(int count, BiConsumer<ConsumerRecord<byte[], byte[]>, Integer> same) throws Exception {
        for (ConsumerRecord<byte[], byte[]> record : read(count)) {
            same.accept(record, Content.nth(record, partitions.size()));
        }
    }

    @Override
    public void close() {
        consumer.close();
    }
}
