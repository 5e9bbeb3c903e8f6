"""The kernelspecs of a Jupyter Server whose kernels run on a gateway."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final, TypeAlias
from urllib.parse import quote

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_server.utils import url_path_join
from traitlets import TraitError

from jupyter_relay.errors import KernelSpecNotFound, RelayError
from jupyter_relay.rest.models import KernelSpecModel, KernelSpecs
from jupyter_relay.rest.urls import file_of_kernelspec
from jupyter_relay.rest.users import NotebookUser
from jupyter_relay.server.built_in_names import BuiltInKernelSpecNames
from jupyter_relay.server.events.kernelspecs import KernelspecEvents
from jupyter_relay.server.http.http_errors import http_errors
from jupyter_relay.server.identity import notebook_user
from jupyter_relay.server.relay import relay_of
from jupyter_relay.wire.message import quoted

Model: TypeAlias = dict[str, Any]
"""A model of the server's REST API."""

_RESOURCES = "/kernelspecs/"

_STRETCH: Final = 100
"""How many kernelspecs are written in one go; that takes some milliseconds."""
_LANGUAGES: Final = {"python": "python", "julia": "julia", "bash": "bash"}
"""How the usual names of kernels begin, and the language that their kernelspecs say."""


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
        self.relay = relay_of(self)
        self.relay.kernelspecs = self
        self._lists = self.relay.roster.kernelspecs
        self._lists.on_listed = self._take_default
        self._lists.on_outcome = self._report
        self.gateway = self.relay.roster.gateway
        self._events = KernelspecEvents(
            self.relay.event_logger, gateway=self.gateway.name, log=self.log
        )
        self._taken_over: str | None = None
        """The default kernel that was taken over from the gateway."""

    async def refresh(self) -> None:
        """Ask the gateway for its list, and wait for the answer as long as a page may."""
        await self._lists.cached(notebook_user()).refresh()

    async def close(self) -> None:
        """Close the connections to the gateway."""
        roster = self.relay.roster
        await self.gateway.close()  # from here on whoever asks gets an error
        await self._lists.close()
        if roster.store is not None and not tuple(roster.kernels):
            await roster.store.close()  # else it goes with the kernels

    async def get_all_specs(self) -> dict[str, Model]:
        """Return the kernelspecs by name, and take over the gateway's default kernel."""
        listed = await self.list_kernel_specs()
        return listed["kernelspecs"]  # type: ignore[no-any-return]  # a model is untyped

    async def list_kernel_specs(self) -> Model:
        """Return the model of all kernelspecs, as they were last listed.

        Where that is not of now, its ``unavailable`` says why, and so does an event.
        """
        user = notebook_user()
        cached = self._lists.cached(user)
        await cached.refresh()
        known, error = cached.value, cached.error
        model: Model = {"default": self._default_of(known), "kernelspecs": {}}
        if known is not None:
            model["kernelspecs"] = await self._models(known)
        elif error is not None:
            model |= await self._stand_ins(user, error)
        if error is not None:
            model["unavailable"] = str(error)
            self._report(user, error)
        return model

    async def get_kernel_spec(self, kernel_name: str, **_: Any) -> Model:
        """Return the model of one kernelspec. Raises `KeyError` if there is none of that name."""
        with http_errors():
            try:
                self.check_allowed(kernel_name)
                return self._model(await self._lists.get(kernel_name, notebook_user()))
            except KernelSpecNotFound as error:
                raise KeyError(str(error)) from error

    async def get_kernel_spec_resource(self, kernel_name: str, path: str) -> bytes | None:
        """Return a file of a kernelspec, None if there is no such file."""
        if not self._allows(kernel_name):
            return None
        with http_errors():
            return await self._lists.resource(kernel_name, path, notebook_user())

    def check_allowed(self, kernel_name: str) -> None:
        """Raise `KernelSpecNotFound` for a kernelspec of which ``allowed_kernelspecs`` allows no
        kernels."""
        if not self._allows(kernel_name):
            raise KernelSpecNotFound(
                f"The kernelspec {quoted(kernel_name)!r} is not allowed on this server.",
                status=HTTPStatus.NOT_FOUND,
                hint="Choose another, or add it to KernelSpecManager.allowed_kernelspecs.",
                gateway=self.gateway.name,
            )

    def known_spec(self, kernel_name: str, user: NotebookUser) -> KernelSpec | None:
        """Return a kernelspec as it was last listed for a user, without asking; None if it is not
        known."""
        known = self._lists.known(kernel_name, user)
        if known is None:
            return None
        spec: KernelSpec = self.kernel_spec_class()
        for field, value in known.spec.items():
            # What the gateway says and the class does not take is as good as not said.
            with suppress(TraitError):
                if spec.has_trait(field):
                    setattr(spec, field, value)
        return spec

    def _allows(self, kernel_name: str) -> bool:
        return not self.allowed_kernelspecs or kernel_name in self.allowed_kernelspecs

    @property
    def _default(self) -> str:
        kernels = self.relay.kernels
        name: str = kernels.default_kernel_name if kernels is not None else "python3"
        return name

    @property
    def _default_is_chosen(self) -> bool:
        """True if a person or an extension has set the server's default kernel: then it stays."""
        kernels = self.relay.kernels
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
        allowed = [name for name in (*wanted, *sorted(others)) if self._allows(name)]
        return wanted[0] if self._default_is_chosen or not allowed else allowed[0]

    def _report(self, user: NotebookUser, error: RelayError | None) -> None:
        """Emit an event where the list for a user has become out of date, or up to date."""
        self._events.report(None if self._lists.is_for_all(user) else user.name, error)

    def _take_default(self, user: NotebookUser, listed: KernelSpecs) -> None:
        """Take over the gateway's default kernel, unless somebody has chosen the server's."""
        kernels = self.relay.kernels
        default = self._default_of(listed)
        if self._lists.is_for_all(user) and kernels is not None and self._default != default:
            self.log.info("The default kernel is now the gateway's: %r.", default)
            self._taken_over = kernels.default_kernel_name = default

    async def _stand_ins(self, user: NotebookUser, error: RelayError) -> Model:
        """Return the model of a list of stand-ins, ``error`` being why there is no other."""
        recalled = await self._lists.recall(user)
        shown = {}
        for name, spec in recalled.specs.items() if recalled is not None else ():
            if self._allows(name):
                shown[name] = _stand_in(name, error, spec)
        default = self._default_of(recalled if shown else None)
        return {"default": default, "kernelspecs": shown or {default: _stand_in(default, error)}}

    async def _models(self, known: KernelSpecs) -> dict[str, Model]:
        """Write kernelspecs for the REST API; others have their turn in between."""
        models: dict[str, Model] = {}
        for number, (name, spec) in enumerate(known.specs.items(), 1):
            if self._allows(name):
                models[name] = self._model(spec)
            if number % _STRETCH == 0:
                await asyncio.sleep(0)
        return models

    def _model(self, spec: KernelSpecModel) -> Model:
        """Write a kernelspec for the REST API, its files under this server's own base URL; those
        that lie elsewhere are left out."""
        folder = url_path_join(self.relay.base_url, _RESOURCES, quote(spec.name, safe=""))
        resources = {}
        for name, url in spec.resources.items():
            below = file_of_kernelspec(url, spec.name, self.relay.settings.url)
            if below is not None:
                resources[name] = f"{folder}/{below}"
        return {"name": spec.name, "spec": dict(spec.spec), "resources": resources}


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
