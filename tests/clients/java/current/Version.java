// What only the current client has, or has under this name.

import java.util.Collections;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;

final class Version {
    private Version() {}

    static String cooperative() {
        return "org.apache.kafka.clients.consumer.CooperativeStickyAssignor";
    }

    static void needStatic() {}

    static int generation(KafkaConsumer<?, ?> consumer) {
        return consumer.groupMetadata().generationId();
    }

    static OffsetAndMetadata committed(KafkaConsumer<?, ?> consumer, TopicPartition at) {
        return consumer.committed(Collections.singleton(at)).get(at);
    }

    static TopicDescription describe(String topic) throws Exception {
        return Driver.get(Driver.admin.describeTopics(Collections.singleton(topic)).allTopicNames()).get(topic);
    }

    static String state(ConsumerGroupDescription group) {
        return group.groupState().toString();
    }

    static void alter(ConfigResource resource, String key, String value) throws Exception {
        AlterConfigOp set = new AlterConfigOp(new ConfigEntry(key, value), AlterConfigOp.OpType.SET);
        Driver.get(Driver.admin
                .incrementalAlterConfigs(Collections.singletonMap(resource, Collections.singleton(set)))
                .all());
    }

    static Set<String> groups() throws Exception {
        return Driver.get(Driver.admin.listGroups().all()).stream()
                .map(GroupListing::groupId)
                .collect(Collectors.toSet());
    }
}
