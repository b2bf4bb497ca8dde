"""The Colonies state machine, pure: a world, requests and events go in, deliveries come out."""
