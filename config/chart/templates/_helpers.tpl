{{- define "causeway.labels" -}}
app.kubernetes.io/name: causeway
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "causeway.selector" -}}
app.kubernetes.io/name: causeway
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "causeway.serviceAccount" -}}
{{ .Values.serviceAccount.name | default .Release.Name }}
{{- end }}

{{- define "causeway.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{/* Where the daemon serves its health; probes are kubelet's, on the node. */}}
{{- define "causeway.probe" -}}
{{- $address := .Values.env.CAUSEWAY_METRICS_BIND_ADDRESS | default "127.0.0.1:61678" -}}
host: {{ regexReplaceAll ":[0-9]+$" $address "" | trimAll "[]" | quote }}
port: {{ regexFind "[0-9]+$" $address }}
{{- end }}

{{/* What init container and daemon have in common: what kubelet tells, and
where the node's directories are mounted. */}}
{{- define "causeway.env" -}}
- name: MY_NODE_NAME
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
- name: CAUSEWAY_HOST_ROOT
  value: /host
{{- end }}

{{/* No right but those that are named; a root file system that is read-only. */}}
{{- define "causeway.restricted" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsUser: 0
capabilities:
  drop: [ALL]
{{- end }}
