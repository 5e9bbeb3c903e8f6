"""As whom kernels are started, and what a notebook user cannot say of that."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from jupyter_server.auth.identity import IdentityProvider, User
from jupyter_server.base.handlers import APIHandler
from tornado import web

from jupyter_relay.rest.users import NotebookUser
from jupyter_relay.server.kernel import GatewayKernelManager
from jupyter_relay.server.kernelspecs import GatewayKernelSpecManager
from jupyter_relay.testing import FakeGateway
from tests.server.test_kernels import env_of
from tests.support.server import TestServer, server_on

FORWARD = "--GatewayClient.forward_user=True"
KNOWS = (
    f"--ServerApp.identity_provider_class={__name__}.HeaderIdentity",
    "--ServerApp.disable_check_xsrf=True",  # only a page, or a token, has what that asks for
)


class HeaderIdentity(IdentityProvider):
    """Believes a header, as behind a company's login."""

    async def get_user(self, handler: web.RequestHandler) -> User | None:
        """Return who the header says it is."""
        name = handler.request.headers.get("X-User")
        return User(name, name="Ann Onymous") if name else None


class StartsWithEnv(APIHandler):
    """An extension's handler, which lets the page say what the environment is."""

    @web.authenticated
    async def post(self) -> None:
        """Start a kernel."""
        model = self.get_json_body() or {}
        kernel_id = await self.kernel_manager.start_kernel(env=model["env"])
        self.finish(json.dumps({"id": kernel_id}))


async def call(server: TestServer, method: str, path: str, user: str, /, **model: object) -> int:
    """Make a request as a user; return its status."""
    server.http.headers["X-User"] = user
    return (await server.call(method, path, model or None)).status


async def test_kernel_start_with_forwarded_user_runs_as_asking_user(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    session = {"path": "a.ipynb", "name": "a.ipynb", "type": "notebook"}
    async with server_on(fake_gateway, tmp_path, argv=(FORWARD, *KNOWS)) as server:
        assert await call(server, "POST", "/api/kernels", "ann", name="python3") == 201
        assert await call(server, "POST", "/api/sessions", "bob", **session) == 201
    assert [env_of(fake_gateway, n)["KERNEL_USERNAME"] for n in (0, 1)] == ["ann", "bob"]


async def test_kernel_starts_at_the_same_time_keep_their_users_apart(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    users = [f"user-{number}" for number in range(5)]
    async with server_on(fake_gateway, tmp_path, argv=(FORWARD, *KNOWS)) as server:

        async def start(user: str) -> None:
            async with server.http.post(
                f"{server.url}/api/kernels", json={"name": "python3"}, headers={"X-User": user}
            ) as answer:
                assert answer.status == 201

        await asyncio.gather(*(start(user) for user in users))
    sent = [env_of(fake_gateway, number)["KERNEL_USERNAME"] for number in range(5)]
    assert sorted(sent) == users


async def test_kernelspecs_with_forwarded_user_are_those_of_asking_user(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    async with server_on(fake_gateway, tmp_path, argv=(FORWARD, *KNOWS)) as server:
        assert await call(server, "GET", "/api/kernelspecs", "ann & bob") == 200
        assert await call(server, "GET", "/api/kernelspecs/python3", "ann") == 200
    asked = [request.query.get("user") for request in fake_gateway.requests]
    assert asked == ["ann & bob", "ann"]


async def test_kernelspec_of_kernel_is_that_of_user_it_was_started_for(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    async with server_on(fake_gateway, tmp_path, argv=(FORWARD, *KNOWS)) as server:
        for user in ("ann", "bob"):
            assert await call(server, "POST", "/api/kernels", user, name="python3") == 201
        kernels = map(server.kernels.get_kernel, server.kernels.list_kernel_ids())
        of_ann, of_bob = (kernel for kernel in kernels if isinstance(kernel, GatewayKernelManager))
        await call(server, "GET", "/api/kernelspecs", "ann")
        assert of_ann.kernel_spec.display_name == "Fake python3"
        assert of_bob.kernel_spec.display_name == ""
        await call(server, "GET", "/api/kernelspecs", "bob")
        assert of_bob.kernel_spec.display_name == "Fake python3"


async def test_kernelspecs_of_many_users_are_remembered_for_most_recent(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    async with server_on(fake_gateway, tmp_path, argv=(FORWARD, *KNOWS)) as server:
        specs = server.app.kernel_spec_manager
        assert isinstance(specs, GatewayKernelSpecManager)
        for number in range(100):
            for user in ("first", f"user-{number}"):
                await call(server, "GET", "/api/kernelspecs", user)
        names = ["first", *(f"user-{number}" for number in range(100))]
        known = [name for name in names if specs.known_spec("python3", NotebookUser(name))]
    assert len(known) < 100
    assert known == ["first", *names[-len(known) + 1 :]]


@pytest.mark.parametrize("argv", [KNOWS, (FORWARD,)], ids=["not switched on", "not known"])
async def test_kernel_start_without_forwarded_user_runs_as_server_user(
    argv: tuple[str, ...], fake_gateway: FakeGateway, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("KERNEL_USERNAME", "service")
    async with server_on(fake_gateway, tmp_path, argv=argv) as server:
        assert await call(server, "POST", "/api/kernels", "ann", name="python3") == 201
        assert await call(server, "GET", "/api/kernelspecs", "ann") == 200
    assert env_of(fake_gateway)["KERNEL_USERNAME"] == "service"
    assert fake_gateway.requests_to("GET", "/api/kernelspecs")[0].query["user"] == "service"


@pytest.mark.parametrize("path", ["/api/kernels", "/starts-with-env"])
async def test_kernel_start_with_user_in_page_env_runs_as_asking_user(
    path: str, fake_gateway: FakeGateway, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    env = {"KERNEL_USERNAME": "mallory", "KERNEL_UID": "0", "KERNEL_FLAVOUR": "lemon"}
    async with server_on(fake_gateway, tmp_path, argv=(FORWARD, *KNOWS)) as server:
        server.app.web_app.add_handlers(".*$", [("/starts-with-env", StartsWithEnv)])  # type: ignore[no-untyped-call]  # it is untyped
        for _ in range(2):
            assert await call(server, "POST", path, "ann", env=env) in {200, 201}
    for number in range(2):
        sent = env_of(fake_gateway, number)
        assert sent["KERNEL_USERNAME"] == "ann"
        assert "KERNEL_UID" not in sent
    said = [record.getMessage() for record in caplog.records if "protected" in record.getMessage()]
    if path == "/api/kernels":  # the server itself passes no environment on
        assert said == []
    else:
        assert env_of(fake_gateway)["KERNEL_FLAVOUR"] == "lemon"
        assert len(said) == 1
        assert said[0].startswith("KERNEL_UID, KERNEL_USERNAME: not sent to kernels")
        assert "mallory" not in said[0]


async def test_session_with_protected_variables_of_server_env_logs_nothing(
    fake_gateway: FakeGateway,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The server asks for a session's kernel with its whole own environment."""
    monkeypatch.setenv("KERNEL_USERNAME", "service")
    monkeypatch.setenv("KERNEL_LAUNCH_TIMEOUT", "7")
    argv = ("--GatewayClient.request_timeout=50",)
    async with server_on(fake_gateway, tmp_path, argv=argv) as server:
        session = {"path": "a.ipynb", "name": "a.ipynb", "type": "notebook"}
        assert (await server.call("POST", "/api/sessions", session)).status == 201
    assert env_of(fake_gateway)["KERNEL_LAUNCH_TIMEOUT"] == "48"
    assert "protected" not in caplog.text


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({"KERNEL_USERNAME ": "root"}, "'KERNEL_USERNAME ' cannot be the name of a variable"),
        ({"KERNEL_USERNAME\0": "root"}, r"'KERNEL_USERNAME\x00' cannot be the name of a variable"),
        ({"A=B": "root"}, "'A=B' cannot be the name of a variable"),
        ({"KERNEL_X": "$(root)"}, "The variable KERNEL_X cannot be set"),
        ({"MY_X": "`root`"}, "The variable MY_X cannot be set"),
        ({"KERNEL_X": ["root"]}, "The variable KERNEL_X cannot be set"),
    ],
)
async def test_kernel_start_with_unsafe_variable_answers_400_with_its_name(
    env: dict[str, object], told: str, fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    argv = ("--GatewayClient.allowed_envs=MY_*", *KNOWS)
    async with server_on(fake_gateway, tmp_path, argv=argv) as server:
        server.app.web_app.add_handlers(".*$", [("/starts-with-env", StartsWithEnv)])  # type: ignore[no-untyped-call]  # it is untyped
        server.http.headers["X-User"] = "ann"
        answer = await server.call("POST", "/starts-with-env", {"env": env})
    assert answer.status == 400
    assert told in answer.json["message"]
    assert "root" not in answer.body.decode()
    assert not fake_gateway.requests_to("POST", "/api/kernels")


async def test_kernel_start_in_folder_with_unsafe_name_succeeds(
    fake_gateway: FakeGateway, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with server_on(fake_gateway, tmp_path) as server:
        (tmp_path / "root" / "cost $").mkdir()
        session = {"path": "cost $/a.ipynb", "name": "a.ipynb", "type": "notebook"}
        for number in range(2):
            session["path"] = f"cost $/{number}.ipynb"
            assert (await server.call("POST", "/api/sessions", session)).status == 201
    assert "KERNEL_WORKING_DIR" not in env_of(fake_gateway)
    said = [r.getMessage() for r in caplog.records if "KERNEL_WORKING_DIR" in r.getMessage()]
    (line,) = said
    assert line.endswith("the path of the folder has a $ in it (env_values).")


async def test_env_values_set_to_any_sends_folder_with_any_name(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    argv = ("--GatewayClient.env_values=any",)
    async with server_on(fake_gateway, tmp_path, argv=argv) as server:
        (tmp_path / "root" / "cost $").mkdir()
        await server.start_kernel(path="cost $/a.ipynb")
    assert env_of(fake_gateway)["KERNEL_WORKING_DIR"] == str(tmp_path / "root" / "cost $")
