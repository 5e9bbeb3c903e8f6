"""The kernels of a Jupyter Server whose kernels run on a gateway."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Collection, Mapping
from datetime import datetime
from math import inf
from typing import Any, Final, TypeAlias
from weakref import WeakValueDictionary

from jupyter_client.kernelspec import KernelSpec
from jupyter_events import EventLogger
from jupyter_server._tz import isoformat, utcnow
from jupyter_server.services.kernels.kernelmanager import (
    AsyncMappingKernelManager,
    ServerKernelManager,
    emit_kernel_action_event,
)
from jupyter_server.utils import ApiPath, to_os_path
from traitlets import Bunch, default, validate
from traitlets.utils.importstring import import_item

from jupyter_relay.errors import RelayError
from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.headless.manager import GatewayKernelManager as HeadlessKernelManager
from jupyter_relay.headless.manager import shown_id
from jupyter_relay.kernels.cached import PATIENCE, Cached
from jupyter_relay.link.actions import Report
from jupyter_relay.link.life import DEAD, LISTED, NOT_STARTED, ON_GATEWAY, VANISHED
from jupyter_relay.redact import in_lines
from jupyter_relay.rest.models import KernelModel
from jupyter_relay.rest.users import NotebookUser
from jupyter_relay.server.built_in_names import BuiltInMappingNames, BuiltInServerKernelNames
from jupyter_relay.server.gateway_config import options_of, state_folder
from jupyter_relay.server.http.http_errors import PlainHTTPError, http_errors
from jupyter_relay.server.identity import notebook_user
from jupyter_relay.server.kernelspecs import GatewayKernelSpecManager
from jupyter_relay.server.link_events import emit
from jupyter_relay.settings.on_exit import OnExit
from jupyter_relay.store.store import Store
from jupyter_relay.wire.message import quoted

Model: TypeAlias = dict[str, Any]
"""A model of the server's REST API."""

_FAREWELL_SECONDS: Final = 30.0
"""How long the pages of a kernel that is gone keep their websockets: JupyterLab finds out by its
lists, every 10 s, and lets go of kernel and session together."""

_LOST_SECONDS: Final = 60.0
"""For how long such a kernel is remembered, so that its pages can be told why."""

_DELETE_SECONDS: Final = 4.0
"""How long a server that stops waits for its kernels to be deleted, all at once; if some are to run
on that are at work, to find out which is a part of it."""

_CLOSE_SECONDS: Final = 2.0
"""How long it waits after that for the websockets of the others to be closed in order."""

_MOST_NAMED: Final = 10
"""How many of the kernels that run on the log names."""


class GatewayKernelManager(BuiltInServerKernelNames, HeadlessKernelManager, ServerKernelManager):
    """Manages one kernel of the server, and emits the server's kernel action events."""

    @property
    def ends_kernels(self) -> bool:
        """Whether kernels that were started end with the manager and the program: not those of a
        server, which sees to that itself."""
        return self.parent is None

    @property
    def dies_with_process(self) -> bool:
        """Whether a kernel whose process was replaced counts as dead: not for a server, whose pages
        go on with it."""
        return self.parent is None

    _user: NotebookUser = NotebookUser()
    _known: KernelModel | None = None
    _active: datetime | None = None
    _question: Cached[KernelModel] | None = None
    _shown: Model
    _spec: KernelSpec | None = None

    @default("event_logger")
    def _servers_event_logger(self) -> EventLogger:
        """Return the server's own, which has the schemas; to register them takes longer than to
        start a kernel does, and is left to managers without a server."""
        server = getattr(self.parent, "parent", None)
        logger: EventLogger | None = getattr(server, "event_logger", None)
        return logger or self._default_event_logger()

    def register_schemas(self) -> None:
        """Make the schemas that the user has set, ``extra_event_schema_paths``, known to the
        server's logger. It reads files."""
        if self.extra_event_schema_paths:
            self._default_event_logger()

    @property
    def kernel_spec(self) -> KernelSpec:
        """The kernelspec, as its gateway last listed it for who started the kernel; an empty one if
        it never did."""
        specs = getattr(self.parent, "kernel_spec_manager", None)
        if isinstance(specs, GatewayKernelSpecManager):
            # Kept here, since the lists of users who ask no more are let go of.
            self._spec = specs.known_spec(self.kernel_name, self._user) or self._spec
        return self._spec or KernelSpec()

    @emit_kernel_action_event(success_msg="Kernel {kernel_id} was started.")
    async def start_kernel(self, **kwargs: Any) -> None:
        """See `HeadlessKernelManager.start_kernel`. Raises HTTP errors."""
        self._user = kwargs.get("user") or self._user
        if self.parent is None:
            # The schemas of its events, which a server has already, are read from files.
            await asyncio.to_thread(lambda: self.event_logger)
        with http_errors():
            await super().start_kernel(**kwargs)
        if isinstance(self.parent, GatewayMappingKernelManager):
            self.running.leave_untracked(self.parent.untracked)
        self.last_activity = utcnow()
        self._take(self.running.model)

    @emit_kernel_action_event(success_msg="Kernel {kernel_id} was shutdown.")
    async def shutdown_kernel(self, now: bool = False, restart: bool = False) -> None:
        """See `HeadlessKernelManager.shutdown_kernel`. Raises HTTP errors."""
        with http_errors(f"Kernel {self.kernel_id} was not shut down, and stays listed"):
            await super().shutdown_kernel(now=now, restart=restart)

    @emit_kernel_action_event(success_msg="Kernel {kernel_id} was restarted.")
    async def restart_kernel(self, now: bool = False, **kwargs: Any) -> None:
        """See `HeadlessKernelManager.restart_kernel`. Raises HTTP errors."""
        with http_errors():
            await super().restart_kernel(now=now, **kwargs)

    @emit_kernel_action_event(success_msg="Kernel {kernel_id} was interrupted.")
    async def interrupt_kernel(self) -> None:
        """See `HeadlessKernelManager.interrupt_kernel`. Raises HTTP errors."""
        with http_errors():
            await super().interrupt_kernel()

    def on_kernel_report(self, report: Report) -> None:
        """Emit as an event what happened to the link."""
        remote = self.remote
        if remote is None:
            return
        try:
            emit(self.event_logger, report, gateway=remote.gateway.name, kernel_id=remote.id)
        except Exception:  # whoever listens to events, the link goes on
            self.log.exception("An event of kernel %s could not be emitted.", remote.id)

    def on_kernel_changed(self) -> None:
        """Have the list of kernels look at this one."""
        if isinstance(self.parent, GatewayMappingKernelManager):
            self.parent.look_at(self.kernel_id)

    @property
    def farewell_seconds(self) -> float:
        """How long its pages keep their websockets once it is gone from the gateway."""
        kernels = self.parent
        if isinstance(kernels, GatewayMappingKernelManager):
            return kernels.farewell_seconds
        return _FAREWELL_SECONDS

    def model(self) -> Model:
        """Return the kernel's model for the REST API, its dates by our clock; from then on its
        traits say the same."""
        remote = self.running
        known = remote.model
        # A trait that stays as it is costs as much as one that changes.
        if known != self._known or remote.last_activity != self._active:
            self._take(known)
        model = self._shown.copy()
        model["connections"] = remote.connections
        return model

    async def look_again(self, *, at_most: float = inf, anew: bool = False) -> None:
        """Ask the gateway for the kernel, once for all who ask at the same time.

        One that is gone is dead from then on. The answer is waited for until the gateway counts as
        silent, and no longer than ``at_most`` seconds; one that comes later is taken when it comes.
        With ``anew``, a question that is under way is put again: its answer may be outdated.
        """
        question = self._question
        if question is None:
            remote = self.running
            question = self._question = Cached(
                remote.refresh,
                what=f"Kernel {remote.id}",
                asked_for="asked for",
                newest_only=True,
                gateway=remote.gateway.name,
                log=self.log,
                quiet=True,
            )
        elif anew:
            await question.close()
        await question.refresh(at_most=at_most)

    async def cleanup_resources(self, restart: bool = False) -> None:
        """See `HeadlessKernelManager.cleanup_resources`."""
        question, self._question = self._question, None
        if question is not None:
            await question.close()
        await super().cleanup_resources(restart=restart)

    def _take(self, known: KernelModel) -> None:
        self._active = self.running.last_activity
        self.execution_state = known.execution_state
        self.last_activity = self._active or self.last_activity
        self.reason = known.reason
        self._shown = {
            "id": known.id,
            "name": known.name or self.kernel_name,
            "last_activity": isoformat(self.last_activity),
            "execution_state": known.execution_state,
        }
        if known.reason:
            self._shown["reason"] = in_lines(known.reason)
        self._known = known
        if isinstance(self.parent, GatewayMappingKernelManager):
            self.parent.note_activity(self.last_activity)


class GatewayMappingKernelManager(BuiltInMappingNames, AsyncMappingKernelManager):
    """The kernels of one server, and only those: what others run on the gateway is not shown.

    A kernel that is gone from the gateway is not listed, as one that was culled here, and neither
    is one whose start has failed after it was shown as starting. Its pages
    keep their websockets for ``farewell_seconds``; what it was, and why it is gone, is remembered
    for ``lost_seconds``.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._attaching: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._untracked: frozenset[str] = frozenset()
        self._stopping = False
        self._listed_at = self._restarted_at = -inf
        self._loop: asyncio.AbstractEventLoop | None = None
        self.farewell_seconds = _FAREWELL_SECONDS
        self.lost_seconds = _LOST_SECONDS
        self._lost: dict[str, float] = {}
        specs = self.kernel_spec_manager
        if isinstance(specs, GatewayKernelSpecManager):
            self.gateway, self.store = specs.gateway, specs.store
        else:
            self.gateway = Gateway(options_of(self).settings())
            self.store = Store(state_folder(self.gateway.settings, self.parent), log=self.log)
        self._found: Mapping[str, KernelModel | None] = {}
        self._stirred: dict[str, None] = {}
        self._shown: dict[str, tuple[KernelModel, Model]] = {}
        self._listing = Cached(
            self._ask,
            what=f"The kernels of {self.gateway.name}",
            gateway=self.gateway.name,
            log=self.log,
        )

    @property
    def last_kernel_activity(self) -> datetime:
        """When a kernel of ours last worked, by our clock; that one is culled is no activity.

        It is part of what the server reports as its own activity, to JupyterHub for one. A kernel
        without a page has no link that hears it, so its gateway is asked behind the answer, for
        whoever wants to know next.
        """
        self._ask_behind()
        for kernel_id in self._stirred:
            kernel: GatewayKernelManager = self._kernels[kernel_id]
            if kernel.remote is not None:
                self.note_activity(kernel.remote.last_activity)
        return self._last_activity

    @last_kernel_activity.setter
    def last_kernel_activity(self, date: datetime) -> None:
        self._last_activity = date

    def note_activity(self, date: datetime | None) -> None:
        """Take it that a kernel worked at this time."""
        if date is not None and date > self._last_activity:
            self._last_activity = date

    @property
    def untracked(self) -> frozenset[str]:
        """The ``untracked_message_types``: one set for all kernels, since each takes 2 kB."""
        types = frozenset(self.untracked_message_types)
        if types != self._untracked:
            self._untracked = types
        return self._untracked

    def list_kernel_ids(self) -> list[str]:
        """Return the ids of the kernels that are not known to be dead.

        One that is known to be dead is remembered for a while, so that its pages can be told why.
        """
        return [
            kernel_id
            for kernel_id, kernel in tuple(self._kernels.items())
            if kernel.remote is not None and kernel.remote.model.execution_state != "dead"
        ]

    def __len__(self) -> int:
        """Return how many kernels `list_kernel_ids` lists.

        With ``shutdown_no_activity_timeout`` the server asks this once a minute, and ends if there
        are none. Without pages nobody else asks for the kernels, so the gateway is asked behind the
        answer.
        """
        self._ask_behind()
        return len(self.list_kernel_ids())

    def __bool__(self) -> bool:
        """True: the server shuts down no manager that is false, and an empty one would be."""
        return True

    @default("kernel_manager_class")
    def _default_kernel_manager_class(self) -> str:
        return "jupyter_relay.managers.GatewayKernelManager"

    @validate("kernel_manager_class")
    def _validate_kernel_manager_class(self, proposal: Bunch) -> str:
        """Use a class of ours: another one would manage processes of this machine."""
        named: str = proposal.value
        if issubclass(import_item(named), GatewayKernelManager):
            return named
        self.log.warning(
            "kernel_manager_class = %s is not used: it is no subclass of %s.",
            named,
            self._default_kernel_manager_class(),
        )
        return self._default_kernel_manager_class()

    @default("shared_context")
    def _no_shared_context(self) -> bool:
        return False

    def remove_kernel(self, kernel_id: str) -> GatewayKernelManager | None:
        """Forget a kernel; one that is not known is no error."""
        for of_each in (self._kernel_connections, self._stirred, self._shown, self._lost):
            of_each.pop(kernel_id, None)
        kernel: GatewayKernelManager | None = self._kernels.pop(kernel_id, None)
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
            kernel_id = await shown_id(self.gateway, self.store, kernel_id)
            # Two who attach to one kernel share what the first makes.
            async with self._attaching.setdefault(kernel_id, asyncio.Lock()):
                if kernel_id not in self:
                    return await self._start(kernel_id, **kwargs)
            await self.look_again(kernel_id)
            return kernel_id
        if path is not None:
            self._check_path(path)
            # It looks for folders, which may be far away.
            env = kwargs.get("env", {})
            kwargs["cwd"] = await asyncio.to_thread(self.cwd_for_path, path, env=env)
        return await self._start(None, **kwargs)

    def _check_path(self, path: str) -> None:
        """Raise a 400 for an API path that leads out of the server's files, whether there is such
        a folder or not: the answer would tell which folders the server's machine has."""
        root = os.path.normpath(self.root_dir)
        if not _is_below(root, to_os_path(ApiPath(path), root)):
            shown = quoted(path)
            raise PlainHTTPError(400, f"The path {shown!r} leads out of this server's files.")

    async def _start(self, kernel_id: str | None, **kwargs: Any) -> str:
        self._loop = asyncio.get_running_loop()
        if not self._stopping:
            self.gateway.reopen()  # after `shutdown_all`, which need not be the server's end
        kwargs["kernel_name"] = name = kwargs.get("kernel_name") or self.default_kernel_name
        specs = self.kernel_spec_manager
        if kernel_id is None and isinstance(specs, GatewayKernelSpecManager):
            with http_errors():
                if not specs.allows(name):
                    raise specs.not_allowed(name)
        kernel = self._new_kernel()
        grace = 0.0 if self.use_pending_kernels else self.gateway.settings.start_grace
        given = kwargs | {"user": notebook_user(), "patience": grace}
        await kernel.start_kernel(kernel_id=kernel_id, **given)
        if self._stopping:
            if kernel_id is not None:
                await kernel.release()
                raise PlainHTTPError(503, "The server is about to end.")
            await kernel.shutdown_kernel()  # nobody has been told of it
            raise PlainHTTPError(503, "The server is about to end, and the kernel was shut down.")
        started: str = kernel.running.id
        self._kernels[started] = kernel
        self.look_at(started)
        what = "is starting" if kernel.running.life in NOT_STARTED else "runs"
        self.log.info("Kernel %s: %s on %s.", started, what, self.gateway.name)
        if not self._initialized_culler:
            self.initialize_culler()
        return started

    def _new_kernel(self) -> GatewayKernelManager:
        kernel: GatewayKernelManager = self.kernel_manager_factory(
            gateway=self.gateway, store=self.store, parent=self, log=self.log
        )
        return kernel

    def register_schemas(self) -> None:
        """Make the schemas of its kernels' events known to the server's logger. It reads files."""
        self._new_kernel().register_schemas()

    async def kernel_model(self, kernel_id: str) -> Model:
        """Return the model of a kernel, by what is known. See `look_again`."""
        self._check_kernel_id(kernel_id)
        return self._kernels[kernel_id].model()  # type: ignore[no-any-return]  # the map is untyped

    async def list_kernels(self, **_: Any) -> list[Model]:
        """Return the models of our kernels; without those that are gone from the gateway, or were
        not started there.

        They are asked for now. Of a gateway that does not answer at once they are as they were last
        heard of: a page must not wait for it, nor think that they have ended.
        """
        await self.refresh()
        for kernel_id in tuple(self._stirred):
            kernel: GatewayKernelManager = self._kernels[kernel_id]
            remote = kernel.remote
            if remote is None or remote.life not in LISTED:
                self._shown.pop(kernel_id, None)
                continue
            self._shown[kernel_id] = remote.model, kernel.model()
            if remote.is_settled:
                del self._stirred[kernel_id]
        return [model.copy() for _, model in self._shown.values()]

    async def refresh(self) -> None:
        """Ask for our kernels, and wait for the answer as long as a page may."""
        await self._listing.refresh()

    async def look_again(self, kernel_id: str, *, anew: bool = False) -> None:
        """Ask the gateway for one kernel, if its last answer is older than ``listing_ttl``, or in
        any case with ``anew``; and wait for it.

        A gateway that is slow is waited for until it counts as silent: else a kernel that ended
        there would be given to a page once more. One that is known to be down is waited for as
        long as a list may take. A kernel that is being started, or is known to be gone, is not
        asked for.
        """
        kernel: GatewayKernelManager | None = self._kernels.get(kernel_id)
        remote = kernel.remote if kernel is not None else None
        if kernel is None or remote is None or remote.life not in ON_GATEWAY:
            return
        # A list leaves out the kernels that the gateway could not be asked for.
        listed_at = self._listed_at if kernel_id in self._found else -inf
        age = time.monotonic() - max(listed_at, remote.asked_at)
        if anew or age >= self.gateway.settings.listing_ttl:
            at_most = PATIENCE if self._listing.down else inf
            await kernel.look_again(at_most=at_most, anew=anew)

    def why_lost(self, kernel_id: str) -> str | None:
        """Return why a kernel of ours is gone from the gateway, or was not started there; None if
        neither is so, by what is known, or it is none of ours."""
        kernel: GatewayKernelManager | None = self._kernels.get(kernel_id)
        remote = kernel.remote if kernel is not None else None
        if remote is None or remote.life not in VANISHED:
            return None
        return remote.model.reason

    def _ask_behind(self) -> None:
        """Ask for our kernels if that was not done just now, and wait for nothing.

        Outside the event loop of the kernels, as in a thread that reads metrics, nothing is asked.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        if loop is not self._loop:
            return
        age = time.monotonic() - self._listed_at
        if self._kernels and not self._stopping and age >= self.gateway.settings.listing_ttl:
            self._listing.begin()

    def look_at(self, kernel_id: str) -> None:
        """Have the next list look at a kernel, and those after it until it is at rest.

        Of a thousand kernels few change between two lists, and to walk over the others would be
        most of what a list costs: they do not fit into a processor's cache.
        """
        if kernel_id in self._kernels:
            self._stirred[kernel_id] = None

    async def _ask(self) -> None:
        """Ask for our kernels, and take what is said of each. One that is gone is forgotten after a
        while: its pages ask for its model, to say why."""
        await self._forget_lost()
        unasked = {kernel_id for kernel_id in self._stirred if not self._is_asked_for(kernel_id)}
        for kernel_id in unasked:
            if self.why_lost(kernel_id) is not None:
                self._lost.setdefault(kernel_id, time.monotonic())
        began = time.monotonic()
        found = await self.gateway.find_kernels(self._kernels.keys() - unasked)
        if found is self._found:
            return  # it is the last answer, which is still good
        if began >= self._restarted_at:
            self._listed_at = time.monotonic()
        for kernel_id, model in found.items():
            shown = self._shown.get(kernel_id)
            if shown is not None and shown[0] is model and kernel_id not in self._stirred:
                continue  # nothing new is said of a kernel at rest
            kernel: GatewayKernelManager | None = self._kernels.get(kernel_id)
            if kernel is None or kernel.remote is None:
                continue  # it was shut down here while the gateway was asked
            if model is not None:
                kernel.remote.update(model)
            else:
                kernel.remote.mark_gone()
                self._lost.setdefault(kernel_id, time.monotonic())
        self._found = found

    def _is_asked_for(self, kernel_id: str) -> bool:
        """False for a kernel whose start is under way, or has failed: its gateway never had it."""
        remote = self._kernels[kernel_id].remote
        return remote is not None and remote.life not in NOT_STARTED

    async def _forget_lost(self) -> None:
        """Forget the kernels that the gateway has been without for `lost_seconds`."""
        for kernel_id, since in tuple(self._lost.items()):
            if time.monotonic() - since < self.lost_seconds:
                continue
            kernel = self.remove_kernel(kernel_id)
            if kernel is not None:
                await kernel.cleanup_resources()

    async def shutdown_kernel(
        self, kernel_id: str, now: bool = False, restart: bool = False
    ) -> None:
        """Delete a kernel; if that fails it stays listed."""
        self._check_kernel_id(kernel_id)
        await self._kernels[kernel_id].shutdown_kernel(now=now, restart=restart)
        self.remove_kernel(kernel_id)

    async def restart_kernel(self, kernel_id: str, now: bool = False, **kwargs: Any) -> None:
        """Restart a kernel."""
        self._check_kernel_id(kernel_id)
        try:
            await self._kernels[kernel_id].restart_kernel(now=now, **kwargs)
        finally:
            # What was said of it is of the time before.
            self._listed_at = -inf
            self._restarted_at = time.monotonic()
        await self.look_again(kernel_id, anew=True)

    async def interrupt_kernel(self, kernel_id: str, **_: Any) -> None:
        """Interrupt a kernel."""
        self._check_kernel_id(kernel_id)
        await self._kernels[kernel_id].interrupt_kernel()

    async def shutdown_all(self, now: bool = False) -> None:
        """Do to all kernels what ``on_exit`` says, then close gateway and store. Jupyter Server
        calls this when it stops, whatever has stopped it.

        Kernels are deleted all at once and each for itself. One that cannot be deleted in time is
        named in the log, and goes on running. A server that stops does not wait for its gateway
        longer than some seconds, nor for restarts: ``now`` makes no difference.

        Whatever ``on_exit`` says, kernels that were not started by this server, or by one that has
        left them to it, run on; and a start that is under way is given up, and a deletion carried
        out.
        """
        self._stopping = True
        ends_at = asyncio.get_running_loop().time() + _DELETE_SECONDS
        self.gateway.end_soon(_DELETE_SECONDS)
        await self._listing.close()
        if self.gateway.settings.on_exit is OnExit.KEEP_BUSY:
            await self._ask_in_time()
        kernels = dict(self._kernels)
        staying = {
            kernel_id: why
            for kernel_id, kernel in kernels.items()
            if (why := self._why_it_runs_on(kernel)) is not None
        }
        self._tell_staying(staying)
        ending = [kernel_id for kernel_id in kernels if kernel_id not in staying]
        results = await asyncio.gather(
            *(self._shut_down_in_time(kernel_id, ends_at) for kernel_id in ending),
            return_exceptions=True,
        )
        for kernel_id, result in zip(ending, results, strict=True):
            if isinstance(result, Exception):
                error = result.__cause__ or result  # an HTTP error covers what was wrong
                self.log.error("Kernel %s: could not be shut down: %s", kernel_id, error)
            else:
                kernels.pop(kernel_id)
        await self._let_go(kernels, staying)
        await self.store.close()
        self._stopping = False

    async def _ask_in_time(self) -> None:
        """Ask for our kernels once more, so that it is known which are at work. A gateway that does
        not answer is waited for no longer than by a page."""
        self.gateway.forget_listing()
        try:
            async with asyncio.timeout(PATIENCE):
                await self._ask()
        except RelayError as error:
            why = str(error)
        except TimeoutError:
            why = f"{self.gateway.name} has not answered for {PATIENCE:g} s."
        else:
            return
        self.log.warning("Which kernels are at work is taken from what was heard last: %s", why)

    def _why_it_runs_on(self, kernel: GatewayKernelManager) -> str | None:
        """Return why a kernel runs on when the server stops; None if it is to be deleted."""
        remote, on_exit = kernel.remote, self.gateway.settings.on_exit
        if remote is None or remote.life in DEAD or remote.deleting:
            return None
        if not kernel.started_by_server:
            return "not started by this server"
        return f"on_exit = {on_exit.value}" if on_exit.keeps(at_work=remote.at_work) else None

    def _tell_staying(self, staying: Mapping[str, str]) -> None:
        """Say which kernels run on, in one line for each reason."""
        for why in dict.fromkeys(staying.values()):
            kernel_ids = [kernel_id for kernel_id in staying if staying[kernel_id] == why]
            count = "1 kernel runs" if len(kernel_ids) == 1 else f"{len(kernel_ids)} kernels run"
            more = len(kernel_ids) - _MOST_NAMED
            named = ", ".join(kernel_ids[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
            self.log.info("%s on at %s (%s): %s.", count, self.gateway.name, why, named)

    async def _shut_down_in_time(self, kernel_id: str, ends_at: float) -> None:
        try:
            async with asyncio.timeout_at(ends_at):
                await self.shutdown_kernel(kernel_id, now=True)
        except TimeoutError:
            if kernel_id in self:
                raise TimeoutError(
                    f"{self.gateway.name} did not answer within {_DELETE_SECONDS:g} s. "
                    "It may still run there."
                ) from None

    async def _let_go(
        self, kernels: Mapping[str, GatewayKernelManager], staying: Collection[str]
    ) -> None:
        """Close the links to kernels that run on, those that are ``staying`` with what they are at
        work on, and forget these; then close all connections to the gateway."""
        closing = [
            asyncio.ensure_future(kernel.remote.close(leave_work=kernel_id in staying))
            for kernel_id, kernel in kernels.items()
            if kernel.remote is not None
        ]
        if closing:
            await asyncio.wait(closing, timeout=_CLOSE_SECONDS)
        specs = self.kernel_spec_manager
        if isinstance(specs, GatewayKernelSpecManager) and specs.gateway is self.gateway:
            await specs.close()
        else:
            await self.gateway.close()
        # Without their sockets, those that waited for a silent gateway have nothing to wait for.
        await asyncio.gather(*closing)
        for kernel_id in staying:
            self.remove_kernel(kernel_id)

    async def cull_kernels(self) -> None:
        """Cull what is idle for too long, by what the gateway says now; a slow answer is waited
        for, since no page waits for this."""
        self.gateway.forget_listing()
        await self._listing.answer()
        if self._listing.error is None:
            await super().cull_kernels()

    async def cull_kernel_if_idle(self, kernel_id: str) -> None:
        """Cull a kernel if it is idle, and nobody listens unless ``cull_connected`` says so.

        One that was found gone stays for its pages for a while.
        """
        kernel: GatewayKernelManager | None = self._kernels.get(kernel_id)
        if kernel is None or kernel.remote is None or self._found.get(kernel_id, kernel) is None:
            return
        self._kernel_connections[kernel_id] = kernel.model()["connections"]
        await super().cull_kernel_if_idle(kernel_id)


def _is_below(root: str, path: str) -> bool:
    """Whether a normalised path is a folder's own, or one below it."""
    try:
        return os.path.commonpath([root, path]) == root
    except ValueError:  # on another drive
        return False
