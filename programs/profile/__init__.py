"""Where the sidecar spends a call: its functions under the profiler, driven as in the benchmark (`make profile`)."""
