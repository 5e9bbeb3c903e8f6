"""Measure what Jupyter Relay costs: a table on standard output, and JSON with every repetition."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from bench import report
from bench.runner import Result, Scale, run
from bench.tab import BenchError
from bench.works import growth, headless, hostile, memory, real, rest, server, start

GOALS = (
    *server.WORKS,
    *rest.WORKS,
    *hostile.WORKS,
    *memory.WORKS,
    *headless.WORKS,
    *real.WORKS,
    *start.WORKS,
)
"""The works that have something to reach."""

WORKS = (*GOALS, *growth.WORKS)


def main() -> None:
    """Read the arguments, run, print the table and write the JSON."""
    options = _options()
    scale = Scale(short=options.short)
    names = options.only or [work.name for work in (GOALS if options.short else WORKS)]
    results: list[Result] = []
    status = 0
    for work in WORKS:
        if work.name not in names:
            continue
        print(f"{work.name} …", file=sys.stderr, flush=True)
        try:
            results += asyncio.run(run(work, scale))
        except BenchError as error:
            status = 1
            print(f"{work.name} could not be measured: {error}", file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            status = 130  # as a shell has it of who is ended by Ctrl-C
            print("Interrupted; what was measured until now:", file=sys.stderr, flush=True)
            break
    print(report.markdown(results) if options.markdown else report.text(results))
    options.json.write_text(report.as_json(results, sys.argv), encoding="utf-8")
    sys.exit(status)


def _options() -> argparse.Namespace:
    names = [work.name for work in WORKS]
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, epilog=f"The works: {', '.join(names)}."
    )
    parser.add_argument(
        "--short", action="store_true", help="less of everything, and not how cost grows"
    )
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help="these works")
    parser.add_argument("--markdown", action="store_true", help="print the table for a page")
    parser.add_argument(
        "--json", type=Path, default=Path("bench/results/latest.json"), help="where to write it"
    )
    options = parser.parse_args()
    # Now, not after twenty minutes.
    try:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.open("a", encoding="utf-8").close()
    except OSError as error:
        parser.error(f"argument --json: {options.json} cannot be written: {error.strerror}")
    return options


if __name__ == "__main__":
    main()
