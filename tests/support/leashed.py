"""Run a program that is no Python module: ``python -m tests.support.leashed PROGRAM ARGUMENT ...``.

It ends with this process, and this process with it.
"""

from __future__ import annotations

import signal
import subprocess
import sys


def main() -> int:
    """Run the program until it ends, or is told to."""
    with subprocess.Popen(sys.argv[1:]) as program:
        signal.signal(signal.SIGTERM, lambda *_: program.terminate())
        return program.wait()


if __name__ == "__main__":
    sys.exit(main())
