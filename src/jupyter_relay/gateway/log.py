"""What those who log are given."""

from __future__ import annotations

import logging
from typing import TypeAlias

Log: TypeAlias = "logging.Logger | logging.LoggerAdapter[logging.Logger]"
"""A logger, or traitlets' form of one."""
