"""One world under one lock and one clock: time, actors, pending requests, connections, snapshots, randomness."""
