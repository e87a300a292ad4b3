//go:build tools

// Package tools pins the Consul agent that the tests run against: the import keeps its
// dependency tree, and so the build's checksums, in go.mod and go.sum.
package tools

import _ "github.com/hashicorp/consul"
