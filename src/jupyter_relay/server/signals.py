"""Ends a server in order at each signal that is to end it.

Jupyter Server stops in order, and deletes its kernels, at SIGTERM. SIGINT without a terminal, as
JupyterHub's spawners send it, raises `KeyboardInterrupt` in the code that happens to run, and
SIGHUP ends the process at once. Local kernels notice that their parent is gone, and end; a
gateway's kernels would go on running.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp


def stop_at_each_signal(serverapp: ServerApp) -> None:
    """Let SIGINT and SIGHUP do what SIGTERM does, unless another handler is set for them.

    A server at a terminal still asks for confirmation at Ctrl-C, and a signal that is ignored, as
    SIGHUP is under ``nohup``, stays ignored. If the server is a part of another program, that
    program keeps the signals. To be called in the main thread.
    """
    stop = signal.getsignal(signal.SIGTERM)
    if getattr(stop, "__self__", None) is not serverapp:
        return
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, stop)
    hangup = getattr(signal, "SIGHUP", None)  # not on Windows
    if hangup is not None and signal.getsignal(hangup) is signal.SIG_DFL:
        signal.signal(hangup, stop)
