"""Which class joins a page to a kernel: it is decided for each kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jupyter_relay.headless.manager import GatewayKernelManager


class KernelConnections:
    """Makes the connection between the websocket of a page and a kernel.

    A kernel of ours gets a connection of the class ``ours``, any other kernel one of ``others``. It
    is called as Jupyter Server calls a connection class.
    """

    def __init__(self, *, ours: Callable[..., Any], others: Callable[..., Any]) -> None:
        self.ours = ours
        self.others = others

    def __call__(self, *, parent: Any, **kwargs: Any) -> Any:
        """Make the connection for the kernel whose manager is ``parent``."""
        kind = self.ours if isinstance(parent, GatewayKernelManager) else self.others
        return kind(parent=parent, **kwargs)
