"""An authority made for a test, and what it certifies."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme

from jupyter_relay.testing.servers import ServerTls


class Authority:
    """An authority, with its files in a folder: its own certificate is ``certificate``."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._ca = trustme.CA()
        self._folder = folder
        self.certificate = folder / f"{name}.pem"
        self._ca.cert_pem.write_to_path(str(self.certificate))

    def issue(self, identity: str, name: str | None = None) -> tuple[Path, Path]:
        """Write a certificate for an identity, and its key; each is replaced in one step."""
        leaf = self._ca.issue_cert(identity)
        name = name or identity
        certificate, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        replace(certificate, b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        replace(key, leaf.private_key_pem.bytes())
        return certificate, key

    def serving(
        self, identity: str = "127.0.0.1", *, clients: Path | None = None
    ) -> ssl.SSLContext:
        """Return the context of a server; ``clients`` is the authority of those it lets in."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(identity).configure_cert(context)
        if clients is not None:
            context.load_verify_locations(clients)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def server_files(self, *, mutual: bool = False) -> ServerTls:
        """Return what a server on loopback needs; with ``mutual`` it wants client certificates."""
        certificate, key = self.issue("127.0.0.1", "server")
        client = ssl.create_default_context(cafile=self.certificate)
        if mutual:
            client.load_cert_chain(*self.issue("probe"))
        return ServerTls(certificate, key, client, self.certificate if mutual else None)


def replace(path: Path, content: bytes) -> None:
    """Replace a file in one step, as whoever renews certificates does."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.replace(path)
