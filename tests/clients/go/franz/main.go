// franz-go in the client matrix.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/clients/driver"
)

var background = context.Background()

type franz struct{ admin *kadm.Client }

func main() {
	driver.Main(func() driver.Client {
		return franz{kadm.NewClient(driver.Must(kgo.NewClient(kgo.SeedBrokers(driver.Bootstrap))))}
	})
}

// known joins an error with what scenarios call it.
func known(err error) error {
	for of, is := range map[error]error{
		kerr.TopicAlreadyExists: driver.ErrExists,
		kerr.MessageTooLarge:    driver.ErrTooLarge,
		kerr.NonEmptyGroup:      driver.ErrNotEmpty,
		kerr.OffsetOutOfRange:   driver.ErrOutOfRange,
	} {
		if errors.Is(err, of) {
			return errors.Join(is, err)
		}
	}
	return err
}

func (f franz) Create(topic string, partitions int32, configs map[string]string) error {
	values := map[string]*string{}
	for key, value := range configs {
		values[key] = &value
	}
	_, err := f.admin.CreateTopic(background, partitions, 1, values, topic)
	return known(err)
}

func (f franz) Partitions(topic string) int {
	return len(driver.Must(f.admin.ListTopics(background, topic))[topic].Partitions)
}

func (f franz) Config(topic, key string) string {
	for _, config := range driver.Must(driver.Must(f.admin.DescribeTopicConfigs(background, topic)).On(topic, nil)).Configs {
		if config.Key == key {
			return config.MaybeValue()
		}
	}
	return ""
}

func (f franz) Alter(topic, key, value string) {
	set := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: key, Value: &value}}
	altered := driver.Must(f.admin.AlterTopicConfigs(background, set, topic))
	driver.Check(driver.Must(altered.On(topic, nil)).Err, "altering")
}

func (f franz) AddPartitions(topic string, count int32) {
	driver.Check(driver.Must(f.admin.UpdatePartitions(background, int(count), topic)).Error(), "adding partitions")
}

func (f franz) DeleteRecords(topic string, partition int32, offset int64) error {
	offsets := kadm.Offsets{}
	offsets.AddOffset(topic, partition, offset, -1)
	return known(driver.Must(f.admin.DeleteRecords(background, offsets)).Error())
}

func (f franz) DeleteTopics(topics ...string) {
	driver.Check(driver.Must(f.admin.DeleteTopics(background, topics...)).Error(), "deleting topics")
}

func (f franz) Topics() []string { return driver.Must(f.admin.ListTopics(background)).Names() }

func (f franz) Cluster() (int, bool) {
	metadata := driver.Must(f.admin.BrokerMetadata(background))
	return len(metadata.Brokers), metadata.Controller == metadata.Brokers[0].NodeID
}

func (f franz) Groups() []string { return driver.Must(f.admin.ListGroups(background)).Groups() }

func (f franz) Group(group string) (string, int) {
	described := driver.Must(f.admin.DescribeGroups(background, group))[group]
	driver.Check(described.Err, "describing a group")
	return described.State, len(described.Members)
}

func (f franz) DeleteGroup(group string) error {
	deleted, err := f.admin.DeleteGroup(background, group)
	return known(errors.Join(err, deleted.Err))
}

func (f franz) OffsetAt(topic string, partition int32, timeMs int64) int64 {
	var listed kadm.ListedOffsets
	switch timeMs {
	case driver.Start:
		listed = driver.Must(f.admin.ListStartOffsets(background, topic))
	case driver.End:
		listed = driver.Must(f.admin.ListEndOffsets(background, topic))
	default:
		listed = driver.Must(f.admin.ListOffsetsAfterMilli(background, timeMs, topic))
	}
	found, _ := listed.Lookup(topic, partition)
	driver.Check(found.Err, "listing offsets")
	if timeMs >= 0 && found.Timestamp < 0 {
		// It gives the end where nothing is so late.
		return -1
	}
	return found.Offset
}

func (f franz) Commit(group, topic string, partition int32, offset int64, metadata string) {
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: topic, Partition: partition, At: offset, LeaderEpoch: -1, Metadata: metadata})
	driver.Check(f.admin.CommitAllOffsets(background, group, offsets), "committing")
}

func (f franz) Committed(group, topic string, partition int32) (int64, string) {
	all := driver.Must(f.admin.FetchOffsets(background, group))
	if found, there := all.Lookup(topic, partition); there {
		return found.At, found.Metadata
	}
	return -1, ""
}

type producer struct{ *kgo.Client }

func (f franz) Producer(settings driver.Settings) driver.Producer {
	codecs := map[string]kgo.CompressionCodec{
		"": kgo.NoCompression(), "none": kgo.NoCompression(), "gzip": kgo.GzipCompression(),
		"snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(driver.Bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(codecs[settings.Codec]), kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.UnknownTopicRetries(100),
	}
	if !settings.Idempotent {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	if settings.MaxBytes > 0 {
		options = append(options, kgo.ProducerBatchMaxBytes(int32(settings.MaxBytes)))
	}
	return producer{driver.Must(kgo.NewClient(options...))}
}

func (p producer) Send(record driver.Record, done func(int64, error)) {
	sent := &kgo.Record{
		Topic: record.Topic, Partition: record.Partition, Key: record.Key, Value: record.Value,
		Timestamp: time.UnixMilli(record.TimestampMs),
	}
	for _, header := range record.Headers {
		sent.Headers = append(sent.Headers, kgo.RecordHeader{Key: header.Key, Value: header.Value})
	}
	p.Produce(background, sent, func(sent *kgo.Record, err error) { done(sent.Offset, known(err)) })
}

func (p producer) Close() { p.Client.Close() }

func shown(record *kgo.Record) driver.Record {
	seen := driver.Record{
		Topic: record.Topic, Partition: record.Partition, Offset: record.Offset, Key: record.Key, Value: record.Value,
		TimestampMs: record.Timestamp.UnixMilli(),
	}
	for _, header := range record.Headers {
		seen.Headers = append(seen.Headers, driver.Header{Key: header.Key, Value: header.Value})
	}
	return seen
}

type reader struct {
	*kgo.Client
	topic string
}

func at(offset int64) kgo.Offset {
	switch offset {
	case driver.Start:
		return kgo.NewOffset().AtStart()
	case driver.End:
		return kgo.NewOffset().AtEnd()
	}
	return kgo.NewOffset().At(offset)
}

func (f franz) Reader(topic string, from map[int32]int64) driver.Reader {
	offsets := map[int32]kgo.Offset{}
	for partition, offset := range from {
		offsets[partition] = at(offset)
	}
	client := driver.Must(kgo.NewClient(kgo.SeedBrokers(driver.Bootstrap),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: offsets})))
	return reader{client, topic}
}

func polled(client *kgo.Client) (found []driver.Record) {
	short, stop := context.WithTimeout(background, 100*time.Millisecond)
	defer stop()
	fetches := client.PollFetches(short)
	fetches.EachError(func(topic string, partition int32, err error) {
		// A broker that is away for a while shows here, too; for good it ends by the scenario's patience.
		var away *net.OpError
		if !errors.Is(err, context.DeadlineExceeded) && !errors.As(err, &away) {
			driver.Fail("fetching %s %d: %v", topic, partition, err)
		}
	})
	fetches.EachRecord(func(record *kgo.Record) { found = append(found, shown(record)) })
	return found
}

func (r reader) Poll() []driver.Record { return polled(r.Client) }

func (r reader) Seek(partition int32, offset int64) {
	r.RemoveConsumePartitions(map[string][]int32{r.topic: {partition}})
	r.AddConsumePartitions(map[string]map[int32]kgo.Offset{r.topic: {partition: at(offset)}})
}

func (r reader) Pause(partitions ...int32) {
	r.PauseFetchPartitions(map[string][]int32{r.topic: partitions})
}

func (r reader) Resume(partitions ...int32) {
	r.ResumeFetchPartitions(map[string][]int32{r.topic: partitions})
}

func (r reader) Close() { r.Client.Close() }

func (f franz) Join(topic, group string, how driver.Membership, member *driver.Member) func() {
	balancer := kgo.RangeBalancer()
	if how.Cooperative {
		balancer = kgo.CooperativeStickyBalancer()
	}
	note := func(told func(...int32)) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) { told(partitions[topic]...) }
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(driver.Bootstrap), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(), kgo.Balancers(balancer),
		kgo.OnPartitionsAssigned(note(member.Assigned)), kgo.OnPartitionsRevoked(note(member.Revoked)),
		kgo.OnPartitionsLost(note(member.Revoked)), kgo.BlockRebalanceOnPoll(),
		kgo.HeartbeatInterval(200 * time.Millisecond), kgo.SessionTimeout(30 * time.Second),
	}
	if how.Instance != "" {
		options = append(options, kgo.InstanceID(how.Instance))
	}
	client := driver.Must(kgo.NewClient(options...))
	polling, stop := context.WithCancel(background)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for nth := 0; polling.Err() == nil; nth++ {
			found := polled(client)
			if len(found) > 0 {
				commit(client, nth%2 == 0)
			}
			for _, record := range found {
				member.Took(record)
			}
			_, generation := client.GroupMetadata()
			member.Generation(generation)
			client.AllowRebalance()
		}
	}()
	return func() {
		stop()
		<-ended
		client.CloseAllowingRebalance()
	}
}

// commit commits what was polled, in one of both ways; the broker may be away for a while.
func commit(client *kgo.Client, waits bool) {
	until := time.Now().Add(driver.Patience)
	for {
		done := make(chan error, 1)
		if waits {
			done <- client.CommitUncommittedOffsets(background)
		} else {
			client.CommitOffsets(background, client.UncommittedOffsets(), committed(done))
		}
		err := <-done
		if err == nil {
			return
		}
		if time.Now().After(until) {
			driver.Check(err, fmt.Sprintf("committing (it waits: %s)", strconv.FormatBool(waits)))
		}
	}
}

func committed(done chan<- error) func(*kgo.Client, *kmsg.OffsetCommitRequest, *kmsg.OffsetCommitResponse, error) {
	return func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, response *kmsg.OffsetCommitResponse, err error) {
		if err == nil {
			for _, topic := range response.Topics {
				for _, partition := range topic.Partitions {
					err = errors.Join(err, kerr.ErrorForCode(partition.ErrorCode))
				}
			}
		}
		done <- err
	}
}
