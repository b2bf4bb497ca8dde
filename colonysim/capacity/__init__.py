"""What executors with capacity hold at once, and in which order they start what waits for room."""
