import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.BinaryNode;
import com.fasterxml.jackson.databind.node.BooleanNode;
import com.fasterxml.jackson.databind.node.DoubleNode;
import com.fasterxml.jackson.databind.node.IntNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.LongNode;
import com.fasterxml.jackson.databind.node.NullNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.node.ShortNode;
import com.fasterxml.jackson.databind.node.TextNode;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Map;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.ConsumerProtocolSubscription;
import org.apache.kafka.common.message.RequestHeaderData;
import org.apache.kafka.common.message.ResponseHeaderData;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.Field;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;
import org.apache.kafka.coordinator.group.generated.CoordinatorRecordType;

/**
 * Prints, for every message and version of Kafka's client protocol, what Kafka itself writes: one
 * line "NAME VERSION VARIANT HEX" each. Variants: "default" (a new object), "filled" (every field of
 * the version set, two elements in every array), "nulls" (filled, but null where null is allowed;
 * left out where nothing is). Values are made by a counter, so that a run always prints the same.
 * With the argument "coordinator" the same for the keys and values of __consumer_offsets and for what
 * consumers say when they join, without the type or version that stands before them; of a key
 * VERSION is its type.
 */
public final class Vectors {
    private static final JsonNodeFactory JSON = JsonNodeFactory.instance;
    private int counter;
    private boolean nulls;
    private boolean sawNull;

    public static void main(String[] arguments) {
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.US_ASCII);
        if (arguments.length == 1 && arguments[0].equals("coordinator")) {
            coordinator(out);
        } else {
            messages(out);
        }
        out.flush();
    }

    private static void messages(PrintStream out) {
        for (ApiMessageType api : ApiMessageType.values()) {
            short last = api.highestSupportedVersion(true);
            for (short version = api.lowestSupportedVersion(); version <= last; version++) {
                print(out, api.newRequest(), api.requestSchemas()[version], version);
                print(out, api.newResponse(), api.responseSchemas()[version], version);
            }
        }
        for (short version = 1; version <= 2; version++) {
            print(out, new RequestHeaderData(), RequestHeaderData.SCHEMAS[version], version);
        }
        for (short version = 0; version <= 1; version++) {
            print(out, new ResponseHeaderData(), ResponseHeaderData.SCHEMAS[version], version);
        }
    }

    private static void coordinator(PrintStream out) {
        for (CoordinatorRecordType type : CoordinatorRecordType.values()) {
            ApiMessage key = type.newRecordKey();
            Vectors vectors = new Vectors();
            ApiMessage filled = read(key, vectors.struct(schemas(key)[0]), (short) 0);
            out.println(name(key) + " " + type.id() + " filled " + hex(filled, (short) 0));
            ApiMessage value;
            try {
                value = type.newRecordValue();
            } catch (RuntimeException e) {
                // Types of which only tombstones are left.
                continue;
            }
            for (short version = value.lowestSupportedVersion();
                    version <= value.highestSupportedVersion(); version++) {
                print(out, type.newRecordValue(), schemas(value)[version], version);
            }
        }
        ConsumerProtocolSubscription subscription = new ConsumerProtocolSubscription();
        for (short version = 0; version <= subscription.highestSupportedVersion(); version++) {
            print(out, subscription, schemas(subscription)[version], version);
        }
    }

    private static Schema[] schemas(ApiMessage of) {
        try {
            return (Schema[]) of.getClass().getField("SCHEMAS").get(null);
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(name(of), e);
        }
    }

    private static void print(PrintStream out, ApiMessage empty, Schema schema, short version) {
        line(out, empty, version, "default");
        Vectors vectors = new Vectors();
        line(out, read(empty, vectors.struct(schema), version), version, "filled");
        vectors = new Vectors();
        vectors.nulls = true;
        JsonNode withNulls = vectors.struct(schema);
        if (vectors.sawNull) {
            line(out, read(empty, withNulls, version), version, "nulls");
        }
    }

    private static void line(PrintStream out, ApiMessage message, short version, String variant) {
        out.println(name(message) + " " + version + " " + variant + " " + hex(message, version));
    }

    private static String hex(ApiMessage message, short version) {
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer bytes = ByteBuffer.allocate(message.size(cache, version));
        message.write(new ByteBufferAccessor(bytes), cache, version);
        if (bytes.hasRemaining()) {
            throw new IllegalStateException(name(message) + " is shorter than its size");
        }
        return HexFormat.of().formatHex(bytes.array());
    }

    private static String name(ApiMessage message) {
        String name = message.getClass().getSimpleName();
        return name.endsWith("Data") ? name.substring(0, name.length() - "Data".length()) : name;
    }

    /** The message that Kafka's own converter makes of the JSON. */
    private static ApiMessage read(ApiMessage like, JsonNode json, short version) {
        try {
            Class<?> converter = Class.forName(like.getClass().getName() + "JsonConverter");
            return (ApiMessage) converter.getMethod("read", JsonNode.class, short.class)
                .invoke(null, json, version);
        } catch (InvocationTargetException e) {
            throw new IllegalStateException(name(like) + " " + version + ": " + json, e.getCause());
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(name(like) + " " + version, e);
        }
    }

    private ObjectNode struct(Schema schema) {
        ObjectNode object = new ObjectNode(JSON);
        for (BoundField bound : schema.fields()) {
            if (bound.def.type instanceof TaggedFields) {
                for (Map.Entry<Integer, Field> tag : ((TaggedFields) bound.def.type).fields().entrySet()) {
                    object.set(camel(tag.getValue().name), value(tag.getValue().type));
                }
            } else {
                object.set(camel(bound.def.name), value(bound.def.type));
            }
        }
        return object;
    }

    private JsonNode value(Type type) {
        int at = ++counter;
        if (nulls && type.isNullable()) {
            sawNull = true;
            return NullNode.instance;
        }
        if (type.isArray()) {
            ArrayNode array = new ArrayNode(JSON);
            Type element = type.arrayElementType().get();
            array.add(value(element));
            array.add(value(element));
            return array;
        }
        if (type instanceof Schema) {
            return struct((Schema) type);
        }
        String kind = ((Type.DocumentedType) type).typeName();
        if (kind.endsWith("RECORDS") || kind.endsWith("BYTES")) {
            byte[] bytes = new byte[at % 40 + 1];
            Arrays.fill(bytes, (byte) at);
            return BinaryNode.valueOf(bytes);
        }
        if (kind.endsWith("STRING")) {
            return TextNode.valueOf("text-" + at + "-\u00e9");
        }
        switch (kind) {
            case "BOOLEAN": return BooleanNode.valueOf(true);
            case "INT8": return ShortNode.valueOf((short) (at % 100 + 1));
            case "INT16": return ShortNode.valueOf((short) (at * 97 % 32000));
            case "UINT16": return IntNode.valueOf(65535 - at);
            case "INT32": return IntNode.valueOf(at * 65539);
            case "UINT32": return LongNode.valueOf(4294967295L - at);
            case "INT64": return LongNode.valueOf(at * 4294967311L);
            case "UUID": return TextNode.valueOf(new Uuid(at * 1234567890123L, at).toString());
            case "FLOAT64": return DoubleNode.valueOf(at + 0.25);
            default: throw new IllegalStateException("no value for a " + kind);
        }
    }

    /** The name that Kafka's JSON uses: a schema's snake_case as camelCase. */
    private static String camel(String snake) {
        if (snake.startsWith("kraft_")) {
            return camel("k_raft_" + snake.substring("kraft_".length()));
        }
        StringBuilder camel = new StringBuilder();
        boolean up = false;
        for (char letter : snake.toCharArray()) {
            if (letter == '_') {
                up = true;
            } else {
                camel.append(up ? Character.toUpperCase(letter) : letter);
                up = false;
            }
        }
        return camel.toString();
    }
}
