// Scenarios about what records hold: codecs, nulls, the idempotent producer, large ones.

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;

final class Records {
    private static final int PARTITIONS = 3;

    private Records() {}

    static void codecs() throws Exception {
        for (String codec : new String[] {"none", "gzip", "snappy", "lz4", "zstd"}) {
            String topic = Administration.create("-" + codec, PARTITIONS);
            try (KafkaProducer<byte[], byte[]> producer = Content.producer("compression.type", codec, "linger.ms", "20")) {
                Content.produce(producer, topic, PARTITIONS, 0, 100);
            }
            try (Reader reader = new Reader(topic, PARTITIONS, null)) {
                reader.check(100);
            }
        }
    }

    private static byte[] keyOrNot(int nth) {
        return nth % 5 == 0 ? null : nth % 5 == 1 ? new byte[0] : Content.key(nth);
    }

    private static byte[] valueOrNot(int nth) {
        return nth % 7 == 3 ? null : nth % 7 == 5 ? new byte[0] : Content.value(nth);
    }

    static void records() throws Exception {
        String topic = Administration.create("", PARTITIONS);
        try (KafkaProducer<byte[], byte[]> producer = Content.producer()) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int nth = 0; nth < 105; nth++) {
                sent.add(producer.send(Content.record(topic, PARTITIONS, nth, keyOrNot(nth), valueOrNot(nth))));
            }
            for (int nth = 0; nth < sent.size(); nth++) {
                RecordMetadata acknowledged = Driver.get(sent.get(nth));
                Driver.equal(acknowledged.offset(), (long) nth / PARTITIONS, "the offset of record " + nth);
                Driver.equal(acknowledged.timestamp(), Content.timestamp(nth), "the timestamp of record " + nth);
            }
        }
        try (Reader reader = new Reader(topic, PARTITIONS, null)) {
            reader.check(105, (record, nth) -> Content.check(record, nth, keyOrNot(nth), valueOrNot(nth)));
        }
    }

    static void idempotent() throws Exception {
        String topic = Administration.create("", PARTITIONS);
        try (KafkaProducer<byte[], byte[]> producer =
                // Small batches: many sequences under way.
                Content.producer("enable.idempotence", "true", "batch.size", "2000", "linger.ms", "1")) {
            Content.produce(producer, topic, PARTITIONS, 0, 1000);
        }
        try (Reader reader = new Reader(topic, PARTITIONS, null)) {
            reader.check(1000);
        }
    }

    static void large() throws Exception {
        String topic = Administration.create("", 1);
        byte[] big = new byte[900 << 10];
        Arrays.fill(big, (byte) 'b');
        try (KafkaProducer<byte[], byte[]> producer = Content.producer("max.request.size", "" + (4 << 20))) {
            Driver.equal(Driver.get(producer.send(new ProducerRecord<>(topic, big))).offset(), 0L, "its offset");
            Driver.refused(producer.send(new ProducerRecord<>(topic, new byte[2 << 20])), "RecordTooLargeException");
            Driver.equal(Driver.get(producer.send(Content.record(topic, 1, 1))).offset(), 1L, "the next offset");
        }
        try (Reader reader = new Reader(topic, 1, null)) {
            List<ConsumerRecord<byte[], byte[]>> found = reader.read(2);
            Driver.expect(Arrays.equals(found.get(0).value(), big), "the large record is another");
            Content.check(found.get(1), 1);
        }
    }
}
