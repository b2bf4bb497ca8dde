"""A fuzzer of all message types over worlds that live on: `python -m tests.fuzz --messages 1000000 --seed 1`."""
