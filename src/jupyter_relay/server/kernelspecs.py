"""The kernelspecs of a Jupyter Server whose kernels run on a gateway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_server.utils import url_path_join

from jupyter_relay.config import GatewayClient
from jupyter_relay.core.models import KernelSpecModel
from jupyter_relay.errors import KernelSpecNotFound
from jupyter_relay.gateway.client import Gateway
from jupyter_relay.server.http_errors import http_errors

Model: TypeAlias = dict[str, Any]
"""A model of the server's REST API."""

_RESOURCES = "/kernelspecs/"


class GatewayKernelSpecManager(KernelSpecManager):
    """The kernelspecs of the configured gateway."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.gateway = Gateway(GatewayClient(parent=self.parent or self).settings())
        self._known: Mapping[str, KernelSpecModel] = {}

    async def get_all_specs(self) -> dict[str, Model]:
        """Return the kernelspecs by name, and take over the gateway's default kernel."""
        listed = await self.list_kernel_specs()
        return listed["kernelspecs"]  # type: ignore[no-any-return]  # a model is untyped

    async def list_kernel_specs(self) -> Model:
        """Return the model of all kernelspecs."""
        with http_errors():
            listed = await self.gateway.kernelspecs()
        self._known = listed.specs
        self._take_default(listed.default)
        return {
            "default": listed.default,
            "kernelspecs": {name: self._model(spec) for name, spec in listed.specs.items()},
        }

    async def get_kernel_spec(self, kernel_name: str, **_: Any) -> Model:
        """Return the model of one kernelspec. Raises `KeyError` if there is none of that name."""
        with http_errors():
            try:
                return self._model(await self.gateway.kernelspec(kernel_name))
            except KernelSpecNotFound as error:
                raise KeyError(str(error)) from error

    async def get_kernel_spec_resource(self, kernel_name: str, path: str) -> bytes | None:
        """Return a file of a kernelspec, None if there is no such file."""
        with http_errors():
            return await self.gateway.kernelspec_resource(kernel_name, path)

    def known_spec(self, kernel_name: str) -> KernelSpec:
        """Return a kernelspec as it was last listed, without asking; empty if it never was."""
        known = self._known.get(kernel_name)
        return KernelSpec(**known.spec) if known else KernelSpec()

    def _take_default(self, name: str | None) -> None:
        kernels = getattr(self.parent, "kernel_manager", None)
        if name and kernels is not None and kernels.default_kernel_name != name:
            self.log.info("The default kernel is now the gateway's: %s.", name)
            kernels.default_kernel_name = name

    def _model(self, spec: KernelSpecModel) -> Model:
        """Write a kernelspec for the REST API, its files under this server's own base URL."""
        base_url = getattr(self.parent, "base_url", "/")
        resources = {}
        for name, path in spec.resources.items():
            _, found, below = path.rpartition(_RESOURCES)
            resources[name] = url_path_join(base_url, _RESOURCES, below) if found else path
        return {"name": spec.name, "spec": dict(spec.spec), "resources": resources}
