"""The errors of requests to a gateway that are no refusals: no answer, or one of no use."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final

from jupyter_relay.errors import (
    GatewayClosed,
    GatewayRefused,
    GatewayTimeout,
    KernelNotFound,
    OtherKernelAnswered,
    UnexpectedAnswer,
)
from jupyter_relay.rest.reasons import behind_colon, is_page, reason_of
from jupyter_relay.rest.response import Response
from jupyter_relay.wire.json import ModelError

_MIB: Final = 1024 * 1024

_MAX_ID_QUOTED: Final = 80
"""How many characters are quoted of an id that a gateway gave."""

_DENIAL = re.compile(
    r"\bno (?:such )?kernel\b|\bkernel\b.*\b(?:does not exist|doesn't exist|not found)\b",
    re.IGNORECASE,
)


def denies_kernel(error: GatewayRefused, kernel_id: str) -> bool:
    """True if a refusal says, in the gateway's words, that it has no kernel of this id."""
    return (
        error.status in {HTTPStatus.NOT_FOUND, HTTPStatus.INTERNAL_SERVER_ERROR}
        and kernel_id in error.reason
        and _DENIAL.search(error.reason) is not None
    )


def no_kernel(
    gateway: str, kernel_id: str, reason: str = "", *, was_away: bool = False
) -> KernelNotFound:
    """Return the error for a kernel that its gateway does not have.

    ``was_away`` is True if the gateway could not be reached just before: it may have restarted.
    """
    restarted = ", or the gateway was restarted without it" if was_away else ""
    return KernelNotFound(
        f"{gateway} has no kernel {kernel_id}.",
        status=HTTPStatus.NOT_FOUND,
        reason=reason,
        hint=f"It was culled or deleted there{restarted}; start another.",
        gateway=gateway,
        kernel_id=kernel_id,
    )


def no_answer(gateway: str, *, doubtful: bool = True) -> GatewayTimeout:
    """Return the error for a gateway that did not answer in time."""
    return GatewayTimeout(
        f"{gateway} did not answer in time.",
        hint="Check whether the gateway, and each proxy before it, answers at all.",
        doubtful=doubtful,
        gateway=gateway,
    )


def closed(gateway: str, *, doubtful: bool = False) -> GatewayClosed:
    """Return the error for a gateway to which we have closed all connections; ``doubtful`` is as in
    `GatewayClosed`."""
    return GatewayClosed(
        f"The connection to {gateway} was closed.",
        hint="It must be opened again by what closed it, unless the program is about to end.",
        doubtful=doubtful,
        gateway=gateway,
    )


def unexpected(
    error: ModelError, response: Response, *, gateway: str, kernel_id: str | None = None
) -> UnexpectedAnswer:
    """Return the error for an answer that is not what the Jupyter API would say."""
    what = (
        f"a web page came{behind_colon(reason_of(response))}" if is_page(response) else str(error)
    )
    return UnexpectedAnswer(
        f"{gateway} does not answer like a Jupyter gateway: {what}.",
        status=response.status,
        hint="Look at the gateway's URL, and whether a proxy or a login page stands before it.",
        gateway=gateway,
        kernel_id=kernel_id,
    )


def other_kernel(
    response: Response, *, gateway: str, kernel_id: str, answered: str
) -> OtherKernelAnswered:
    """Return the error for an answer about ``kernel_id`` that carries the id ``answered``."""
    return OtherKernelAnswered(
        f"{gateway} was asked about kernel {kernel_id} and answered about kernel "
        f"{response.quoter.quote(answered, _MAX_ID_QUOTED)}; the answer was not used.",
        status=response.status,
        hint="Check whether a proxy before the gateway serves cached answers.",
        gateway=gateway,
        kernel_id=kernel_id,
    )


def too_large(
    gateway: str, status: int, at_most: int, kernel_id: str | None = None
) -> UnexpectedAnswer:
    """Return the error for an answer with more than ``at_most`` bytes."""
    most = f"{at_most // _MIB} MiB" if at_most >= _MIB else f"{at_most // 1024} KiB"
    return UnexpectedAnswer(
        f"{gateway} sent an answer of more than {most}, which is the most that is accepted.",
        status=status,
        hint="Look at what answers under the gateway's URL.",
        gateway=gateway,
        kernel_id=kernel_id,
    )


def quotes_credentials(gateway: str, status: int) -> UnexpectedAnswer:
    """Return the error for a file that quotes our credentials."""
    return UnexpectedAnswer(
        f"{gateway} sent a file that quotes our credentials; it is not passed on.",
        status=status,
        hint="Look at what answers under the gateway's URL.",
        gateway=gateway,
    )
