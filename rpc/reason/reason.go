// Package reason names the reasons of failures as operators meet them: in the CNI
// error, the event, the metric's label and the log.
package reason

import (
	"strings"

	"github.com/causeway-cni/causeway/rpc"
)

// Code is a reason in one word, as reasons of Kubernetes events are: SubnetFull.
func Code(r rpc.Reason) string {
	var code strings.Builder
	for word := range strings.SplitSeq(strings.TrimPrefix(r.String(), "REASON_"), "_") {
		switch word {
		case "ENI", "EC2", "IMDS":
			code.WriteString(word)
		default:
			code.WriteString(word[:1] + strings.ToLower(word[1:]))
		}
	}
	return code.String()
}
