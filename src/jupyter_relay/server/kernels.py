"""The kernels of a Jupyter Server whose kernels run on a gateway."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from traitlets import DottedObjectName, default
from traitlets.utils.importstring import import_item

from jupyter_relay.kernels.roster import Turns
from jupyter_relay.link.life import NOT_STARTED
from jupyter_relay.server.activity import KernelActivity
from jupyter_relay.server.built_in_names import BuiltInMappingNames
from jupyter_relay.server.http.bodies import check_path
from jupyter_relay.server.http.http_errors import PlainHTTPError, http_errors
from jupyter_relay.server.identity import notebook_user
from jupyter_relay.server.kernel import GatewayKernelManager, Model
from jupyter_relay.server.relay import relay_for_kernels

_FAREWELL_SECONDS: Final = 30.0
"""How long the pages of a kernel that is gone keep their websockets: JupyterLab finds out by its
lists, every 10 s, and closes kernel and session together."""

_MANAGER_CLASS: Final = "jupyter_relay.managers.GatewayKernelManager"


class GatewayMappingKernelManager(BuiltInMappingNames, KernelActivity):
    """The kernels of one server, and only those: what others run on the gateway is not shown.

    A kernel that is gone from the gateway is not listed, as one that was culled here, and neither
    is one whose start has failed after it was shown as starting. Its pages keep their websockets
    for ``farewell_seconds``; what it was, and why it is gone, is remembered for a while.

    The server's ``roster`` owns the kernels, and ``known`` is what it knows of them. This class has
    a manager for each, and writes the models of the REST API.
    """

    kernel_manager_class = DottedObjectName(
        _MANAGER_CLASS,
        config=True,
        help=f"The class of each kernel's manager: a subclass of {_MANAGER_CLASS}.",
    )

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.relay = relay_for_kernels(self)
        self.roster = self.relay.roster
        self.gateway = self.roster.gateway
        self.known = self.roster.kernels
        self.roster.on_forgotten = self._clean_up
        self.farewell_seconds = _FAREWELL_SECONDS
        self._attaching = Turns()
        self._untracked: frozenset[str] = frozenset()
        self._models: dict[str, Model] = {}
        """The models of the listed kernels."""

    @property
    def untracked(self) -> frozenset[str]:
        """The ``untracked_message_types``: one set for all kernels, since each takes 2 kB."""
        types = frozenset(self.untracked_message_types)
        if types != self._untracked:
            self._untracked = types
        return self._untracked

    def usable_manager_class(self, named: str) -> str:
        """Return a class of ours: another one would manage processes of this machine."""
        if issubclass(import_item(named), GatewayKernelManager):
            return named
        line = "kernel_manager_class = %s is not used: it is no subclass of %s."
        self.log.warning(line, named, _MANAGER_CLASS)
        return _MANAGER_CLASS

    @default("shared_context")
    def _no_shared_context(self) -> bool:
        return False

    def remove_kernel(self, kernel_id: str) -> GatewayKernelManager | None:
        """Forget a kernel; one that is not known is no error."""
        self.roster.forget(kernel_id)
        for of_each in (self.connection_counts, self._models):
            of_each.pop(kernel_id, None)
        kernel: GatewayKernelManager | None = self.managers.pop(kernel_id, None)
        return kernel

    async def start_kernel(
        self, *, kernel_id: str | None = None, path: str | None = None, **kwargs: Any
    ) -> str:
        """Start a kernel, or attach to the one with this id on the gateway; return its id.

        A start that takes longer than ``start_grace``, or with ``use_pending_kernels`` each one, is
        not waited for: the kernel is one that is starting.

        ``path`` is the API path of its document, and is sent as a path of this server's files.
        """
        if kernel_id is not None:
            kernel_id = await self.roster.shown_id(kernel_id)
            async with self._attaching.of(kernel_id):  # one manager for all who attach to it
                if kernel_id not in self:
                    return await self._start(kernel_id, **kwargs)
            await self.known.look_again(kernel_id)
            return kernel_id
        if path is not None:
            check_path(path, self.root_dir)
            # It looks for folders, which may be far away.
            env = kwargs.get("env", {})
            kwargs["cwd"] = await asyncio.to_thread(self.cwd_for_path, path, env=env)
        return await self._start(None, **kwargs)

    async def _start(self, kernel_id: str | None, **kwargs: Any) -> str:
        kwargs["kernel_name"] = name = kwargs.get("kernel_name") or self.default_kernel_name
        if kernel_id is None and self.relay.kernelspecs is not None:
            with http_errors():
                self.relay.kernelspecs.check_allowed(name)
        kernel = self._new_kernel()
        grace = 0.0 if self.use_pending_kernels else self.relay.settings.start_grace
        given = kwargs | {"user": notebook_user(), "patience": grace}
        await kernel.start_kernel(kernel_id=kernel_id, **given)
        if self.roster.stopping:
            if kernel_id is not None:
                await kernel.release()
                raise PlainHTTPError(503, "The server is about to end.")
            await kernel.shutdown_kernel()  # nobody has seen its id
            raise PlainHTTPError(503, "The server is about to end, and the kernel was shut down.")
        remote = kernel.running
        remote.leave_untracked(self.untracked)
        self.managers[remote.id] = kernel
        self.known.mark_changed(remote.id)  # a list may have looked at it, and found no manager
        what = "is starting" if remote.life in NOT_STARTED else "runs"
        remote.log.info("%s on %s.", what, remote.gateway.name)
        if not self.culls:
            self.initialize_culler()
        return remote.id

    def _new_kernel(self) -> GatewayKernelManager:
        kernel: GatewayKernelManager = self.kernel_manager_factory(
            relay=self.relay, parent=self, log=self.log
        )
        return kernel

    def register_schemas(self) -> None:
        """Make the schemas of its kernels' events known to the server's logger. It reads files."""
        self._new_kernel().register_schemas()

    async def kernel_model(self, kernel_id: str) -> Model:
        """Return the model of a kernel, by what is known. See `KnownKernels.look_again`."""
        self.check_kernel_id(kernel_id)
        return self.managers[kernel_id].model()  # type: ignore[no-any-return]  # the map is untyped

    async def list_kernels(self, **_: Any) -> list[Model]:
        """Return the models of our kernels, which are asked for at this time; without those that
        are gone from the gateway, or were not started there.

        Of a gateway that does not answer at once they are as they were last heard of: a page must
        not wait for it, nor take them for ended.
        """
        await self.known.refresh_all()
        for kernel_id, remote in self.known.changed():
            kernel: GatewayKernelManager | None = self.managers.get(kernel_id)
            if remote is None or kernel is None or kernel.remote is not remote:
                self._models.pop(kernel_id, None)
            else:
                self._models[kernel_id] = kernel.model()
        return [model.copy() for model in self._models.values()]

    async def shutdown_kernel(
        self, kernel_id: str, now: bool = False, restart: bool = False
    ) -> None:
        """Delete a kernel; if that fails it stays listed."""
        self.check_kernel_id(kernel_id)
        await self.managers[kernel_id].shutdown_kernel(now=now, restart=restart)
        self.remove_kernel(kernel_id)

    async def restart_kernel(self, kernel_id: str, now: bool = False, **kwargs: Any) -> None:
        """Restart a kernel."""
        self.check_kernel_id(kernel_id)
        await self.managers[kernel_id].restart_kernel(now=now, **kwargs)
        await self.known.look_again(kernel_id, anew=True)

    async def interrupt_kernel(self, kernel_id: str, **_: Any) -> None:
        """Interrupt a kernel."""
        self.check_kernel_id(kernel_id)
        await self.managers[kernel_id].interrupt_kernel()

    async def shutdown_all(self, now: bool = False) -> None:
        """Do to all kernels what ``on_exit`` says, then close the gateway; see
        `Roster.shutdown_all`. Jupyter Server calls this when it stops, whatever has stopped it.

        A server that stops does not wait for its gateway longer than some seconds, nor for
        restarts: ``now`` makes no difference.
        """
        await self.roster.shutdown_all(
            delete=lambda kernel_id: self.shutdown_kernel(kernel_id, now=True)
        )

    async def _clean_up(self, kernel_id: str) -> None:
        """Forget a kernel that the roster has forgotten."""
        kernel = self.remove_kernel(kernel_id)
        if kernel is not None:
            await kernel.cleanup_resources()
