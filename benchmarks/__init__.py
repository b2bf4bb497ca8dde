"""Benchmarks: each file answers one question about cost; `python -m benchmarks --help`."""
