"""How Go reads and prints: JSON, types, numbers, times and cron expressions."""
