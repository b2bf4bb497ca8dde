"""`python -m colonysim`."""

from colonysim.fronts.cli import main

main()
