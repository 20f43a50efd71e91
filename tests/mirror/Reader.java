// A member of a group that reads the mirrored topics and commits what it read: the application that
// moves. What it read is added to a file, in order: `topic TAB partition TAB number`.
//
// Arguments: the broker, the group, the file, and either `records N` (it ends after so many), `until
// FILE` (when that appears), or `all FILE` (when it has read every number below those in that file).

import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

public final class Reader {
    private Reader() {}

    public static void main(String[] arguments) throws Exception {
        Path seen = Path.of(arguments[2]);
        String how = arguments[3];
        Map<TopicPartition, Long> wanted = how.equals("all") ? Mirrored.read(Path.of(arguments[4])) : Map.of();
        Map<TopicPartition, Long> next = new HashMap<>();
        if (how.equals("all")) {
            // What it had read before it moved counts.
            Files.readAllLines(seen).forEach(line -> note(next, line.split("\t")));
        }
        Map<String, Object> properties = Map.of("bootstrap.servers", arguments[0], "group.id", arguments[1],
                "auto.offset.reset", "earliest", "enable.auto.commit", "false", "max.poll.records", "100");
        long records = 0;
        long deadline = System.currentTimeMillis() + Mirrored.PATIENCE_MS;
        try (PrintWriter out = new PrintWriter(Files.newBufferedWriter(seen, StandardOpenOption.CREATE,
                        StandardOpenOption.APPEND));
                var consumer = new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(Mirrored.TOPICS);
            boolean told = false;
            while (switch (how) {
                case "records" -> records < Long.parseLong(arguments[4]);
                case "until" -> !Files.exists(Path.of(arguments[4]));
                default -> !wanted.entrySet().stream()
                        .allMatch(one -> next.getOrDefault(one.getKey(), 0L) >= one.getValue());
            }) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    String line = record.topic() + "\t" + record.partition() + "\t" + Mirrored.number(record);
                    out.println(line);
                    note(next, line.split("\t"));
                    records++;
                }
                consumer.commitSync();
                if (records > 0 && !told) {
                    System.out.println("reads");
                    told = true;
                }
                if (how.equals("all") && System.currentTimeMillis() > deadline) {
                    throw new IllegalStateException("read up to " + next + ", not to " + wanted);
                }
            }
        }
        System.out.println(arguments[1] + " read " + records + " records");
        if (how.equals("all")) {
            judge(seen);
        }
    }

    /** Whatever was read first was next: nothing skipped, nothing out of order; some of it again later. */
    private static void judge(Path seen) throws Exception {
        Map<TopicPartition, Long> next = new HashMap<>();
        next.put(new TopicPartition(Mirrored.TRIMMED, 0), Mirrored.TRIMMED_RECORDS);
        long again = 0;
        for (String line : Files.readAllLines(seen)) {
            String[] fields = line.split("\t");
            TopicPartition partition = new TopicPartition(fields[0], Integer.parseInt(fields[1]));
            long number = Long.parseLong(fields[2]);
            long expected = next.getOrDefault(partition, 0L);
            if (number > expected) {
                throw new IllegalStateException(partition + ": " + number + " read where " + expected + " was next");
            }
            next.put(partition, Math.max(expected, number + 1));
            again += number < expected ? 1 : 0;
        }
        System.out.println("read in all: " + next + ", each in its turn; " + again + " again");
    }

    private static void note(Map<TopicPartition, Long> next, String[] fields) {
        next.merge(new TopicPartition(fields[0], Integer.parseInt(fields[1])), Long.parseLong(fields[2]) + 1, Math::max);
    }
}
