package driver

import "errors"

// Where a reader may begin besides an offset.
const (
	End   int64 = -1
	Start int64 = -2
)

// Errors that scenarios ask for; a client's own error is joined with the one that it is.
var (
	ErrExists     = errors.New("it exists")
	ErrTooLarge   = errors.New("too large")
	ErrNotEmpty   = errors.New("the group has members")
	ErrOutOfRange = errors.New("offset out of range")
)

// Client is one of the Go clients. What it lacks it says by Lacks, which ends the program.
type Client interface {
	// Create makes a topic; ErrExists if there is one.
	Create(topic string, partitions int32, configs map[string]string) error
	// Partitions counts a topic's partitions.
	Partitions(topic string) int
	Config(topic, key string) string
	Alter(topic, key, value string)
	AddPartitions(topic string, count int32)
	// DeleteRecords deletes before an offset; ErrOutOfRange beyond the end.
	DeleteRecords(topic string, partition int32, offset int64) error
	DeleteTopics(topics ...string)
	Topics() []string
	// Cluster is the number of brokers and whether there is a controller among them.
	Cluster() (brokers int, hasController bool)
	Groups() []string
	// Group is a group's state and the number of its members.
	Group(group string) (state string, members int)
	// DeleteGroup deletes it; ErrNotEmpty while it has members.
	DeleteGroup(group string) error

	// OffsetAt is the first offset at or after a time, or Start, or End; -1 when there is none.
	OffsetAt(topic string, partition int32, timeMs int64) int64
	// Commit commits an offset of a group without members.
	Commit(group, topic string, partition int32, offset int64, metadata string)
	// Committed is what a group committed, -1 for nothing.
	Committed(group, topic string, partition int32) (offset int64, metadata string)

	Producer(settings Settings) Producer
	// Reader reads partitions that are assigned by hand, from these offsets on.
	Reader(topic string, from map[int32]int64) Reader
	// Join has a member of a group read a topic from its commits on, or from the beginning.
	Join(topic, group string, how Membership, member *Member) (leave func())
}

// Settings are those of a producer; all want acknowledgements by all replicas.
type Settings struct {
	Codec      string
	Idempotent bool
	// MaxBytes is how much the client itself lets pass.
	MaxBytes int
}

// Producer sends to the partition that a record names.
type Producer interface {
	// Send hands a record over; done is called once.
	Send(record Record, done func(offset int64, err error))
	Close()
}

// Reader reads partitions that were assigned by hand.
type Reader interface {
	// Poll gives what there is, after a short wait at most.
	Poll() []Record
	Seek(partition int32, offset int64)
	Pause(partitions ...int32)
	Resume(partitions ...int32)
	Close()
}

// Membership is how a member is in its group.
type Membership struct {
	Cooperative bool
	// Instance is its name, if it is a static member.
	Instance string
}
