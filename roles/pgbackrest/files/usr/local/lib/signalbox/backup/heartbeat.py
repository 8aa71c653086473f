# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One row that says when the database last committed: by it a restore tells how much was lost.

An idle server has something to archive by it too, so that a silent archive is noticed.
"""

from __future__ import annotations

import time
from typing import Callable

_MAKE = """
create schema if not exists signalbox;
revoke all on schema signalbox from public;
create table if not exists signalbox.heartbeat (
  only_row boolean primary key default true check (only_row), at timestamptz not null
);
"""
# Asked first: what a standby refuses goes to its log as an error each time.
_RECOVERS = "select pg_is_in_recovery()"
# Seconds since the epoch.
READ = "select extract(epoch from at) from signalbox.heartbeat"
# After a crash or a restore the checkpointer went to sleep while there was no archive_timeout to watch, for recovery
# was not over; nothing but this or the next checkpoint wakes it, so nothing would be archived for checkpoint_timeout.
_WAKE = "select pg_reload_conf()"
_BEAT = """
insert into signalbox.heartbeat (at) values (clock_timestamp())
on conflict (only_row) do update set at = excluded.at
"""


def beat(every_seconds: float, say: Callable[[str], None]) -> None:
    """For ever. A server that is away, in recovery or read-only is asked again at the next beat; that is told once."""
    import psycopg2  # type: ignore[import-untyped]

    connection, told = None, False
    while True:
        try:
            if connection is None:
                connection = psycopg2.connect(
                    dbname="postgres", user="postgres", application_name="signalbox heartbeat"
                )
                connection.autocommit = True
                with connection.cursor() as cursor:
                    cursor.execute(_RECOVERS)
                    if cursor.fetchone()[0]:
                        raise psycopg2.OperationalError("it is a standby, or in recovery")
                    cursor.execute(_MAKE)
                    cursor.execute(_WAKE)
            with connection.cursor() as cursor:
                cursor.execute(_BEAT)
            if told:
                say("the database takes the heartbeat again")
            told = False
        except psycopg2.Error as error:
            if not told:
                say(f"the database takes no heartbeat: {' '.join(str(error).split())}")
            connection, told = None, True
        time.sleep(every_seconds)
