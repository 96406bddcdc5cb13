"""`python -m runwright`, and the program `runwright`, is the command line."""

from __future__ import annotations

import gc
import os
import sys


def main() -> None:
    """Runs the command line. Collecting while modules are loaded would find nothing and take a twentieth of a start."""
    _open_standard_descriptors()
    gc.set_threshold(20_000, 20, 50)
    from runwright.cli.main import main as run  # noqa: PLC0415 - after the line above

    run()


def _open_standard_descriptors() -> None:
    """Opens on nothing what of 0, 1 and 2 was closed before we came.

    Else the journal would be the next file to get such a number, and whatever a library prints would go into it.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free is this one
            setattr(sys, name, os.fdopen(descriptor, "w" if descriptor else "r", encoding="utf-8", closefd=False))


if __name__ == "__main__":
    main()
