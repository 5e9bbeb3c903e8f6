"""The user whose request the server is answering."""

from __future__ import annotations

from jupyter_server import CallContext
from jupyter_server.auth.identity import IdentityProvider, PasswordIdentityProvider, User
from jupyter_server.base.handlers import JupyterHandler

from jupyter_relay.rest.users import NotebookUser

_WITHOUT_USERS = (IdentityProvider, PasswordIdentityProvider)
"""The server's own identity providers, which have no users and make up a name for each browser."""


def notebook_user() -> NotebookUser:
    """Return the user whose request is being answered.

    The name comes from the server's identity provider. It is empty if the provider has no users,
    and if no request is being answered.
    """
    handler = CallContext.get(CallContext.JUPYTER_HANDLER)
    if not isinstance(handler, JupyterHandler) or type(handler.identity_provider) in _WITHOUT_USERS:
        return NotebookUser()
    user = handler.current_user
    return NotebookUser(user.username if isinstance(user, User) else "")
