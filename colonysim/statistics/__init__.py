"""Statistics of simulation output, without a simulation: quantiles, intervals, warm-up, several comparisons."""
