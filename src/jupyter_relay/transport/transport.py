"""The interface of a transport: HTTP requests and websockets to one server.

All code above this package uses these protocols, and can be tested without a network. An
implementation of them is the only code that uses one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from enum import Enum, auto
from typing import Protocol

from jupyter_relay.rest.response import Response
from jupyter_relay.wire.message import Frame


class Share(Enum):
    """The share of the connections that a request may use.

    Starts and restarts may last for minutes. They have a share each, so that they cannot use up all
    connections. `LAST` is for the requests of a program that ends: they have connections of their
    own, and wait for no other request.
    """

    ALL = auto()
    STARTS = auto()
    RESTARTS = auto()
    LAST = auto()


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request. ``headers`` are all that are sent, but for those that HTTP itself needs.

    Of the body of a success ``at_most`` bytes are read, after decompression; None where nobody
    reads it, and of a refusal, `REASON_BYTES`. ``share`` is the part of the connections that the
    request may take. ``on_send`` is called when the request has a connection: one that is cancelled
    before that has not been sent.
    """

    method: str
    url: str = field(repr=False)
    _: KW_ONLY
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    at_most: int | None = None
    share: Share = Share.ALL
    on_send: Callable[[], None] | None = field(default=None, repr=False)


class HandshakeRefused(Exception):  # not an error in itself: the answer decides
    """A gateway refused a websocket handshake; ``response`` is its answer."""

    def __init__(self, response: Response) -> None:
        super().__init__(f"{response.status} {response.reason}")
        self.response = response


class SocketClosed(Exception):  # every socket ends with it, with an error or not
    """The socket is closed; ``code`` is the websocket close code, None if there was none.

    The text says why, for people. ``silent`` is for how many seconds nothing had come from the peer
    when it was found dead; 0 for any other end, such as a reset or a close. ``too_large`` is True
    if the peer closed the socket because a message of ours was larger than it accepts.
    """

    def __init__(
        self,
        text: str,
        code: int | None = None,
        *,
        silent: float = 0.0,
        too_large: bool = False,
    ) -> None:
        super().__init__(text)
        self.code = code
        self.silent = silent
        self.too_large = too_large


class Socket(Protocol):
    """A websocket."""

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the peer chose."""

    async def receive(self) -> Frame:
        """Wait for the next frame. Raises `SocketClosed`."""

    async def send(self, frame: Frame) -> None:
        """Send a frame; returns when the socket can take another. Raises `SocketClosed`."""

    async def close(self) -> None:
        """Close the socket, with a closing handshake if the peer answers. Raises nothing."""


class Transport(Protocol):
    """HTTP requests and websockets to one server."""

    async def request(self, request: Request) -> Response:
        """Send a request, and return its answer, whatever the status.

        The time that a request may take begins when its turn has come in its ``share`` of the
        connections. Where a body has more bytes than are read, the connection is closed.

        Raises `GatewayUnavailable`, `GatewayTimeout` or `GatewayClosed`.
        """

    async def connect(
        self, url: str, *, headers: Mapping[str, str], subprotocols: tuple[str, ...]
    ) -> Socket:
        """Open a websocket.

        Raises `GatewayUnavailable`, `GatewayTimeout`, `GatewayClosed`, or `HandshakeRefused`.
        Cancelling it closes the TCP connection.
        """

    async def close(self) -> None:
        """Close all connections for good: no request opens one afterwards."""
