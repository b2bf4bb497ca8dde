"""Workloads and who serves them: arrivals, submissions, recorded traces and simulated executors."""
