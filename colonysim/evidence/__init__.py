"""Evidence of what happened: observers, journal, replay, why a process waits."""
