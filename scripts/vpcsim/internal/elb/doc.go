// Package elb plans what the AWS Load Balancer Controller would build for the
// Services of type LoadBalancer and the Ingresses of a cluster, as the
// simulator's load balancers: pure functions of objects of the API.
//
// Annotations, names and defaults are those of that controller (v2, "Service
// annotations" and "Ingress annotations"). What it would ask of AWS and the
// simulator does not have (TLS, proxy protocol, stickiness, actions, groups of
// Ingresses) is an error that names the annotation; an annotation that nothing
// knows is a warning. Readiness gates are the pods' own to name: there is no
// webhook that injects them. IPv4 only.
package elb
