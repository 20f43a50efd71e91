// What the old client has under another name, or lacks.

import java.util.Collections;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.ConsumerGroupListing;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;

final class Version {
    private Version() {}

    static String cooperative() {
        throw new Driver.Lacks("cooperative assignment");
    }

    static void needStatic() {
        throw new Driver.Lacks("static members");
    }

    /** It doesn't tell; only static members are asked for it. */
    static int generation(KafkaConsumer<?, ?> consumer) {
        return 0;
    }

    static OffsetAndMetadata committed(KafkaConsumer<?, ?> consumer, TopicPartition at) {
        return consumer.committed(at);
    }

    static TopicDescription describe(String topic) throws Exception {
        return Driver.get(Driver.admin.describeTopics(Collections.singleton(topic)).all()).get(topic);
    }

    static String state(ConsumerGroupDescription group) {
        return group.state().toString();
    }

    static void alter(ConfigResource resource, String key, String value) throws Exception {
        Config all = new Config(Collections.singleton(new ConfigEntry(key, value)));
        Driver.get(Driver.admin.alterConfigs(Collections.singletonMap(resource, all)).all());
    }

    static Set<String> groups() throws Exception {
        return Driver.get(Driver.admin.listConsumerGroups().all()).stream()
                .map(ConsumerGroupListing::groupId)
                .collect(Collectors.toSet());
    }
}
