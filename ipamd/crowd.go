package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/causeway-cni/causeway/ipamd/internal/ec2"
	"github.com/causeway-cni/causeway/ipamd/internal/kube"
)

const (
	// startAge is how young Nodes are that count as starting with this one: a
	// thousand of them take EC2 over three minutes to serve.
	startAge = 5 * time.Minute
	// crowdWait is how long the API may take to say so. A node that starts alone
	// loses no more than that if the API is away.
	crowdWait = 500 * time.Millisecond
)

// takeTurns lets the nodes that start together take turns at EC2. Where the API
// does not say how many they are, each learns it by being throttled.
func takeTurns(ctx context.Context, cloud *ec2.Cloud, api *kube.Client, log *slog.Logger) {
	if api == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, crowdWait)
	defer cancel()
	nodes, err := api.StartingNodes(ctx, startAge)
	if err != nil {
		log.Info("it is not known how many nodes start with this one", "error", err)
		return
	}
	log.Debug("nodes that start with this one", "nodes", nodes)
	cloud.Join(nodes)
}
