//go:build cluster

package stories

// prompt lets balancers see within seconds what becomes of their targets. The
// shortest interval of AWS is of five seconds.
const prompt = `service.beta.kubernetes.io/aws-load-balancer-type: external
    service.beta.kubernetes.io/aws-load-balancer-scheme: internet-facing
    service.beta.kubernetes.io/aws-load-balancer-healthcheck-interval: "1"
    service.beta.kubernetes.io/aws-load-balancer-healthcheck-healthy-threshold: "2"
    service.beta.kubernetes.io/aws-load-balancer-healthcheck-unhealthy-threshold: "2"`

// both are a service's ports.
const both = `ports: [{name: tcp, port: 80, protocol: TCP}, {name: udp, port: 80, protocol: UDP}]`

// fronts are the services and ingresses, named for their walks.
const fronts = `apiVersion: v1
kind: Service
metadata:
  name: w18
  namespace: %[1]s
  annotations:
    %[2]s
    service.beta.kubernetes.io/aws-load-balancer-nlb-target-type: instance
spec: {type: LoadBalancer, selector: {app: web, site: n2}, %[3]s}
---
apiVersion: v1
kind: Service
metadata:
  name: w19
  namespace: %[1]s
  annotations:
    %[2]s
    service.beta.kubernetes.io/aws-load-balancer-attributes: load_balancing.cross_zone.enabled=true
spec: {type: LoadBalancer, loadBalancerClass: service.k8s.aws/nlb, externalTrafficPolicy: Local, selector: {app: web, site: n1}, %[3]s}
---
apiVersion: v1
kind: Service
metadata:
  name: w20
  namespace: %[1]s
  annotations:
    %[2]s
    service.beta.kubernetes.io/aws-load-balancer-nlb-target-type: ip
    service.beta.kubernetes.io/aws-load-balancer-attributes: load_balancing.cross_zone.enabled=true
spec: {type: LoadBalancer, selector: {app: web, site: n1}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata:
  name: w21
  namespace: %[1]s
  annotations:
    %[2]s
    service.beta.kubernetes.io/aws-load-balancer-nlb-target-type: ip
    service.beta.kubernetes.io/aws-load-balancer-target-group-attributes: preserve_client_ip.enabled=true
    service.beta.kubernetes.io/aws-load-balancer-attributes: load_balancing.cross_zone.enabled=true
spec: {type: LoadBalancer, allocateLoadBalancerNodePorts: false, selector: {app: web, site: n1, eni: secondary}, %[3]s}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: w22
  namespace: %[1]s
  annotations:
    alb.ingress.kubernetes.io/scheme: internet-facing
    alb.ingress.kubernetes.io/target-type: ip
    alb.ingress.kubernetes.io/healthcheck-interval-seconds: "1"
spec:
  ingressClassName: alb
  rules: [{http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: w22-pods, port: {name: http}}}}]}}]
---
apiVersion: v1
kind: Service
metadata: {name: w22-pods, namespace: %[1]s}
spec: {selector: {app: web, site: n1}, ports: [{name: http, port: 8080, targetPort: 80}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: w22-nodes
  namespace: %[1]s
  annotations:
    alb.ingress.kubernetes.io/scheme: internet-facing
    alb.ingress.kubernetes.io/healthcheck-interval-seconds: "1"
spec:
  ingressClassName: alb
  defaultBackend: {service: {name: w22-node-ports, port: {number: 80}}}
---
apiVersion: v1
kind: Service
metadata: {name: w22-node-ports, namespace: %[1]s}
spec: {type: NodePort, selector: {app: web, site: n2, eni: secondary}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: w23, namespace: %[1]s}
spec: {type: LoadBalancer, loadBalancerClass: example.com/own, loadBalancerSourceRanges: [10.0.0.0/16], selector: {app: web, site: n2}, %[3]s}
---
apiVersion: v1
kind: Service
metadata: {name: w23-local, namespace: %[1]s}
spec: {type: LoadBalancer, loadBalancerClass: example.com/own, loadBalancerSourceRanges: [10.0.0.0/16], externalTrafficPolicy: Local, selector: {app: web, site: n2}, %[3]s}
---
apiVersion: v1
kind: Service
metadata: {name: w23-narrow, namespace: %[1]s}
spec: {type: LoadBalancer, loadBalancerClass: example.com/own, loadBalancerSourceRanges: [%[4]s/32], selector: {app: web, site: n2}, %[3]s}
`
