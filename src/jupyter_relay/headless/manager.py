"""The manager of a kernel behind a gateway, for programs that expect jupyter_client's."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from typing import Any

from jupyter_client.managerabc import KernelManagerABC
from traitlets import Bool, DottedObjectName, Type, default

from jupyter_relay.config import GatewayClient
from jupyter_relay.errors import (
    KernelNotFound,
    KernelNotRunning,
    NotPossibleOnGateway,
    RelayError,
)
from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.headless.built_in_names import BuiltInKernelNames
from jupyter_relay.headless.client import GatewayKernelClient
from jupyter_relay.headless.jupyter_client_private import with_private_names_of_manager
from jupyter_relay.headless.local_methods import LocalMethods
from jupyter_relay.kernels.at_exit import STARTED, StartedKernel
from jupyter_relay.kernels.kernel import RemoteKernel
from jupyter_relay.kernels.operations import NO_PATIENCE, RESTART_PATIENCE
from jupyter_relay.kernels.roster import Roster
from jupyter_relay.link.actions import Report
from jupyter_relay.link.life import DEAD, NOT_STARTED
from jupyter_relay.rest.users import NotebookUser


@with_private_names_of_manager(
    kill_kernel="_kill", send_kernel_sigterm="_kill", launch_kernel="_launched_by_gateway"
)
class GatewayKernelManager(BuiltInKernelNames, LocalMethods):
    """Manages one kernel on the configured gateway.

    It has the methods of `jupyter_client.AsyncKernelManager`, and starts the kernelspec that it is
    told, ``kernel_name``, on the gateway. ``remote`` is the kernel, None before the start and
    after the shutdown. All its errors are those of ``jupyter_relay.errors``.

    A kernel that it has started ends with it, as a local one ends with its program: it is deleted
    by `shutdown_kernel`, by `cleanup_resources`, and at the program's end. One that it has attached
    to, or that was given to `release`, runs on.
    """

    ends_kernels = True
    """Whether kernels that were started end with the manager and the program."""

    dies_with_process = True
    """Whether a kernel counts as dead once its gateway runs another process in its place, which
    knows nothing of what the first one was told."""

    client_class = DottedObjectName(
        "jupyter_relay.headless.client.GatewayKernelClient", config=True
    )
    client_factory = Type(klass=GatewayKernelClient, config=True)
    cache_ports = Bool(False, help="A remote kernel has no ports here.")

    def __init__(
        self, *, roster: Roster | None = None, gateway: Gateway | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.remote: RemoteKernel | None = None
        self._given_roster = roster
        self._given_gateway = gateway
        self._own_roster: Roster | None = None
        """Made when it is first needed, where none was given; None again once it is closed."""
        self._readiness: asyncio.Future[None] | None = None
        """What `ready` has returned for the kernel that was started last."""
        self._restarts = 0
        """How often the kernel had been replaced when it was started here, or last restarted."""
        self._started: StartedKernel | None = None
        """The kernel of ours that is deleted at the program's end; not one that was attached to."""

    @default("client_factory")
    def _gateway_client(self) -> type[GatewayKernelClient]:
        return GatewayKernelClient

    @property
    def roster(self) -> Roster:
        """The owner of the kernel: the one that this was made with, or one of its own, on the
        gateway that this was made with or on the configured one."""
        if self._given_roster is not None:
            return self._given_roster
        if self._own_roster is None:
            gateway = self._given_gateway
            self._own_roster = Roster(
                gateway or Gateway(GatewayClient(parent=self).settings()),
                closes_gateway=gateway is None,
                log=self.log,
            )
        return self._own_roster

    @property
    def gateway(self) -> Gateway:
        """The gateway: the one that this was made with, or the configured one."""
        return self.roster.gateway

    @property
    def started_by_server(self) -> bool:
        """True if a server has started the kernel; see `Roster.started_by_server`."""
        return self.remote is not None and self.roster.started_by_server(self.remote)

    @property
    def is_dead(self) -> bool:
        """True if there is no kernel, or it is known to be dead; see `dies_with_process`."""
        remote = self.remote
        if remote is None or remote.life in DEAD:
            return True
        return self.dies_with_process and remote.restarts > self._restarts

    @property
    def ready(self) -> asyncio.Future[None]:
        """Done once the kernel that was started is there; it carries what the start failed with.
        There is one for each start.

        This is how jupyter_client shows kernels that are starting (``use_pending_kernels``).
        """
        remote = self.running
        if self._readiness is not None and self._readiness.cancelled():
            self._readiness = None  # by one who did not wait; the next one may
        if self._readiness is None and remote.life not in NOT_STARTED:
            self._readiness = asyncio.get_running_loop().create_future()
            self._readiness.set_result(None)
        elif self._readiness is None:
            self._readiness = asyncio.ensure_future(remote.ready())
            # Nobody may ask what it failed with, which the model says, too.
            self._readiness.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._readiness

    @property
    def running(self) -> RemoteKernel:
        """The kernel. Raises `KernelNotRunning` if there is none."""
        if self.remote is None:
            raise KernelNotRunning
        return self.remote

    async def start_kernel(
        self,
        *,
        kernel_id: str | None = None,
        kernel_name: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        patience: float | None = None,
        user: NotebookUser | None = None,
        **_: Any,
    ) -> None:
        """Start a kernel, or attach to the one with this id: with a store, under the session id of
        the program that was attached last, so that its gateway hands over what it has kept since.

        ``kernel_id`` may be the id that the kernel was shown under, or its gateway's.

        The kernel is waited for; with ``patience``, for so many seconds. After that the start goes
        on by itself, and what the kernel is asked waits for it. If this is cancelled meanwhile,
        the kernel is deleted as soon as it is there.

        ``env``, ``cwd`` and ``user`` are as in `Gateway.start_kernel`; other arguments are for
        local processes, and mean nothing here. Raises what that raises, and `KernelNotFound`.
        """
        roster = self.roster
        try:
            if kernel_id is not None:
                remote = await roster.attach(kernel_id, on_report=self.on_kernel_report)
            else:
                remote = await roster.start(
                    kernel_name or self.kernel_name,
                    env=env,
                    cwd=cwd,
                    user=user,
                    patience=patience,
                    delete_at_exit=self.ends_kernels,
                    on_report=self.on_kernel_report,
                )
        except BaseException:
            if self.remote is None:  # nobody cleans up where nothing was started
                await self._release()
            raise
        await self._adopt(remote, roster.started(remote) if kernel_id is None else None)

    async def shutdown_kernel(self, now: bool = False, restart: bool = False) -> None:
        """Delete the kernel on its gateway. Succeeds if it does not exist.

        One that is being restarted is deleted after that; with ``now``, not much later.
        """
        self.shutting_down = True
        if self.remote is not None:
            await self.remote.shutdown(patience=NO_PATIENCE if now else RESTART_PATIENCE)
            self._disown()
        await self.cleanup_resources(restart=restart)

    async def restart_kernel(self, now: bool = False, newports: bool = False, **_: Any) -> None:
        """Restart the kernel. Raises `KernelNotRunning` or `KernelNotFound`."""
        remote = self.running
        await self.roster.restart(remote)
        self._restarts = remote.restarts

    async def interrupt_kernel(self) -> None:
        """Interrupt the kernel. Raises `KernelNotRunning` or `KernelNotFound`."""
        await self.running.interrupt()

    async def signal_kernel(self, signum: int) -> None:
        """Send a signal to the kernel: SIGINT, which is an interrupt, and no other.

        Raises `NotPossibleOnGateway`, and what `interrupt_kernel` does.
        """
        if signum != signal.SIGINT:
            names = {number.value: number.name for number in signal.Signals}
            name = names.get(signum, signum)
            raise NotPossibleOnGateway(f"A gateway does not send {name} to kernels, only SIGINT.")
        await self.interrupt_kernel()

    async def request_shutdown(self, restart: bool = False) -> None:
        """Delete the kernel on its gateway; for a restart, which is one request, do nothing."""
        if not restart:
            await self.shutdown_kernel()

    async def is_alive(self) -> bool:
        """Whether the kernel that was started still runs, by its gateway's word.

        Where it `dies_with_process`, a process that died, and that its gateway has replaced,
        counts as dead: what it knew is lost. While the gateway cannot say, a kernel counts as
        alive.
        """
        if self.is_dead:
            return False
        try:
            model = await self.running.refresh()
        except KernelNotFound:
            return False
        except RelayError:  # a gateway's bad day does not end an hour's work
            return True
        return model.execution_state != "dead"

    def on_kernel_report(self, report: Report) -> None:
        """Called with each report of the kernel's link, which the log has already. A subclass may
        pass it on."""

    def client(self, **kwargs: Any) -> GatewayKernelClient:
        """Return a client of the kernel; its channels are still to be started."""
        remote = self.remote
        given = {"parent": self, "remote": remote, "kernel_id": remote.id if remote else None}
        client: GatewayKernelClient = self.client_factory(**given | kwargs)
        return client

    async def cleanup_resources(self, restart: bool = False) -> None:
        """Delete the kernel if this manager has started it, and close the link to it, and the
        gateway if it is ours alone.

        Programs such as nbclient call nothing else where a kernel has died; its gateway may have
        started another process in its place. A deletion that fails is logged, and tried again at
        the program's end.
        """
        if restart:
            return
        # What `shutdown_kernel` could not delete is not tried again at once.
        if (
            self.remote is not None
            and self._started is not None
            and self.ends_kernels
            and not self.shutting_down
        ):
            try:
                await self.remote.shutdown(patience=NO_PATIENCE)
            except RelayError as error:
                self.remote.log.warning("was not deleted: %s", error)
            else:
                self._disown()
        await self._release()

    async def release(self) -> None:
        """Close the link to the kernel, which runs on, also after the program's end."""
        self._disown()
        await self._release()

    def _disown(self) -> None:
        """Leave the kernel as it is at the program's end."""
        started, self._started = self._started, None
        if started is not None:
            STARTED.remove(started)

    async def _release(self) -> None:
        """Close the link to the kernel, and the roster if it is this manager's own."""
        remote, self.remote = self.remote, None
        if remote is not None:
            await self.roster.release(remote, on_report=self.on_kernel_report)
        own, self._own_roster = self._own_roster, None
        if own is not None:
            await own.close()

    async def _adopt(self, remote: RemoteKernel, started: StartedKernel | None) -> None:
        """Manage a kernel in the place of the one before; ``started`` is the mark of one that was
        started, None for one that was attached to."""
        given = remote.gateway.ids.given(remote.id)
        if self._started is not None and self._started.kernel_id == given:
            STARTED.remove(self._started)  # it was attached to again, and is no longer its own
        self._started = started
        before, self.remote = self.remote, remote
        self._readiness = None
        self.kernel_id = remote.id
        if remote.model.name:
            self.kernel_name = remote.model.name
        self._restarts = remote.restarts
        self.shutting_down = False
        if before is not None:  # also if it is the same one: this is one user of it
            await self.roster.release(before, on_report=self.on_kernel_report)

    async def _kill(self, restart: bool = False) -> None:
        if self.remote is not None and not restart:
            await self.shutdown_kernel(now=True)


KernelManagerABC.register(GatewayKernelManager)
