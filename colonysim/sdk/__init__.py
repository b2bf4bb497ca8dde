"""Unmodified SDKs in this process: intercepted requests, environment variables, S3."""
