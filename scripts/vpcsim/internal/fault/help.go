package fault

// Help explains the rule language, for people.
const Help = `A rule says which calls it is about and what happens to them. It is written as
YAML or JSON; several rules are a list.

Which calls
  action       EC2 action, "IMDS", a metadata path (/latest/...), "device",
               "Kubernetes" or Kubernetes/VERB/RESOURCE; * and ? are wildcards,
               "*" alone is all of EC2
  node         name of the calling node, with wildcards; absent: every caller
  nth: 3       only the third of these calls
  every: 2     each second one
  probability  of each, from 0 to 1; the topology's seed decides
  times: 3     at most three times; alone: the first three
  window       {after: 10s, for: 1m, every: 5m}, counted from the adding of the
               rule; absent: always; with every, it comes again
Counting is over all callers that node matches, within the window.

What happens (effect), in this order; several go together
  latency: 2s       first, time passes
  reset: true       connection reset, nothing done
  hang: true        no answer until the client gives up (a minute at most),
                    nothing done
  html502: true     a 502 page of a load balancer, nothing done
  error             {code, message, status}; message and status default to what
                    EC2 sends with the code, {NetworkInterfaceId} and the like in
                    a message are the request's parameters; of a metadata path
                    or Kubernetes set status
  throttle: true    as if the token bucket were empty
  exhaust: 2m       before a Create or Assign, other tenants take all addresses
                    of the subnet, and give them back after that long
  ... the call itself ...
  lost: true        done, then connection reset; with hang: done, then no answer
  truncate: true    done, half of the answer arrives
  settle: 5m        the ENI stays pending, the attachment attaching or detaching
                    that much longer
What Describe calls see
  stale: 30s        on a Describe call: as of that long ago (15m at most); on a
                    call that changes an ENI: its change is seen that much later
  noAttachment, noTags: true    DescribeNetworkInterfaces leaves them out
  empty: true       nothing is found; a next page is told of as ever
  sameToken: true   a next page names itself as the next
What the metadata service serves
  imdsLag: 30s      on IMDS or a path: as of that long ago, so that each path can
                    have its clock; on a call that changes an ENI: its change is
                    seen that much later
  empty: true       200 and no text
What becomes of the device, on "device" or AttachNetworkInterface
  deviceDelay: 60s  it appears that much later
  deviceNever: true
  deviceRename: true    after 20 ms as ethN it becomes ens5, ens6 and so on
  deviceDHCP: true      the system brings it up with its address and routes
  deviceGone: 1m        an operator detaches the ENI that long after
Without these it is down and bare.
What becomes of the Kubernetes API
  away: true        new requests are reset, running ones end

Examples
  {action: "*", node: n1, window: {for: 20s, every: 5m}, effect: {throttle: true}}
  {action: AssignPrivateIpAddresses, nth: 1, effect: {lost: true}}
  {action: AttachNetworkInterface, times: 2, effect: {lost: true, hang: true}}
  {action: "Describe*", probability: 0.01, effect: {latency: 10s}}
  {action: DeleteNetworkInterface, effect: {error: {code: UnauthorizedOperation}}}
  {action: DeleteNetworkInterface, times: 5, effect: {error: {code: InvalidParameterValue, message: "Network interface '{NetworkInterfaceId}' is currently in use."}}}
  {action: CreateNetworkInterface, nth: 2, effect: {exhaust: 2m}}
  {action: DetachNetworkInterface, effect: {settle: 10m}}
  {action: DescribeNetworkInterfaces, window: {for: 10s}, effect: {noAttachment: true}}
  {action: DescribeNetworkInterfaces, nth: 2, effect: {error: {code: InvalidNextToken}}}
  {action: "/latest/meta-data/network/interfaces/macs/*/ipv4-prefix", effect: {imdsLag: 30s}}
  {action: "/latest/meta-data/network/interfaces/macs/*/network-card", effect: {error: {status: 404}}}
  {action: IMDS, nth: 10, effect: {error: {status: 401}}}
  {action: device, node: n2, every: 2, effect: {deviceDelay: 150s, deviceRename: true}}
  {action: Kubernetes/watch/services, effect: {error: {status: 410}}}

Not rules, but as wrong: "vpcsim tenant" fills and fragments subnets, "vpcsim
cidr" adds blocks, "vpcsim terminate" ends a node; a topology sets pageLimit,
interfaceQuota, delays, throttle buckets, unknown instance types and metadata
options such as the hop limit.
`
