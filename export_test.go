package appio

import "github.com/appio-go/appio/store"

// DeliveryLane is where the work of a service waits.
func DeliveryLane(id ServiceID) store.Lane { return deliveryLane(id) }
