"""psycopg 3 on asyncio."""

import asyncio

import psycopg
from psycopg.types.json import Jsonb

import job_queue as q

TABLE = "jobs_psycopg_async"


async def one(connection, sql, parameters=None, **options):
    cursor = await connection.execute(sql, parameters, **options)
    return await cursor.fetchone()


async def main():
    a = await psycopg.AsyncConnection.connect(q.DSN)
    b = await psycopg.AsyncConnection.connect(q.DSN)

    async with a.transaction():
        await a.execute(q.schema(TABLE))

    async def queued():
        async with b.transaction():
            return (await one(b, q.queued(TABLE), binary=True))[0]

    async with a.transaction():
        for n in (1, 2):
            await one(a, q.enqueue(TABLE, "%s"), [Jsonb({"n": n})])
        q.check("queued before the commit", await queued(), 0)
    q.check("queued after the commit", await queued(), 2)

    first = await one(a, q.dequeue(TABLE), binary=True)
    second = await one(b, q.dequeue(TABLE))
    q.check("the first job", first, (1, {"n": 1}, 0))
    q.check("the second session's job", second, (2, {"n": 2}, 0))
    await a.execute(q.done(TABLE, "%s"), [first[0]])
    await a.commit()

    # The second one fails: its lock goes with the rollback, and the attempt is counted.
    try:
        await b.execute("select 1 / 0")
    except psycopg.errors.DivisionByZero:
        await b.rollback()
    async with b.transaction():
        await b.execute(q.retry(TABLE, "%s"), [second[0]])
    async with a.transaction():
        q.check("the retried job", await one(a, q.dequeue(TABLE)), (2, {"n": 2}, 1))
        await a.execute(q.done(TABLE, "%s"), [2])

    await b.set_autocommit(True)
    await b.execute(f"listen {TABLE}")
    async with a.transaction():
        await a.execute("select pg_notify(%s, 'hello')", [TABLE])
    heard = [(n.channel, n.payload) async for n in b.notifies(timeout=10, stop_after=1)]
    q.check("the notification", heard, [(TABLE, "hello")])

    async with a.transaction():
        await a.execute("select pg_advisory_lock(42)")
    q.check("the lock is taken", await one(b, "select pg_try_advisory_lock(42)"), (False,))
    waiting = asyncio.create_task(b.execute("select pg_advisory_lock(42)"))
    await asyncio.sleep(0.05)
    q.check("the lock while it is held", waiting.done(), False)
    await a.execute("select pg_advisory_unlock(42)")
    await asyncio.wait_for(waiting, 10)

    left = await (await a.execute(q.summary(TABLE))).fetchall()
    q.check("what is left", left, q.EXPECTED)


asyncio.run(main())
