// Writes the mirrored topics: records of every shape, numbered within their partition, each partition's
// by one idempotent producer with a codec of its own. It goes on from the numbers that a file names and
// leaves its own there; every record must be acknowledged.
//
// Arguments: the broker, the file of numbers, how many records, and optionally a file whose appearance
// ends it instead. `make` in place of the number makes the topics and trims one; `change` alters a
// configuration and adds partitions.

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public final class Writer {
    private static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");
    private static final long PACE_MS = 4;
    private static final long TOLD_EVERY = 500;
    private static final AtomicLong ACKNOWLEDGED = new AtomicLong();
    private static final AtomicReference<Exception> FAILED = new AtomicReference<>();

    private Writer() {}

    public static void main(String[] arguments) throws Exception {
        String address = arguments[0];
        Path numbers = Path.of(arguments[1]);
        switch (arguments[2]) {
            case "make" -> make(address, numbers);
            case "change" -> change(address);
            default -> {
                Path end = arguments.length > 3 ? Path.of(arguments[3]) : null;
                write(address, numbers, Long.parseLong(arguments[2]), end);
            }
        }
    }

    private static void make(String address, Path numbers) throws Exception {
        try (Admin admin = Mirrored.admin(address)) {
            admin.createTopics(List.of(
                    new NewTopic(Mirrored.ORDERS, 4, (short) 1).configs(Map.of("retention.ms", "1209600000",
                            "segment.bytes", "33554432", "max.message.bytes", "2000000", "compression.type", "zstd",
                            "min.insync.replicas", "1")),
                    new NewTopic(Mirrored.TABLE, 2, (short) 1).configs(Map.of("cleanup.policy", "compact",
                            "delete.retention.ms", "172800000", "min.cleanable.dirty.ratio", "0.9")),
                    new NewTopic(Mirrored.TRIMMED, 1, (short) 1))).all().get();
            write(address, numbers, 3000, null);
            admin.deleteRecords(Map.of(new TopicPartition(Mirrored.TRIMMED, 0),
                    RecordsToDelete.beforeOffset(Mirrored.TRIMMED_RECORDS))).all().get();
        }
    }

    private static void change(String address) throws Exception {
        try (Admin admin = Mirrored.admin(address)) {
            Collection<AlterConfigOp> changes = List.of(
                    new AlterConfigOp(new ConfigEntry("retention.ms", "2419200000"), AlterConfigOp.OpType.SET),
                    new AlterConfigOp(new ConfigEntry("max.message.bytes", null), AlterConfigOp.OpType.DELETE));
            admin.incrementalAlterConfigs(Map.of(
                    new ConfigResource(ConfigResource.Type.TOPIC, Mirrored.ORDERS), changes)).all().get();
            int partitions = admin.describeTopics(List.of(Mirrored.ORDERS)).allTopicNames().get()
                    .get(Mirrored.ORDERS).partitions().size();
            admin.createPartitions(Map.of(Mirrored.ORDERS, NewPartitions.increaseTo(partitions + 1))).all().get();
        }
    }

    private static void write(String address, Path file, long records, Path end) throws Exception {
        Map<TopicPartition, Long> numbers = Mirrored.read(file);
        List<TopicPartition> partitions;
        try (Admin admin = Mirrored.admin(address)) {
            partitions = new ArrayList<>(Mirrored.offsets(admin, Mirrored.TOPICS, OffsetSpec.latest()).keySet());
        }
        List<KafkaProducer<byte[], byte[]>> producers = new ArrayList<>();
        for (String codec : CODECS) {
            producers.add(new KafkaProducer<>(properties(address, codec), new ByteArraySerializer(),
                    new ByteArraySerializer()));
        }
        long written = 0;
        for (; end == null ? written < records : !Files.exists(end); written++) {
            TopicPartition partition = partitions.get((int) (written % partitions.size()));
            long number = numbers.merge(partition, 1L, Long::sum) - 1;
            producers.get(partition.partition() % CODECS.size()).send(record(partition, number), (metadata, failure) -> {
                if (failure != null) {
                    FAILED.set(failure);
                } else if (ACKNOWLEDGED.incrementAndGet() % TOLD_EVERY == 0) {
                    System.out.println("acknowledged " + ACKNOWLEDGED);
                }
            });
            if (end != null) {
                Thread.sleep(PACE_MS);
            }
        }
        producers.forEach(KafkaProducer::close);
        if (FAILED.get() != null || ACKNOWLEDGED.get() != written) {
            throw new IllegalStateException(ACKNOWLEDGED + " of " + written + " acknowledged", FAILED.get());
        }
        Mirrored.write(file, numbers);
        System.out.println("wrote " + written + " records");
    }

    /** A record whose shape comes of its number: keys and values that are null, empty and long, headers that repeat. */
    private static ProducerRecord<byte[], byte[]> record(TopicPartition partition, long number) {
        boolean keyed = partition.topic().equals(Mirrored.TABLE) || number % 3 != 0;
        byte[] key = !keyed ? null : number % 31 == 0 ? new byte[0] : bytes("key-" + number % 50);
        byte[] value = switch ((int) (number % 11)) {
            case 3 -> null;
            case 5 -> new byte[0];
            case 7 -> bytes("lång ".repeat(800) + number);
            default -> bytes(partition + " has " + number);
        };
        // Some come late: a mirror keeps the time that the producer gave.
        long timestamp = System.currentTimeMillis() - (number % 5 == 0 ? 3_600_000 : 0);
        var record = new ProducerRecord<>(partition.topic(), partition.partition(), timestamp, key, value);
        record.headers().add(Mirrored.NUMBER, ByteBuffer.allocate(Long.BYTES).putLong(number).array());
        if (number % 2 == 0) {
            record.headers().add("twice", bytes("a")).add("twice", bytes("b")).add("null", null).add("", new byte[0]);
        }
        return record;
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static Properties properties(String address, String codec) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", address);
        properties.put("acks", "all");
        properties.put("compression.type", codec);
        properties.put("linger.ms", "20");
        properties.put("delivery.timeout.ms", "600000");
        properties.put("max.block.ms", "600000");
        return properties;
    }
}
