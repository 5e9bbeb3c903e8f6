"""The engine that lets papermill run notebooks on the configured gateway.

It is registered as ``jupyter_relay``: ``papermill --engine jupyter_relay in.ipynb out.ipynb``. The
gateway is that of the environment, ``JUPYTER_GATEWAY_URL`` and the others.
"""

from __future__ import annotations

from typing import Any

from jupyter_relay.headless.manager import GatewayKernelManager


class GatewayEngine:
    """papermill's own engine, with a kernel manager of ours.

    It is no subclass: papermill loads its engines while it is imported itself, so none that needs
    papermill to be there already can be imported before it.
    """

    @staticmethod
    def execute_notebook(nb: Any, kernel_name: str, **kwargs: Any) -> Any:
        """Run a notebook; ``kwargs`` are those of papermill's engine and of nbclient."""
        kwargs.setdefault("kernel_manager_class", GatewayKernelManager)
        return _papermills().execute_notebook(nb, kernel_name, **kwargs)

    @staticmethod
    def nb_kernel_name(nb: Any, name: str | None = None) -> Any:
        """Return the kernelspec to run a notebook with: ``name``, or the notebook's own."""
        return _papermills().nb_kernel_name(nb, name)

    @staticmethod
    def nb_language(nb: Any, language: str | None = None) -> Any:
        """Return the language of a notebook's parameters."""
        return _papermills().nb_language(nb, language)


def _papermills() -> Any:
    from papermill.engines import NBClientEngine

    return NBClientEngine
