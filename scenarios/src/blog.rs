//! The blog's enqueue loop: save three users in a transaction, enqueue a task for each.
//!
//! Five ways to write it, each alone and called from within an outer `atomic`.
//! A closure of Python's holds the variable and not its value, so the loop's
//! variable is a cell that closures share; `partial` and default arguments copy.
//! What the cell holds when a hook runs is what is enqueued.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use midcommit::oracle::Verdict::{self, Early, Lost, Ok as Fine, Phantom};
use midcommit::plan::Class as Fault;
use midcommit::{Env, Redeliver, Scenario, Times};

use crate::celery;
use crate::django::{DatabaseWrapper, Hook};
use crate::driver::Driver;
use crate::python::{Class, PyError, PyResult, Python, finally};

const SCHEMA: &str = "
    create table users (id int primary key, saved bool not null default false);
    insert into users (id) values (1), (2), (3);
";
const USERS: [i32; 3] = [1, 2, 3];

/// How the tasks are enqueued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    /// In the loop, in the transaction.
    Inside,
    /// `on_commit(lambda: …)` in the loop.
    Lambda,
    /// The blog's final fix: the same lambda, in a loop after the transaction.
    Fix,
    /// `on_commit(partial(…, user.id))`, or a lambda with a default argument.
    Partial,
    /// One callback that loops over the list.
    OneCallback,
}

/// The blog's versions in its order, then two that bind early.
pub(crate) fn scenarios() -> Vec<Scenario> {
    let variants = [
        ("blog_inside", Variant::Inside),
        ("blog_lambda", Variant::Lambda),
        ("blog_fix", Variant::Fix),
        ("blog_partial", Variant::Partial),
        ("blog_one_callback", Variant::OneCallback),
    ];
    let both = variants.into_iter().flat_map(|(name, variant)| {
        [
            blog(name, variant, false),
            blog(&format!("{name}_nested"), variant, true),
        ]
    });
    both.collect()
}

fn blog(name: &str, variant: Variant, nested: bool) -> Scenario {
    let scenario = Scenario::new(name)
        .source(match variant {
            Variant::Inside => "model 11: the blog's first version, delay in the loop in atomic",
            Variant::Lambda => "model 11: the blog's second version, on_commit with a lambda",
            Variant::Fix => "model 11: the blog's final version, on_commit in a loop after atomic",
            Variant::Partial => "model 11: partial or a default argument binds early",
            Variant::OneCallback => "model 11: one callback over the list of users",
        })
        .schema(SCHEMA)
        .jobs(["users"])
        .redeliver(Redeliver::Never)
        .worker("worker", async move |env: Env| {
            let py = Python::new(env);
            let mut db = DatabaseWrapper::new(&py, Driver::Psycopg2);
            let saved = match nested {
                false => save_users(&py, &mut db, variant).await,
                true => {
                    db.atomic(async |db: &mut DatabaseWrapper| save_users(&py, db, variant).await)
                        .await
                }
            };
            let saved = match saved {
                Err(error) if error.class() == Class::Abandoned => Ok(()),
                saved => saved,
            };
            Ok(finally(saved, db.close().await)?)
        })
        .owes("welcome", "select id from users where saved", Times::Once)
        .exceptions(&["SystemExit"])
        .stop_raises("SystemExit");
    expected(scenario, variant, nested)
}

/// The blog's function.
async fn save_users(py: &Python, db: &mut DatabaseWrapper, variant: Variant) -> PyResult<()> {
    let user = Rc::new(Cell::new(0));
    let updated_user_ids = Rc::new(RefCell::new(Vec::new()));
    db.atomic(async |db: &mut DatabaseWrapper| {
        for id in USERS {
            user.set(id);
            let sql = format!("UPDATE users SET saved = true WHERE id = {id}");
            db.execute(&sql).await?;
            match variant {
                Variant::Inside => welcome(py, user.get()).await?,
                Variant::Lambda => db.on_commit(late_bound(py, &user)).await?,
                Variant::Partial => db.on_commit(early_bound(py, user.get())).await?,
                Variant::Fix | Variant::OneCallback => updated_user_ids.borrow_mut().push(id),
            }
        }
        if variant == Variant::OneCallback {
            db.on_commit(over_the_list(py, &updated_user_ids)).await?;
        }
        py.boundary("body_end")?;
        match py.env().rolls_back() {
            true => Err(PyError::new(Class::Abandoned, "")),
            false => Ok(()),
        }
    })
    .await?;
    if variant == Variant::Fix {
        let user_id = Rc::new(Cell::new(0));
        for id in updated_user_ids.take() {
            user_id.set(id);
            db.on_commit(late_bound(py, &user_id)).await?;
        }
    }
    Ok(())
}

/// `lambda: my_background_task.delay(user_id=user.id)`: looks the variable up when it is called.
fn late_bound(py: &Python, user: &Rc<Cell<i32>>) -> Hook {
    let (py, user) = (py.clone(), user.clone());
    Box::new(move || Box::pin(async move { welcome(&py, user.get()).await }))
}

/// `partial(my_background_task.delay, user_id=user.id)`: has looked it up already.
fn early_bound(py: &Python, id: i32) -> Hook {
    let py = py.clone();
    Box::new(move || Box::pin(async move { welcome(&py, id).await }))
}

/// `lambda: [my_background_task.delay(user_id=id) for id in updated_user_ids]`
fn over_the_list(py: &Python, updated_user_ids: &Rc<RefCell<Vec<i32>>>) -> Hook {
    let (py, updated_user_ids) = (py.clone(), updated_user_ids.clone());
    Box::new(move || {
        Box::pin(async move {
            for id in updated_user_ids.take() {
                welcome(&py, id).await?;
            }
            Ok(())
        })
    })
}

async fn welcome(py: &Python, id: i32) -> PyResult<()> {
    celery::delay(py, "welcome", &id.to_string()).await
}

/// What is known: the table without faults as measured, the rest as for `on_commit`.
fn expected(scenario: Scenario, variant: Variant, nested: bool) -> Scenario {
    match (variant, nested) {
        (Variant::Inside, _) => expected_inside(scenario),
        (Variant::Lambda, _) | (Variant::Fix, true) => expected_late(scenario),
        (Variant::Fix, false) | (Variant::Partial | Variant::OneCallback, _) => {
            expected_early(scenario)
        }
    }
}

/// 1, 2, 3 before anyone can see the users, and also if nobody ever can.
fn expected_inside(scenario: Scenario) -> Scenario {
    const SOON: &str = "enqueued before COMMIT, and also if none comes";
    let scenario = scenario.expect(
        None,
        [Early],
        "the task may look for a user that is not there",
    );
    let scenario = expect(
        scenario,
        [Fault::Interrupt, Fault::Kill, Fault::Deploy, Fault::Network],
        [Fine, Early, Phantom],
        SOON,
    );
    scenario
        .expect_several(
            [Phantom],
            "no fault is needed: the transaction rolls back, and the tasks are enqueued",
        )
        .expect(Some(Fault::Server), [Early, Phantom], SOON)
        .expect(
            Some(Fault::Failover),
            [Phantom],
            "all are out when the commit disappears",
        )
        .expect(
            Some(Fault::Broker),
            [Fine, Phantom],
            "a task that cannot be enqueued takes the transaction down, but not those enqueued before it",
        )
}

/// 3, 3, 3: the first two users are never welcomed.
fn expected_late(scenario: Scenario) -> Scenario {
    const LAST: &str =
        "all closures see the loop's last user; nothing is owed where nothing was committed";
    let scenario = expect(
        scenario,
        [
            Fault::Interrupt,
            Fault::Kill,
            Fault::Deploy,
            Fault::Network,
            Fault::Server,
        ],
        [Fine, Lost],
        LAST,
    );
    scenario
        .expect(None, [Lost], LAST)
        .expect(Some(Fault::Broker), [Lost], LAST)
        .expect(Some(Fault::Failover), [Fine, Phantom], GONE)
}

/// 1, 2, 3 after COMMIT, and no stronger than that.
fn expected_early(scenario: Scenario) -> Scenario {
    let scenario = expect(
        scenario,
        [
            Fault::Interrupt,
            Fault::Kill,
            Fault::Deploy,
            Fault::Network,
            Fault::Server,
            Fault::Broker,
        ],
        [Fine, Lost],
        "whatever ends the task between COMMIT and the last callback loses those to come",
    );
    scenario
        .expect(None, [Fine], "each callback has its own user")
        .expect(Some(Fault::Failover), [Fine, Phantom], GONE)
}

const GONE: &str = "the callbacks are out when the commit they belong to disappears";

fn expect<const N: usize>(
    scenario: Scenario,
    faults: impl IntoIterator<Item = Fault>,
    verdicts: [Verdict; N],
    why: &'static str,
) -> Scenario {
    faults.into_iter().fold(scenario, |scenario, fault| {
        scenario.expect(Some(fault), verdicts, why)
    })
}
