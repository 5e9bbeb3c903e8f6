"""Where the tests find Jupyter Enterprise Gateway, which needs an environment of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

ENTERPRISE_PYTHON = Path(__file__).resolve().parents[2] / ".venv-enterprise" / "bin" / "python"
"""The interpreter of the environment that `make enterprise-gateway` makes."""

KERNEL_ENV = {"KERNEL_USERNAME": "tester"}
"""What a client must send with a kernel: run by root, Enterprise Gateway refuses without it."""

SKIP_REASON = "no Enterprise Gateway: it needs Python 3.11 (make enterprise-gateway)"


def needs_enterprise_gateway() -> Path:
    """The interpreter that has Enterprise Gateway; skips the test where there is none."""
    # The stamp is written last, so an environment half made does not count.
    if not ENTERPRISE_PYTHON.parents[1].joinpath("installed").exists():
        pytest.skip(SKIP_REASON)
    return ENTERPRISE_PYTHON
