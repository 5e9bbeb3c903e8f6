"""Run a module as a program that ends when whoever started it does.

``python leash.py MODULE [ARGUMENT ...]`` is ``python -m MODULE ARGUMENT ...`` with one addition:
standard input is a pipe into which nobody ever writes, so its end means that the parent is gone,
however it went. The program then gets SIGTERM, and SIGKILL if that does not end it.

The file is run by path in the program's own environment, which need not have this package: it uses
the standard library only, and nothing newer than Python 3.8.
"""

import os
import runpy
import signal
import sys
import threading

GRACE_SECONDS = 10.0
"""How long a program may take to end by itself after its parent is gone."""


def end_with_parent() -> None:
    """Wait for the end of standard input, then end this process."""
    # Not sys.stdin: a daemon thread inside a buffered read would hold its lock at interpreter exit.
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(GRACE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Run the module named by the first argument."""
    module = sys.argv[1]
    sys.argv = sys.argv[1:]
    # A script's own folder leads sys.path; the names in this one are not the program's business.
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != here]  # noqa: PTH100
    threading.Thread(target=end_with_parent, name="leash", daemon=True).start()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
