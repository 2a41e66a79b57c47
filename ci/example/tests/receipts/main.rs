//! The README's tests: a worker that loses receipts, and what helps.

mod readme;

use midcommit::plan::Class::*;
use midcommit::{Env, Redeliver::UntilOk, Scenario, Times, check};

const SCHEMA: &str = "
    create table invoice (id int primary key, paid bool not null default false);
    insert into invoice (id) values (1);
";

const PAID: &str = "select id from invoice where paid";

fn receipts() -> Scenario {
    Scenario::new("receipts")
        .schema(SCHEMA)
        .jobs([1])
        .worker("worker", async |env: Env| {
            let mut client = env.connect().await?;
            shop::pay(&mut client, env.job().parse()?).await?;
            env.effect("receipt", env.job()).await?;
            Ok(())
        })
}

#[should_panic(expected = "LOST: ")]
#[test]
fn receipts_follow_commits() {
    check(receipts().owes("receipt", PAID, Times::Once));
}

#[test]
fn receipts_follow_commits_at_least_once() {
    let receipts = receipts()
        .redeliver(UntilOk)
        .owes("receipt", PAID, Times::AtLeastOnce)
        .faults([Interrupt, Kill, Deploy, Network, Server, Broker]);
    check(receipts);
}
