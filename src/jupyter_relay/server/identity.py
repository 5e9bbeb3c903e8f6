"""Who is behind the request that the server is answering."""

from __future__ import annotations

from jupyter_server import CallContext
from jupyter_server.auth.identity import IdentityProvider, PasswordIdentityProvider, User
from jupyter_server.base.handlers import JupyterHandler

from jupyter_relay.rest.users import NotebookUser

_NAMELESS = (IdentityProvider, PasswordIdentityProvider)
"""The server's own providers, which know no users, and invent a name for each browser."""


def notebook_user() -> NotebookUser:
    """Return the user whose request is being answered.

    The name is that of the server's identity provider. It is empty where the provider knows none,
    and where no request is being answered; all that is done here is done for some notebook user.
    """
    handler = CallContext.get(CallContext.JUPYTER_HANDLER)
    if not isinstance(handler, JupyterHandler) or type(handler.identity_provider) in _NAMELESS:
        return NotebookUser()
    user = handler.current_user
    return NotebookUser(user.username if isinstance(user, User) else "")
