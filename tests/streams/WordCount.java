// The application that the suite of Kafka Streams runs and kills: it counts words, and words in each
// window of ten seconds, over one repartition topic and two changelogs, with its stores on disk.
//
// Arguments: the broker, the state directory, how many standbys, and optionally a file that gets what
// the stores hold once they are all here. It prints its states and what it restored; it ends on
// SIGTERM, or with 1 when a thread of it fails.

import java.io.PrintWriter;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.InvalidStateStoreException;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.KGroupedStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Repartitioned;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.processor.StateRestoreListener;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.QueryableStoreTypes;
import org.apache.kafka.streams.state.WindowStore;

public final class WordCount {
    private WordCount() {}

    public static void main(String[] arguments) throws Exception {
        KafkaStreams streams = new KafkaStreams(topology(), properties(arguments));
        streams.setStateListener((now, before) -> System.out.println("state " + now));
        streams.setUncaughtExceptionHandler(failure -> {
            failure.printStackTrace(System.out);
            // Not exit: its hooks wait for the thread that is here.
            Runtime.getRuntime().halt(1);
            return null;
        });
        streams.setGlobalStateRestoreListener(new Restored());
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            streams.close(Duration.ofSeconds(60));
            System.out.println("closed");
        }));
        streams.start();
        if (arguments.length > 3) {
            dump(streams, Path.of(arguments[3]));
        }
    }

    private static Properties properties(String[] arguments) {
        Properties properties = new Properties();
        properties.put("application.id", Words.APPLICATION);
        properties.put("bootstrap.servers", arguments[0]);
        properties.put("state.dir", arguments[1]);
        properties.put("num.standby.replicas", arguments[2]);
        properties.put("processing.guarantee", "at_least_once");
        properties.put("group.protocol", "classic");
        properties.put("num.stream.threads", "2");
        properties.put("replication.factor", "1");
        properties.put("commit.interval.ms", "500");
        properties.put("repartition.purge.interval.ms", "1000");
        // The least that a broker takes by default: a killed instance's tasks go elsewhere after it.
        properties.put("consumer.session.timeout.ms", "6000");
        properties.put("consumer.heartbeat.interval.ms", "1000");
        // An instance without its stores restores them at once, however much that is.
        properties.put("acceptable.recovery.lag", "1000000000");
        properties.put("consumer.auto.offset.reset", "earliest");
        return properties;
    }

    private static Topology topology() {
        StreamsBuilder builder = new StreamsBuilder();
        KGroupedStream<String, String> words = builder
                .stream(Words.LINES, Consumed.with(Serdes.String(), Serdes.String()))
                .flatMapValues(line -> Arrays.asList(line.split(" ")))
                .selectKey((key, word) -> word)
                .repartition(Repartitioned.<String, String>as("words").withKeySerde(Serdes.String())
                        .withValueSerde(Serdes.String()).withNumberOfPartitions(Words.PARTITIONS))
                .groupByKey();
        words.count(Materialized.<String, Long, KeyValueStore<Bytes, byte[]>>as("counts")
                        .withKeySerde(Serdes.String()).withValueSerde(Serdes.Long())
                        .withLoggingEnabled(Words.CHANGELOG_ASKED))
                .toStream()
                .to(Words.COUNTS, Produced.with(Serdes.String(), Serdes.Long()));
        // Nothing comes too late: what a killed instance had read is read again much later.
        words.windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofMillis(Words.WINDOW_MS), Duration.ofDays(1)))
                .count(Materialized.<String, Long, WindowStore<Bytes, byte[]>>as("windows")
                        .withKeySerde(Serdes.String()).withValueSerde(Serdes.Long())
                        .withLoggingEnabled(Map.of()))
                .toStream((window, count) -> Words.inWindow(window.key(), window.window().start()))
                .to(Words.WINDOWED, Produced.with(Serdes.String(), Serdes.Long()));
        return builder.build();
    }

    /** Writes what both stores hold, once all of their partitions are restored here. */
    private static void dump(KafkaStreams streams, Path file) throws Exception {
        for (;;) {
            try (PrintWriter out = new PrintWriter(file.toFile(), "UTF-8")) {
                try (var all = streams.store(StoreQueryParameters.fromNameAndType(
                        "counts", QueryableStoreTypes.<String, Long>keyValueStore())).all()) {
                    all.forEachRemaining(entry -> out.println(entry.key + "\t" + entry.value));
                }
                try (var all = streams.store(StoreQueryParameters.fromNameAndType(
                        "windows", QueryableStoreTypes.<String, Long>windowStore())).all()) {
                    all.forEachRemaining(entry -> out.println(
                            Words.inWindow(entry.key.key(), entry.key.window().start()) + "\t" + entry.value));
                }
                break;
            } catch (InvalidStateStoreException notYet) {
                Thread.sleep(100);
            }
        }
        System.out.println("dumped");
    }

    /** Tells what each restoration read of a changelog. */
    private static final class Restored implements StateRestoreListener {
        @Override
        public void onRestoreStart(TopicPartition partition, String store, long start, long end) {}

        @Override
        public void onBatchRestored(TopicPartition partition, String store, long end, long records) {}

        @Override
        public void onRestoreEnd(TopicPartition partition, String store, long records) {
            System.out.println("restored " + records + " of " + partition);
        }
    }
}
