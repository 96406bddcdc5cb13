"""`python -m runwright`, and the program `runwright`, is the command line."""

from __future__ import annotations

import gc


def main() -> None:
    """Runs the command line. Collecting while modules are loaded would find nothing and take a twentieth of a start."""
    gc.set_threshold(20_000, 20, 50)
    from runwright.cli.main import main as run  # noqa: PLC0415 - after the line above

    run()


if __name__ == "__main__":
    main()
