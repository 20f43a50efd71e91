// Judges the word count at rest, when its lines have ended: its results against the truth and against
// its own changelogs, and its internal topics as Streams wants them.
//
// Arguments: the broker, `exact` (every count is the truth) or `least` (none is below it), the file of
// the truth, and optionally a file of what the stores held after they were restored.

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.BiConsumer;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

public final class Judge {
    private static final String REPARTITION = Words.APPLICATION + "-words-repartition";
    private static final String CHANGELOG = Words.APPLICATION + "-counts-changelog";
    private static final String WINDOWS_CHANGELOG = Words.APPLICATION + "-windows-changelog";
    private static final long PATIENCE_MS = 240_000;

    private static String address;
    private static Admin admin;

    private Judge() {}

    /** A condition that may need asking. */
    private interface Condition {
        boolean holds() throws Exception;
    }

    public static void main(String[] arguments) throws Exception {
        address = arguments[0];
        boolean exact = arguments[1].equals("exact");
        try (Admin opened = Admin.create(Map.of("bootstrap.servers", address))) {
            admin = opened;
            until("the application has committed all there is", Judge::atRest);
            Map<String, Long> truth = Words.read(Path.of(arguments[2]));
            Map<String, Long> results = last(Words.COUNTS, Judge::name, Judge::count);
            results.putAll(last(Words.WINDOWED, Judge::name, Judge::count));
            long over = compare(truth, results, exact);
            Map<String, Long> logged = last(CHANGELOG, Judge::name, Judge::count);
            logged.putAll(last(WINDOWS_CHANGELOG, Judge::windowedName, Judge::count));
            same("the changelogs", logged, "the results", results);
            if (arguments.length > 3) {
                same("the stores restored", Words.read(Path.of(arguments[3])), "the results", results);
            }
            configurations();
            until("the repartition topic is deleted up to its end", Judge::purged);
            if (!exact) {
                // What is written for long enough to fill more than the segment that is never compacted.
                until("the changelog is compacted", Judge::compacted);
            }
            System.out.println(truth.size() + " counts of words and windows, " + (exact ? "all exact" : over
                    + " too high by what was counted again, none too low") + "; the changelog keeps "
                    + records(CHANGELOG) + " of " + sum(CHANGELOG, OffsetSpec.latest()) + " records");
        }
    }

    private static void until(String what, Condition condition) throws Exception {
        for (long end = System.currentTimeMillis() + PATIENCE_MS; !condition.holds(); Thread.sleep(200)) {
            if (System.currentTimeMillis() > end) {
                throw new IllegalStateException("not within " + PATIENCE_MS + " ms: " + what);
            }
        }
    }

    /** Whether the application's group stands at the end of all that it reads. */
    private static boolean atRest() throws Exception {
        Map<TopicPartition, OffsetAndMetadata> committed =
                admin.listConsumerGroupOffsets(Words.APPLICATION).partitionsToOffsetAndMetadata().get();
        for (String topic : List.of(Words.LINES, REPARTITION)) {
            for (var end : offsets(topic, OffsetSpec.latest()).entrySet()) {
                OffsetAndMetadata at = committed.get(end.getKey());
                if (end.getValue() > 0 && (at == null || at.offset() != end.getValue())) {
                    return false;
                }
            }
        }
        return true;
    }

    /** How many results are above the truth; none may be below, and unless `exact` is asked some may be above. */
    private static long compare(Map<String, Long> truth, Map<String, Long> results, boolean exact) {
        long over = 0;
        for (var entry : truth.entrySet()) {
            long found = results.getOrDefault(entry.getKey(), 0L);
            if (found < entry.getValue() || exact && found != entry.getValue()) {
                throw new IllegalStateException("`" + entry.getKey() + "` was written " + entry.getValue()
                        + " times, counted " + found);
            }
            over += found > entry.getValue() ? 1 : 0;
        }
        if (!truth.keySet().containsAll(results.keySet())) {
            throw new IllegalStateException("counted, but never written: " + results.keySet().stream()
                    .filter(name -> !truth.containsKey(name)).toList());
        }
        return over;
    }

    private static void same(String one, Map<String, Long> left, String other, Map<String, Long> right) {
        if (!left.equals(right)) {
            Map<String, String> differs = new TreeMap<>();
            left.forEach((name, count) -> differs.put(name, count + " and " + right.get(name)));
            right.forEach((name, count) -> differs.putIfAbsent(name, left.get(name) + " and " + count));
            differs.keySet().removeIf(name -> left.getOrDefault(name, -1L).equals(right.get(name)));
            throw new IllegalStateException(one + " and " + other + " differ: " + differs);
        }
    }

    /** What the topics' own configurations are must be what Streams and the application asked for. */
    private static void configurations() throws Exception {
        Map<String, String> changelog = new HashMap<>(Words.CHANGELOG_ASKED);
        changelog.put("cleanup.policy", "compact");
        changelog.put("message.timestamp.type", "CreateTime");
        // Kept for the window, its grace of a day, and a day more.
        long retentionMs = Words.WINDOW_MS + 2 * Duration.ofDays(1).toMillis();
        Map<String, Map<String, String>> wanted = Map.of(
                REPARTITION, Map.of("cleanup.policy", "delete", "message.timestamp.type", "CreateTime",
                        "retention.ms", "-1", "segment.bytes", "52428800"),
                CHANGELOG, changelog,
                WINDOWS_CHANGELOG, Map.of("cleanup.policy", "compact,delete", "message.timestamp.type",
                        "CreateTime", "retention.ms", Long.toString(retentionMs)));
        for (var topic : wanted.entrySet()) {
            ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic.getKey());
            Map<String, String> own = new HashMap<>();
            for (ConfigEntry entry : admin.describeConfigs(List.of(resource)).all().get().get(resource).entries()) {
                if (entry.source() == ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG) {
                    own.put(entry.name(), entry.value());
                }
            }
            if (!own.equals(topic.getValue())) {
                throw new IllegalStateException(topic.getKey() + " is configured " + new TreeMap<>(own)
                        + ", asked for was " + new TreeMap<>(topic.getValue()));
            }
            int partitions = offsets(topic.getKey(), OffsetSpec.latest()).size();
            if (partitions != Words.PARTITIONS) {
                throw new IllegalStateException(topic.getKey() + " has " + partitions + " partitions");
            }
        }
    }

    private static boolean purged() throws Exception {
        return offsets(REPARTITION, OffsetSpec.earliest()).equals(offsets(REPARTITION, OffsetSpec.latest()));
    }

    private static boolean compacted() throws Exception {
        return records(CHANGELOG) < sum(CHANGELOG, OffsetSpec.latest()) * 9 / 10;
    }

    private static Map<TopicPartition, Long> offsets(String topic, OffsetSpec at) throws Exception {
        int partitions = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size();
        Map<TopicPartition, OffsetSpec> asked = new HashMap<>();
        IntStream.range(0, partitions).forEach(index -> asked.put(new TopicPartition(topic, index), at));
        Map<TopicPartition, Long> found = new HashMap<>();
        admin.listOffsets(asked).all().get().forEach((partition, result) -> found.put(partition, result.offset()));
        return found;
    }

    private static long sum(String topic, OffsetSpec at) throws Exception {
        return offsets(topic, at).values().stream().mapToLong(Long::longValue).sum();
    }

    private static long records(String topic) throws Exception {
        long[] count = {0};
        each(topic, (partition, record) -> count[0]++);
        return count[0];
    }

    /** The last count of each key of a topic. */
    private static Map<String, Long> last(String topic, Function<byte[], String> name, Function<byte[], Long> count)
            throws Exception {
        Map<String, Long> counts = new TreeMap<>();
        Map<String, Integer> homes = new HashMap<>();
        each(topic, (partition, record) -> {
            String key = name.apply(record.key());
            counts.put(key, count.apply(record.value()));
            Integer before = homes.put(key, partition.partition());
            if (before != null && before != partition.partition()) {
                throw new IllegalStateException("`" + key + "` is in two partitions of " + topic);
            }
        });
        return counts;
    }

    /** Gives each record of a topic up to the ends that it has now. */
    private static void each(String topic, BiConsumer<TopicPartition, ConsumerRecord<byte[], byte[]>> taker)
            throws Exception {
        Map<TopicPartition, Long> ends = offsets(topic, OffsetSpec.latest());
        Map<String, Object> properties = Map.of("bootstrap.servers", address, "check.crcs", "true");
        try (var consumer = new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(new ArrayList<>(ends.keySet()));
            consumer.seekToBeginning(ends.keySet());
            long end = System.currentTimeMillis() + PATIENCE_MS;
            while (ends.entrySet().stream().anyMatch(one -> consumer.position(one.getKey()) < one.getValue())) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    taker.accept(new TopicPartition(record.topic(), record.partition()), record);
                }
                if (System.currentTimeMillis() > end) {
                    throw new IllegalStateException("the end of " + topic + " is not reached");
                }
            }
        }
    }

    private static String name(byte[] key) {
        return new String(key, StandardCharsets.UTF_8);
    }

    private static Long count(byte[] value) {
        return ByteBuffer.wrap(value).getLong();
    }

    /** A window store's key: the word, the window's start, a sequence number. */
    private static String windowedName(byte[] key) {
        int length = key.length - Long.BYTES - Integer.BYTES;
        String word = new String(key, 0, length, StandardCharsets.UTF_8);
        return Words.inWindow(word, ByteBuffer.wrap(key).getLong(length));
    }
}
