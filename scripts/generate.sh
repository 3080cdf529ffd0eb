#!/usr/bin/env bash
# Writes all generated files anew: the protocol, and what go:generate lines ask
# for. Programs for it are built into the user's cache directory.
set -euo pipefail
cd "$(dirname "$0")/.."
go=${GO:-go}
grpc=v1.6.2 # of protoc-gen-go-grpc; protoc-gen-go is of the version in go.mod
protobuf=$("$go" list -m -f '{{.Version}}' google.golang.org/protobuf)
bin=${XDG_CACHE_HOME:-$HOME/.cache}/causeway/protoc-$protobuf-$grpc

[[ -x $bin/protoc-gen-go ]] ||
	GOBIN=$bin "$go" install "google.golang.org/protobuf/cmd/protoc-gen-go@$protobuf"
[[ -x $bin/protoc-gen-go-grpc ]] ||
	GOBIN=$bin "$go" install "google.golang.org/grpc/cmd/protoc-gen-go-grpc@$grpc"

PATH=$bin:$PATH protoc --go_out=. --go_opt=paths=source_relative \
	--go-grpc_out=. --go-grpc_opt=paths=source_relative rpc/ipamd.proto rpc/service/service.proto
"$go" generate ./...
