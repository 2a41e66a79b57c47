// node-postgres: the extended protocol, text and binary, prepared statements.
"use strict";

const assert = require("node:assert");
const { Client } = require("pg");

const TABLE = "jobs_pg";
const config = {
  host: process.env.PGHOST || "127.0.0.1",
  port: Number(process.env.PGPORT),
  user: "postgres",
  database: "postgres",
};

const DEQUEUE = `select id, payload, attempts from ${TABLE} where state = 'queued'
  order by id limit 1 for update skip locked`;

async function main() {
  const a = new Client(config);
  const b = new Client({ ...config, binary: true });
  await a.connect();
  await b.connect();

  await a.query(`
    create table ${TABLE} (
      id bigserial primary key,
      payload jsonb not null,
      state text not null default 'queued',
      attempts int not null default 0,
      created_at timestamptz not null default now()
    )`);

  const queued = async () => {
    const { rows } = await b.query(`select count(*) as n from ${TABLE} where state = $1`, ["queued"]);
    return Number(rows[0].n);
  };

  await a.query("begin");
  for (const n of [1, 2]) {
    await a.query({
      name: "enqueue",
      text: `insert into ${TABLE} (payload) values ($1) returning id`,
      values: [{ n }],
    });
  }
  assert.strictEqual(await queued(), 0, "queued before the commit");
  await a.query("commit");
  assert.strictEqual(await queued(), 2, "queued after the commit");

  await a.query("begin");
  await b.query("begin");
  const first = (await a.query(DEQUEUE)).rows[0];
  const second = (await b.query({ text: DEQUEUE, values: [], binary: false })).rows[0];
  assert.deepStrictEqual({ ...first }, { id: "1", payload: { n: 1 }, attempts: 0 });
  assert.strictEqual(Number(second.id), 2, "the second session's job");
  await a.query(`update ${TABLE} set state = 'done' where id = $1`, [first.id]);
  await a.query("commit");

  // The second one fails: its lock goes with the rollback, and the attempt is counted.
  await assert.rejects(b.query("select 1 / 0"), { code: "22012" });
  await b.query("rollback");
  await b.query(`update ${TABLE} set attempts = attempts + 1 where id = $1`, [2]);
  await a.query("begin");
  const again = (await a.query(DEQUEUE)).rows[0];
  assert.deepStrictEqual({ ...again }, { id: "2", payload: { n: 2 }, attempts: 1 });
  await a.query(`update ${TABLE} set state = 'done' where id = $1`, [again.id]);
  await a.query("commit");

  const heard = new Promise((resolve) => b.once("notification", resolve));
  await b.query(`listen ${TABLE}`);
  await a.query("begin");
  await a.query("select pg_notify($1, $2)", [TABLE, "hello"]);
  await a.query("commit");
  const { channel, payload } = await heard;
  assert.deepStrictEqual({ channel, payload }, { channel: TABLE, payload: "hello" });

  await a.query("select pg_advisory_lock(42)");
  const tried = await b.query("select pg_try_advisory_lock(42) as got");
  assert.strictEqual(tried.rows[0].got, false, "the lock is taken");
  let taken = false;
  const waiting = b.query("select pg_advisory_lock(42)").then(() => (taken = true));
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.strictEqual(taken, false, "the lock while it is held");
  await a.query("select pg_advisory_unlock(42)");
  await waiting;

  const { rows } = await a.query({
    text: `select id, state, attempts from ${TABLE} order by id`,
    rowMode: "array",
  });
  assert.deepStrictEqual(rows, [
    ["1", "done", 0],
    ["2", "done", 1],
  ]);
  await a.end();
  await b.end();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
