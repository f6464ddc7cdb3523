"""Benchmarks: what they measured is in RESULTS.md."""
