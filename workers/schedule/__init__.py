"""A Kubernetes Job for each reconstruction that waits, for clusters without KEDA: `phototwin schedule`."""
