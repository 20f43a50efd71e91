package driver

import (
	"fmt"
	"sync"
)

const (
	before = 150
	all    = 600
)

// writer sends records while it may, and keeps where each was acknowledged.
type writer struct {
	topic        string
	mutex        sync.Mutex
	acknowledged map[int]int64
}

func (writer *writer) send(producer Producer, from, to int) {
	for nth := from; nth < to; nth++ {
		producer.Send(made(writer.topic, partitions, nth), func(offset int64, err error) {
			Check(err, fmt.Sprintf("record %d is written to %s", nth, writer.topic))
			writer.mutex.Lock()
			defer writer.mutex.Unlock()
			writer.acknowledged[nth] = offset
		})
	}
}

func (writer *writer) has(count int) bool {
	writer.mutex.Lock()
	defer writer.mutex.Unlock()
	return len(writer.acknowledged) == count
}

// HasNoIdempotence is a client whose producer is never idempotent.
type HasNoIdempotence interface{ HasNoIdempotence() }

func restarted(client Client) {
	_, isPlain := client.(HasNoIdempotence)
	kinds := []bool{false, true}
	if isPlain {
		kinds = []bool{false}
	}
	var writers []*writer
	var producers []Producer
	for _, isIdempotent := range kinds {
		topic := create(client, fmt.Sprintf("-%v", isIdempotent), partitions)
		writers = append(writers, &writer{topic: topic, acknowledged: map[int]int64{}})
		producers = append(producers, client.Producer(Settings{Idempotent: isIdempotent}))
	}
	last := writers[len(writers)-1]
	group := prefix + "-g"
	member := joined(client, &Member{byName: true, partitions: partitions}, last.topic, group, Membership{})
	for nth, writer := range writers {
		writer.send(producers[nth], 0, before)
	}
	until("what was written is read", func() bool { return member.count() == before && writers[0].has(before) })
	for nth, writer := range writers {
		// Under way when the broker dies.
		go writer.send(producers[nth], before, all)
	}
	restart()
	for _, writer := range writers {
		until("all is written to "+writer.topic, func() bool { return writer.has(all) })
	}
	until("all is read", func() bool { return member.count() == all })
	for nth := range before {
		equal(member.read[nth], 1, fmt.Sprintf("how often record %d, committed before the kill, was read", nth))
	}
	member.leave()
	for nth, producer := range producers {
		producer.Close()
		writers[nth].judge(client, kinds[nth])
	}
	for partition := range int32(partitions) {
		offset, _ := client.Committed(group, last.topic, partition)
		equal(offset, client.OffsetAt(last.topic, partition, End), "what the group committed at last")
	}
}

// judge reads all: each record is where it was acknowledged, and nowhere else if it was written once.
func (writer *writer) judge(client Client, isOnce bool) {
	reader := fromStart(client, writer.topic, partitions)
	defer reader.Close()
	count := 0
	for partition := range int32(partitions) {
		count += int(client.OffsetAt(writer.topic, partition, End))
	}
	if isOnce {
		equal(count, all, "the count of records")
		reader.check(all)
		return
	}
	there := map[int]bool{}
	for _, record := range reader.take(count) {
		nth := record.named()
		record.check(nth)
		if writer.acknowledged[nth] == record.Offset {
			there[nth] = true
		}
	}
	equal(len(there), all, "what is where it was acknowledged")
}
