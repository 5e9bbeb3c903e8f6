"""Notebooks made of cells of code, and what is in them after a run."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbformat import NotebookNode


def notebook(*sources: str, kernel_name: str = "python3") -> NotebookNode:
    """Make a notebook of code cells for one kernelspec."""
    cells: list[dict[str, object]] = [
        {
            "cell_type": "code",
            "id": f"cell-{number}",
            "source": source,
            "metadata": {},
            "outputs": [],
            "execution_count": None,
        }
        for number, source in enumerate(sources)
    ]
    kernelspec = {"name": kernel_name, "display_name": kernel_name, "language": "python"}
    made = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": kernelspec},
        "cells": cells,
    }
    return nbformat.from_dict(made)  # type: ignore[no-any-return, no-untyped-call]  # it is untyped


def write(made: NotebookNode, path: Path) -> None:
    """Write a notebook to a file."""
    nbformat.write(made, path)  # type: ignore[no-untyped-call]  # it is untyped


def read(path: Path) -> NotebookNode:
    """Read a notebook from a file."""
    return nbformat.read(path, as_version=4)  # type: ignore[no-any-return, no-untyped-call]  # it is untyped


def printed(made: NotebookNode, index: int = -1) -> str:
    """Return what a cell has printed."""
    outputs = made.cells[index].outputs
    return "".join(output.text for output in outputs if output.output_type == "stream")
