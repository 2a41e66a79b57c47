"""psycopg 3, synchronous: the extended protocol, text and binary, prepared statements."""

import threading

import psycopg
from psycopg.types.json import Jsonb

import job_queue as q

TABLE = "jobs_psycopg"


def main():
    a, b = (psycopg.connect(q.DSN) for _ in range(2))

    with a.transaction():
        a.execute(q.schema(TABLE))

    def queued():
        with b.transaction():
            return b.execute(q.queued(TABLE), binary=True).fetchone()[0]

    with a.transaction():
        for n in (1, 2):
            a.execute(q.enqueue(TABLE, "%s"), [Jsonb({"n": n})], prepare=True)
        q.check("queued before the commit", queued(), 0)
    q.check("queued after the commit", queued(), 2)

    first = a.execute(q.dequeue(TABLE), binary=True).fetchone()
    second = b.execute(q.dequeue(TABLE), prepare=True).fetchone()
    q.check("the first job", first, (1, {"n": 1}, 0))
    q.check("the second session's job", second, (2, {"n": 2}, 0))
    a.execute(q.done(TABLE, "%b"), [first[0]])
    a.commit()

    # The second one fails: its lock goes with the rollback, and the attempt is counted.
    try:
        b.execute("select 1 / 0")
    except psycopg.errors.DivisionByZero:
        b.rollback()
    with b.transaction():
        b.execute(q.retry(TABLE, "%s"), [second[0]])
    with a.transaction():
        q.check("the retried job", a.execute(q.dequeue(TABLE)).fetchone(), (2, {"n": 2}, 1))
        a.execute(q.done(TABLE, "%s"), [2])

    # A pipeline, and a server-side cursor.
    with a.pipeline():
        one = a.execute("select 1")
        two = a.execute("select 2")
        q.check("a pipeline", (one.fetchone(), two.fetchone()), ((1,), (2,)))
    with a.transaction(), a.cursor(name="few") as cursor:
        cursor.execute("select generate_series(1, 5)")
        q.check("a cursor", [cursor.fetchmany(2), cursor.fetchall()], [[(1,), (2,)], [(3,), (4,), (5,)]])

    b.set_autocommit(True)
    b.execute(f"listen {TABLE}")
    a.execute(f"notify {TABLE}, 'never'")
    a.rollback()
    with a.transaction():
        a.execute("select pg_notify(%s, 'hello')", [TABLE])
    heard = [(n.channel, n.payload) for n in b.notifies(timeout=10, stop_after=1)]
    q.check("the notification", heard, [(TABLE, "hello")])

    with a.transaction():
        a.execute("select pg_advisory_lock(42)")
    q.check("the lock is taken", b.execute("select pg_try_advisory_lock(42)").fetchone(), (False,))
    taken = threading.Event()

    def take():
        b.execute("select pg_advisory_lock(42)")
        taken.set()

    waiting = threading.Thread(target=take)
    waiting.start()
    q.check("the lock while it is held", taken.wait(0.05), False)
    a.execute("select pg_advisory_unlock(42)")
    waiting.join(10)
    q.check("the lock once it is free", taken.is_set(), True)

    q.check("what is left", a.execute(q.summary(TABLE)).fetchall(), q.EXPECTED)


main()
