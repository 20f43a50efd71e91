// Compares the two sides of a mirror.
//
// Arguments: source, target, the source's alias, the target's, and one of
//   contents exact|repeats FILE   every record up to FILE's numbers, in order, field by field; with
//                                 `repeats` a record may come again, as it does behind a kill
//   configurations                of the topics, and their partitions
//   offsets GROUP all|known       where the group is at the source has come over, never further; with
//                                 `known` where MirrorMaker could tell, as it can't for what is long read
//   internals                     MirrorMaker's own topics and what is in them

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.connect.mirror.Checkpoint;
import org.apache.kafka.connect.mirror.Heartbeat;

public final class Compare {
    /** MirrorMaker leaves these to each cluster. */
    private static final Set<String> NOT_MIRRORED =
            Set.of("min.insync.replicas", "message.timestamp.type", "unclean.leader.election.enable");
    /** How far the newest offset sync of a partition may be behind its end (`offset.lag.max`). */
    private static final long SYNC_LAG_MAX = 100;

    private static String source;
    private static String target;
    private static String sourceAlias;
    private static String targetAlias;
    private static Admin sourceAdmin;
    private static Admin targetAdmin;

    private Compare() {}

    public static void main(String[] arguments) throws Exception {
        source = arguments[0];
        target = arguments[1];
        sourceAlias = arguments[2];
        targetAlias = arguments[3];
        try (Admin one = Mirrored.admin(source); Admin other = Mirrored.admin(target)) {
            sourceAdmin = one;
            targetAdmin = other;
            System.out.println(switch (arguments[4]) {
                case "contents" -> contents(arguments[5].equals("repeats"), Path.of(arguments[6]));
                case "configurations" -> configurations();
                case "offsets" -> offsets(arguments[5], arguments[6].equals("all"));
                default -> internals();
            });
        }
    }

    private static void expect(boolean holds, String what) {
        if (!holds) {
            throw new IllegalStateException(what);
        }
    }

    private static String contents(boolean repeats, Path numbers) throws Exception {
        var written = Mirrored.whole(source, Mirrored.TOPICS);
        Mirrored.read(numbers).forEach((partition, number) -> {
            var records = written.get(partition);
            expect(Mirrored.number(records.get(records.size() - 1)) == number - 1, partition + " ends early at the source");
        });
        Map<TopicPartition, Integer> next = new HashMap<>();
        Map<TopicPartition, Long> start = new HashMap<>();
        long[] again = {0};
        Mirrored.until("all partitions are at the target", () -> targetTopics().containsAll(Mirrored.TOPICS)
                && Mirrored.offsets(targetAdmin, Mirrored.TOPICS, OffsetSpec.earliest()).keySet()
                        .containsAll(written.keySet()));
        written.keySet().forEach(partition -> start.put(partition, 0L));
        Mirrored.each(target, new ArrayList<>(written.keySet()), start, record -> {
            TopicPartition partition = new TopicPartition(record.topic(), record.partition());
            var records = written.get(partition);
            int at = next.getOrDefault(partition, 0);
            if (at < records.size() && same(records.get(at), record)) {
                next.put(partition, at + 1);
            } else {
                expect(repeats && records.subList(0, at).stream().anyMatch(before -> same(before, record)),
                        partition + " has at the target " + shown(record) + "\nin the place of " + (at < records.size()
                                ? shown(records.get(at)) : "nothing"));
                again[0]++;
            }
            return true;
        }, () -> written.entrySet().stream()
                .allMatch(one -> next.getOrDefault(one.getKey(), 0) == one.getValue().size()));
        long sum = written.values().stream().mapToLong(List::size).sum();
        return sum + " records in " + written.size() + " partitions are the same, in order; " + again[0] + " came again";
    }

    private static boolean same(ConsumerRecord<byte[], byte[]> one, ConsumerRecord<byte[], byte[]> other) {
        Header[] left = one.headers().toArray();
        Header[] right = other.headers().toArray();
        boolean headers = left.length == right.length;
        for (int at = 0; headers && at < left.length; at++) {
            headers = left[at].key().equals(right[at].key()) && Arrays.equals(left[at].value(), right[at].value());
        }
        return headers && Arrays.equals(one.key(), other.key()) && Arrays.equals(one.value(), other.value())
                && one.timestamp() == other.timestamp() && one.timestampType() == other.timestampType();
    }

    private static String shown(ConsumerRecord<byte[], byte[]> record) {
        return "number " + Mirrored.number(record) + " " + record;
    }

    private static Set<String> targetTopics() throws Exception {
        return targetAdmin.listTopics().names().get();
    }

    private static String configurations() throws Exception {
        for (String topic : Mirrored.TOPICS) {
            Mirrored.until(topic + " has the partitions of the source",
                    () -> Mirrored.offsets(sourceAdmin, List.of(topic), OffsetSpec.earliest()).keySet()
                            .equals(Mirrored.offsets(targetAdmin, List.of(topic), OffsetSpec.earliest()).keySet()));
            Mirrored.until(topic + " is configured as at the source, " + own(sourceAdmin, topic),
                    () -> own(sourceAdmin, topic).equals(own(targetAdmin, topic)));
        }
        return "configurations of " + Mirrored.TOPICS.size() + " topics are the same";
    }

    /** What a topic is configured by itself, but for what is not mirrored. */
    private static Map<String, String> own(Admin admin, String topic) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        Map<String, String> own = new TreeMap<>();
        for (ConfigEntry entry : admin.describeConfigs(List.of(resource)).all().get().get(resource).entries()) {
            if (entry.source() == ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG && !NOT_MIRRORED.contains(entry.name())) {
                own.put(entry.name(), entry.value());
            }
        }
        return own;
    }

    /** What is asked before the consumers of a group that has stopped are started at the target. */
    private static String offsets(String group, boolean all) throws Exception {
        Map<TopicPartition, OffsetAndMetadata> at = committed(sourceAdmin, group);
        if (!all) {
            at.keySet().retainAll(committed(targetAdmin, group).keySet());
        }
        expect(!all || !at.isEmpty(), group + " has committed nothing at the source");
        long[] again = {0};
        Mirrored.until(group + " has come over", () -> {
            Map<TopicPartition, Checkpoint> checkpoints = checkpoints(group);
            Map<TopicPartition, OffsetAndMetadata> over = committed(targetAdmin, group);
            again[0] = 0;
            for (TopicPartition partition : at.keySet()) {
                Checkpoint checkpoint = checkpoints.get(partition);
                long offset = at.get(partition).offset();
                if (checkpoint == null || checkpoint.upstreamOffset() != offset || !over.containsKey(partition)
                        || over.get(partition).offset() != checkpoint.downstreamOffset()) {
                    return false;
                }
                long reread = reread(group, partition, offset, checkpoint.downstreamOffset());
                if (all && reread > rereadMost(partition, offset)) {
                    // The mirror is behind the group: there are nearer offsets when it has caught up.
                    return false;
                }
                again[0] += reread;
            }
            return true;
        });
        return group + ": " + at.size() + " offsets came over, none too far; " + again[0] + " records will be read again";
    }

    /** How many records who goes on at the target reads again; an error where some would be skipped. */
    private static long reread(String group, TopicPartition partition, long offset, long translated) throws Exception {
        long reread = numberAt(sourceAdmin, source, partition, offset)
                - numberAt(targetAdmin, target, partition, translated);
        expect(reread >= 0, group + " would skip " + -reread + " records of " + partition);
        return reread;
    }

    /** Syncs are kept at distances that double, away from the newest one. */
    private static long rereadMost(TopicPartition partition, long offset) throws Exception {
        long end = Mirrored.offsets(sourceAdmin, List.of(partition.topic()), OffsetSpec.latest()).get(partition);
        return 2 * (end - offset) + 2 * SYNC_LAG_MAX;
    }

    private static Map<TopicPartition, OffsetAndMetadata> committed(Admin admin, String group) throws Exception {
        Map<TopicPartition, OffsetAndMetadata> committed =
                new HashMap<>(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get());
        committed.values().removeIf(offset -> offset == null || offset.offset() == 0);
        return committed;
    }

    /** The newest checkpoint of each of a group's partitions. */
    private static Map<TopicPartition, Checkpoint> checkpoints(String group) throws Exception {
        Map<TopicPartition, Checkpoint> newest = new HashMap<>();
        for (var records : Mirrored.whole(target, List.of(sourceAlias + ".checkpoints.internal")).values()) {
            for (ConsumerRecord<byte[], byte[]> record : records) {
                Checkpoint checkpoint = Checkpoint.deserializeRecord(record);
                if (checkpoint.consumerGroupId().equals(group)) {
                    newest.put(checkpoint.topicPartition(), checkpoint);
                }
            }
        }
        return newest;
    }

    /** The number of the record that who begins at an offset reads first; that of the one after the last at the end. */
    private static long numberAt(Admin admin, String address, TopicPartition partition, long offset) throws Exception {
        boolean atEnd = offset >= Mirrored.offsets(admin, List.of(partition.topic()), OffsetSpec.latest()).get(partition);
        long[] number = {0};
        Mirrored.each(address, List.of(partition), Map.of(partition, atEnd ? offset - 1 : offset), record -> {
            number[0] = Mirrored.number(record) + (atEnd ? 1 : 0);
            return false;
        }, () -> false);
        return number[0];
    }

    /** The topics that MirrorMaker keeps for itself, each where and how it should be. */
    private static String internals() throws Exception {
        String syncs = "mm2-offset-syncs." + targetAlias + ".internal";
        internal(sourceAdmin, source, syncs, 1, true);
        internal(targetAdmin, target, sourceAlias + ".checkpoints.internal", 1, true);
        internal(targetAdmin, target, "mm2-configs." + sourceAlias + ".internal", 1, true);
        internal(targetAdmin, target, "mm2-status." + sourceAlias + ".internal", 5, true);
        // Written once a minute.
        internal(targetAdmin, target, "mm2-offsets." + sourceAlias + ".internal", 25, false);
        expect(!targetTopics().contains(syncs), syncs + " was mirrored");
        Set<String> flows = new HashSet<>();
        for (String address : List.of(source, target)) {
            for (var records : Mirrored.whole(address, List.of("heartbeats")).values()) {
                records.forEach(record -> {
                    Heartbeat heartbeat = Heartbeat.deserializeRecord(record);
                    flows.add(heartbeat.sourceClusterAlias() + "->" + heartbeat.targetClusterAlias());
                });
            }
        }
        expect(flows.contains(sourceAlias + "->" + targetAlias), "only heartbeats of " + flows);
        return "internal topics are there, compacted; heartbeats of " + flows;
    }

    private static void internal(Admin admin, String address, String topic, int partitions, boolean filled)
            throws Exception {
        var all = Mirrored.whole(address, List.of(topic));
        expect(all.size() == partitions, topic + " has " + all.size() + " partitions");
        expect(!filled || all.values().stream().anyMatch(records -> !records.isEmpty()), topic + " is empty");
        String policy = own(admin, topic).get("cleanup.policy");
        expect("compact".equals(policy), topic + " has the policy " + policy);
    }
}
