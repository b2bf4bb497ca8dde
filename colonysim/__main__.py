"""The command `colonysim`, which is also `python -m colonysim`."""

from __future__ import annotations

import sys
from typing import Final, NoReturn

from colonysim.extras import MissingExtra, needed_for

_BAD_INPUT: Final = 2


def main() -> NoReturn:
    """Run a command and end the process with its exit code; 2, with the fix, where its packages are not installed."""
    try:
        with needed_for("the command line"):
            from colonysim.cli.main import main as command_line
    except MissingExtra as missing:
        print(f"colonysim: {missing}", file=sys.stderr)
        sys.exit(_BAD_INPUT)
    command_line()


if __name__ == "__main__":
    main()
