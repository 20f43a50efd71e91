// Records by number, the same in every client's driver: made, sent, and held against what was read.

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArraySerializer;

final class Content {
    /**
     * Of today: Apache Kafka, when it starts, forgets an idempotent producer whose last record is a day old
     * by its timestamp; what that sends again is then there twice.
     */
    static final long FIRST_TIMESTAMP_MS = (System.currentTimeMillis() / 1000 - 2000) * 1000;

    private Content() {}

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static byte[] key(int nth) {
        return bytes("k" + nth % 7);
    }

    static byte[] value(int nth) {
        char[] filler = new char[nth * 37 % 500];
        Arrays.fill(filler, (char) ('a' + nth % 26));
        return bytes(Driver.scenario + "-" + nth + "-" + new String(filler));
    }

    static long timestamp(int nth) {
        return FIRST_TIMESTAMP_MS + nth * 1000L;
    }

    static ProducerRecord<byte[], byte[]> record(String topic, int partitions, int nth) {
        return record(topic, partitions, nth, key(nth), value(nth));
    }

    static ProducerRecord<byte[], byte[]> record(String topic, int partitions, int nth, byte[] key, byte[] value) {
        ProducerRecord<byte[], byte[]> record =
                new ProducerRecord<>(topic, nth % partitions, timestamp(nth), key, value);
        record.headers().add("h", bytes("" + nth)).add("empty", new byte[0]);
        return record;
    }

    static KafkaProducer<byte[], byte[]> producer(String... settings) {
        Properties properties = Driver.properties();
        properties.put("acks", "all");
        for (int at = 0; at < settings.length; at += 2) {
            properties.put(settings[at], settings[at + 1]);
        }
        return new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer());
    }

    /** Sends the records from..to; each must be acknowledged at its own offset. */
    static void produce(KafkaProducer<byte[], byte[]> producer, String topic, int partitions, int from, int to)
            throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (int nth = from; nth < to; nth++) {
            sent.add(producer.send(record(topic, partitions, nth)));
        }
        for (int nth = from; nth < to; nth++) {
            RecordMetadata acknowledged = Driver.get(sent.get(nth - from));
            Driver.equal(acknowledged.offset(), (long) (nth / partitions), "the offset of record " + nth);
            Driver.equal(acknowledged.partition(), nth % partitions, "the partition of record " + nth);
        }
    }

    /** The same with a producer of its own. */
    static void produce(String topic, int partitions, int from, int to) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer("linger.ms", "5")) {
            produce(producer, topic, partitions, from, to);
        }
    }

    /** Which record this is, by its place. */
    static int nth(ConsumerRecord<byte[], byte[]> record, int partitions) {
        return Math.toIntExact(record.offset() * partitions + record.partition());
    }

    /** Holds a record against the one that was sent to its place. */
    static int check(ConsumerRecord<byte[], byte[]> record, int partitions) {
        int nth = nth(record, partitions);
        check(record, nth, key(nth), value(nth));
        return nth;
    }

    static void check(ConsumerRecord<byte[], byte[]> record, int nth, byte[] key, byte[] value) {
        String which = "record " + nth + " (" + record + ")";
        Driver.expect(Arrays.equals(record.key(), key), which + ": another key");
        Driver.expect(Arrays.equals(record.value(), value), which + ": another value");
        Driver.equal(record.timestamp(), timestamp(nth), which + ": timestamp");
        Header[] headers = record.headers().toArray();
        Driver.equal(headers.length, 2, which + ": headers");
        Driver.equal(headers[0].key(), "h", which + ": first header");
        Driver.expect(Arrays.equals(headers[0].value(), bytes("" + nth)), which + ": another first header");
        Driver.equal(headers[1].key(), "empty", which + ": second header");
        Driver.equal(headers[1].value().length, 0, which + ": second header's length");
    }
}
