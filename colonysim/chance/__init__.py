"""Random variates from uniform random numbers alone, and measured values from files."""
