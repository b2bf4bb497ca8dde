"""Many runs: explore, shrink, compare, sweep, and reports of them."""
