"""Where a gateway is: the URL as people give it, with the secrets in it, and its endpoints."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote, unquote_plus, urlsplit, urlunsplit


@dataclass(frozen=True, slots=True)
class Address:
    """A URL without its secrets, and the secrets."""

    url: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str = field(default="", repr=False)

    @classmethod
    def parse(cls, text: str) -> Address:
        """Take the user, the password and the token out of a URL."""
        parts = urlsplit(text)
        query = [(unquote_plus(pair.partition("=")[0]), pair) for pair in parts.query.split("&")]
        token = next((pair.partition("=")[2] for key, pair in query if key == "token"), "")
        rest = "&".join(pair for key, pair in query if key != "token")
        host = parts.netloc.rpartition("@")[2]
        url = urlunsplit((parts.scheme.lower(), host, parts.path.rstrip("/"), rest, ""))
        return cls(
            url,
            unquote(parts.username) if parts.username else None,
            unquote(parts.password) if parts.password else None,
            unquote_plus(token),
        )


def websocket_url(url: str) -> str:
    """Return the URL of the websockets of a gateway with this HTTP URL."""
    return "ws" + url.removeprefix("http")


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSettings:
    """Where the things of one gateway are found; the options of the same names say what each is.

    ``name`` is what people call the gateway. No secret stands in the URLs but in their queries.
    """

    name: str
    url: str = field(repr=False)
    ws_url: str = field(repr=False)
    kernels_endpoint: str
    kernelspecs_endpoint: str
    kernelspecs_resource_endpoint: str
