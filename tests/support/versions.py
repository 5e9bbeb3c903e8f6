"""What depends on the version of an installed package: ``make oldest-test`` has the oldest."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

import pytest
from packaging.version import Version

JUPYTER_CLIENT: Final = Version(version("jupyter_client"))
JUPYTER_SERVER: Final = Version(version("jupyter_server"))

takes_kernel_ids = pytest.mark.skipif(
    Version("2.21") > JUPYTER_SERVER,
    reason="Jupyter Server takes the id of a kernel from a page since 2.21",
)
