"""Lets the tenants of a service's process rest while nobody uses them, and wakes them (docs/decisions/0171).

A tenant that is awake has its own readers, relay, housekeeping, jobs and connections, as if it were alone. One that rests has
nothing but an entry in one blocked read. It is woken by a call, by what moves in a stream that it hears, by another process (a
hint, which may be lost), and by the time at which something falls due. Now and then it is looked at, and woken where more is to
be done than a look does (`shared.resting`).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.config import Settings
from shared.ending import end
from shared.http.runtime import Check
from shared.messaging.faults import passing
from shared.messaging.watch import BLOCK_MS, Watch, hint
from shared.resting import Rest
from shared.runtime import TenantRuntime

log = structlog.get_logger(__name__)

STAY_S = 0.2
"""Who was only looked at stays awake so long at least."""
AT_ONCE = 4
"""So many are looked at, or awake for no other reason."""
HINT_EVERY_S = 10.0
"""What a process uses it tells the others so often: where it dies, they are awake for its tenants."""
AGAIN_S = 1.0
SOON_MS = 250
SPREAD_S = 60.0
"""After Redis was away everybody is looked at once, within so long."""


class Tending:
    """All tenants of one service's process, awake or at rest."""

    def __init__(self, settings: Settings, service: str, redis: Redis) -> None:
        self._settings, self._service, self._redis = settings, service, redis
        self._watch = Watch(redis, settings.cell)
        self._runtimes: dict[str, TenantRuntime] = {}
        self._rests: dict[str, Rest] = {}
        self._owners: dict[str, str] = {}
        self._look_at: dict[str, float] = {}
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._waking: dict[str, asyncio.Task[None]] = {}
        self._looking: dict[str, asyncio.Task[None]] = {}
        self._troubles: dict[str, str] = {}
        self._hinted_at = time.monotonic()
        self._sees = False
        """Whether the last read came back. Nobody goes to rest whom nobody watches."""
        self._running: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Begins to let tenants rest."""
        if self._settings.rest_after_s > 0:
            self._running = asyncio.create_task(self._run(), name="tending")

    async def end(self) -> None:
        """Lets everybody be as they are."""
        if self._running is not None:
            await end([self._running])
        await end([*self._waking.values(), *self._looking.values()])

    async def keep(self, runtime: TenantRuntime) -> None:
        """This one is served from here on. It is looked at when its turn comes: a process that begins with hundreds answers at
        once, and begins with those that are used. Where nobody rests it is started, and what keeps it from starting is raised."""
        if self._settings.rest_after_s == 0:
            await runtime.start()
            return
        self._runtimes[runtime.code] = runtime
        runtime.resting = True
        runtime.wanted = lambda one: self._wake(one.code)
        self._look_at[runtime.code] = 0.0
        self._look()

    async def let_go(self, code: str) -> None:
        """This one is served no more; returns when nothing wakes it or puts it to rest."""
        self._runtimes.pop(code, None)
        await self._break_off_look(code)
        async with self._turns[code]:
            self._forget(code)
        self._turns.pop(code, None)
        self._troubles.pop(code, None)

    def checks(self) -> list[Check]:
        """Those that should be awake and can't be, and the loop itself, which must not end."""
        found = [
            Check(f"tenant:{code}", False, trouble, tenant=code) for code, trouble in self._troubles.items()
        ]
        if self._running is not None and self._running.done():
            found.append(Check("task:tending", ok=False, detail="has ended", fatal=True))
        return found

    # ------------------------------------------------------------ the loop

    async def _run(self) -> None:
        while True:
            try:
                if self._sees:
                    await self._let_rest()
                self._look()
                await self._tell_others()
                moved = await self._watch.moved(block_ms=self._patience_ms)
                self._seeing()
                for stream in moved.streams:
                    if stream in self._owners:
                        self._wake(self._owners[stream])
                for name in moved.tenants:
                    self._hinted(*name.split(":"))
            except (RedisError, OSError) as error:
                if self._sees:
                    log.warning("tenants at rest can't be watched", error=repr(error)[:300])
                self._sees = False
                await asyncio.sleep(AGAIN_S)
            except Exception as error:
                log.error("tending is broken", error=repr(error)[:300], exc_info=error)
                await asyncio.sleep(AGAIN_S)

    @property
    def _patience_ms(self) -> int:
        """Shorter while somebody waits to be looked at; at first it is only seen whether a read comes back."""
        if not self._sees:
            return 1
        now, watched = time.monotonic(), self._looking.keys() & self._rests.keys()
        waits = any(at <= now and code not in watched for code, at in self._look_at.items())
        return SOON_MS if waits else BLOCK_MS

    async def _let_rest(self) -> None:
        now = time.monotonic()
        quiet = [
            one
            for one in self._runtimes.values()
            if not one.resting
            and now - one.began_at >= STAY_S
            and self._idle_s(one) >= self._settings.rest_after_s
            and one.quiet  # which may find that it was used
            and self._idle_s(one) >= self._settings.rest_after_s
        ]
        await asyncio.gather(*[self._rest(one) for one in quiet])

    async def _rest(self, runtime: TenantRuntime) -> None:
        async with self._turns[runtime.code]:
            if runtime.code not in self._runtimes:
                return
            try:
                rest = await runtime.rest()
            except Exception as error:  # noqa: BLE001  # whatever it is, it is said, and tried again
                self._fail(runtime, error)
                return
            if rest is None:
                return
            self._keep_at_rest(runtime.code, rest)

    def _keep_at_rest(self, code: str, rest: Rest) -> None:
        self._rests[code] = rest
        self._owners.update(dict.fromkeys(rest.streams, code))
        self._watch.add(rest.streams)
        look = time.monotonic() + self._settings.look_every_s * random.uniform(0.5, 1.0)  # noqa: S311
        self._look_at[code] = min(look, rest.until)

    # ------------------------------------------------------------ looking

    def _look(self) -> None:
        """Looks at those whose time has come, not too many of them at once."""
        now = time.monotonic()
        under_way = self._waking.keys() | self._looking.keys()
        due = sorted((at, code) for code, at in self._look_at.items() if at <= now and code not in under_way)
        awake = sum(
            not one.resting and not one.held_back and self._idle_s(one) >= self._settings.rest_after_s
            for one in self._runtimes.values()
        )
        for _, code in due[: max(0, AT_ONCE - len(under_way) - awake)]:
            self._begin_look(code)

    def _begin_look(self, code: str) -> None:
        task = self._looking[code] = asyncio.create_task(self._look_at_one(code), name=f"look {code}")
        task.add_done_callback(lambda _: self._looking.pop(code, None))

    async def _look_at_one(self, code: str) -> None:
        async with self._turns[code]:
            runtime = self._runtimes.get(code)
            if runtime is None or not runtime.resting:
                return
            try:
                rest = await runtime.look()
            except Exception as error:  # noqa: BLE001  # awake its own parts meet it again, and say it by name
                if passing(error):
                    self._fail(runtime, error)
                    return
                log.warning("a look found what is wrong", tenant=code, error=repr(error)[:300])
                rest = None
            if rest is not None:
                self._troubles.pop(code, None)
                self._keep_at_rest(code, rest)
                return
        self._wake(code)

    async def _break_off_look(self, code: str) -> None:
        if (looking := self._looking.get(code)) is not None:
            await end([looking])

    @staticmethod
    def _idle_s(one: TenantRuntime) -> float:
        return time.monotonic() - max(one.used_at, one.hinted_at)

    def _seeing(self) -> None:
        """After Redis was away, which may have lost everything, all are looked at, one after the other."""
        if self._sees:
            return
        self._sees, now = True, time.monotonic()
        for code, at in self._look_at.items():
            self._look_at[code] = min(at, now + random.uniform(0.0, SPREAD_S))  # noqa: S311

    # ------------------------------------------------------------ waking

    def _wake(self, code: str) -> None:
        if code in self._runtimes and code not in self._waking:
            task = self._waking[code] = asyncio.create_task(self._start(code), name=f"wake {code}")
            task.add_done_callback(lambda _: self._waking.pop(code, None))

    async def _start(self, code: str) -> None:
        await self._break_off_look(code)  # who is used is not kept waiting by a job
        async with self._turns[code]:
            runtime = self._runtimes.get(code)
            if runtime is None or not runtime.resting:
                return
            try:
                await runtime.start()
            except Exception as error:  # noqa: BLE001  # whatever it is, it is said, and tried again
                self._fail(runtime, error)
                return
            self._troubles.pop(code, None)
            self._forget(code)

    def _forget(self, code: str) -> None:
        self._look_at.pop(code, None)
        rest = self._rests.pop(code, None)
        if rest is not None:
            self._watch.drop(rest.streams)
            for stream in rest.streams:
                self._owners.pop(stream, None)

    def _fail(self, runtime: TenantRuntime, error: Exception) -> None:
        """It is neither awake nor at rest: it is tried again, and said."""
        self._troubles[runtime.code] = f"{type(error).__name__}: {error}"[:300]
        self._look_at[runtime.code] = time.monotonic() + AGAIN_S
        level = log.warning if passing(error) else log.error
        level("a tenant can't be woken", tenant=runtime.code, error=repr(error)[:300], exc_info=error)

    # ------------------------------------------------------------ other processes

    async def _tell_others(self) -> None:
        now = time.monotonic()
        if now - self._hinted_at < HINT_EVERY_S:
            return
        self._hinted_at = now
        used = [
            f"{code}:{self._service}"
            for code, one in self._runtimes.items()
            if now - one.used_at < self._settings.rest_after_s
        ]
        if used:
            await hint(self._redis, self._settings.cell, used)

    def _hinted(self, code: str, service: str = "") -> None:
        runtime = self._runtimes.get(code)
        if runtime is not None and service in ("", self._service):
            runtime.hinted_at = time.monotonic()
            if runtime.resting:
                self._wake(code)
