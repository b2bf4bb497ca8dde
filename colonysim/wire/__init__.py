"""Bytes to messages and back, as the reference server reads and writes them; identities and signatures."""
