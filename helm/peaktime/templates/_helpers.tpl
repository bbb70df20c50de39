{{/* What objects of this release begin with. Longest suffix: -slack-sink; a CronJob's name has 52 characters at most. */}}
{{- define "peaktime.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 30 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 30 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 30 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A CronJob's name has at most 52 characters; one that is cut stays apart from its like by a hash. Takes (dict "root" $ "calendar" ID). */}}
{{- define "peaktime.importerName" -}}
{{- $name := printf "%s-importer-%s" (include "peaktime.fullname" .root) .calendar -}}
{{- if le (len $name) 52 -}}
{{- $name -}}
{{- else -}}
{{- printf "%s-%s" ($name | trunc 43 | trimSuffix "-") ($name | sha256sum | trunc 8) -}}
{{- end -}}
{{- end -}}

{{/* Labels that never change, for selectors. Takes (dict "root" $ "component" NAME). */}}
{{- define "peaktime.selector" -}}
app.kubernetes.io/name: peaktime
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "peaktime.labels" -}}
{{ include "peaktime.selector" . }}
{{ include "peaktime.commonLabels" .root }}
{{- end -}}

{{- define "peaktime.commonLabels" -}}
app.kubernetes.io/part-of: peaktime
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "peaktime.image" -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}

{{- define "peaktime.namespace" -}}
{{ default .Release.Namespace .Values.cluster.namespace }}
{{- end -}}

{{/* What the worker may do: the same as in k8s/rbac.yaml, which a test checks. */}}
{{- define "peaktime.rules" -}}
- apiGroups: [argoproj.io]
  resources: [cronworkflows]
  verbs: [get, list, watch, create, patch, delete]
# Owed runs are started under Argo's own name for them. Nothing ever changes or deletes a Workflow.
- apiGroups: [argoproj.io]
  resources: [workflows]
  verbs: [get, list, watch, create]
# Whether the steps that a profile names are there.
- apiGroups: [argoproj.io]
  resources: [workflowtemplates]
  verbs: [get, list, watch]
# Such a Workflow names its CronWorkflow as owner with blockOwnerDeletion, as Argo's controller does. Where the
# admission plugin OwnerReferencesPermissionEnforcement is on (OpenShift), that asks for this; elsewhere it is unused.
- apiGroups: [argoproj.io]
  resources: [cronworkflows/finalizers]
  verbs: [update]
{{- end -}}

{{/* The environment of every role. Takes (dict "root" $ "extra" LIST "kafkaSecret" NAME); a name must not come twice. */}}
{{- define "peaktime.env" -}}
{{- $values := .root.Values -}}
{{- $kafkaSecret := default $values.kafka.existingSecret .kafkaSecret -}}
- {name: PEAKTIME_KAFKA_BOOTSTRAP, value: {{ $values.kafka.bootstrap | quote }}}
- {name: PEAKTIME_KAFKA_SECURITY_PROTOCOL, value: {{ $values.kafka.securityProtocol | quote }}}
{{- if $values.kafka.saslMechanism }}
- {name: PEAKTIME_KAFKA_SASL_MECHANISM, value: {{ $values.kafka.saslMechanism | quote }}}
{{- end }}
{{- if $kafkaSecret }}
- name: PEAKTIME_KAFKA_USERNAME
  valueFrom:
    secretKeyRef: {name: {{ $kafkaSecret }}, key: {{ $values.kafka.usernameKey }}}
- name: PEAKTIME_KAFKA_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ $kafkaSecret }}, key: {{ $values.kafka.passwordKey }}}
{{- end }}
{{- if $values.kafka.caSecret }}
- {name: PEAKTIME_KAFKA_CA_FILE, value: /etc/peaktime/kafka-ca/ca.crt}
{{- end }}
- {name: PEAKTIME_TOPIC_PREFIX, value: {{ $values.kafka.topicPrefix | quote }}}
- {name: PEAKTIME_GROUP_PREFIX, value: {{ $values.kafka.groupPrefix | quote }}}
{{- if $values.schemaRegistry.url }}
- {name: PEAKTIME_SCHEMA_REGISTRY_URL, value: {{ $values.schemaRegistry.url | quote }}}
{{- if $values.schemaRegistry.existingSecret }}
- name: PEAKTIME_SCHEMA_REGISTRY_USERNAME
  valueFrom:
    secretKeyRef: {name: {{ $values.schemaRegistry.existingSecret }}, key: {{ $values.schemaRegistry.usernameKey }}}
- name: PEAKTIME_SCHEMA_REGISTRY_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ $values.schemaRegistry.existingSecret }}, key: {{ $values.schemaRegistry.passwordKey }}}
{{- end }}
{{- if $values.schemaRegistry.caSecret }}
- {name: PEAKTIME_SCHEMA_REGISTRY_CA_FILE, value: /etc/peaktime/registry-ca/ca.crt}
{{- end }}
{{- end }}
- {name: PEAKTIME_ZONE, value: {{ $values.zone | quote }}}
- {name: PEAKTIME_METRICS_HOST, value: 0.0.0.0}
- {name: PEAKTIME_METRICS_PORT, value: "9102"}
- {name: PEAKTIME_LOG_FORMAT, value: {{ $values.log.format | quote }}}
- {name: PEAKTIME_LOG_LEVEL, value: {{ $values.log.level | quote }}}
{{- with $values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- with .extra }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "peaktime.profilesEnv" -}}
{{- if .Values.profiles -}}
- {name: PEAKTIME_PROFILES, value: /etc/peaktime/profiles/profiles.yaml}
{{- end -}}
{{- end -}}

{{- define "peaktime.calendarsEnv" -}}
{{- if .Values.calendars -}}
- {name: PEAKTIME_CALENDARS, value: /etc/peaktime/calendars/calendars.yaml}
{{- end -}}
{{- end -}}

{{/* Volumes of every role, and what they are for. Takes (dict "root" $ "config" LIST), the names of the
     configuration files that it reads: of "profiles" and "calendars". */}}
{{- define "peaktime.volumeMounts" -}}
- {name: scratch, mountPath: /tmp}
{{- range .config }}
{{- if get $.root.Values . }}
- {name: {{ . }}, mountPath: /etc/peaktime/{{ . }}, readOnly: true}
{{- end }}
{{- end }}
{{- if .root.Values.kafka.caSecret }}
- {name: kafka-ca, mountPath: /etc/peaktime/kafka-ca, readOnly: true}
{{- end }}
{{- if and .root.Values.schemaRegistry.url .root.Values.schemaRegistry.caSecret }}
- {name: registry-ca, mountPath: /etc/peaktime/registry-ca, readOnly: true}
{{- end }}
{{- end -}}

{{- define "peaktime.volumes" -}}
- name: scratch
  emptyDir: {sizeLimit: 64Mi}
{{- range .config }}
{{- if get $.root.Values . }}
- name: {{ . }}
  configMap: {name: {{ include "peaktime.fullname" $.root }}-{{ . }}}
{{- end }}
{{- end }}
{{- with .root.Values.kafka }}
{{- if .caSecret }}
- name: kafka-ca
  secret: {secretName: {{ .caSecret }}, items: [{key: {{ .caKey }}, path: ca.crt}]}
{{- end }}
{{- end }}
{{- with .root.Values.schemaRegistry }}
{{- if and .url .caSecret }}
- name: registry-ca
  secret: {secretName: {{ .caSecret }}, items: [{key: {{ .caKey }}, path: ca.crt}]}
{{- end }}
{{- end }}
{{- end -}}

{{- define "peaktime.podMetadata" -}}
labels:
  {{- include "peaktime.labels" . | nindent 2 }}
  {{- with .root.Values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  {{- range .config }}
  {{- if get $.root.Values . }}
  # Another text makes another pod: they read it when they start.
  checksum/{{ . }}: {{ get $.root.Values . | sha256sum }}
  {{- end }}
  {{- end }}
  {{- if .metrics }}
  prometheus.io/scrape: "true"
  prometheus.io/port: {{ .metrics | quote }}
  {{- end }}
  {{- with .root.Values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* What every pod has. `enableServiceLinks` off: Kubernetes would set PEAKTIME_GATEWAY_PORT=tcp://… for the Service. */}}
{{- define "peaktime.pod" -}}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  {{- include "peaktime.volumes" . | nindent 2 }}
{{- end -}}

{{- define "peaktime.container" -}}
image: {{ include "peaktime.image" .root | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
workingDir: /tmp # Faust makes its folder where it is started
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  {{- include "peaktime.volumeMounts" . | nindent 2 }}
{{- end -}}

{{/* On different nodes if there are any. */}}
{{- define "peaktime.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "peaktime.selector" . | nindent 8 }}
{{- end -}}
