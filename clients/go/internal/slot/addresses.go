package slot

import (
	"slices"
	"sync"

	"google.golang.org/grpc"
)

// Dialer makes a connection to one node. It does not wait for it.
type Dialer func(address string) (*grpc.ClientConn, error)

// Addresses are the nodes that a process knows. It is shared by its slots and
// safe for concurrent use.
type Addresses struct {
	mu   sync.Mutex
	list []string
}

// NewAddresses starts with the ones that the program was given.
func NewAddresses(list []string) *Addresses {
	return &Addresses{list: slices.Clone(list)}
}

// At is address number i, counted round and round.
func (a *Addresses) At(i int) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.list[i%len(a.list)]
}

// Len is the number of addresses.
func (a *Addresses) Len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.list)
}

// Add learns what a Welcome told.
func (a *Addresses) Add(list []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, address := range list {
		if address != "" && !slices.Contains(a.list, address) {
			a.list = append(a.list, address)
		}
	}
}

// Index is the number of an address, which is learnt if it is new.
func (a *Addresses) Index(address string) int {
	a.Add([]string{address})
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Index(a.list, address)
}
