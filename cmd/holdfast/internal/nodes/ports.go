package nodes

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// The range that free ports are taken from. It lies below the usual range for
// outgoing connections (32768 and up), so that a node which is started again
// does not find its port taken by some client.
const (
	portFrom  = 12000
	portUntil = 19000
)

// peerPortStep is the distance of a node's peer port from its client port,
// where --base-port is given: with 7070 as the server's own defaults.
const peerPortStep = 10

// addresses chooses client and peer addresses of n nodes on the loopback
// interface. With base 0 they are free at this moment.
func addresses(n, base int) (client, peer []string, err error) {
	if base == 0 {
		return freeAddresses(n)
	}
	for i := range n {
		client = append(client, loopback(base+i))
		peer = append(peer, loopback(base+peerPortStep+i))
	}
	for _, a := range append(append([]string(nil), client...), peer...) {
		l, err := net.Listen("tcp", a)
		if err != nil {
			return nil, nil, fmt.Errorf("%s is not free: %w", a, err)
		}
		_ = l.Close() // only tried
	}
	return client, peer, nil
}

func freeAddresses(n int) (client, peer []string, err error) {
	// All are held until the last is found, so that none is given out twice.
	var held []net.Listener
	defer func() {
		for _, l := range held {
			_ = l.Close() // only held
		}
	}()
	for tries := 0; len(held) < 2*n; tries++ {
		if tries > 1000 {
			return nil, nil, fmt.Errorf("no free ports found between %d and %d", portFrom, portUntil)
		}
		l, err := net.Listen("tcp", loopback(portFrom+rand.IntN(portUntil-portFrom)))
		if err == nil {
			held = append(held, l)
		}
	}
	for i, l := range held {
		if i < n {
			client = append(client, l.Addr().String())
		} else {
			peer = append(peer, l.Addr().String())
		}
	}
	return client, peer, nil
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
