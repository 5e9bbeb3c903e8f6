"""The classes of Jupyter Server's own gateway client beside ours; `docs/compatibility.md` shows it.

`READ` is what programs read from them. `DIFFERENCES` is what Jupyter Server's own tests of them
look at and does not apply here; a test compares the names with those of the tests.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Difference(NamedTuple):
    """One thing that a test of Jupyter Server's looks at and that is not so here, and why."""

    test: str
    what: str
    why: str


READ: Final = {
    "`km.kernel`": (
        "the kernel's model as a dictionary; None before the start, and once the kernel has ended"
    ),
    "`km.has_kernel`": "true where `km.kernel` is not None",
    "`km.kernel_url`, `km.kernels_url`": (
        "the URL of the kernel, and of all kernels, on the gateway; without the query of the "
        "gateway's own URL"
    ),
    "`await km.refresh_model(model=None)`": (
        "asks the gateway, or uses the model that is given; returns what `km.kernel` is then"
    ),
    "`km.create_websocket_connection(websocket_handler, config)`": (
        "joins the websocket of a page to the kernel, as a proposal for Jupyter Server wants it"
    ),
    "`kernels.kernels_url`": "as `km.kernels_url`",
    "`specs.base_endpoint`, `specs.base_resource_endpoint`": (
        "the URLs of the kernelspecs and of their files on the gateway"
    ),
    "`GatewayKernelClient(kernel_id, ws_url=…)`": (
        "attaches to a kernel by its id, or by the URL of its websocket"
    ),
    "`queue.channel_name`": "`shell`, `iopub`, `stdin`, `control` or `hb`",
}

DIFFERENCES: Final = (
    Difference(
        "test_gateway_env_options",
        "`GatewayClient.instance().KERNEL_LAUNCH_TIMEOUT` and `init_connection_args()`",
        "the timeout is part of the settings of each gateway, and goes with each start",
    ),
    Difference(
        "test_gateway_request_timeout_pad_option",
        "`gateway_config.request_timeout` grows with the launch timeout",
        "it is what was set; what requests wait for does grow",
    ),
    Difference(
        "test_token_renewer_config",
        "the renewer is an attribute of `GatewayClient.instance()`",
        "it is made in a thread, by the first request that needs a token",
    ),
    Difference(
        "test_gateway_request_with_expiring_cookies",
        "`update_cookies()` and `load_connection_args()`",
        "no request is put together outside; cookies are kept by host, path and time",
    ),
    Difference(
        "test_gateway_kernel_lifecycle",
        "to delete a kernel that its gateway has culled is a 404",
        "it is remembered for a minute, so that its pages can show why it ended; to delete it "
        "succeeds",
    ),
    Difference(
        "test_kernel_client_response_router_notifies_channel_queue_when_finished",
        "`queue.response_router_finished`, and the end at the first failure of the websocket",
        "no thread reads the websocket, and it is opened again; `is_alive()` is false once the "
        "kernel has ended, and `get_msg` raises `KernelNotRunning`, a `RuntimeError`",
    ),
    Difference(
        "test_channel_queue_get_msg_without_timeout",
        "`ChannelQueue(name, websocket, log)`, and the methods of `queue.Queue`",
        "a channel reads from the link to its kernel, and has the interface of the channels of "
        "jupyter_client; so without `timeout` it waits for ever, not for a second",
    ),
    Difference(
        "test_websocket_connection_with_session_id",
        "the session id of the page is the one that the gateway is shown",
        "all pages share one websocket to the gateway, which has a session id of its own",
    ),
)
