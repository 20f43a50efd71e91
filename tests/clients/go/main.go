// Consumer groups of franz-go and Sarama against a running broker: members join, share the
// partitions, leave and come back; what they commit is where the next one begins. The bootstrap
// address is the only argument; the last lines say what was compared.
package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	topic      = "of-go"
	partitions = 6
	records    = 600
	patience   = 60 * time.Second
	// A member that has read all there is sees nothing more for that long.
	silence = time.Second
)

func check(err error, what string) {
	if err != nil {
		fail("%s: %v", what, err)
	}
}

func fail(format string, values ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", values...)
	os.Exit(1)
}

// until waits for a condition.
func until(what string, holds func() bool) {
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			fail("%s: not within %v", what, patience)
		}
	}
}

// owned is what a member has of the topic's partitions and has read of them.
type owned struct {
	mutex sync.Mutex
	has   map[int32]bool
	read  map[int32]int64
}

func (o *owned) change(partitions []int32, has bool) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	for _, partition := range partitions {
		if has {
			o.has[partition] = true
		} else {
			delete(o.has, partition)
		}
	}
}

func (o *owned) count() int {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return len(o.has)
}

func (o *owned) took(partition int32) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	o.read[partition]++
}

func (o *owned) all() (sum int64) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	for _, count := range o.read {
		sum += count
	}
	return sum
}

func newOwned() *owned { return &owned{has: map[int32]bool{}, read: map[int32]int64{}} }

// franz is a member that polls until it is ended.
type franz struct {
	*owned
	client *kgo.Client
	ended  chan struct{}
	stop   context.CancelFunc
}

func franzJoins(address, group string, more ...kgo.Opt) *franz {
	member := &franz{owned: newOwned(), ended: make(chan struct{})}
	assigned := func(_ context.Context, _ *kgo.Client, got map[string][]int32) { member.change(got[topic], true) }
	lost := func(_ context.Context, _ *kgo.Client, gone map[string][]int32) { member.change(gone[topic], false) }
	options := append([]kgo.Opt{
		kgo.SeedBrokers(address), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(assigned), kgo.OnPartitionsRevoked(lost), kgo.OnPartitionsLost(lost),
		kgo.HeartbeatInterval(200 * time.Millisecond),
	}, more...)
	client, err := kgo.NewClient(options...)
	check(err, "franz-go")
	member.client = client
	polling, stop := context.WithCancel(context.Background())
	member.stop = stop
	go func() {
		defer close(member.ended)
		for polling.Err() == nil {
			client.PollFetches(polling).EachRecord(func(record *kgo.Record) { member.took(record.Partition) })
		}
	}()
	return member
}

func (member *franz) ends(commits bool) {
	member.stop()
	<-member.ended
	if commits {
		check(member.client.CommitUncommittedOffsets(context.Background()), "franz-go commits")
	}
	member.client.Close()
}

// rewinds commits the beginning, as a tool does while nobody is a member.
func rewinds(address, group string) {
	client, err := kgo.NewClient(kgo.SeedBrokers(address))
	check(err, "franz-go")
	defer client.Close()
	request := kmsg.NewPtrOffsetCommitRequest()
	request.Group = group
	request.Generation = -1
	of := kmsg.NewOffsetCommitRequestTopic()
	of.Topic = topic
	for partition := range int32(partitions) {
		row := kmsg.NewOffsetCommitRequestTopicPartition()
		row.Partition = partition
		of.Partitions = append(of.Partitions, row)
	}
	request.Topics = append(request.Topics, of)
	request.Version = 8
	response, err := request.RequestWith(context.Background(), client)
	check(err, "franz-go rewinds")
	for _, row := range response.Topics[0].Partitions {
		if row.ErrorCode != 0 {
			fail("franz-go rewinds: partition %d: error %d", row.Partition, row.ErrorCode)
		}
	}
}

func produces(address string) {
	client, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.DefaultProduceTopic(topic),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	check(err, "franz-go")
	defer client.Close()
	for nth := range records {
		record := &kgo.Record{Value: fmt.Appendf(nil, "%d", nth), Partition: int32(nth % partitions)}
		client.Produce(context.Background(), record, func(_ *kgo.Record, err error) { check(err, "franz-go produces") })
	}
	check(client.Flush(context.Background()), "franz-go produces")
}

func inFranz(address, name string, balancer kgo.GroupBalancer) {
	group := "franz " + name
	balance := kgo.Balancers(balancer)
	first := franzJoins(address, group, balance)
	until(group+": one has all", func() bool { return first.count() == partitions && first.all() == records })
	check(first.client.CommitUncommittedOffsets(context.Background()), group)
	second := franzJoins(address, group, balance)
	until(group+": two share", func() bool {
		return first.count() == partitions/2 && second.count() == partitions/2
	})
	second.ends(true)
	until(group+": one has all again", func() bool { return first.count() == partitions })
	first.ends(true)
	if sum := first.all() + second.all(); sum != records {
		fail("%s: %d records were read, though %d were committed", group, sum, records)
	}
	next := franzJoins(address, group, balance)
	until(group+": the next one has all", func() bool { return next.count() == partitions })
	time.Sleep(silence)
	if next.all() != 0 {
		fail("%s: %d records were read again that were committed", group, next.all())
	}
	next.ends(true)
	rewinds(address, group)
	again := franzJoins(address, group, balance)
	until(group+": all is read again", func() bool { return again.all() == records })
	again.ends(true)
}

func staticFranz(address string) {
	const group = "franz static"
	options := []kgo.Opt{kgo.Balancers(kgo.CooperativeStickyBalancer()), kgo.SessionTimeout(30 * time.Second)}
	one := franzJoins(address, group, append(options, kgo.InstanceID("one"))...)
	until(group+": one has all", func() bool { return one.count() == partitions })
	two := franzJoins(address, group, append(options, kgo.InstanceID("two"))...)
	until(group+": two share", func() bool { return one.count() == partitions/2 && two.count() == partitions/2 })
	before, generation := two.client.GroupMetadata()
	two.ends(false)
	back := franzJoins(address, group, append(options, kgo.InstanceID("two"))...)
	until(group+": it has its part again", func() bool { return back.count() == partitions/2 })
	id, now := back.client.GroupMetadata()
	if now != generation || id == before {
		fail("%s: %s of generation %d came back as %s of %d", group, before, generation, id, now)
	}
	back.ends(false)
	one.ends(false)
	admin := administrator(address)
	response, err := admin.RemoveMemberFromConsumerGroup(group, []string{"one", "two", "three"})
	check(err, group)
	for nth, code := range []sarama.KError{sarama.ErrNoError, sarama.ErrNoError, sarama.ErrUnknownMemberId} {
		if found := response.Members[nth].Err; found != code {
			fail("%s: member %d leaves with %v", group, nth, found)
		}
	}
	check(admin.Close(), "Sarama")
}

func configuration() *sarama.Config {
	configuration := sarama.NewConfig()
	configuration.Version = sarama.V3_6_0_0
	configuration.Consumer.Offsets.Initial = sarama.OffsetOldest
	configuration.Consumer.Offsets.AutoCommit.Enable = false
	configuration.Consumer.Group.Heartbeat.Interval = 200 * time.Millisecond
	configuration.Consumer.Return.Errors = false
	return configuration
}

func administrator(address string) sarama.ClusterAdmin {
	admin, err := sarama.NewClusterAdmin([]string{address}, configuration())
	check(err, "Sarama")
	return admin
}

// member is one of Sarama's.
type member struct {
	*owned
	group sarama.ConsumerGroup
	stop  context.CancelFunc
	ended chan struct{}
}

func (m *member) Setup(session sarama.ConsumerGroupSession) error {
	m.change(session.Claims()[topic], true)
	return nil
}

func (m *member) Cleanup(session sarama.ConsumerGroupSession) error {
	session.Commit()
	m.change(session.Claims()[topic], false)
	return nil
}

func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		m.took(message.Partition)
		session.MarkMessage(message, "read")
	}
	return nil
}

func joins(address, name string, change func(*sarama.Config)) *member {
	with := configuration()
	change(with)
	group, err := sarama.NewConsumerGroup([]string{address}, name, with)
	check(err, "Sarama")
	consuming, stop := context.WithCancel(context.Background())
	m := &member{owned: newOwned(), group: group, stop: stop, ended: make(chan struct{})}
	go func() {
		defer close(m.ended)
		for consuming.Err() == nil {
			if err := group.Consume(consuming, []string{topic}, m); err != nil {
				fail("Sarama consumes: %v", err)
			}
		}
	}()
	return m
}

func (m *member) ends() {
	m.stop()
	<-m.ended
	check(m.group.Close(), "Sarama leaves")
}

func inSarama(address, name string, strategy sarama.BalanceStrategy) {
	group := "sarama " + name
	balance := func(with *sarama.Config) {
		with.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategy}
	}
	first := joins(address, group, balance)
	until(group+": one has all", func() bool { return first.count() == partitions && first.all() == records })
	second := joins(address, group, balance)
	until(group+": two share", func() bool {
		return first.count() == partitions/2 && second.count() == partitions/2
	})
	second.ends()
	until(group+": one has all again", func() bool { return first.count() == partitions })
	if first.all()+second.all() != records {
		fail("%s: %d records were read, %d of them twice", group, records, first.all()+second.all()-records)
	}
	admin := administrator(address)
	described, err := admin.DescribeConsumerGroups([]string{group})
	check(err, group)
	if described[0].State != "Stable" || len(described[0].Members) != 1 {
		fail("%s: it is %s with %d members", group, described[0].State, len(described[0].Members))
	}
	if err := admin.DeleteConsumerGroup(group); err == nil {
		fail("%s: it was deleted with a member", group)
	}
	first.ends()
	offsets, err := admin.ListConsumerGroupOffsets(group, nil)
	check(err, group)
	for partition := range int32(partitions) {
		if block := offsets.GetBlock(topic, partition); block.Offset != records/partitions || block.Metadata != "read" {
			fail("%s: partition %d is at %d %q", group, partition, block.Offset, block.Metadata)
		}
	}
	check(admin.DeleteConsumerGroup(group), group)
	listed, err := admin.ListConsumerGroups()
	check(err, group)
	if _, there := listed[group]; there {
		fail("%s: it was deleted and is there", group)
	}
	check(admin.Close(), "Sarama")
}

func main() {
	address := os.Args[1]
	admin := administrator(address)
	detail := &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1}
	check(admin.CreateTopic(topic, detail, false), "the topic is made")
	check(admin.Close(), "Sarama")
	produces(address)
	inFranz(address, "range", kgo.RangeBalancer())
	inFranz(address, "cooperative", kgo.CooperativeStickyBalancer())
	staticFranz(address)
	fmt.Println("franz-go: groups eager, cooperative and static: join, share, leave, commit, rewind")
	inSarama(address, "range", sarama.NewBalanceStrategyRange())
	inSarama(address, "sticky", sarama.NewBalanceStrategySticky())
	fmt.Println("Sarama: groups by range and sticky: join, share, leave, commit, describe, delete")
}
