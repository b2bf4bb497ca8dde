"""What happened and whether it was right: journal, replay, invariants, timeline, why_not."""
