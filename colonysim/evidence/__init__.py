"""Evidence of what happened and whether it was correct: journal, replay, invariants, timelines, why_not."""
