"""The store: what processes with the same folder leave to one another."""

from __future__ import annotations

import logging
from pathlib import Path

from jupyter_relay.log import Log
from jupyter_relay.store.claims import Claims
from jupyter_relay.store.file import SharedFile
from jupyter_relay.store.kernelspec_lists import KernelspecLists

_logger = logging.getLogger(__name__)


class Store:
    """What is kept in a folder: ``claims`` on kernels, and ``kernelspecs``, the lists of them.

    The folder is made when it is first needed, for its user alone. Where it cannot be used, one
    line in the log says why, and all is kept in memory and ends with the process. Nothing here
    raises. A store is of one event loop, and is closed in it; after that it may be used again.

    ``max_released`` and ``max_write_seconds`` are as in `Claims`, ``patience`` as in `SharedFile`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_released: int = 1000,
        max_write_seconds: float = 1.0,
        patience: float = 5.0,
        log: Log = _logger,
    ) -> None:
        self._file = SharedFile(folder, patience=patience, log=log)
        self.claims = Claims(
            self._file, max_released=max_released, max_write_seconds=max_write_seconds, log=log
        )
        self.kernelspecs = KernelspecLists(self._file)

    @property
    def path(self) -> Path:
        """The path of the file in the folder."""
        return self._file.path

    async def flush(self) -> None:
        """Wait until all changes are written."""
        await self._file.flush()

    async def close(self) -> None:
        """Release the folder. What is still claimed is left to the next process."""
        await self._file.close()
