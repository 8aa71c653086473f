# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads what roles/release/files/alembic_revisions.py answers out of an app's image."""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from collections.abc import Mapping
from typing import Any

_ANSWER = re.compile(r"^SIGNALBOX-REVISIONS ([A-Za-z0-9+/=]+)$", re.MULTILINE)
# Drivers of SQLAlchemy's URLs, and whether they keep prepared statements of their own accord.
_KEEPS_PLANS = {"asyncpg": True, "psycopg": True, "psycopg2": False, "psycopg2cffi": False, "pygresql": False}


class NoTree(Exception):
    """The image did not list its revisions."""


def answer_of(stdout: str) -> dict[str, Any]:
    """What the program said, out of all that was printed."""
    match = _ANSWER.search(stdout)
    if match is None:
        raise NoTree(
            "the image's answer holds no list of revisions; does its python have Alembic, and its working directory an "
            "alembic.ini? A very large tree may not fit in one answer"
        )
    try:
        found: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(match[1])))
    except (binascii.Error, zlib.error, ValueError) as error:
        raise NoTree(f"the image's answer is cut off: {error}") from error
    if "failed" in found:
        raise NoTree(f"Alembic in the image cannot read its revisions: {found['failed']}")
    return found


def statements_of_models(tables: Mapping[str, Mapping[str, Mapping[str, bool]]]) -> list[str]:
    """What SQLAlchemy writes for mapped tables: SELECT of all columns, INSERT of those the database does not fill."""
    texts = []
    for name, columns in sorted(tables.items()):
        table = ".".join(f'"{part}"' for part in name.split("."))
        listed = ", ".join(f'"{column}"' for column in columns)
        given = [f'"{key}"' for key, about in columns.items() if not about["has_default"] and not about["computed"]]
        texts.append(f"SELECT {listed} FROM {table}")  # noqa: S608  only parsed, never run
        if given:
            values = ", ".join(f"${number}" for number, _ in enumerate(given, 1))
            texts.append(f"INSERT INTO {table} ({', '.join(given)}) VALUES ({values})")  # noqa: S608  the same
    return texts


def keeps_plans(url: str) -> bool | None:
    """Whether the driver of a URL caches prepared statements; None for one that is not known."""
    scheme = url.partition("://")[0]
    driver = scheme.partition("+")[2] or ("psycopg2" if scheme in ("postgresql", "postgres") else "")
    return _KEEPS_PLANS.get(driver)
