"""Entry point: runs the load, shows progress, writes the report, exits 1 when anything failed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time

import uvloop

from . import report
from .options import Options, parse
from .runner import Runner


async def _progress(runner: Runner) -> None:
    interval = 1.0 if sys.stderr.isatty() else 10.0
    previous = 0
    while True:
        await asyncio.sleep(interval)
        print(report.progress(runner.recorder, previous, interval), file=sys.stderr, flush=True)
        previous = runner.recorder.total


async def execute(options: Options) -> dict[str, object]:
    runner = Runner(options)
    loop = asyncio.get_running_loop()
    with contextlib.suppress(ValueError, RuntimeError):  # Only the main thread may.
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, runner.stop)
    progress = asyncio.create_task(_progress(runner))
    try:
        await runner.run()
    finally:
        progress.cancel()
    return report.build(options, runner.recorder, time.time())


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    result = uvloop.run(execute(options))
    if options.report:
        options.report.write_text(json.dumps(result, indent=2) + "\n")
    print(report.table(result))
    return 0 if result["ok"] or options.tolerate_errors else 1
