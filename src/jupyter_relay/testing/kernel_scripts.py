"""What a fake kernel does about each kind of request unless a test says otherwise."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from jupyter_relay.wire.json import Json
from jupyter_relay.wire.message import Message

if TYPE_CHECKING:
    from jupyter_relay.testing.fake_kernel import FakeKernel

Handler: TypeAlias = Callable[[Message, "FakeKernel"], Awaitable[None]]
"""What a kernel does about a request, between its ``busy`` and its ``idle``."""


def read_content(message: Message) -> dict[str, Json]:
    """Parse the content of a message."""
    content: dict[str, Json] = msgspec.json.decode(message.content)
    return content


async def print_code(request: Message, kernel: FakeKernel) -> None:
    """Publish the code as a line on stdout: what an execute request does without a script."""
    kernel.print(f"{read_content(request).get('code', '')}\n", request)


async def answer_ok(request: Message, kernel: FakeKernel) -> None:
    """Reply with status ``ok`` and nothing else."""
    if request.head.msg_type.endswith("_request"):
        kernel.reply(request)


async def answer_nothing(request: Message, kernel: FakeKernel) -> None:
    """Leave a message without a reply."""


async def execute(request: Message, kernel: FakeKernel) -> None:
    """Run the kernel's ``on_execute``, with what a real kernel says before and after it."""
    content = read_content(request)
    if not content.get("silent"):
        kernel.execution_count += 1
        kernel.publish(
            "execute_input",
            {"code": content.get("code", ""), "execution_count": kernel.execution_count},
            request,
        )
    error = await kernel.run_script(request)
    if error is not None:
        kernel.report(error, request)
    elif not kernel.has_replied(request):
        kernel.reply(
            request,
            {
                "status": "ok",
                "execution_count": kernel.execution_count,
                "payload": [],
                "user_expressions": {},
            },
        )


def default_handlers() -> dict[str, Handler]:
    """Return the handlers of a new kernel, by ``msg_type``."""
    return {
        "kernel_info_request": _answer_kernel_info,
        "execute_request": execute,
        "interrupt_request": _interrupt,
        "create_subshell_request": _create_subshell,
        "comm_open": answer_nothing,
        "comm_msg": answer_nothing,
        "comm_close": answer_nothing,
    }


async def _answer_kernel_info(request: Message, kernel: FakeKernel) -> None:
    kernel.reply(
        request,
        {
            "status": "ok",
            "protocol_version": "5.4",
            "implementation": "fake",
            "implementation_version": "1.0",
            "language_info": {
                "name": "python",
                "version": "3.11",
                "mimetype": "text/x-python",
                "file_extension": ".py",
            },
            "banner": "A kernel that is a script",
            "help_links": [],
            "supported_features": ["kernel subshells"],
        },
    )


async def _interrupt(request: Message, kernel: FakeKernel) -> None:
    kernel.interrupt()
    kernel.reply(request)


async def _create_subshell(request: Message, kernel: FakeKernel) -> None:
    kernel.reply(request, {"status": "ok", "subshell_id": kernel.add_subshell()})
