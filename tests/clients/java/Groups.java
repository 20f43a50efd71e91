// Scenarios of groups: members that share, leave, come back; a member polls in a thread of its own.

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

final class Groups {
    private static final int PARTITIONS = 6;

    private Groups() {}

    static Properties settings(String group, String assignor) {
        Properties properties = Reader.properties(group);
        properties.put("heartbeat.interval.ms", "200");
        properties.put("session.timeout.ms", "30000");
        if (assignor != null) {
            properties.put("partition.assignment.strategy", assignor);
        }
        return properties;
    }

    /** A member that polls until it is ended; what it read is right and committed, and counted by record. */
    static final class Member implements Runnable, ConsumerRebalanceListener {
        final KafkaConsumer<byte[], byte[]> consumer;
        final Set<Integer> has = ConcurrentHashMap.newKeySet();
        final Queue revoked = new Queue();
        final Map<Integer, Integer> read = new ConcurrentHashMap<>();
        final Thread thread = new Thread(this);
        final int partitions;
        volatile int assignments;
        volatile int generation;
        volatile boolean ended;
        volatile Throwable failure;

        /** Partitions in the order in which they went. */
        static final class Queue extends ConcurrentLinkedQueue<Integer> {}

        Member(String topic, int partitions, Properties properties) {
            this.partitions = partitions;
            consumer = new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
            consumer.subscribe(List.of(topic), this);
            thread.setDaemon(true);
            thread.start();
        }

        @Override
        public void run() {
            try (KafkaConsumer<byte[], byte[]> closed = consumer) {
                while (!ended) {
                    ConsumerRecords<byte[], byte[]> came = closed.poll(Duration.ofMillis(50));
                    if (!came.isEmpty()) {
                        closed.commitSync();
                    }
                    for (ConsumerRecord<byte[], byte[]> record : came) {
                        read.merge(Content.check(record, partitions), 1, Integer::sum);
                    }
                    generation = Version.generation(closed);
                }
            } catch (Throwable error) {
                failure = error;
            }
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> got) {
            assignments++;
            got.forEach(at -> has.add(at.partition()));
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> gone) {
            gone.forEach(at -> {
                has.remove(at.partition());
                revoked.add(at.partition());
            });
        }

        void end() throws Exception {
            ended = true;
            thread.join(Driver.PATIENCE_MS);
            Driver.expect(failure == null, "a member failed: " + failure);
        }
    }

    /** Waits, and fails at once when a member does. */
    static void until(String what, java.util.concurrent.Callable<Boolean> holds, Member... members) throws Exception {
        Driver.until(what, () -> {
            for (Member member : members) {
                if (member.failure != null) {
                    throw new IllegalStateException(what + ": a member failed", member.failure);
                }
            }
            return holds.call();
        });
    }

    /** Each of the records 0..count was read once, by one of these. */
    static boolean readOnce(int count, Member... members) {
        List<Integer> all = new ArrayList<>();
        for (Member member : members) {
            member.read.forEach((nth, times) -> {
                Driver.equal(times, 1, "how often record " + nth + " was read");
                all.add(nth);
            });
        }
        Driver.equal(new HashSet<>(all).size(), all.size(), "the count of different records");
        Driver.expect(all.size() <= count, "more was read than sent");
        return all.size() == count;
    }

    static void share(String assignor, boolean keeps) throws Exception {
        String topic = Administration.create("", PARTITIONS);
        Properties settings = settings(Driver.prefix + "-g", assignor);
        Member first = new Member(topic, PARTITIONS, settings);
        until("one has all", () -> first.has.size() == PARTITIONS, first);
        Member second = new Member(topic, PARTITIONS, settings);
        until("two share", () -> first.has.size() == 3 && second.has.size() == 3, first, second);
        if (keeps) {
            Driver.equal(new HashSet<>(first.revoked), new HashSet<>(second.has), "what was revoked");
        } else {
            Driver.expect(first.revoked.containsAll(first.has), "an eager member kept partitions");
        }
        Content.produce(topic, PARTITIONS, 0, 300);
        until("all is read", () -> readOnce(300, first, second), first, second);
        Driver.expect(second.read.size() == 150, "the second read " + second.read.size() + " of 150");
        second.end();
        until("one has all again", () -> first.has.size() == PARTITIONS, first);
        Content.produce(topic, PARTITIONS, 300, 600);
        until("the rest is read", () -> readOnce(600, first, second), first);
        first.end();
        Member third = new Member(topic, PARTITIONS, settings);
        until("the third has all", () -> third.has.size() == PARTITIONS, third);
        Content.produce(topic, PARTITIONS, 600, 606);
        until("the third reads what is new", () -> readOnce(606, first, second, third), third);
        third.end();
    }

    static void fixed() throws Exception {
        Version.needStatic();
        String topic = Administration.create("", PARTITIONS);
        Member one = new Member(topic, PARTITIONS, named("one"));
        until("one has all", () -> one.has.size() == PARTITIONS, one);
        Member two = new Member(topic, PARTITIONS, named("two"));
        until("two share", () -> one.has.size() == 3 && two.has.size() == 3 && two.generation > 0, one, two);
        Set<Integer> had = new HashSet<>(two.has);
        int assignments = one.assignments;
        int generation = two.generation;
        two.end();
        Member back = new Member(topic, PARTITIONS, named("two"));
        until("it has its part again", () -> back.has.equals(had) && back.generation > 0, one, back);
        Driver.equal(back.generation, generation, "the generation");
        Content.produce(topic, PARTITIONS, 0, 60);
        until("all is read", () -> readOnce(60, one, back), one, back);
        Driver.equal(one.assignments, assignments, "the other's assignments");
        Driver.equal(one.generation, generation, "the other's generation");
        Member twin = new Member(topic, PARTITIONS, named("one"));
        until("who has its name no more is told", () -> one.failure != null, back, twin);
        Driver.equal(one.failure.getClass().getSimpleName(), "FencedInstanceIdException", "what it was told");
        twin.end();
        back.end();
    }

    private static Properties named(String name) {
        Properties settings = settings(Driver.prefix + "-g", "org.apache.kafka.clients.consumer.RangeAssignor");
        settings.put("group.instance.id", name);
        return settings;
    }
}
