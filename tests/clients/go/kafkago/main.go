// kafka-go in the client matrix. It has no idempotent producer, no cooperative and no static members,
// deletes no records, and its reader doesn't tell null from empty.
package main

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/segmentio/kafka-go"

	"millrace/clients/driver"
)

var background = context.Background()

type client struct{ *kafka.Client }

func main() {
	driver.Main(func() driver.Client {
		return client{&kafka.Client{
			Addr: kafka.TCP(driver.Bootstrap), Timeout: driver.Patience, Transport: again{kafka.DefaultTransport},
		}}
	})
}

// again asks once more over another connection: one that the broker left while it was idle fails the
// request that finds it so, and kafka-go leaves it to the application to ask again.
type again struct{ kafka.RoundTripper }

// connections that may have been left.
const connections = 8

func (a again) RoundTrip(ctx context.Context, at net.Addr, request kafka.Request) (kafka.Response, error) {
	answer, err := a.RoundTripper.RoundTrip(ctx, at, request)
	for nth := 0; nth < connections && isLeft(err); nth++ {
		answer, err = a.RoundTripper.RoundTrip(ctx, at, request)
	}
	return answer, err
}

func isLeft(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// HasNoIdempotence tells the scenarios so.
func (client) HasNoIdempotence() {}

// TellsNoNulls tells them so.
func (client) TellsNoNulls() {}

// known joins an error with what scenarios call it.
func known(err error) error {
	for of, is := range map[error]error{
		kafka.TopicAlreadyExists:  driver.ErrExists,
		kafka.MessageSizeTooLarge: driver.ErrTooLarge,
		kafka.NonEmptyGroup:       driver.ErrNotEmpty,
	} {
		if errors.Is(err, of) {
			return errors.Join(is, err)
		}
	}
	return err
}

func (c client) Create(topic string, partitions int32, configs map[string]string) error {
	config := kafka.TopicConfig{Topic: topic, NumPartitions: int(partitions), ReplicationFactor: 1}
	for key, value := range configs {
		config.ConfigEntries = append(config.ConfigEntries, kafka.ConfigEntry{ConfigName: key, ConfigValue: value})
	}
	answer, err := c.CreateTopics(background, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{config}})
	if err == nil {
		err = answer.Errors[topic]
	}
	return known(err)
}

func (c client) metadata() *kafka.MetadataResponse {
	return driver.Must(c.Metadata(background, &kafka.MetadataRequest{}))
}

func (c client) Partitions(topic string) int {
	for _, known := range c.metadata().Topics {
		if known.Name == topic {
			return len(known.Partitions)
		}
	}
	return 0
}

func (c client) Config(topic, key string) string {
	of := kafka.DescribeConfigRequestResource{
		ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: []string{key},
	}
	request := &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{of}}
	described := driver.Must(c.DescribeConfigs(background, request)).Resources[0]
	driver.Check(described.Error, "describing")
	return described.ConfigEntries[0].ConfigValue
}

func (c client) Alter(topic, key, value string) {
	set := kafka.IncrementalAlterConfigsRequestConfig{
		Name: key, Value: value, ConfigOperation: kafka.ConfigOperationSet,
	}
	of := kafka.IncrementalAlterConfigsRequestResource{
		ResourceType: kafka.ResourceTypeTopic, ResourceName: topic,
		Configs: []kafka.IncrementalAlterConfigsRequestConfig{set},
	}
	request := &kafka.IncrementalAlterConfigsRequest{Resources: []kafka.IncrementalAlterConfigsRequestResource{of}}
	driver.Check(driver.Must(c.IncrementalAlterConfigs(background, request)).Resources[0].Error, "altering")
}

func (c client) AddPartitions(topic string, count int32) {
	more := []kafka.TopicPartitionsConfig{{Name: topic, Count: count}}
	request := &kafka.CreatePartitionsRequest{Topics: more}
	driver.Check(driver.Must(c.CreatePartitions(background, request)).Errors[topic], "adding partitions")
}

func (c client) DeleteRecords(string, int32, int64) error {
	driver.Lacks("deleting records")
	return nil
}

func (c client) DeleteTopics(topics ...string) {
	answer := driver.Must(c.Client.DeleteTopics(background, &kafka.DeleteTopicsRequest{Topics: topics}))
	for topic, err := range answer.Errors {
		driver.Check(err, "deleting "+topic)
	}
}

func (c client) Topics() (names []string) {
	for _, topic := range c.metadata().Topics {
		names = append(names, topic.Name)
	}
	return names
}

func (c client) Cluster() (int, bool) {
	metadata := c.metadata()
	return len(metadata.Brokers), metadata.Controller.ID == metadata.Brokers[0].ID
}

func (c client) Groups() (names []string) {
	listed := driver.Must(c.ListGroups(background, &kafka.ListGroupsRequest{}))
	driver.Check(listed.Error, "listing groups")
	for _, group := range listed.Groups {
		names = append(names, group.GroupID)
	}
	return names
}

func (c client) Group(group string) (string, int) {
	request := &kafka.DescribeGroupsRequest{GroupIDs: []string{group}}
	described := driver.Must(c.DescribeGroups(background, request)).Groups[0]
	driver.Check(described.Error, "describing a group")
	return described.GroupState, len(described.Members)
}

func (c client) DeleteGroup(group string) error {
	answer, err := c.DeleteGroups(background, &kafka.DeleteGroupsRequest{GroupIDs: []string{group}})
	if err == nil {
		err = answer.Errors[group]
	}
	return known(err)
}

func (c client) OffsetAt(topic string, partition int32, timeMs int64) int64 {
	asked := kafka.OffsetRequest{Partition: int(partition), Timestamp: timeMs}
	request := &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: {asked}}}
	found := driver.Must(c.ListOffsets(background, request)).Topics[topic][0]
	driver.Check(found.Error, "listing offsets")
	switch timeMs {
	case driver.Start:
		return found.FirstOffset
	case driver.End:
		return found.LastOffset
	}
	for offset := range found.Offsets {
		return offset
	}
	return -1
}

func (c client) Commit(group, topic string, partition int32, offset int64, metadata string) {
	of := kafka.OffsetCommit{Partition: int(partition), Offset: offset, Metadata: metadata}
	request := &kafka.OffsetCommitRequest{
		GroupID: group, GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{topic: {of}},
	}
	driver.Check(driver.Must(c.OffsetCommit(background, request)).Topics[topic][0].Error, "committing")
}

func (c client) Committed(group, topic string, partition int32) (int64, string) {
	request := &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: {int(partition)}}}
	answer := driver.Must(c.OffsetFetch(background, request))
	driver.Check(answer.Error, "fetching offsets")
	found := answer.Topics[topic][0]
	driver.Check(found.Error, "fetching offsets")
	return found.CommittedOffset, found.Metadata
}

// sending is a record's partition and whom its offset is told.
type sending struct {
	partition int
	done      func(int64, error)
}

type producer struct{ *kafka.Writer }

func (c client) Producer(settings driver.Settings) driver.Producer {
	if settings.Idempotent {
		driver.Lacks("idempotent producer")
	}
	codecs := map[string]kafka.Compression{
		"gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd,
	}
	return producer{&kafka.Writer{
		Addr: kafka.TCP(driver.Bootstrap),
		Balancer: kafka.BalancerFunc(func(message kafka.Message, _ ...int) int {
			return message.WriterData.(sending).partition
		}),
		RequiredAcks: kafka.RequireAll, Compression: codecs[settings.Codec], BatchBytes: int64(settings.MaxBytes),
		BatchSize: 20, BatchTimeout: 5 * time.Millisecond, MaxAttempts: 1000, Async: true,
		Completion: func(messages []kafka.Message, err error) {
			for _, message := range messages {
				message.WriterData.(sending).done(message.Offset, known(err))
			}
		},
	}}
}

func (p producer) Send(record driver.Record, done func(int64, error)) {
	message := kafka.Message{
		Topic: record.Topic, Key: record.Key, Value: record.Value, Time: time.UnixMilli(record.TimestampMs),
		WriterData: sending{int(record.Partition), done},
	}
	for _, header := range record.Headers {
		message.Headers = append(message.Headers, kafka.Header{Key: header.Key, Value: header.Value})
	}
	if err := p.WriteMessages(background, message); err != nil {
		done(-1, known(err))
	}
}

func (p producer) Close() { driver.Check(p.Writer.Close(), "closing a producer") }

func shown(message kafka.Message) driver.Record {
	seen := driver.Record{
		Topic: message.Topic, Partition: int32(message.Partition), Offset: message.Offset, Key: message.Key,
		Value: message.Value, TimestampMs: message.Time.UnixMilli(),
	}
	for _, header := range message.Headers {
		seen.Headers = append(seen.Headers, driver.Header{Key: header.Key, Value: header.Value})
	}
	return seen
}

// partition is one that is read; who doesn't take from it holds it back.
type partition struct {
	stop  func()
	found chan driver.Record
}

func begin(topic string, number int32, offset int64) partition {
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{driver.Bootstrap}, Topic: topic, Partition: int(number),
		MaxWait: 100 * time.Millisecond, MaxBytes: 4 << 20,
	})
	driver.Check(reader.SetOffset(offset), "setting an offset")
	reading, stop := context.WithCancel(background)
	found := make(chan driver.Record)
	go func() {
		defer func() { driver.Check(reader.Close(), "closing a reader") }()
		for {
			message, err := reader.ReadMessage(reading)
			if reading.Err() != nil {
				return
			}
			driver.Check(err, "reading")
			select {
			case found <- shown(message):
			case <-reading.Done():
				return
			}
		}
	}()
	return partition{stop, found}
}

type reader struct {
	topic      string
	partitions map[int32]partition
	paused     map[int32]bool
}

func (c client) Reader(topic string, from map[int32]int64) driver.Reader {
	r := &reader{topic, map[int32]partition{}, map[int32]bool{}}
	for number, offset := range from {
		r.partitions[number] = begin(topic, number, offset)
	}
	return r
}

func (r *reader) Poll() (found []driver.Record) {
	deadline := time.Now().Add(100 * time.Millisecond)
	for time.Now().Before(deadline) {
		had := len(found)
		for number, partition := range r.partitions {
			if r.paused[number] {
				continue
			}
			select {
			case record := <-partition.found:
				found = append(found, record)
			case <-time.After(time.Millisecond):
			}
		}
		if had > 0 && had == len(found) {
			break
		}
	}
	return found
}

func (r *reader) Seek(number int32, offset int64) {
	r.partitions[number].stop()
	r.partitions[number] = begin(r.topic, number, offset)
}

func (r *reader) Pause(partitions ...int32) {
	for _, number := range partitions {
		r.paused[number] = true
	}
}

func (r *reader) Resume(partitions ...int32) {
	for _, number := range partitions {
		delete(r.paused, number)
	}
}

func (r *reader) Close() {
	for _, partition := range r.partitions {
		partition.stop()
	}
}

func (c client) Join(topic, group string, how driver.Membership, member *driver.Member) func() {
	if how.Cooperative {
		driver.Lacks("cooperative assignment")
	}
	if how.Instance != "" {
		driver.Lacks("static members")
	}
	joined := driver.Must(kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: group, Brokers: []string{driver.Bootstrap}, Topics: []string{topic},
		GroupBalancers: []kafka.GroupBalancer{kafka.RangeGroupBalancer{}}, StartOffset: kafka.FirstOffset,
		HeartbeatInterval: 200 * time.Millisecond, SessionTimeout: 30 * time.Second,
		JoinGroupBackoff: 100 * time.Millisecond,
	}))
	consuming, stop := context.WithCancel(background)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for consuming.Err() == nil {
			// The broker may be away for a while; what never comes back ends by the scenario's patience.
			generation, err := joined.Next(consuming)
			if err != nil {
				continue
			}
			member.Generation(generation.ID)
			for _, assigned := range generation.Assignments[topic] {
				generation.Start(func(assigning context.Context) { claim(assigning, generation, topic, assigned, member) })
			}
		}
	}()
	return func() {
		stop()
		<-ended
		driver.Check(joined.Close(), "leaving")
	}
}

// claim reads one partition for as long as the generation lasts.
func claim(
	assigning context.Context, generation *kafka.Generation, topic string, assigned kafka.PartitionAssignment,
	member *driver.Member,
) {
	number := int32(assigned.ID)
	member.Assigned(number)
	defer member.Revoked(number)
	partition := begin(topic, number, assigned.Offset)
	defer partition.stop()
	for {
		select {
		case <-assigning.Done():
			return
		case record := <-partition.found:
			offsets := map[string]map[int]int64{topic: {assigned.ID: record.Offset + 1}}
			if generation.CommitOffsets(offsets) != nil {
				// Whoever has the partition next reads it again.
				return
			}
			member.Took(record)
		}
	}
}
