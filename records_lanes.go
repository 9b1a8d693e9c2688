package appio

import (
	"hash/fnv"

	"github.com/appio-go/appio/store"
)

// The kinds of lanes. A delivery lane is a kind and a hash of the service. Services whose hash is the same have a lane in common, in
// which the work of one must not stand before another's: so what a service sends in great number, and what of it
// there was no room for when its turn came, stands in another, behind; and what is paused in a third.
const (
	laneDelivery    store.Lane = 0x0100 // to 0x013f
	laneBacklog     store.Lane = 0x0140 // to 0x017f
	lanePaused      store.Lane = 0x0180 // to 0x01bf
	laneCleanUp     store.Lane = 0x0300 // to 0x030f
	laneParked      store.Lane = 0x0400
	laneQuarantined store.Lane = 0x0500

	laneEffect   store.Lane = 0x0200 // to 0x020f
	laneReminder store.Lane = 0x0600 // to 0x060f
	laneDownload store.Lane = 0x0700
	laneReview   store.Lane = 0x0a00 // drafts that are submitted

	// Nobody looks for work in these: they are records in the order of time, by a hash of the service.
	laneDecided store.Lane = 0x0800 // to 0x083f: decisions to process
	laneOver    store.Lane = 0x0840 // to 0x087f: outcomes

	deliveryLanes = 64                // of each of the three kinds
	openLanes     = 2 * deliveryLanes // those that are looked at for due work
	workLanes     = 3 * deliveryLanes
	effectLanes   = 16
	reminderLanes = 16
	cleanUpLanes  = 16
)

func deliveryLane(id ServiceID) store.Lane {
	return laneDelivery + store.Lane(hash32(string(id))%deliveryLanes)
}

func backlogLane(id ServiceID) store.Lane { return deliveryLane(id) - laneDelivery + laneBacklog }
func pausedLane(id ServiceID) store.Lane  { return deliveryLane(id) - laneDelivery + lanePaused }

func cleanUpLane(owner store.Owner) store.Lane {
	return laneCleanUp + store.Lane(hash32(string(owner))%cleanUpLanes)
}

func effectLane(owner store.Owner) store.Lane {
	return laneEffect + store.Lane(hash32(string(owner))%effectLanes)
}

func reminderLane(owner store.Owner) store.Lane {
	return laneReminder + store.Lane(hash32(string(owner))%reminderLanes)
}

func hash32(s string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(s))
	return h.Sum32()
}
