#!/usr/bin/env python3
"""The lab: real Debian 13 hosts as containers on this machine.

lab.py up [-i INVENTORY ...]      start every host of the inventories (default inventories/lab)
lab.py down [-i INVENTORY ...]    remove the hosts: all there are, or those of the inventories
lab.py image                      build the host image only
lab.py api VERSION [--chaos K=V]  build a version of the reference API and push it to the lab registry
lab.py clean                      remove everything the lab ever made or installed on this machine
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import engine
import hosts
import images
import openbao
import registry
from shell import CHECKOUT, STATE, LabError, fail, say


def main(arguments: list[str]) -> int:
    options = _parse(arguments)
    try:
        options.action(options)
    except LabError as error:
        return fail(error)
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    for name, action in (("up", _up), ("down", _down), ("image", _image), ("api", _api), ("clean", _clean)):
        sub = actions.add_parser(name)
        sub.set_defaults(action=action)
        if name in ("up", "down", "api"):
            sub.add_argument("-i", "--inventory", action="append", type=Path, metavar="PATH")
        if name == "api":
            sub.add_argument("version")
            sub.add_argument(
                "--chaos", default="", help="misbehaviour baked into the image, e.g. CHAOS_NEVER_HEALTHY=true"
            )
    return parser.parse_args(arguments)


def _inventories(options: argparse.Namespace) -> list[Path]:
    return options.inventory or [CHECKOUT / "inventories/lab"]


def _up(options: argparse.Namespace) -> None:
    engine.ensure()
    openbao.wheel()
    hosts.up(hosts.from_inventories(_inventories(options)))


def _down(options: argparse.Namespace) -> None:
    engine.ensure()
    hosts.down(hosts.from_inventories(options.inventory) if options.inventory else None)


def _image(_options: argparse.Namespace) -> None:
    engine.ensure()
    images.ensure_host()


def _api(options: argparse.Namespace) -> None:
    engine.ensure()
    registry.publish(_inventories(options), {options.version: options.chaos})


def _clean(_options: argparse.Namespace) -> None:
    if STATE.exists() and shutil.which("dockerd"):
        engine.ensure()  # one that was started by hand does not survive a reboot, and what it keeps does
    if engine.answers():
        hosts.remove()
        images.remove()
    hosts.VAULT_FILE.unlink(missing_ok=True)
    engine.remove()
    shutil.rmtree(STATE, ignore_errors=True)
    if STATE.exists():
        raise LabError(f"{STATE} cannot be removed: run `make clean` as the user who made it")
    say("nothing of the lab is left")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
