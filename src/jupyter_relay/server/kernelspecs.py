"""The kernelspecs of a Jupyter Server whose kernels run on a gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import quote

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_server.utils import url_path_join
from traitlets import TraitError

from jupyter_relay.errors import KernelSpecNotFound, RelayError
from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.kernels.cached import SILENCE, Cached
from jupyter_relay.rest.models import KernelSpecModel, KernelSpecs
from jupyter_relay.rest.urls import file_of_kernelspec
from jupyter_relay.rest.users import NotebookUser, kernel_user
from jupyter_relay.server.built_in_names import BuiltInKernelSpecNames
from jupyter_relay.server.gateway_config import options_of, state_folder
from jupyter_relay.server.http.http_errors import http_errors
from jupyter_relay.server.identity import notebook_user
from jupyter_relay.server.kernelspec_events import KernelspecEvents
from jupyter_relay.store.store import Store
from jupyter_relay.wire.json import ModelError
from jupyter_relay.wire.message import quoted

T = TypeVar("T")

Model: TypeAlias = dict[str, Any]
"""A model of the server's REST API."""

_RESOURCES = "/kernelspecs/"

_STRETCH: Final = 100
"""How many kernelspecs are written in one go; that takes some milliseconds."""
_LANGUAGES: Final = {"python": "python", "julia": "julia", "bash": "bash"}
"""How the usual names of kernels begin, and the language that their kernelspecs say."""

_MOST_LISTS: Final = 64
"""For how many users a list is remembered, where each has their own."""


class GatewayKernelSpecManager(BuiltInKernelSpecNames, KernelSpecManager):
    """The kernelspecs of the configured gateway.

    A page that loads asks for them, and must not wait for a gateway that is away: after 1.5 s it
    is given those of the last listing; the first page, with nothing known, waits for 10 s. If there
    is no answer then, it is given stand-ins: of an empty list JupyterLab shows nothing at all, and
    asks less and less often. Choosing one asks the gateway for that kernel, and shows its error, or
    starts the kernel if all is well.

    JupyterLab writes the display name and the language of a kernelspec into notebooks. So those of
    stand-ins are what the gateway gave to the last server with the same state folder (``store``).
    Where there was none, there is one stand-in under the name of the server's default kernel, which
    is its display name, too. The reason is in its ``metadata``, under ``unavailable``.

    ``allowed_kernelspecs`` is heeded: of no other kernelspec is anything shown or started.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.gateway = Gateway(options_of(self).settings())
        self.store = Store(state_folder(self.gateway.settings, self.parent), log=self.log)
        self._events = KernelspecEvents(
            getattr(self.parent, "event_logger", None), gateway=self.gateway.name, log=self.log
        )
        self._lists: dict[str | None, Cached[KernelSpecs]] = {}
        self._kept: dict[str, bytes] = {}
        self._recalled: dict[str, KernelSpecs | None] = {}
        self._taken_over: str | None = None

    async def refresh(self) -> None:
        """Ask the gateway for its list, and wait for the answer as long as a page may."""
        await self._latest(notebook_user()).refresh()

    async def close(self) -> None:
        """Let go of the gateway."""
        await self.gateway.close()  # from here on whoever asks is told so
        for latest in tuple(self._lists.values()):
            await latest.close()

    async def get_all_specs(self) -> dict[str, Model]:
        """Return the kernelspecs by name, and take over the gateway's default kernel."""
        listed = await self.list_kernel_specs()
        return listed["kernelspecs"]  # type: ignore[no-any-return]  # a model is untyped

    async def list_kernel_specs(self) -> Model:
        """Return the model of all kernelspecs, as they were last listed.

        Where that is not of now, its ``unavailable`` says why, and so does an event.
        """
        user = notebook_user()
        latest = self._latest(user)
        await latest.refresh()
        known, error = latest.value, latest.error
        model: Model = {"default": self._default_of(known), "kernelspecs": {}}
        if known is not None:
            model["kernelspecs"] = await self._models(known)
        elif error is not None:
            model |= await self._stand_ins(error)
        if error is not None:
            model["unavailable"] = str(error)
            self._tell(user, error)
        return model

    async def get_kernel_spec(self, kernel_name: str, **_: Any) -> Model:
        """Return the model of one kernelspec. Raises `KeyError` if there is none of that name."""
        with http_errors():
            if not self.allows(kernel_name):
                raise KeyError(str(self.not_allowed(kernel_name)))
            user = notebook_user()
            try:
                return self._model(
                    await self._unless_silent(lambda: self.gateway.kernelspec(kernel_name, user))
                )
            except KernelSpecNotFound as error:
                raise KeyError(str(error)) from error

    async def get_kernel_spec_resource(self, kernel_name: str, path: str) -> bytes | None:
        """Return a file of a kernelspec, None if there is no such file."""
        if not self.allows(kernel_name):
            return None
        with http_errors():
            return await self._unless_silent(
                lambda: self.gateway.kernelspec_resource(kernel_name, path)
            )

    def allows(self, kernel_name: str) -> bool:
        """True if kernels of a kernelspec may be listed and started, by ``allowed_kernelspecs``."""
        return not self.allowed_kernelspecs or kernel_name in self.allowed_kernelspecs

    def not_allowed(self, kernel_name: str) -> KernelSpecNotFound:
        """Return the error for a kernelspec that is not allowed."""
        return KernelSpecNotFound(
            f"The kernelspec {quoted(kernel_name)!r} is not allowed on this server.",
            status=HTTPStatus.NOT_FOUND,
            hint="Choose another, or add it to KernelSpecManager.allowed_kernelspecs.",
            gateway=self.gateway.name,
        )

    def known_spec(self, kernel_name: str, user: NotebookUser) -> KernelSpec | None:
        """Return a kernelspec as it was last listed for a user, without asking; None if it is not
        known."""
        latest = self._lists.get(kernel_user(self.gateway.settings.start, user))
        listed = latest.value if latest is not None else None
        known = listed.specs.get(kernel_name) if listed is not None else None
        if known is None:
            return None
        spec: KernelSpec = self.kernel_spec_class()
        for field, value in known.spec.items():
            # What the gateway says and the class does not take is as good as not said.
            with suppress(TraitError):
                if spec.has_trait(field):
                    setattr(spec, field, value)
        return spec

    @property
    def _default(self) -> str:
        kernels = getattr(self.parent, "kernel_manager", None)
        name: str = kernels.default_kernel_name if kernels is not None else "python3"
        return name

    @property
    def _default_is_chosen(self) -> bool:
        """True if a person or an extension has set the server's default kernel: then it stays."""
        kernels = getattr(self.parent, "kernel_manager", None)
        if kernels is None:
            return False
        name = "default_kernel_name"
        configured = any(name in kernels.config.get(k.__name__, {}) for k in type(kernels).mro())
        untouched = self._taken_over or kernels.traits()[name].default_value
        return configured or self._default != untouched

    def _default_of(self, listed: KernelSpecs | None) -> str:
        """Return the name of the default kernelspec of a list."""
        wanted = [self._default]
        if listed is not None and listed.default and not self._default_is_chosen:
            wanted.insert(0, listed.default)
        others = listed.specs if listed is not None else self.allowed_kernelspecs
        allowed = [name for name in (*wanted, *sorted(others)) if self.allows(name)]
        return wanted[0] if self._default_is_chosen or not allowed else allowed[0]

    async def _unless_silent(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Wait for an answer; raise what is wrong with a gateway that is known to be away, at once,
        or as soon as it counts as silent: a page's few connections must not wait for it."""
        latest = self._latest(notebook_user())
        if latest.error is not None:
            await latest.refresh()
        asking = asyncio.create_task(ask())
        try:
            while latest.error is None and not asking.done():
                await asyncio.wait([asking], timeout=latest.until_silent)
            if latest.error is not None and not asking.done():
                # Others raise the same error: what it was raised through must not add up.
                raise latest.error.with_traceback(None)
            return await asking
        finally:
            if not asking.done():
                asking.cancel()
                await asyncio.wait([asking])

    def _latest(self, user: NotebookUser) -> Cached[KernelSpecs]:
        """The list for a user; one for all, unless the gateway is told who it is for."""
        told = kernel_user(self.gateway.settings.start, user)
        latest = self._lists.pop(told, None) or Cached(
            lambda: self._ask(user),
            what=f"The kernelspecs of {self.gateway.name}",
            gateway=self.gateway.name,
            log=self.log,
            first_patience=SILENCE,
            on_outcome=lambda error: self._tell(user, error),
        )
        # The one who asked last stands last. What is under way is for `close` to end.
        self._lists[told] = latest
        for other in tuple(self._lists)[:-_MOST_LISTS]:
            if not self._lists[other].asking:
                del self._lists[other]
        return latest

    def _tell(self, user: NotebookUser, error: RelayError | None) -> None:
        """Have pages told whether the list for a user is one of this moment; not at the server's
        end, which is no fault of the gateway's."""
        if not self.gateway.closed:
            self._events.tell(None if self._is_for_all(user) else user.name, error)

    def _is_for_all(self, user: NotebookUser) -> bool:
        """Whether the gateway is asked the same for a user as for all others."""
        settings = self.gateway.settings.start
        return kernel_user(settings, user) == kernel_user(settings, NotebookUser())

    async def _ask(self, user: NotebookUser) -> KernelSpecs:
        listed = await self.gateway.kernelspecs(user)
        self._keep(listed, self._name_in_store(user))
        kernels = getattr(self.parent, "kernel_manager", None)
        default = self._default_of(listed)
        if self._is_for_all(user) and kernels is not None and self._default != default:
            self.log.info("The default kernel is now the gateway's: %r.", default)
            self._taken_over = kernels.default_kernel_name = default
        return listed

    async def _stand_ins(self, error: RelayError) -> Model:
        """Return the model of a list of stand-ins, ``error`` being why there is no other."""
        recalled = await self._recall()
        shown = {}
        for name, spec in recalled.specs.items() if recalled is not None else ():
            if self.allows(name):
                shown[name] = _stand_in(name, error, spec)
        default = self._default_of(recalled if shown else None)
        return {"default": default, "kernelspecs": shown or {default: _stand_in(default, error)}}

    async def _recall(self) -> KernelSpecs | None:
        """Return what the gateway had for the last server; looked for once for each user."""
        user = self._name_in_store(notebook_user())
        if user not in self._recalled and not self.gateway.closed:
            kept = await self.store.kernelspecs.get(self.gateway.address, user)
            _put_last(self._recalled, user, self._read_kept(kept))
        return self._recalled.get(user)

    def _read_kept(self, kept: bytes | None) -> KernelSpecs | None:
        """Read a list from the store; None if there is none, or if it cannot be read."""
        try:
            return KernelSpecs.read(kept) if kept is not None else None
        except ModelError as error:
            self.log.warning(
                "The kernelspecs of %s that are kept in %s are not used: %s.",
                self.gateway.address,
                self.store.path,
                error,
            )
            return None

    def _keep(self, listed: KernelSpecs, user: str) -> None:
        """Have the next server know of a list, if it differs from the last one."""
        outline = listed.outline()
        if self._kept.get(user) != outline and not self.gateway.closed:
            _put_last(self._kept, user, outline)
            self._recalled.pop(user, None)
            self.store.kernelspecs.put(self.gateway.address, user, outline)

    def _name_in_store(self, user: NotebookUser) -> str:
        return kernel_user(self.gateway.settings.start, user) or ""

    async def _models(self, known: KernelSpecs) -> dict[str, Model]:
        """Write kernelspecs for the REST API; others have their turn in between."""
        models: dict[str, Model] = {}
        for number, (name, spec) in enumerate(known.specs.items(), 1):
            if self.allows(name):
                models[name] = self._model(spec)
            if number % _STRETCH == 0:
                await asyncio.sleep(0)
        return models

    def _model(self, spec: KernelSpecModel) -> Model:
        """Write a kernelspec for the REST API, its files under this server's own base URL; those
        that lie elsewhere are left out."""
        base_url = getattr(self.parent, "base_url", "/")
        folder = url_path_join(base_url, _RESOURCES, quote(spec.name, safe=""))
        resources = {}
        for name, url in spec.resources.items():
            below = file_of_kernelspec(url, spec.name, self.gateway.settings.url)
            if below is not None:
                resources[name] = f"{folder}/{below}"
        return {"name": spec.name, "spec": dict(spec.spec), "resources": resources}


def _put_last(latest: dict[str, T], user: str, value: T) -> None:
    """Put what is known for a user behind that of all others; the first of too many go."""
    latest.pop(user, None)
    latest[user] = value
    for other in tuple(latest)[:-_MOST_LISTS]:
        del latest[other]


def _stand_in(name: str, error: RelayError, known: KernelSpecModel | None = None) -> Model:
    """The model of a kernelspec of which no more is known than its name, or its outline."""
    words = known.spec if known is not None else {}
    spec = {
        "argv": [],
        "display_name": words.get("display_name") or name,
        "language": words.get("language") or _language_of(name),
        "metadata": {"unavailable": str(error)},
    }
    return {"name": name, "spec": spec, "resources": {}}


def _language_of(name: str) -> str:
    """The language that a kernel's name tells; an empty text if it tells none. JupyterLab, which
    writes it into notebooks, takes no kernelspec without one."""
    lowered = name.lower()
    for start, language in _LANGUAGES.items():
        if lowered.startswith(start):
            return language
    return ""
