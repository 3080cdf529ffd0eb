package kubernetes

import "path/filepath"

// WhatToTry are lines for a user's shell; the last one goes on until it is
// ended.
func (c *Cluster) WhatToTry() []string {
	return []string{
		"export KUBECONFIG=" + c.Kubeconfig() + " PATH=" + filepath.Dir(c.KubectlPath()) + ":" + filepath.Dir(c.bins.Vpcsim) + ":$PATH",
		"kubectl get nodes,pods -A -o wide",
		"kubectl create deployment web --image=" + ProbeImage + " --replicas=2 -- vpcsim echo --listen :80",
		"kubectl expose deployment web --port=80",
		"kubectl rollout status deployment web",
		"kubectl run client --image=" + ProbeImage + " --restart=Never --attach -- probe http web:80",
		"kubectl logs client",
		"kubectl exec deploy/web -- vpcsim probe tcp web:80 --count 5",
		"kubectl expose deployment web --name=front --port=80 --type=LoadBalancer --overrides='" + front + "'",
		"kubectl wait --for=jsonpath='{.status.loadBalancer.ingress}' --timeout=1m service/front",
		"until vpcsim exec --name " + c.name + " internet -- vpcsim probe tcp $(kubectl get service front -o jsonpath={.status.loadBalancer.ingress[0].ip}):80; do sleep 1; done",
		"kubectl describe pod client",
		"kubectl get events",
		"kubectl port-forward deploy/web 8080:80",
	}
}

// front is a load balancer on the internet, which soon sees that nodes serve.
const front = `{"apiVersion": "v1", "metadata": {"annotations": {"service.beta.kubernetes.io/aws-load-balancer-scheme": "internet-facing", "service.beta.kubernetes.io/aws-load-balancer-healthcheck-interval": "1"}}}`
