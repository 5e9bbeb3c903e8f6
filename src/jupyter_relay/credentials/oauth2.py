"""Tokens of an OAuth2 server (RFC 6749): by client credentials, or by a refresh token.

oauthlib writes the requests and reads the answers, and does no I/O. The requests go through a
transport of ours, with the certificates and the proxy of the OAuth2 server.
"""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import quote_plus

from oauthlib.oauth2 import BackendApplicationClient, OAuth2Error

from jupyter_relay.credentials.source import TokenSource
from jupyter_relay.credentials.tokens import MAX_TOKEN_BYTES, NoToken, Token, expiry_after
from jupyter_relay.errors import GatewayClosed, GatewayUnavailable
from jupyter_relay.redact import Quoter
from jupyter_relay.rest.headers import basic_authentication
from jupyter_relay.rest.response import Response
from jupyter_relay.settings.origins import FromOAuth2
from jupyter_relay.transport.aiohttp_transport import AiohttpTransport
from jupyter_relay.transport.transport import Request, Transport
from jupyter_relay.wire.json import ModelError, read_json


class OAuth2Source(TokenSource):
    """An OAuth2 server.

    The client authenticates by HTTP Basic, as each server must allow (RFC 6749, 2.3.1). If the
    server answers that it does not know the client, its id and secret are sent in the body, as some
    servers require, and from then on if that helps. Without a secret only the id is sent, in the
    body. A refresh token that the server replaces is kept in memory alone.
    """

    each_time = False

    def __init__(self, origin: FromOAuth2, transport: Transport | None = None) -> None:
        super().__init__(origin)
        self._origin = origin
        self._transport = transport or AiohttpTransport(origin.transport)
        self._client = BackendApplicationClient(
            origin.client_id, refresh_token=origin.refresh_token or None
        )
        self._in_body = not origin.client_secret

    async def fetch(self, now: float) -> Token:
        """See `TokenSource.fetch`."""
        response = await self._request_token(in_body=self._in_body)
        if not self._in_body and _is_unknown_client(response):
            other = await self._request_token(in_body=True)
            if other.status == HTTPStatus.OK:
                self._in_body = True
                response = other
        return self._read_answer(response, now)

    async def close(self) -> None:
        """See `TokenSource.close`."""
        await self._transport.close()

    async def _request_token(self, *, in_body: bool) -> Response:
        origin = self._origin
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
        }
        if not in_body:
            client = quote_plus(origin.client_id), quote_plus(origin.client_secret)
            headers["Authorization"] = basic_authentication(*client)
        try:
            return await self._transport.request(
                Request(
                    "POST",
                    origin.transport.url,
                    headers=headers,
                    body=self._body(in_body=in_body),
                    at_most=MAX_TOKEN_BYTES,
                )
            )
        except (GatewayUnavailable, GatewayClosed) as error:
            raise NoToken(f"gives no answer: {error}", hint=error.hint) from error

    def _body(self, *, in_body: bool) -> bytes:
        origin, client = self._origin, self._client
        scope = origin.scope or None
        extra = {"audience": origin.audience} if origin.audience else {}
        if in_body and origin.client_secret:
            extra["client_secret"] = origin.client_secret
        if origin.refresh_token:  # a server may give one that was not requested
            shown = {"client_id": origin.client_id} if in_body else {}
            body = client.prepare_refresh_body(scope=scope, **shown, **extra)
        else:
            body = client.prepare_request_body(scope=scope, include_client_id=in_body, **extra)
        return str(body).encode()

    def _read_answer(self, response: Response, now: float) -> Token:
        if response.cut and response.status == HTTPStatus.OK:
            raise NoToken("gave far more than a token.", hint="Look at oauth2_token_url.")
        try:
            words = read_json(response.body)
        except ModelError:
            words = None
        if not isinstance(words, dict):
            raise NoToken(
                f"answered {response.status} without a JSON object.",
                hint="Look at oauth2_token_url.",
            )
        try:
            # Whether a smaller scope than requested is enough is for the gateway to decide.
            self._client.parse_request_body_response(response.body.decode())
        except OAuth2Error as error:
            quoter = self._quoter(response)
            raise NoToken(
                f"refused ({response.status}): {quoter.quote(str(error.error))}.",
                hint="Look at oauth2_client_id, its secret or refresh token, and oauth2_scope.",
                detail=f"It said: {quoter.quote(str(error.description))}",
            ) from None
        except (ValueError, TypeError):
            raise NoToken("gave an answer that is none of OAuth2.") from None
        value = words.get("access_token")
        if response.status != HTTPStatus.OK or not isinstance(value, str):
            raise NoToken(f"answered {response.status} without a token.")
        return Token.lasting(value.strip(), now, expiry_after(words.get("expires_in"), now))

    def _quoter(self, response: Response) -> Quoter:
        """Return the quoter of an answer: the server may have given a new refresh token since."""
        origin = self._origin
        known = (origin.client_secret, origin.refresh_token, self._client.refresh_token)
        response.quoter.learn(filter(None, known))
        return response.quoter


def _is_unknown_client(response: Response) -> bool:
    """True if an answer says that the client is not known (RFC 6749, 5.2)."""
    return response.status == HTTPStatus.UNAUTHORIZED or b'"invalid_client"' in response.body
