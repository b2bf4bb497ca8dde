"""Mutation testing: small bugs are planted in the core, one at a time, and what finds them is counted. See README.md."""
