// Sarama in the client matrix.
package main

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"millrace/clients/driver"
)

type client struct {
	sarama.Client
	admin sarama.ClusterAdmin
}

func main() {
	driver.Main(func() driver.Client {
		made := driver.Must(sarama.NewClient([]string{driver.Bootstrap}, configuration()))
		return &client{made, driver.Must(sarama.NewClusterAdminFromClient(made))}
	})
}

func configuration() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.V4_0_0_0
	config.Metadata.Retry.Max = 1000
	config.Metadata.Retry.Backoff = 50 * time.Millisecond
	config.Consumer.Fetch.Default = 2 << 20
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Retry.Backoff = 100 * time.Millisecond
	return config
}

// known joins an error with what scenarios call it.
func known(err error) error {
	for of, is := range map[error]error{
		sarama.ErrTopicAlreadyExists:  driver.ErrExists,
		sarama.ErrMessageSizeTooLarge: driver.ErrTooLarge,
		sarama.ErrNonEmptyGroup:       driver.ErrNotEmpty,
		sarama.ErrOffsetOutOfRange:    driver.ErrOutOfRange,
	} {
		if errors.Is(err, of) {
			return errors.Join(is, err)
		}
	}
	return err
}

func (c *client) Create(topic string, partitions int32, configs map[string]string) error {
	detail := sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: map[string]*string{}}
	for key, value := range configs {
		detail.ConfigEntries[key] = &value
	}
	return known(c.admin.CreateTopic(topic, &detail, false))
}

func (c *client) Partitions(topic string) int {
	return len(driver.Must(c.admin.DescribeTopics([]string{topic}))[0].Partitions)
}

func (c *client) Config(topic, key string) string {
	of := sarama.ConfigResource{Type: sarama.TopicResource, Name: topic, ConfigNames: []string{key}}
	return driver.Must(c.admin.DescribeConfig(of))[0].Value
}

func (c *client) Alter(topic, key, value string) {
	set := map[string]sarama.IncrementalAlterConfigsEntry{
		key: {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value},
	}
	driver.Check(c.admin.IncrementalAlterConfig(sarama.TopicResource, topic, set, false), "altering")
}

func (c *client) AddPartitions(topic string, count int32) {
	driver.Check(c.admin.CreatePartitions(topic, count, nil, false), "adding partitions")
}

func (c *client) DeleteRecords(topic string, partition int32, offset int64) error {
	return known(c.admin.DeleteRecords(topic, map[int32]int64{partition: offset}))
}

func (c *client) DeleteTopics(topics ...string) {
	for _, topic := range topics {
		driver.Check(c.admin.DeleteTopic(topic), "deleting a topic")
	}
}

func (c *client) Topics() (names []string) {
	for name := range driver.Must(c.admin.ListTopics()) {
		names = append(names, name)
	}
	return names
}

func (c *client) Cluster() (int, bool) {
	brokers, controller, err := c.admin.DescribeCluster()
	driver.Check(err, "describing the cluster")
	return len(brokers), controller == brokers[0].ID()
}

func (c *client) Groups() (names []string) {
	for name := range driver.Must(c.admin.ListConsumerGroups()) {
		names = append(names, name)
	}
	return names
}

func (c *client) Group(group string) (string, int) {
	described := driver.Must(c.admin.DescribeConsumerGroups([]string{group}))[0]
	if described.Err != sarama.ErrNoError {
		driver.Fail("describing %s: %v", group, described.Err)
	}
	return described.State, len(described.Members)
}

func (c *client) DeleteGroup(group string) error { return known(c.admin.DeleteConsumerGroup(group)) }

func (c *client) OffsetAt(topic string, partition int32, timeMs int64) int64 {
	// Start and End are the protocol's numbers, as Sarama's.
	return driver.Must(c.GetOffset(topic, partition, timeMs))
}

func (c *client) Commit(group, topic string, partition int32, offset int64, metadata string) {
	manager := driver.Must(sarama.NewOffsetManagerFromClient(group, c.Client))
	of := driver.Must(manager.ManagePartition(topic, partition))
	of.MarkOffset(offset, metadata)
	manager.Commit()
	// Its Close waits for the manager's.
	of.AsyncClose()
	driver.Check(manager.Close(), "committing")
}

func (c *client) Committed(group, topic string, partition int32) (int64, string) {
	answer := driver.Must(c.admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: {partition}}))
	block := answer.GetBlock(topic, partition)
	return block.Offset, block.Metadata
}

type producer struct {
	sarama.AsyncProducer
	ended sync.WaitGroup
}

func (c *client) Producer(settings driver.Settings) driver.Producer {
	config := configuration()
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Return.Successes = true
	config.Producer.Retry.Max = 1000
	config.Producer.Retry.Backoff = 50 * time.Millisecond
	config.Producer.Flush.MaxMessages = 20
	if settings.Codec != "" {
		driver.Check(config.Producer.Compression.UnmarshalText([]byte(settings.Codec)), settings.Codec)
	}
	if settings.Idempotent {
		config.Producer.Idempotent = true
		config.Net.MaxOpenRequests = 1
	}
	if settings.MaxBytes > 0 {
		config.Producer.MaxMessageBytes = settings.MaxBytes
	}
	p := &producer{AsyncProducer: driver.Must(sarama.NewAsyncProducer([]string{driver.Bootstrap}, config))}
	p.ended.Go(func() {
		for message := range p.Successes() {
			message.Metadata.(func(int64, error))(message.Offset, nil)
		}
	})
	p.ended.Go(func() {
		for failure := range p.Errors() {
			failure.Msg.Metadata.(func(int64, error))(-1, known(failure.Err))
		}
	})
	return p
}

// bytes are nil for nil, which a record may hold.
func bytes(of []byte) sarama.Encoder {
	if of == nil {
		return nil
	}
	return sarama.ByteEncoder(of)
}

func (p *producer) Send(record driver.Record, done func(int64, error)) {
	sent := &sarama.ProducerMessage{
		Topic: record.Topic, Partition: record.Partition, Key: bytes(record.Key), Value: bytes(record.Value),
		Timestamp: time.UnixMilli(record.TimestampMs), Metadata: done,
	}
	for _, header := range record.Headers {
		sent.Headers = append(sent.Headers, sarama.RecordHeader{Key: []byte(header.Key), Value: header.Value})
	}
	p.Input() <- sent
}

func (p *producer) Close() {
	p.AsyncClose()
	p.ended.Wait()
}

func shown(message *sarama.ConsumerMessage) driver.Record {
	seen := driver.Record{
		Topic: message.Topic, Partition: message.Partition, Offset: message.Offset, Key: message.Key,
		Value: message.Value, TimestampMs: message.Timestamp.UnixMilli(),
	}
	for _, header := range message.Headers {
		seen.Headers = append(seen.Headers, driver.Header{Key: string(header.Key), Value: header.Value})
	}
	return seen
}

type reader struct {
	sarama.Consumer
	topic      string
	partitions map[int32]sarama.PartitionConsumer
}

func (c *client) Reader(topic string, from map[int32]int64) driver.Reader {
	config := configuration()
	// What a pause may still let through.
	config.Consumer.MaxWaitTime = 100 * time.Millisecond
	consumer := driver.Must(sarama.NewConsumer([]string{driver.Bootstrap}, config))
	r := &reader{consumer, topic, map[int32]sarama.PartitionConsumer{}}
	for partition, offset := range from {
		r.begin(partition, offset)
	}
	return r
}

func (r *reader) begin(partition int32, offset int64) {
	r.partitions[partition] = driver.Must(r.ConsumePartition(r.topic, partition, offset))
}

func (r *reader) Poll() (found []driver.Record) {
	deadline := time.After(100 * time.Millisecond)
	for {
		had := len(found)
		for _, partition := range r.partitions {
			select {
			case message := <-partition.Messages():
				found = append(found, shown(message))
			default:
			}
		}
		if had < len(found) {
			continue
		}
		if had > 0 {
			return found
		}
		select {
		case <-deadline:
			return nil
		case <-time.After(time.Millisecond):
		}
	}
}

func (r *reader) Seek(partition int32, offset int64) {
	driver.Check(r.partitions[partition].Close(), "closing a partition")
	r.begin(partition, offset)
}

func (r *reader) Pause(partitions ...int32) {
	r.Consumer.Pause(map[string][]int32{r.topic: partitions})
}

func (r *reader) Resume(partitions ...int32) {
	r.Consumer.Resume(map[string][]int32{r.topic: partitions})
}

func (r *reader) Close() {
	for _, partition := range r.partitions {
		driver.Check(partition.Close(), "closing a partition")
	}
	driver.Check(r.Consumer.Close(), "closing a consumer")
}

// handler is a member while it is in its group.
type handler struct {
	*driver.Member
	topic string
}

func (h handler) Setup(session sarama.ConsumerGroupSession) error {
	h.Generation(session.GenerationID())
	h.Assigned()
	return nil
}

func (h handler) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (h handler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	h.Assigned(claim.Partition())
	defer h.Revoked(claim.Partition())
	for message := range claim.Messages() {
		taken := []*sarama.ConsumerMessage{message}
		// A commit for what is there, not for each.
		for more := true; more; {
			select {
			case message, more = <-claim.Messages():
				if more {
					taken = append(taken, message)
				}
			default:
				more = false
			}
		}
		session.MarkMessage(taken[len(taken)-1], "")
		session.Commit()
		for _, message := range taken {
			h.Took(shown(message))
		}
	}
	return nil
}

func (c *client) Join(topic, group string, how driver.Membership, member *driver.Member) func() {
	config := configuration()
	config.Consumer.Group.Heartbeat.Interval = 200 * time.Millisecond
	config.Consumer.Group.Session.Timeout = 30 * time.Second
	config.Consumer.Group.Rebalance.Retry.Max = 1000
	config.Consumer.Group.Rebalance.Retry.Backoff = 100 * time.Millisecond
	config.Consumer.Group.InstanceId = how.Instance
	strategy := sarama.NewBalanceStrategyRange()
	if how.Cooperative {
		strategy = sarama.NewBalanceStrategyCooperativeSticky()
	}
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategy}
	joined := driver.Must(sarama.NewConsumerGroup([]string{driver.Bootstrap}, group, config))
	consuming, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for consuming.Err() == nil {
			err := joined.Consume(consuming, []string{topic}, handler{member, topic})
			// The broker may be away for a while; what never comes back ends by the scenario's patience.
			if err != nil && !errors.Is(err, io.EOF) {
				time.Sleep(100 * time.Millisecond)
			}
		}
	}()
	return func() {
		stop()
		<-ended
		driver.Check(joined.Close(), "leaving")
	}
}
