"""Real blocking code in virtual time."""
