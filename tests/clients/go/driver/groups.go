package driver

import (
	"fmt"
	"maps"
	"slices"
	"sync"
)

const shared = 6

// Member is what a member of a group has and has read. The client tells it; its methods may be
// called at any time.
type Member struct {
	// byName has records told by their header, where duplicates may move them.
	byName      bool
	partitions  int
	mutex       sync.Mutex
	has         map[int32]bool
	revoked     []int32
	assignments int
	generation  int32
	read        map[int]int
	leave       func()
}

func join(client Client, topic string, partitions int, group string, how Membership) *Member {
	return joined(client, &Member{partitions: partitions}, topic, group, how)
}

func joined(client Client, member *Member, topic, group string, how Membership) *Member {
	member.has, member.read = map[int32]bool{}, map[int]int{}
	member.leave = client.Join(topic, group, how, member)
	return member
}

// Assigned tells what the member has more.
func (member *Member) Assigned(partitions ...int32) {
	member.mutex.Lock()
	defer member.mutex.Unlock()
	member.assignments++
	for _, partition := range partitions {
		member.has[partition] = true
	}
}

// Revoked tells what the member has no more.
func (member *Member) Revoked(partitions ...int32) {
	member.mutex.Lock()
	defer member.mutex.Unlock()
	for _, partition := range partitions {
		delete(member.has, partition)
		member.revoked = append(member.revoked, partition)
	}
}

// Generation tells the member's generation, where the client knows it.
func (member *Member) Generation(generation int32) {
	member.mutex.Lock()
	defer member.mutex.Unlock()
	member.generation = generation
}

// Took tells of a record that was read and committed.
func (member *Member) Took(record Record) {
	nth := record.nth(member.partitions)
	if member.byName {
		nth = record.named()
	}
	record.check(nth)
	member.mutex.Lock()
	defer member.mutex.Unlock()
	member.read[nth]++
}

func (member *Member) count() int {
	member.mutex.Lock()
	defer member.mutex.Unlock()
	return len(member.read)
}

func (member *Member) partitionsNow() []int32 {
	member.mutex.Lock()
	defer member.mutex.Unlock()
	return slices.Sorted(maps.Keys(member.has))
}

func (member *Member) owns(count int) bool { return len(member.partitionsNow()) == count }

func (member *Member) seen() (revoked []int32, assignments int, generation int32) {
	member.mutex.Lock()
	defer member.mutex.Unlock()
	return slices.Sorted(slices.Values(member.revoked)), member.assignments, member.generation
}

// readOnce is whether each of the first records was read, none of them twice.
func readOnce(count int, members ...*Member) bool {
	all := map[int]int{}
	for _, member := range members {
		member.mutex.Lock()
		for nth, times := range member.read {
			all[nth] += times
		}
		member.mutex.Unlock()
	}
	for nth, times := range all {
		equal(times, 1, fmt.Sprintf("how often record %d was read", nth))
	}
	expect(len(all) <= count, "%d records were read of %d", len(all), count)
	return len(all) == count
}

func share(client Client, how Membership) {
	topic, group := create(client, "", shared), prefix+"-g"
	first := join(client, topic, shared, group, how)
	until("one has all", func() bool { return first.owns(shared) })
	second := join(client, topic, shared, group, how)
	until("two share", func() bool { return first.owns(shared/2) && second.owns(shared/2) })
	revoked, _, _ := first.seen()
	if how.Cooperative {
		expect(slices.Equal(revoked, second.partitionsNow()), "%v was revoked, not %v", revoked, second.partitionsNow())
	}
	produce(client, Settings{}, topic, shared, 0, 300)
	until("all is read", func() bool { return readOnce(300, first, second) })
	equal(second.count(), 150, "what the second read")
	second.leave()
	until("one has all again", func() bool { return first.owns(shared) })
	produce(client, Settings{}, topic, shared, 300, 600)
	until("the rest is read", func() bool { return readOnce(600, first, second) })
	first.leave()
	third := join(client, topic, shared, group, how)
	until("the third has all", func() bool { return third.owns(shared) })
	produce(client, Settings{}, topic, shared, 600, 606)
	until("the third reads what is new", func() bool { return readOnce(606, first, second, third) })
	third.leave()
}

func fixed(client Client) {
	topic, group := create(client, "", shared), prefix+"-g"
	one := join(client, topic, shared, group, Membership{Instance: "one"})
	until("one has all", func() bool { return one.owns(shared) })
	two := join(client, topic, shared, group, Membership{Instance: "two"})
	until("two share", func() bool {
		_, _, ofOne := one.seen()
		_, _, ofTwo := two.seen()
		return one.owns(shared/2) && two.owns(shared/2) && ofOne == ofTwo
	})
	had := two.partitionsNow()
	_, assignments, generation := one.seen()
	two.leave()
	back := join(client, topic, shared, group, Membership{Instance: "two"})
	until("it has its part again", func() bool { return slices.Equal(back.partitionsNow(), had) })
	produce(client, Settings{}, topic, shared, 0, 60)
	until("all is read", func() bool { return readOnce(60, one, back) })
	_, assignmentsNow, generationNow := one.seen()
	equal(assignmentsNow, assignments, "the other's assignments")
	equal(generationNow, generation, "the other's generation")
	back.leave()
	one.leave()
}
