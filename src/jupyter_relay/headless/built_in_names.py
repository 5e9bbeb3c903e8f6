"""What programs read from the kernel manager of Jupyter Server's own gateway client, by its names.

``jupyter_server.gateway.managers.GatewayKernelManager`` is where the names come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING, Any, TypeAlias

from jupyter_relay.errors import KernelNotFound
from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.kernels.kernel import RemoteKernel
from jupyter_relay.link.life import DEAD
from jupyter_relay.rest.models import KernelModel
from jupyter_relay.rest.urls import Endpoints

Model: TypeAlias = dict[str, Any]
"""A kernel's model in the form of the REST API: ``id``, ``name``, ``last_activity`` as an ISO 8601
text in UTC or None, ``execution_state``, ``connections``, and ``reason`` where there is one."""


class BuiltInKernelNames:
    """The kernel's model as a dictionary, and its URLs on the gateway."""

    if TYPE_CHECKING:
        remote: RemoteKernel | None

        @property
        def gateway(self) -> Gateway: ...

        @property
        def running(self) -> RemoteKernel: ...

    @property
    def has_kernel(self) -> bool:
        """True if a kernel was started or attached, and is not known to have ended since."""
        return self.remote is not None and self.remote.life not in DEAD

    @property
    def kernel(self) -> Model | None:
        """The kernel's model, by what is known without asking; None without a kernel, as
        `has_kernel` says."""
        return _model_of(self.running) if self.has_kernel else None

    @property
    def kernels_url(self) -> str:
        """The URL of all kernels on the gateway."""
        return endpoints_of(self.gateway).kernels

    @property
    def kernel_url(self) -> str | None:
        """The kernel's URL on the gateway, with the gateway's id of it; None before it is started
        and after it is shut down."""
        if self.remote is None:
            return None
        return endpoints_of(self.gateway).kernel(self.gateway.ids.given(self.remote.id))

    async def refresh_model(self, model: Mapping[str, Any] | None = None) -> Model | None:
        """Ask the gateway for the kernel's model, or use this one, which the gateway has just
        given; return what `kernel` is from then on.

        None means that the kernel no longer exists. Raises `KernelNotRunning` if there is none,
        `ValueError` for a model that is not this kernel's, and what `Gateway.kernel` raises.
        """
        remote = self.running
        if model is not None:
            remote.update(_read(model, remote))
        else:
            try:
                await remote.refresh()
            except KernelNotFound:
                return None
        return self.kernel


def endpoints_of(gateway: Gateway) -> Endpoints:
    """Return the URLs of a gateway as programs may see them: without the query of its own URL,
    which may hold a secret."""
    return Endpoints(replace(gateway.settings.endpoints, url=gateway.address))


def _model_of(remote: RemoteKernel) -> Model:
    known, at = remote.model, remote.last_activity
    date = at.astimezone(UTC).isoformat(timespec="microseconds") if at is not None else None
    model = {
        "id": known.id,
        "name": known.name,
        "last_activity": date and date.replace("+00:00", "Z"),
        "execution_state": known.execution_state,
        "connections": remote.connections,
    }
    return model | {"reason": known.reason} if known.reason else model


def _read(model: Mapping[str, Any], remote: RemoteKernel) -> KernelModel:
    read = remote.gateway.ids.named(KernelModel.from_json(dict(model)))
    if read.id != remote.id:
        raise ValueError(f"A model of the kernel {read.id} is not one of the kernel {remote.id}.")
    return read
