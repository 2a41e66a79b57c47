"""asyncpg: the extended protocol, binary only, prepared statements, its own pool."""

import asyncio
import json

import asyncpg

import job_queue as q

TABLE = "jobs_asyncpg"


async def main():
    pool = await asyncpg.create_pool(
        host=q.HOST, port=q.PORT, user="postgres", database="postgres", min_size=2, max_size=2
    )
    a, b = await pool.acquire(), await pool.acquire()

    await a.execute(q.schema(TABLE))

    async with a.transaction():
        for n in (1, 2):
            await a.fetchval(q.enqueue(TABLE, "$1"), json.dumps({"n": n}))
        q.check("queued before the commit", await b.fetchval(q.queued(TABLE)), 0)
    q.check("queued after the commit", await b.fetchval(q.queued(TABLE)), 2)

    async with a.transaction():
        first = await a.fetchrow(q.dequeue(TABLE))
        try:
            async with b.transaction():
                second = await b.fetchrow(q.dequeue(TABLE))
                q.check("the second session's job", tuple(second), (2, '{"n": 2}', 0))
                # It fails: its lock goes with the rollback, and the attempt is counted.
                await b.execute("select 1 / 0")
        except asyncpg.DivisionByZeroError:
            await b.execute(q.retry(TABLE, "$1"), second["id"])
        q.check("the first job", tuple(first), (1, '{"n": 1}', 0))
        await a.execute(q.done(TABLE, "$1"), first["id"])
    async with a.transaction():
        again = await a.fetchrow(q.dequeue(TABLE))
        q.check("the retried job", tuple(again), (2, '{"n": 2}', 1))
        await a.execute(q.done(TABLE, "$1"), 2)

    heard = asyncio.Queue()

    def listener(connection, pid, channel, payload):
        heard.put_nowait((channel, payload))

    await b.add_listener(TABLE, listener)
    async with a.transaction():
        await a.execute("select pg_notify($1, 'hello')", TABLE)
    said = await asyncio.wait_for(heard.get(), 10)
    q.check("the notification", said, (TABLE, "hello"))
    await b.remove_listener(TABLE, listener)

    await a.execute("select pg_advisory_lock(42)")
    q.check("the lock is taken", await b.fetchval("select pg_try_advisory_lock(42)"), False)
    waiting = asyncio.create_task(b.execute("select pg_advisory_lock(42)"))
    await asyncio.sleep(0.05)
    q.check("the lock while it is held", waiting.done(), False)
    await a.execute("select pg_advisory_unlock(42)")
    await asyncio.wait_for(waiting, 10)

    left = [tuple(row) for row in await a.fetch(q.summary(TABLE))]
    q.check("what is left", left, q.EXPECTED)
    # Its reset asks for much: advisory locks, cursors, listeners, settings.
    await pool.release(a)
    await pool.release(b)
    await pool.close()


asyncio.run(main())
