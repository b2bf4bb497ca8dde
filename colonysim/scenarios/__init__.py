"""Scenario files, workloads, recorded traces, simulated executors, checks, metrics and the runner."""
