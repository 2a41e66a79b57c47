#!/usr/bin/env bash
# psql: the simple protocol, as people type it. Two sessions are two psql processes fed by pipes.
set -euo pipefail

table=jobs_psql
psql=(psql -h "${PGHOST:-127.0.0.1}" -p "$PGPORT" -U postgres -d postgres -XqAt -v ON_ERROR_STOP=0)

coproc A { exec "${psql[@]}" 2>&1; }
exec {a_in}>&"${A[1]}" {a_out}<&"${A[0]}"
# A second coprocess would make bash complain: it is the same with two pipes.
pipes=$(mktemp -d)
trap 'rm -rf "$pipes"' EXIT
mkfifo "$pipes/in" "$pipes/out"
"${psql[@]}" <"$pipes/in" >"$pipes/out" 2>&1 &
exec {b_in}>"$pipes/in" {b_out}<"$pipes/out"

# Runs SQL in a session, `a` or `b`, and prints what it answers.
ask() {
    tell "$1" "$2"
    answer "$1"
}

tell() {
    local in=${1}_in
    printf '%s\n\\echo --\n' "$2" >&"${!in}"
}

answer() {
    local out=${1}_out line
    while IFS= read -r -t 20 -u "${!out}" line && [ "$line" != -- ]; do
        printf '%s\n' "$line"
    done
}

check() {
    [ "$2" = "$3" ] || {
        printf '%s: %q, and %q was expected\n' "$1" "$2" "$3"
        exit 1
    }
}

dequeue="select id, payload, attempts from $table where state = 'queued' order by id limit 1 for update skip locked;"
queued="select count(*) from $table where state = 'queued';"

ask a "create table $table (
    id bigserial primary key,
    payload jsonb not null,
    state text not null default 'queued',
    attempts int not null default 0,
    created_at timestamptz not null default now()
);"
ask a "begin; insert into $table (payload) values ('{\"n\": 1}'), ('{\"n\": 2}');"
check "queued before the commit" "$(ask b "$queued")" 0
ask a "commit;"
check "queued after the commit" "$(ask b "$queued")" 2

check "the first job" "$(ask a "begin; $dequeue")" '1|{"n": 1}|0'
check "the second session's job" "$(ask b "begin; $dequeue")" '2|{"n": 2}|0'
ask a "update $table set state = 'done' where id = 1; commit;"
# The second one fails: its lock goes with the rollback, and the attempt is counted.
check "an error" "$(ask b "select 1 / 0;")" "ERROR:  division by zero"
ask b "rollback; update $table set attempts = attempts + 1 where id = 2;"
check "the retried job" "$(ask a "begin; $dequeue")" '2|{"n": 2}|1'
ask a "update $table set state = 'done' where id = 2; commit;"

ask b "listen $table;"
ask a "begin; notify $table, 'never'; rollback; begin; notify $table, 'hello'; commit;"
heard=$(ask b "select 1;")
case $heard in
*"Asynchronous notification \"$table\" with payload \"hello\" received"*) ;;
*) check "the notification" "$heard" "hello" ;;
esac

check "taking the lock" "$(ask a "select pg_advisory_lock(42);")" ""
check "the lock is taken" "$(ask b "select pg_try_advisory_lock(42);")" f
tell b "select pg_advisory_lock(42), 'mine';"
check "who waits for it" "$(ask a "select pg_advisory_unlock(42);")" t
check "the lock once it is free" "$(answer b)" "|mine"

check "what is left" "$(ask a "select id, state, attempts from $table order by id;" | tr '\n' ' ')" "1|done|0 2|done|1 "
