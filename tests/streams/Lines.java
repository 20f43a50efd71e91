// Writes lines of words and keeps the truth: how often each word was written, in all and in each
// window. Every line must be acknowledged, however long the broker is away.
//
// Arguments: the broker, the file of the truth (added to), the number of lines, and optionally a file
// whose appearance ends it: then it writes a few hundred lines a second until that, whatever the
// number is.

import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Random;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.serialization.StringSerializer;

public final class Lines {
    private static final int WORDS = 400;
    private static final int WORDS_IN_LINE = 5;
    /** Between two lines, when it goes on until it is told to end. */
    private static final long PACE_MS = 4;
    private static final long TOLD_EVERY = 500;

    private Lines() {}

    public static void main(String[] arguments) throws Exception {
        Path truth = Path.of(arguments[1]);
        long lines = Long.parseLong(arguments[2]);
        Path end = arguments.length > 3 ? Path.of(arguments[3]) : null;
        createTopics(arguments[0]);
        Map<String, Long> counts = Words.read(truth);
        // The seed is how much is known already: other words each time, the same in each run.
        Random random = new Random(counts.size());
        AtomicLong acknowledged = new AtomicLong();
        AtomicReference<Exception> failed = new AtomicReference<>();
        long written = 0;
        try (var producer = new KafkaProducer<>(properties(arguments[0]), new StringSerializer(),
                new StringSerializer())) {
            for (; end == null ? written < lines : !Files.exists(end); written++) {
                long now = System.currentTimeMillis();
                producer.send(new ProducerRecord<>(Words.LINES, null, now, null, line(random, now, counts)),
                        (metadata, failure) -> {
                            if (failure != null) {
                                failed.set(failure);
                            } else if (acknowledged.incrementAndGet() % TOLD_EVERY == 0) {
                                System.out.println("acknowledged " + acknowledged);
                            }
                        });
                if (end != null) {
                    Thread.sleep(PACE_MS);
                }
            }
        }
        if (failed.get() != null || acknowledged.get() != written) {
            throw new IllegalStateException(acknowledged + " of " + written + " lines acknowledged", failed.get());
        }
        try (PrintWriter out = new PrintWriter(truth.toFile(), "UTF-8")) {
            counts.forEach((name, count) -> out.println(name + "\t" + count));
        }
        System.out.println("wrote " + written + " lines of " + WORDS_IN_LINE + " words");
    }

    private static String line(Random random, long now, Map<String, Long> counts) {
        StringBuilder line = new StringBuilder();
        for (int at = 0; at < WORDS_IN_LINE; at++) {
            // Squared, so that some words come often and some hardly ever.
            double share = random.nextDouble();
            String word = "wört" + (int) (share * share * WORDS);
            counts.merge(word, 1L, Long::sum);
            counts.merge(Words.inWindow(word, now), 1L, Long::sum);
            line.append(at == 0 ? "" : " ").append(word);
        }
        return line.toString();
    }

    private static Properties properties(String address) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", address);
        properties.put("acks", "all");
        properties.put("enable.idempotence", "true");
        properties.put("compression.type", "lz4");
        properties.put("delivery.timeout.ms", "600000");
        properties.put("max.block.ms", "600000");
        properties.put("reconnect.backoff.max.ms", "200");
        return properties;
    }

    private static void createTopics(String address) throws Exception {
        Map<String, String> compacted = Map.of("cleanup.policy", "compact");
        List<NewTopic> topics = List.of(
                new NewTopic(Words.LINES, Words.PARTITIONS, (short) 1),
                new NewTopic(Words.COUNTS, Words.PARTITIONS, (short) 1).configs(compacted),
                new NewTopic(Words.WINDOWED, Words.PARTITIONS, (short) 1).configs(compacted));
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", address))) {
            for (var created : admin.createTopics(topics).values().values()) {
                try {
                    created.get();
                } catch (ExecutionException failure) {
                    if (!(failure.getCause() instanceof TopicExistsException)) {
                        throw failure;
                    }
                }
            }
        }
    }
}
