"""What we show a gateway so that it lets us in."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping

from jupyter_relay.core.settings import GatewaySettings


def request_headers(settings: GatewaySettings) -> Mapping[str, str]:
    """Return the headers of every request and handshake.

    A header that the user has set wins over ours, and none is sent for an empty token.
    """
    headers = dict(settings.headers)
    taken = {name.lower() for name in headers}
    if settings.auth_token and settings.auth_header_key.lower() not in taken:
        scheme = f"{settings.auth_scheme} " if settings.auth_scheme else ""
        headers[settings.auth_header_key] = scheme + settings.auth_token
    elif settings.http_user and settings.http_pwd is not None and "authorization" not in taken:
        pair = f"{settings.http_user}:{settings.http_pwd}".encode()
        headers["Authorization"] = "Basic " + b64encode(pair).decode()
    return headers
