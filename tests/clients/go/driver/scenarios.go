package driver

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

const partitions = 3

// create makes a topic whose name is the prefix and this.
func create(client Client, suffix string, partitions int32) string {
	topic := prefix + suffix
	Check(client.Create(topic, partitions, nil), topic)
	// Kafka's brokers hear of it later than who made it.
	until(topic+" is there", func() bool { return client.Partitions(topic) == int(partitions) })
	return topic
}

func topics(client Client) {
	topic, retention := prefix, map[string]string{"retention.ms": "3600000"}
	Check(client.Create(topic, 3, retention), topic)
	until("three partitions", func() bool { return client.Partitions(topic) == 3 })
	equal(client.Config(topic, "retention.ms"), "3600000", "its retention")
	client.Alter(topic, "retention.ms", "7200000")
	until("its altered retention", func() bool { return client.Config(topic, "retention.ms") == "7200000" })
	client.AddPartitions(topic, 5)
	until("five partitions", func() bool { return client.Partitions(topic) == 5 })
	err := client.Create(topic, 3, retention)
	expect(errors.Is(err, ErrExists), "made again: %v", err)
}

func codecs(client Client) {
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		topic := create(client, "-"+codec, partitions)
		produce(client, Settings{Codec: codec}, topic, partitions, 0, 100)
		reader := fromStart(client, topic, partitions)
		reader.check(100)
		reader.Close()
	}
}

func keyOrNot(nth int) []byte {
	switch nth % 5 {
	case 0:
		return nil
	case 1:
		return []byte{}
	}
	return key(nth)
}

func valueOrNot(nth int) []byte {
	switch nth % 7 {
	case 3:
		return nil
	case 5:
		return []byte{}
	}
	return value(nth)
}

func records(client Client) {
	topic := create(client, "", partitions)
	var all []Record
	for nth := range 105 {
		record := made(topic, partitions, nth)
		record.Key, record.Value = keyOrNot(nth), valueOrNot(nth)
		all = append(all, record)
	}
	producer := client.Producer(Settings{})
	for nth, offset := range send(producer, all) {
		equal(offset, int64(nth/partitions), fmt.Sprintf("the offset of record %d", nth))
	}
	producer.Close()
	reader := fromStart(client, topic, partitions)
	_, isBlind := client.(TellsNoNulls)
	for _, record := range reader.take(105) {
		nth := record.nth(partitions)
		if isBlind {
			record.Key, record.Value = append([]byte{}, record.Key...), append([]byte{}, record.Value...)
			record.checkWith(nth, append([]byte{}, keyOrNot(nth)...), append([]byte{}, valueOrNot(nth)...))
			continue
		}
		record.checkWith(nth, keyOrNot(nth), valueOrNot(nth))
	}
	reader.Close()
	if isBlind {
		Lacks("null told from empty")
	}
}

// TellsNoNulls is a client that reads null as empty, or empty as null.
type TellsNoNulls interface{ TellsNoNulls() }

func idempotent(client Client) {
	topic := create(client, "", partitions)
	produce(client, Settings{Idempotent: true}, topic, partitions, 0, 1000)
	reader := fromStart(client, topic, partitions)
	reader.check(1000)
	reader.Close()
}

func assign(client Client) {
	topic := create(client, "", partitions)
	produce(client, Settings{}, topic, partitions, 0, 90)
	reader := fromStart(client, topic, partitions)
	reader.check(90)
	reader.seek(0, 17)
	reader.seek(1, 29)
	reader.seek(2, 0)
	reader.check(13 + 1 + 30)
	reader.Close()
	for partition := range int32(partitions) {
		equal(client.OffsetAt(topic, partition, Start), 0, "the beginning")
		equal(client.OffsetAt(topic, partition, End), 30, "the end")
	}
	equal(client.OffsetAt(topic, 0, timestampMs(45)), 15, "the offset of record 45's time")
	equal(client.OffsetAt(topic, 1, timestampMs(43)+1), 15, "the offset behind record 43's time")
	equal(client.OffsetAt(topic, 2, timestampMs(200)), -1, "the offset later than all")
	atEnd(client, topic)
}

// atEnd has somebody begin at the end, and writes until they see what came since.
func atEnd(client Client, topic string) {
	late := read(client, topic, 30, 30, End)
	defer late.Close()
	isIn := false
	for nth := 90; !isIn; nth += partitions {
		produce(client, Settings{}, topic, partitions, nth, nth+partitions)
		for _, record := range late.Poll() {
			if record.Partition == 2 && !isIn {
				isIn = true
				expect(record.Offset >= 30, "offset %d was read from the end", record.Offset)
				late.next[2] = record.Offset
			}
			equal(record.Offset, late.next[record.Partition], "the next offset")
			late.next[record.Partition]++
			record.check(record.nth(partitions))
		}
	}
}

func offsets(client Client) {
	topic, group := create(client, "", partitions), prefix+"-g"
	produce(client, Settings{}, topic, partitions, 0, 90)
	client.Commit(group, topic, 0, 10, "by hand")
	client.Commit(group, topic, 1, 20, "")
	from := make([]int64, partitions)
	for partition, wanted := range []int64{10, 20, -1} {
		offset, metadata := client.Committed(group, topic, int32(partition))
		equal(offset, wanted, fmt.Sprintf("what was committed of %d", partition))
		equal(metadata, []string{"by hand", "", ""}[partition], "its metadata")
		from[partition] = max(offset, 0)
	}
	reader := read(client, topic, from...)
	reader.check(20 + 10 + 30)
	reader.seek(0, 12)
	equal(client.OffsetAt(topic, 0, End)-reader.next[0], 18, "the lag")
	reader.check(18)
	pauses(client, reader)
	for partition := range int32(partitions) {
		reader.seek(partition, 29)
	}
	reader.check(3 + 4)
	reader.Close()
}

// pauses holds two partitions back. A fetch that is under way may still ask for them: it has ended
// when a record came that was sent later.
func pauses(client Client, reader *reading) {
	producer := client.Producer(Settings{})
	defer producer.Close()
	reader.Pause(0, 1)
	send(producer, []Record{made(reader.topic, partitions, 92)})
	reader.check(1)
	for _, nth := range []int{90, 91, 95} {
		send(producer, []Record{made(reader.topic, partitions, nth)})
	}
	for _, record := range reader.take(1) {
		equal(record.Partition, 2, "what is read while others pause")
	}
	reader.Resume(0, 1)
	reader.check(2)
}

func deleteRecords(client Client) {
	topic := create(client, "", partitions)
	produce(client, Settings{}, topic, partitions, 0, 90)
	Check(client.DeleteRecords(topic, 1, 12), "records are deleted")
	err := client.DeleteRecords(topic, 1, 31)
	expect(errors.Is(err, ErrOutOfRange), "deleted beyond the end: %v", err)
	equal(client.OffsetAt(topic, 1, Start), 12, "the beginning of what lost records")
	equal(client.OffsetAt(topic, 0, Start), 0, "the beginning of what lost none")
	reader := read(client, topic, 0, 12, 0)
	reader.Seek(1, Start)
	reader.check(30 + 18 + 30)
	reader.Close()
}

func large(client Client) {
	topic := create(client, "", 1)
	big := made(topic, 1, 0)
	big.Value = bytes.Repeat([]byte("b"), 900<<10)
	bigger := big
	bigger.Value = bytes.Repeat([]byte("b"), 2<<20)
	producer := client.Producer(Settings{MaxBytes: 4 << 20})
	equal(send(producer, []Record{big})[0], 0, "its offset")
	refused := make(chan error, 1)
	producer.Send(bigger, func(_ int64, err error) { refused <- err })
	err := <-refused
	expect(errors.Is(err, ErrTooLarge), "two mebibytes: %v", err)
	equal(send(producer, []Record{made(topic, 1, 1)})[0], 1, "the next offset")
	producer.Close()
	reader := fromStart(client, topic, 1)
	found := reader.take(2)
	found[0].checkWith(0, key(0), big.Value)
	found[1].check(1)
	reader.Close()
}

func admin(client Client) {
	brokers, hasController := client.Cluster()
	expect(brokers == 1 && hasController, "%d brokers, a controller: %v", brokers, hasController)
	one, two := create(client, "-one", 1), create(client, "-two", 2)
	all := client.Topics()
	expect(slices.Contains(all, one) && slices.Contains(all, two), "a topic is missing: %v", all)
	produce(client, Settings{}, one, 1, 0, 10)
	group := prefix + "-g"
	member := join(client, one, 1, group, Membership{})
	until("a member that has read", func() bool { return member.count() == 10 })
	expect(slices.Contains(client.Groups(), group), "the group is not listed")
	state, members := client.Group(group)
	expect(state == "Stable" && members == 1, "the group is %s with %d members", state, members)
	err := client.DeleteGroup(group)
	expect(errors.Is(err, ErrNotEmpty), "the group was deleted with a member: %v", err)
	member.leave()
	until("an empty group", func() bool { _, members := client.Group(group); return members == 0 })
	offset, _ := client.Committed(group, one, 0)
	equal(offset, 10, "what the group committed")
	Check(client.DeleteGroup(group), "the group is deleted")
	expect(!slices.Contains(client.Groups(), group), "the group was deleted and is there")
	client.DeleteTopics(one, two)
	until("topics that are gone", func() bool {
		left := client.Topics()
		return !slices.Contains(left, one) && !slices.Contains(left, two)
	})
}
