"""The cycle of a job queue, in the words every driver shares.

Each client does the same steps with its own means; the statements are here once.
"""

import os

HOST = os.environ.get("PGHOST", "127.0.0.1")
PORT = int(os.environ["PGPORT"])
DSN = f"host={HOST} port={PORT} user=postgres dbname=postgres"


def schema(table):
    return f"""
        create table {table} (
            id bigserial primary key,
            payload jsonb not null,
            state text not null default 'queued',
            attempts int not null default 0,
            created_at timestamptz not null default now()
        )"""


def enqueue(table, parameter):
    return f"insert into {table} (payload) values ({parameter}) returning id"


def dequeue(table):
    return (
        f"select id, payload, attempts from {table} where state = 'queued' "
        "order by id limit 1 for update skip locked"
    )


def done(table, parameter):
    return f"update {table} set state = 'done' where id = {parameter}"


def retry(table, parameter):
    return f"update {table} set attempts = attempts + 1 where id = {parameter}"


def queued(table):
    return f"select count(*) from {table} where state = 'queued'"


def summary(table):
    return f"select id, state, attempts from {table} order by id"


# What is left when the cycle is over: two jobs are done, the third has failed once.
EXPECTED = [(1, "done", 0), (2, "done", 1)]


def check(what, seen, expected):
    if seen != expected:
        raise SystemExit(f"{what}: {seen!r}, and {expected!r} was expected")
