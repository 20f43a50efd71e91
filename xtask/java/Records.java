// Writes record batches and metadata records with Apache Kafka's own classes, as text, one item a line, and
// reads batches that others wrote. Compile and run with the `libs` directory of a Kafka 4.3 distribution on the
// class path:
//
//     javac -cp "libs/*" -d out Records.java
//     java -cp "out:libs/*" Records batches  > protocol/tests/data/records/batches.txt
//     java -cp "out:libs/*" Records rewrites > protocol/tests/data/records/rewrites.txt
//     java -cp "out:libs/*" Records metadata > protocol/tests/data/records/metadata.txt
//     java -cp "out:libs/*" Records read     < lines of "batch NAME HEX"
//
// `batches` and `read` give for each batch `batch NAME HEX`, then for each record
// `record OFFSET TIMESTAMP KEY VALUE [NAME=VALUE ...]`, all bytes in hex, `-` for null, `.` for empty.
// `rewrites` gives what Kafka's cleaner leaves of a batch: `rewrite NAME KEEP EMPTY MARKER HORIZON BEFORE AFTER`,
// where KEEP has a digit for each record (1 keeps it), EMPTY says whether the batch stays without records, MARKER
// whether it is a marker without data, and AFTER is `-` when nothing is left.
// `metadata` gives `record NAME HEX` for framed records and `control NAME HEX` for control record values.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.util.HexFormat;
import java.util.List;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.message.KRaftVersionRecord;
import org.apache.kafka.common.message.LeaderChangeMessage;
import org.apache.kafka.common.message.SnapshotFooterRecord;
import org.apache.kafka.common.message.SnapshotHeaderRecord;
import org.apache.kafka.common.message.VotersRecord;
import org.apache.kafka.common.metadata.*;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.*;
import org.apache.kafka.common.utils.BufferSupplier;
import org.apache.kafka.metadata.MetadataRecordSerde;
import org.apache.kafka.server.common.ApiMessageAndVersion;

public class Records {
    static final long T = 1_700_000_000_000L;
    static final Header[] NO_HEADERS = new Header[0];

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "batches" -> batches();
            case "rewrites" -> rewrites();
            case "metadata" -> metadata();
            case "read" -> read();
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    // ---------------------------------------------------------------- batches

    static void batches() {
        System.out.println("# Written by xtask/java/Records.java with Apache Kafka 4.3.1.");
        show("one_null_key", build(Compression.NONE, TimestampType.CREATE_TIME, 0, 0, rec(T, null, "value")));
        show("nulls_and_empties", build(Compression.NONE, TimestampType.CREATE_TIME, 0, 0,
            rec(T, null, null), rec(T, "", ""), rec(T, "k", null), rec(T, null, "v")));
        show("offsets_and_times", build(Compression.NONE, TimestampType.CREATE_TIME, 1L << 40, 0,
            rec(T + 5000, "a", "1"), rec(T, "b", "2"), rec(T + 9_000_000_000L, "c", "3"), rec(T + 1, "d", "4")));
        show("no_timestamp", build(Compression.NONE, TimestampType.CREATE_TIME, 7, 0, rec(-1, "k", "v")));
        show("headers", build(Compression.NONE, TimestampType.CREATE_TIME, 0, 0,
            new SimpleRecord(T, "k".getBytes(), "v".getBytes(), new Header[] {
                new RecordHeader("one", "1".getBytes()), new RecordHeader("null", (byte[]) null),
                new RecordHeader("", new byte[0]), new RecordHeader("one", "again".getBytes())})));
        show("log_append_time", build(Compression.NONE, TimestampType.LOG_APPEND_TIME, 3, T + 777,
            rec(T, "a", "1"), rec(T + 100, "b", "2")));
        show("idempotent", MemoryRecords.withIdempotentRecords(Compression.NONE, 4711L, (short) 3, 2147483646,
            rec(T, "a", "1"), rec(T, "b", "2"), rec(T, "c", "3")));
        show("transactional", MemoryRecords.withTransactionalRecords(100L, Compression.NONE, 4712L, (short) 0, 5, 9,
            rec(T, "a", "1"), rec(T + 1, "b", "2")));
        for (Object[] codec : new Object[][] {{"none", Compression.NONE}, {"gzip", Compression.gzip().build()},
            {"gzip1", Compression.gzip().level(1).build()}, {"snappy", Compression.snappy().build()},
            {"lz4", Compression.lz4().build()}, {"lz4_17", Compression.lz4().level(17).build()},
            {"zstd", Compression.zstd().build()}, {"zstd22", Compression.zstd().level(22).build()}}) {
            show("codec_" + codec[0], build((Compression) codec[1], TimestampType.CREATE_TIME, 12, 0, many(8, 20)));
            // More than one block of any codec.
            if (codec[1] != Compression.NONE)
                show("blocks_" + codec[0], build((Compression) codec[1], TimestampType.CREATE_TIME, 12, 0, many(3, 50_000)));
        }
        show("codec_lz4_log_append", build(Compression.lz4().build(), TimestampType.LOG_APPEND_TIME, 0, T + 1, many(3, 9)));
        for (ControlRecordType type : new ControlRecordType[] {ControlRecordType.COMMIT, ControlRecordType.ABORT})
            show("marker_" + type.name().toLowerCase(), MemoryRecords.withEndTransactionMarker(
                55L, T, 6, 4712L, (short) 1, new EndTransactionMarker(type, 17)));
        show("leader_change", MemoryRecords.withLeaderChangeMessage(4L, T, 2, ByteBuffer.allocate(512), leaderChange((short) 0)));
        compacted();
    }

    /** What the log cleaner leaves: gaps, an emptied batch, a tombstone with a delete horizon. */
    static void compacted() {
        MemoryRecords gaps = build(Compression.NONE, TimestampType.CREATE_TIME, 20, 0, many(5, 3));
        show("compacted_gaps", filter(gaps, 1, RecordFilterKind.ODD));
        MemoryRecords packed = build(Compression.gzip().build(), TimestampType.CREATE_TIME, 20, 0, many(5, 3));
        show("compacted_gaps_gzip", filter(packed, 1, RecordFilterKind.ODD));
        MemoryRecords idempotent = MemoryRecords.withIdempotentRecords(30L, Compression.lz4().build(), 99L, (short) 1, 40, 2,
            rec(T, "a", "1"), rec(T + 1, "b", "2"));
        show("compacted_empty", filter(idempotent, 1, RecordFilterKind.NONE));
        MemoryRecords tombstone = build(Compression.NONE, TimestampType.CREATE_TIME, 40, 0, rec(T + 3, "k", null), rec(T + 9, "l", "v"));
        show("delete_horizon", filter(tombstone, 1000, RecordFilterKind.ALL));
    }

    enum RecordFilterKind { ALL, ODD, NONE }

    static MemoryRecords filter(MemoryRecords records, long retention, RecordFilterKind kind) {
        ByteBuffer out = ByteBuffer.allocate(1 << 16);
        records.filterTo(new MemoryRecords.RecordFilter(T + 50_000, retention) {
            @Override
            protected BatchRetentionResult checkBatchRetention(RecordBatch batch) {
                return new BatchRetentionResult(BatchRetention.RETAIN_EMPTY, false);
            }

            @Override
            protected boolean shouldRetainRecord(RecordBatch batch, org.apache.kafka.common.record.internal.Record record) {
                return kind == RecordFilterKind.ALL || kind == RecordFilterKind.ODD && record.offset() % 2 == 1;
            }
        }, out, BufferSupplier.NO_CACHING);
        out.flip();
        return MemoryRecords.readableRecords(out);
    }

    /** What is left of batches by each pattern of kept records that matters. */
    static void rewrites() {
        System.out.println("# Written by xtask/java/Records.java with Apache Kafka 4.3.1.");
        Object[][] codecs = {{"none", Compression.NONE}, {"gzip", Compression.gzip().build()}, {"snappy", Compression.snappy().build()},
            {"lz4", Compression.lz4().build()}, {"zstd", Compression.zstd().build()}};
        for (Object[] codec : codecs) {
            Compression compression = (Compression) codec[1];
            MemoryRecords plain = build(compression, TimestampType.CREATE_TIME, 20, 0, many(5, 3));
            MemoryRecords stamped = build(compression, TimestampType.LOG_APPEND_TIME, 20, T + 77, many(5, 3));
            MemoryRecords deletes = build(compression, TimestampType.CREATE_TIME, 40, 0,
                rec(T + 3, "k", null), rec(T + 9, "l", "v"), rec(T + 1, "m", null), rec(T - 5, "n", "w"));
            MemoryRecords stampedDeletes = build(compression, TimestampType.LOG_APPEND_TIME, 40, T + 5,
                rec(T + 3, "k", null), rec(T + 9, "l", "v"));
            MemoryRecords produced = MemoryRecords.withIdempotentRecords(30L, compression, 99L, (short) 1, 2147483646, 2,
                rec(T, "a", "1"), rec(T + 1, "b", "2"), rec(T + 2, "c", null));
            MemoryRecords transactional = MemoryRecords.withTransactionalRecords(100L, compression, 4712L, (short) 0, 5, 9,
                rec(T, "a", "1"), rec(T + 1, "b", "2"));
            for (String keep : new String[] {"11111", "01010", "10000", "00001", "00000"}) {
                rewrite(codec[0] + "_plain", keep, false, false, plain);
                rewrite(codec[0] + "_stamped", keep, false, false, stamped);
            }
            for (String keep : new String[] {"1111", "0101", "0111", "1000", "0010", "0000"}) {
                rewrite(codec[0] + "_deletes", keep, false, false, deletes);
                // A second pass over what the first one stamped.
                rewrite(codec[0] + "_deletes_again", keep, false, false, pass(deletes, "1111", false, false, HORIZON - 500));
            }
            for (String keep : new String[] {"11", "10", "01"})
                rewrite(codec[0] + "_stamped_deletes", keep, false, false, stampedDeletes);
            for (String keep : new String[] {"111", "001", "010", "000"}) {
                rewrite(codec[0] + "_produced", keep, true, false, produced);
                rewrite(codec[0] + "_produced", keep, false, false, produced);
            }
            for (String keep : new String[] {"11", "01", "00"})
                rewrite(codec[0] + "_transactional", keep, true, false, transactional);
            rewrite(codec[0] + "_emptied", "", true, false, pass(produced, "000", true, false, 0));
            rewrite(codec[0] + "_emptied", "", false, false, pass(produced, "000", true, false, 0));
        }
        for (ControlRecordType type : new ControlRecordType[] {ControlRecordType.COMMIT, ControlRecordType.ABORT}) {
            MemoryRecords marker = MemoryRecords.withEndTransactionMarker(55L, T, 6, 4712L, (short) 1, new EndTransactionMarker(type, 17));
            String name = "marker_" + type.name().toLowerCase();
            rewrite(name, "1", false, false, marker);
            rewrite(name, "1", false, true, marker);
            rewrite(name, "0", true, true, marker);
            rewrite(name + "_again", "1", false, true, pass(marker, "1", false, true, HORIZON - 500));
            rewrite(name + "_again", "0", true, true, pass(marker, "1", false, true, HORIZON - 500));
        }
    }

    static final long HORIZON = T + 60_000;

    static void rewrite(String name, String keep, boolean empty, boolean marker, MemoryRecords before) {
        MemoryRecords after = pass(before, keep, empty, marker, HORIZON);
        for (RecordBatch batch : after.batches()) batch.ensureValid();
        System.out.println("rewrite " + name + " " + (keep.isEmpty() ? "-" : keep) + " " + empty + " " + marker + " " + HORIZON + " "
            + raw(before) + " " + (after.sizeInBytes() == 0 ? "-" : raw(after)));
    }

    static String raw(MemoryRecords records) {
        ByteBuffer bytes = records.buffer().duplicate();
        byte[] raw = new byte[bytes.remaining()];
        bytes.get(raw);
        return HexFormat.of().formatHex(raw);
    }

    static MemoryRecords pass(MemoryRecords records, String keep, boolean empty, boolean marker, long horizon) {
        ByteBuffer out = ByteBuffer.allocate(1 << 16);
        long base = records.batches().iterator().next().baseOffset();
        records.filterTo(new MemoryRecords.RecordFilter(horizon - 1000, 1000) {
            @Override
            protected BatchRetentionResult checkBatchRetention(RecordBatch batch) {
                return new BatchRetentionResult(empty ? BatchRetention.RETAIN_EMPTY : BatchRetention.DELETE_EMPTY, marker);
            }

            @Override
            protected boolean shouldRetainRecord(RecordBatch batch, org.apache.kafka.common.record.internal.Record record) {
                return keep.charAt((int) (record.offset() - base)) == '1';
            }
        }, out, BufferSupplier.NO_CACHING);
        out.flip();
        return MemoryRecords.readableRecords(out);
    }

    static SimpleRecord rec(long timestamp, String key, String value) {
        return new SimpleRecord(timestamp, key == null ? null : key.getBytes(), value == null ? null : value.getBytes());
    }

    static SimpleRecord[] many(int count, int valueBytes) {
        SimpleRecord[] records = new SimpleRecord[count];
        for (int i = 0; i < count; i++) {
            byte[] value = new byte[valueBytes];
            for (int at = 0; at < valueBytes; at++)
                value[at] = (byte) (at % 251 == 0 ? at / 251 : 'a' + i % 26);
            records[i] = new SimpleRecord(T + i * 10L, ("key" + i).getBytes(), value,
                i % 3 == 0 ? new Header[] {new RecordHeader("h", new byte[] {(byte) i})} : NO_HEADERS);
        }
        return records;
    }

    static MemoryRecords build(Compression compression, TimestampType type, long baseOffset, long appendTime, SimpleRecord... records) {
        MemoryRecordsBuilder builder = MemoryRecords.builder(ByteBuffer.allocate(1 << 16), RecordBatch.MAGIC_VALUE_V2,
            compression, type, baseOffset, appendTime);
        for (SimpleRecord record : records) builder.append(record);
        return builder.build();
    }

    static void show(String name, MemoryRecords records) {
        ByteBuffer bytes = records.buffer().duplicate();
        byte[] raw = new byte[bytes.remaining()];
        bytes.get(raw);
        System.out.println("batch " + name + " " + HexFormat.of().formatHex(raw));
        for (RecordBatch batch : records.batches()) {
            batch.ensureValid();
            for (org.apache.kafka.common.record.internal.Record record : batch) {
                record.ensureValid();
                StringBuilder line = new StringBuilder("record " + record.offset() + " " + record.timestamp() + " "
                    + hex(record.key()) + " " + hex(record.value()));
                for (Header header : record.headers())
                    line.append(' ').append(hex(ByteBuffer.wrap(header.key().getBytes()))).append('=')
                        .append(hex(header.value() == null ? null : ByteBuffer.wrap(header.value())));
                System.out.println(line);
            }
        }
    }

    /** Long content as its length and hash, so that the file stays small. */
    static String hex(ByteBuffer bytes) {
        if (bytes == null) return "-";
        byte[] raw = new byte[bytes.remaining()];
        bytes.duplicate().get(raw);
        if (raw.length == 0) return ".";
        if (raw.length <= 64) return HexFormat.of().formatHex(raw);
        return raw.length + "#" + Integer.toUnsignedString(java.util.Arrays.hashCode(raw));
    }

    static void read() throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = in.readLine()) != null; ) {
            String[] words = line.split(" ");
            if (words[0].equals("batch"))
                show(words[1], MemoryRecords.readableRecords(ByteBuffer.wrap(HexFormat.of().parseHex(words[2]))));
        }
    }

    // ---------------------------------------------------------------- metadata

    static Uuid id(long n) {
        return new Uuid(0x1122334455667788L, n);
    }

    static LeaderChangeMessage leaderChange(short version) {
        LeaderChangeMessage.Voter one = new LeaderChangeMessage.Voter().setVoterId(1);
        LeaderChangeMessage.Voter two = new LeaderChangeMessage.Voter().setVoterId(2);
        if (version >= 1) {
            one.setVoterDirectoryId(id(1));
            two.setVoterDirectoryId(id(2));
        }
        return new LeaderChangeMessage().setVersion(version).setLeaderId(1)
            .setVoters(List.of(one, two)).setGrantingVoters(List.of(one.duplicate()));
    }

    static void metadata() {
        System.out.println("# Written by xtask/java/Records.java with Apache Kafka 4.3.1.");
        RegisterBrokerRecord register = new RegisterBrokerRecord().setBrokerId(7).setIncarnationId(id(9)).setBrokerEpoch(1234567890123L)
            .setRack("rack-a").setFenced(true).setLogDirs(List.of(id(20), id(21)));
        register.endPoints().add(new RegisterBrokerRecord.BrokerEndpoint().setName("PLAINTEXT").setHost("localhost").setPort(39092).setSecurityProtocol((short) 0));
        register.endPoints().add(new RegisterBrokerRecord.BrokerEndpoint().setName("SSL").setHost("b.example").setPort(65535).setSecurityProtocol((short) 1));
        register.features().add(new RegisterBrokerRecord.BrokerFeature().setName("metadata.version").setMinSupportedVersion((short) 7).setMaxSupportedVersion((short) 29));
        framed("register_broker_v3", register, 3);
        framed("register_broker_v4", register, 4);
        RegisterBrokerRecord old = register.duplicate().setRack(null).setFenced(false).setLogDirs(List.of());
        framed("register_broker_v0", old, 0);
        framed("register_broker_v1", old.duplicate().setInControlledShutdown(true), 1);
        framed("register_broker_v2", old, 2);
        framed("register_broker_v4_cordoned", register.duplicate().setCordonedLogDirs(List.of(id(20))), 4);
        framed("topic", new TopicRecord().setName("orders").setTopicId(id(5)), 0);
        PartitionRecord partition = new PartitionRecord().setPartitionId(3).setTopicId(id(5)).setReplicas(List.of(1, 2, 3)).setIsr(List.of(1, 3))
            .setRemovingReplicas(List.of(2)).setAddingReplicas(List.of(4)).setLeader(1).setLeaderEpoch(8).setPartitionEpoch(300)
            .setDirectories(List.of(id(20), id(21), id(22)));
        framed("partition_v1", partition, 1);
        framed("partition_v2", partition, 2);
        framed("partition_v1_recovering", partition.duplicate().setLeaderRecoveryState((byte) 1), 1);
        framed("partition_v0", partition.duplicate().setDirectories(List.of()), 0);
        framed("partition_v2_elr", partition.duplicate().setEligibleLeaderReplicas(List.of(2)).setLastKnownElr(List.of(1)), 2);
        PartitionChangeRecord change = new PartitionChangeRecord().setPartitionId(3).setTopicId(id(5));
        framed("partition_change_nothing", change, 1);
        framed("partition_change_leader", change.duplicate().setLeader(-1).setIsr(List.of(3)), 1);
        framed("partition_change_all", change.duplicate().setLeader(2).setIsr(List.of(2, 3)).setReplicas(List.of(3, 2)).setRemovingReplicas(List.of(1))
            .setAddingReplicas(List.of()).setLeaderRecoveryState((byte) 1).setDirectories(List.of(id(30), id(31))), 1);
        framed("partition_change_v0", change.duplicate().setLeader(2), 0);
        framed("partition_change_v2_elr", change.duplicate().setEligibleLeaderReplicas(List.of(2)), 2);
        framed("remove_topic", new RemoveTopicRecord().setTopicId(id(5)), 0);
        framed("config", new ConfigRecord().setResourceType((byte) 2).setResourceName("orders").setName("retention.ms").setValue("1000"), 0);
        framed("config_removed", new ConfigRecord().setResourceType((byte) 4).setResourceName("").setName("log.retention.ms").setValue(null), 0);
        framed("feature_level", new FeatureLevelRecord().setName("metadata.version").setFeatureLevel((short) 29), 0);
        framed("producer_ids", new ProducerIdsRecord().setBrokerId(1).setBrokerEpoch(77).setNextProducerId(3000), 0);
        BrokerRegistrationChangeRecord registration = new BrokerRegistrationChangeRecord().setBrokerId(7).setBrokerEpoch(99);
        framed("broker_change_unfence", registration.duplicate().setFenced((byte) -1), 2);
        framed("broker_change_all", registration.duplicate().setFenced((byte) 1).setInControlledShutdown((byte) 1).setLogDirs(List.of(id(20))), 2);
        framed("broker_change_v3", registration.duplicate().setFenced((byte) 1), 3);
        framed("no_op", new NoOpRecord(), 0);
        framed("unknown_to_us", new FenceBrokerRecord().setId(1).setEpoch(2), 0);

        control("leader_change_v0", leaderChange((short) 0), 0);
        control("leader_change_v1", leaderChange((short) 1), 1);
        control("snapshot_header", new SnapshotHeaderRecord().setVersion((short) 0).setLastContainedLogTimestamp(T), 0);
        control("snapshot_footer", new SnapshotFooterRecord().setVersion((short) 0), 0);
        control("kraft_version", new KRaftVersionRecord().setVersion((short) 0).setKRaftVersion((short) 1), 0);
        VotersRecord.Voter voter = new VotersRecord.Voter().setVoterId(1).setVoterDirectoryId(id(1))
            .setKRaftVersionFeature(new VotersRecord.KRaftVersionFeature().setMinSupportedVersion((short) 0).setMaxSupportedVersion((short) 1));
        voter.endpoints().add(new VotersRecord.Endpoint().setName("CONTROLLER").setHost("localhost").setPort(40000));
        control("voters", new VotersRecord().setVersion((short) 0).setVoters(List.of(voter)), 0);
    }

    static void framed(String name, ApiMessage message, int version) {
        MetadataRecordSerde serde = new MetadataRecordSerde();
        ApiMessageAndVersion record = new ApiMessageAndVersion(message, (short) version);
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer out = ByteBuffer.allocate(serde.recordSize(record, cache));
        serde.write(record, cache, new org.apache.kafka.common.protocol.ByteBufferAccessor(out));
        System.out.println("record " + name + " " + HexFormat.of().formatHex(out.array()));
    }

    static void control(String name, ApiMessage message, int version) {
        ByteBuffer out = MessageUtil.toByteBufferAccessor(message, (short) version).buffer();
        byte[] raw = new byte[out.remaining()];
        out.get(raw);
        System.out.println("control " + name + " " + HexFormat.of().formatHex(raw));
    }
}
