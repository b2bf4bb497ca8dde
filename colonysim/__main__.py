"""`python -m colonysim`."""

from colonysim.cli.main import main

main()
