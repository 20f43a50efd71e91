// Consumer groups of Kafka's own Java clients against a running broker: eager, cooperative and
// static members join, share the partitions, leave and come back; what they commit is where the next
// one begins; an administrator describes, rewinds, removes. The bootstrap address is the only
// argument; the last line says what was compared.

import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.MemberToRemove;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class Groups {
    static final String TOPIC = "of-java";
    static final int PARTITIONS = 6;
    static final int RECORDS = 600;
    static final long PATIENCE_MS = 60_000;
    static final long SILENCE_MS = 1_000;
    static String address;

    static void until(String what, BooleanSupplier holds) throws InterruptedException {
        for (long end = System.currentTimeMillis() + PATIENCE_MS; !holds.getAsBoolean(); Thread.sleep(20)) {
            if (System.currentTimeMillis() > end) {
                throw new IllegalStateException(what + ": not within " + PATIENCE_MS + " ms");
            }
        }
    }

    static void expect(boolean holds, String what) {
        if (!holds) {
            throw new IllegalStateException(what);
        }
    }

    static Properties properties(String group) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", address);
        properties.put("group.id", group);
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", "false");
        properties.put("heartbeat.interval.ms", "200");
        return properties;
    }

    /** A member that polls until it is ended, and commits what it read. */
    static final class Member implements Runnable, ConsumerRebalanceListener {
        final KafkaConsumer<String, String> consumer;
        final Set<TopicPartition> has = ConcurrentHashMap.newKeySet();
        final AtomicLong read = new AtomicLong();
        final Thread thread = new Thread(this);
        volatile boolean ended;
        volatile RuntimeException failure;
        volatile int generation;

        Member(Properties properties) {
            consumer = new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer());
            // What fails ends the program.
            thread.setDaemon(true);
            thread.start();
        }

        public void run() {
            try (consumer) {
                consumer.subscribe(List.of(TOPIC), this);
                while (!ended) {
                    int count = consumer.poll(Duration.ofMillis(100)).count();
                    if (count > 0) {
                        consumer.commitSync();
                        read.addAndGet(count);
                    }
                    generation = consumer.groupMetadata().generationId();
                }
            } catch (RuntimeException error) {
                failure = error;
            }
        }

        public void onPartitionsAssigned(Collection<TopicPartition> got) {
            has.addAll(got);
        }

        public void onPartitionsRevoked(Collection<TopicPartition> gone) {
            has.removeAll(gone);
        }

        void end() throws InterruptedException {
            ended = true;
            thread.join();
            if (failure != null) {
                throw failure;
            }
        }
    }

    static Properties with(String group, String assignor) {
        Properties properties = properties(group);
        properties.put("partition.assignment.strategy", "org.apache.kafka.clients.consumer." + assignor);
        return properties;
    }

    static Map<TopicPartition, OffsetAndMetadata> all(long offset) {
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        for (int partition = 0; partition < PARTITIONS; partition++) {
            offsets.put(new TopicPartition(TOPIC, partition), new OffsetAndMetadata(offset, "by hand"));
        }
        return offsets;
    }

    static void shared(Admin admin, String assignor) throws Exception {
        String group = "java " + assignor;
        Properties properties = with(group, assignor);
        Member first = new Member(properties);
        until(group + ": one has all", () -> first.has.size() == PARTITIONS && first.read.get() == RECORDS);
        Member second = new Member(properties);
        until(group + ": two share", () -> first.has.size() == 3 && second.has.size() == 3);
        var described = admin.describeConsumerGroups(List.of(group)).describedGroups().get(group).get();
        expect(described.members().size() == 2, group + " is " + described);
        try {
            admin.alterConsumerGroupOffsets(group, all(0)).all().get();
            throw new IllegalStateException(group + ": rewound under its members");
        } catch (ExecutionException refused) {
            expect(refused.getCause().getClass().getSimpleName().equals("UnknownMemberIdException"), "" + refused);
        }
        second.end();
        until(group + ": one has all again", () -> first.has.size() == PARTITIONS);
        first.end();
        expect(first.read.get() + second.read.get() == RECORDS, group + ": what was committed was read again");
        Member next = new Member(properties);
        until(group + ": the next one has all", () -> next.has.size() == PARTITIONS);
        Thread.sleep(SILENCE_MS);
        next.end();
        expect(next.read.get() == 0, group + ": " + next.read + " records were read again");
        admin.alterConsumerGroupOffsets(group, all(0)).all().get();
        Member again = new Member(properties);
        until(group + ": all is read again", () -> again.read.get() == RECORDS);
        again.end();
        var kept = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
        expect(kept.values().stream().allMatch(at -> at.offset() == RECORDS / PARTITIONS), group + " is at " + kept);
        admin.deleteConsumerGroupOffsets(group, new HashSet<>(kept.keySet())).all().get();
        admin.deleteConsumerGroups(List.of(group)).all().get();
        var listed = admin.listGroups().all().get();
        expect(listed.stream().noneMatch(one -> one.groupId().equals(group)), group + " is still listed");
    }

    static void fixed(Admin admin) throws Exception {
        String group = "java static";
        Properties one = with(group, "CooperativeStickyAssignor");
        one.put("group.instance.id", "one");
        Properties two = with(group, "CooperativeStickyAssignor");
        two.put("group.instance.id", "two");
        Member first = new Member(one);
        until(group + ": one has all", () -> first.has.size() == PARTITIONS);
        Member second = new Member(two);
        until(group + ": two share", () -> first.has.size() == 3 && second.has.size() == 3);
        second.end();
        int before = second.generation;
        Member back = new Member(two);
        until(group + ": it has its part again", () -> back.has.size() == 3 && back.generation > 0);
        expect(back.generation == before, group + ": it came back in generation " + back.generation + " after " + before);
        Member twin = new Member(one);
        until(group + ": the one who has its name no more is told", () -> first.failure != null);
        expect(first.failure.getClass().getSimpleName().equals("FencedInstanceIdException"), "" + first.failure);
        twin.end();
        back.end();
        var named = List.of(new MemberToRemove("one"), new MemberToRemove("two"));
        admin.removeMembersFromConsumerGroup(group, new RemoveMembersFromConsumerGroupOptions(named)).all().get();
        admin.deleteConsumerGroups(List.of(group)).all().get();
    }

    public static void main(String[] arguments) throws Exception {
        address = arguments[0];
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", address))) {
            admin.createTopics(List.of(new NewTopic(TOPIC, PARTITIONS, (short) 1))).all().get();
            Map<String, Object> to = Map.of("bootstrap.servers", address);
            try (var producer = new KafkaProducer<>(to, new StringSerializer(), new StringSerializer())) {
                for (int nth = 0; nth < RECORDS; nth++) {
                    producer.send(new ProducerRecord<>(TOPIC, nth % PARTITIONS, null, "value " + nth));
                }
            }
            for (String assignor : List.of("RangeAssignor", "CooperativeStickyAssignor")) {
                shared(admin, assignor);
            }
            fixed(admin);
        }
        System.out.println("java: groups eager, cooperative and static: join, share, leave, commit, rewind, delete");
    }
}
