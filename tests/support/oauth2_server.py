"""An OAuth2 server: the token endpoint of RFC 6749, with one client."""

from __future__ import annotations

import ssl
from base64 import b64decode
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self
from urllib.parse import unquote_plus

from aiohttp import web

CLIENT_ID = "relay: one"
SECRET = "s%cret+ /"
REFRESH = "refresh-0"


class OAuth2Server:
    """Issues ``token-1``, ``token-2``, … to its client; ``requests`` are the forms it was sent.

    ``shown_by`` is how the client has to show itself: by HTTP Basic, in the body, or with a secret
    in neither place. With ``rotates`` each answer to a refresh token replaces it. ``life`` is the
    tokens' ``expires_in``, None to say nothing of it. ``on_issue`` hears of each token. While
    ``broken`` it answers that.
    """

    def __init__(
        self,
        *,
        shown_by: Literal["basic", "body", "id"] = "basic",
        rotates: bool = False,
        life: int | None = 3600,
        on_issue: Callable[[str], object] = lambda _: None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.shown_by = shown_by
        self.rotates = rotates
        self.life = life
        self.on_issue = on_issue
        self.broken: web.Response | None = None
        self.requests: list[dict[str, str]] = []
        self.issued = 0
        self.refresh_token = REFRESH
        self._tls = tls
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/token", self._take)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        self._port = site.port
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """The token endpoint."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}/token"

    async def _take(self, request: web.Request) -> web.Response:
        form = {key: str(value) for key, value in (await request.post()).items()}
        self.requests.append(form)
        if self.broken is not None:
            return self.broken
        if not self._knows(request, form):
            return _refusal("invalid_client", 401)
        match form.get("grant_type"):
            case "client_credentials" if self.shown_by != "id":
                return self._issue({})
            case "refresh_token" if form.get("refresh_token") == self.refresh_token:
                if not self.rotates:
                    return self._issue({})
                self.refresh_token = f"refresh-{self.issued + 1}"
                return self._issue({"refresh_token": self.refresh_token})
        return _refusal("invalid_grant", 400)

    def _knows(self, request: web.Request, form: dict[str, str]) -> bool:
        if self.shown_by == "basic":
            scheme, _, coded = request.headers.get("Authorization", "").partition(" ")
            pair = b64decode(coded).decode().split(":")
            return scheme == "Basic" and [unquote_plus(p) for p in pair] == [CLIENT_ID, SECRET]
        if "Authorization" in request.headers or form.get("client_id") != CLIENT_ID:
            return False
        return self.shown_by == "id" or form.get("client_secret") == SECRET

    def _issue(self, more: dict[str, str]) -> web.Response:
        self.issued += 1
        token = f"token-{self.issued}"
        self.on_issue(token)
        life = {} if self.life is None else {"expires_in": self.life}
        return web.json_response(
            {"access_token": token, "token_type": "Bearer", "scope": "less", **life, **more},
            headers={"Cache-Control": "no-store"},
        )


def _refusal(error: str, status: int) -> web.Response:
    described = f"The secret {SECRET} is not good enough."
    return web.json_response({"error": error, "error_description": described}, status=status)
