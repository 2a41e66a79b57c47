"""psycopg2: the simple protocol, text only."""

import json
import select
import threading

import psycopg2

import job_queue as q

TABLE = "jobs_psycopg2"


def main():
    a, b = (psycopg2.connect(q.DSN) for _ in range(2))
    ca, cb = a.cursor(), b.cursor()

    ca.execute(q.schema(TABLE))
    a.commit()

    def queued():
        cb.execute(q.queued(TABLE))
        count = cb.fetchone()[0]
        b.commit()
        return count

    for n in (1, 2):
        ca.execute(q.enqueue(TABLE, "%s"), [json.dumps({"n": n})])
    q.check("queued before the commit", queued(), 0)
    a.commit()
    q.check("queued after the commit", queued(), 2)

    ca.execute(q.dequeue(TABLE))
    cb.execute(q.dequeue(TABLE))
    first, second = ca.fetchone(), cb.fetchone()
    q.check("the first job", first, (1, {"n": 1}, 0))
    q.check("the second session's job", second, (2, {"n": 2}, 0))
    ca.execute(q.done(TABLE, "%s"), [first[0]])
    a.commit()

    # The second one fails: its lock goes with the rollback, and the attempt is counted.
    try:
        cb.execute("select 1 / 0")
    except psycopg2.errors.DivisionByZero:
        b.rollback()
    cb.execute(q.retry(TABLE, "%s"), [second[0]])
    b.commit()
    ca.execute(q.dequeue(TABLE))
    q.check("the retried job", ca.fetchone(), (2, {"n": 2}, 1))
    ca.execute(q.done(TABLE, "%s"), [2])
    a.commit()

    b.autocommit = True
    cb.execute(f"listen {TABLE}")
    ca.execute(f"notify {TABLE}, 'never'")
    a.rollback()
    ca.execute("select pg_notify(%s, 'hello')", [TABLE])
    a.commit()
    while not b.notifies:
        select.select([b], [], [], 10)
        b.poll()
    q.check("the notification", [(n.channel, n.payload) for n in b.notifies], [(TABLE, "hello")])

    ca.execute("select pg_advisory_lock(42)")
    a.commit()
    cb.execute("select pg_try_advisory_lock(42)")
    q.check("the lock is taken", cb.fetchone()[0], False)
    taken = threading.Event()

    def take():
        cb.execute("select pg_advisory_lock(42)")
        taken.set()

    waiting = threading.Thread(target=take)
    waiting.start()
    q.check("the lock while it is held", taken.wait(0.05), False)
    ca.execute("select pg_advisory_unlock(42)")
    waiting.join(10)
    q.check("the lock once it is free", taken.is_set(), True)

    ca.execute(q.summary(TABLE))
    q.check("what is left", ca.fetchall(), q.EXPECTED)


main()
