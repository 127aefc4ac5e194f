// What Kubernetes knows a PodMonitor and a PrometheusRule by: tests read the CRDs in this module.
module crds

go 1.26.0

require github.com/prometheus-operator/prometheus-operator v0.85.0
