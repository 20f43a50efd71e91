// Scenarios of the administrator: topics and their configurations; everything listed, described, deleted.

import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.Set;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.DescribeClusterResult;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.config.ConfigResource;

final class Administration {
    private static final String RETENTION = "retention.ms";

    private Administration() {}

    /** Creates a topic whose name is the prefix and this. */
    static String create(String suffix, int partitions) throws Exception {
        String topic = Driver.prefix + suffix;
        NewTopic made = new NewTopic(topic, partitions, (short) 1);
        Driver.get(Driver.admin.createTopics(Collections.singleton(made)).all());
        return topic;
    }

    private static String retention(ConfigResource topic) throws Exception {
        return Driver.get(Driver.admin.describeConfigs(Collections.singleton(topic)).all())
                .get(topic)
                .get(RETENTION)
                .value();
    }

    static void topics() throws Exception {
        String topic = Driver.prefix;
        NewTopic made = new NewTopic(topic, 3, (short) 1).configs(Collections.singletonMap(RETENTION, "3600000"));
        Driver.get(Driver.admin.createTopics(Collections.singleton(made)).all());
        TopicDescription described = Version.describe(topic);
        Driver.equal(described.name(), topic, "its name");
        Driver.equal(described.partitions().size(), 3, "its partitions");
        Driver.expect(!described.isInternal(), topic + " is internal");
        for (int nth = 0; nth < 3; nth++) {
            Driver.equal(described.partitions().get(nth).partition(), nth, "a partition's number");
            Driver.equal(described.partitions().get(nth).replicas().size(), 1, "its replicas");
            Driver.expect(!described.partitions().get(nth).leader().isEmpty(), "no leader: " + described);
        }
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        Driver.equal(retention(resource), "3600000", "its retention");
        Version.alter(resource, RETENTION, "7200000");
        Driver.until("its altered retention", () -> retention(resource).equals("7200000"));
        NewPartitions five = NewPartitions.increaseTo(5);
        Driver.get(Driver.admin.createPartitions(Collections.singletonMap(topic, five)).all());
        Driver.until("five partitions", () -> Version.describe(topic).partitions().size() == 5);
        Driver.refused(Driver.admin.createTopics(Collections.singleton(made)).all(), "TopicExistsException");
        NewPartitions four = NewPartitions.increaseTo(4);
        Driver.refused(
                Driver.admin.createPartitions(Collections.singletonMap(topic, four)).all(),
                "InvalidPartitionsException");
    }

    static void all() throws Exception {
        DescribeClusterResult cluster = Driver.admin.describeCluster();
        Collection<Node> nodes = Driver.get(cluster.nodes());
        Driver.equal(nodes.size(), 1, "the count of nodes");
        Driver.equal(Driver.get(cluster.controller()), nodes.iterator().next(), "the controller");
        Driver.expect(!Driver.get(cluster.clusterId()).isEmpty(), "the cluster has no id");
        String one = create("-one", 1);
        String two = create("-two", 2);
        Set<String> names = Driver.get(Driver.admin.listTopics().names());
        Driver.expect(names.containsAll(Arrays.asList(one, two)), "a topic is missing: " + names);
        Content.produce(one, 1, 0, 10);
        groups(one);
        Driver.get(Driver.admin.deleteTopics(Arrays.asList(one, two)).all());
        Driver.until("topics that are gone", () -> {
            Set<String> left = Driver.get(Driver.admin.listTopics().names());
            return !left.contains(one) && !left.contains(two);
        });
    }

    private static void groups(String topic) throws Exception {
        String group = Driver.prefix + "-g";
        Set<String> only = Collections.singleton(group);
        Groups.Member member = new Groups.Member(topic, 1, Groups.settings(group, null));
        Driver.until("a member that has read", () -> member.read.size() == 10);
        Driver.expect(Version.groups().contains(group), "the group is not listed");
        ConsumerGroupDescription described = described(group);
        Driver.equal(Version.state(described), "Stable", "the group's state");
        Driver.equal(described.members().size(), 1, "its members");
        Driver.equal(
                described.members().iterator().next().assignment().topicPartitions().size(), 1, "what its member has");
        Driver.refused(Driver.admin.deleteConsumerGroups(only).all(), "GroupNotEmptyException");
        member.end();
        Driver.until("an empty group", () -> described(group).members().isEmpty());
        long committed = Driver.get(Driver.admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata())
                .values()
                .iterator()
                .next()
                .offset();
        Driver.equal(committed, 10L, "what the group committed");
        Driver.get(Driver.admin.deleteConsumerGroups(only).all());
        Driver.expect(!Version.groups().contains(group), "the group was deleted and is there");
        Driver.refused(Driver.admin.deleteConsumerGroups(only).all(), "GroupIdNotFoundException");
    }

    private static ConsumerGroupDescription described(String group) throws Exception {
        return Driver.get(Driver.admin.describeConsumerGroups(Collections.singleton(group)).all()).get(group);
    }
}
