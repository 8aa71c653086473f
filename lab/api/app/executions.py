"""Counts how often each request token was executed, in all containers together, so that a replay shows.

A token is "<run>:<number>". Per run one bit per number says "executed", and a hash holds the numbers executed
more than once: 200,000 tokens take 25 kB, and counting is one round trip.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from app.cache import Cache

PATTERN = re.compile(r"([A-Za-z0-9_.-]{1,64}):([0-9]{1,8})")
KEPT_SECONDS = 86_400
HIGHEST_NUMBER = 2**26 - 1


class Token(NamedTuple):
    run: str
    number: int


def parse(text: str) -> Token | None:
    match = PATTERN.fullmatch(text)
    if match is None or int(match[2]) > HIGHEST_NUMBER:
        return None
    return Token(match[1], int(match[2]))


class Executions:
    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def _keys(self, run: str) -> tuple[str, str, str]:
        return tuple(self._cache.key("executions", run, part) for part in ("seen", "total", "again"))  # type: ignore[return-value]

    async def count(self, token: Token) -> int:
        """Record one execution; returns the how-manieth it was."""
        seen, total, again = self._keys(token.run)

        async def record() -> int:
            async with self._cache.redis.pipeline(transaction=False) as pipe:
                pipe.setbit(seen, token.number, 1)
                pipe.incr(total)
                before, count = await pipe.execute()
            if count == 1:
                await self._cache.redis.expire(seen, KEPT_SECONDS)
                await self._cache.redis.expire(total, KEPT_SECONDS)
            if not before:
                return 1
            times = 1 + int(await self._cache.redis.hincrby(again, str(token.number), 1))
            await self._cache.redis.expire(again, KEPT_SECONDS)
            return times

        return await self._cache.dependency.call(record)

    async def of_token(self, token: Token) -> int:
        seen, _, again = self._keys(token.run)

        async def ask() -> int:
            async with self._cache.redis.pipeline(transaction=False) as pipe:
                pipe.getbit(seen, token.number)
                pipe.hget(again, str(token.number))
                bit, more = await pipe.execute()
            return int(bit) + int(more or 0)

        return await self._cache.dependency.call(ask)

    async def of_run(self, run: str) -> dict[str, int]:
        seen, total, again = self._keys(run)

        async def ask() -> dict[str, int]:
            async with self._cache.redis.pipeline(transaction=False) as pipe:
                pipe.get(total)
                pipe.bitcount(seen)
                pipe.hvals(again)
                executions, tokens, repeats = await pipe.execute()
            return {
                "executions": int(executions or 0),
                "tokens": int(tokens),
                "replayed_tokens": len(repeats),
                "replays": sum(int(value) for value in repeats),
            }

        return await self._cache.dependency.call(ask)
