// Package kubernetes runs a whole Kubernetes cluster on this machine, on a
// simulated VPC (scripts/vpcsim): etcd, kube-apiserver, controller manager and
// scheduler on one instance, and on each other instance containerd, runc and
// kubelet, all of them the real programs. The pods' network and the services
// are Causeway's alone, installed from its chart and its image.
//
// Nothing is fetched when the cluster runs: images are made here, from static
// programs (see images.go), and imported.
//
// Everything is inside the simulator's namespaces, the folder of the cluster and
// a control group of its own, and Close or Clean takes all of it away. The
// machine's sysctls stay as they are: where kubelet would change them it finds
// files that say what it wants. The root namespace has one listener on its
// loopback device, which leads to the API server.
package kubernetes
