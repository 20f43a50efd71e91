package driver

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Header of a record.
type Header struct {
	Key   string
	Value []byte
}

// Record as every client can show it.
type Record struct {
	Topic       string
	Partition   int32
	Offset      int64
	Key, Value  []byte
	Headers     []Header
	TimestampMs int64
}

func key(nth int) []byte { return fmt.Appendf(nil, "k%d", nth%7) }

func value(nth int) []byte {
	filler := strings.Repeat(string(rune('a'+nth%26)), nth*37%500)
	return fmt.Appendf(nil, "%s-%d-%s", scenario, nth, filler)
}

// Of today: Apache Kafka, when it starts, forgets an idempotent producer whose last record is a day
// old by its timestamp; what that sends again is then there twice.
var firstTimestampMs = (time.Now().Unix() - 2000) * 1000

func timestampMs(nth int) int64 { return firstTimestampMs + int64(nth)*1000 }

// made is a record by its number, the same in every client's driver.
func made(topic string, partitions, nth int) Record {
	return Record{
		Topic: topic, Partition: int32(nth % partitions), Key: key(nth), Value: value(nth),
		Headers:     []Header{{"h", []byte(strconv.Itoa(nth))}, {"empty", []byte{}}},
		TimestampMs: timestampMs(nth),
	}
}

// nth is which record this is, by its place.
func (record Record) nth(partitions int) int {
	return int(record.Offset)*partitions + int(record.Partition)
}

// named is which record this is, by its first header.
func (record Record) named() int {
	expect(len(record.Headers) > 0, "no headers: %v", record)
	return Must(strconv.Atoi(string(record.Headers[0].Value)))
}

// check holds a record against the one of that number.
func (record Record) check(nth int) { record.checkWith(nth, key(nth), value(nth)) }

func (record Record) checkWith(nth int, key, value []byte) {
	which := fmt.Sprintf("record %d (%v)", nth, record)
	expect(bytes.Equal(record.Key, key) && (record.Key == nil) == (key == nil), "%s: another key", which)
	expect(bytes.Equal(record.Value, value) && (record.Value == nil) == (value == nil), "%s: another value", which)
	equal(record.TimestampMs, timestampMs(nth), which+": timestamp")
	equal(len(record.Headers), 2, which+": headers")
	first, second := record.Headers[0], record.Headers[1]
	expect(first.Key == "h" && string(first.Value) == strconv.Itoa(nth), "%s: another first header", which)
	expect(second.Key == "empty" && len(second.Value) == 0, "%s: another second header", which)
}

// send sends all of these and gives the offsets at which they were acknowledged.
func send(producer Producer, records []Record) []int64 {
	offsets := make([]int64, len(records))
	var under sync.WaitGroup
	for nth, record := range records {
		under.Add(1)
		producer.Send(record, func(offset int64, err error) {
			Check(err, fmt.Sprintf("record %d is sent", nth))
			offsets[nth] = offset
			under.Done()
		})
	}
	under.Wait()
	return offsets
}

// produce sends the records from..to; each must be acknowledged at its own offset.
func produce(client Client, settings Settings, topic string, partitions, from, to int) {
	producer := client.Producer(settings)
	var records []Record
	for nth := from; nth < to; nth++ {
		records = append(records, made(topic, partitions, nth))
	}
	for at, offset := range send(producer, records) {
		equal(offset, int64((from+at)/partitions), fmt.Sprintf("the offset of record %d", from+at))
	}
	producer.Close()
}

// reading is a reader and where it is in each partition.
type reading struct {
	Reader
	topic string
	next  map[int32]int64
}

func read(client Client, topic string, from ...int64) *reading {
	next := map[int32]int64{}
	for partition, offset := range from {
		next[int32(partition)] = offset
	}
	return &reading{client.Reader(topic, next), topic, next}
}

func fromStart(client Client, topic string, partitions int) *reading {
	return read(client, topic, make([]int64, partitions)...)
}

func (reader *reading) seek(partition int32, offset int64) {
	reader.Seek(partition, offset)
	reader.next[partition] = offset
}

// take polls until so many records came: not one more, each right behind the one before it.
func (reader *reading) take(count int) (found []Record) {
	until(fmt.Sprintf("%d records", count), func() bool {
		for _, record := range reader.Poll() {
			equal(record.Offset, reader.next[record.Partition], fmt.Sprintf("the next offset of %d", record.Partition))
			reader.next[record.Partition]++
			found = append(found, record)
		}
		return len(found) >= count
	})
	equal(len(found), count, "the count of records")
	return found
}

// check reads so many records, each as it was sent to its place.
func (reader *reading) check(count int) {
	for _, record := range reader.take(count) {
		record.check(record.nth(len(reader.next)))
	}
}
