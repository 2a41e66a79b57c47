//! Statements that are run from their tree: DDL, SET, SHOW.

use super::{constraint, ddl, drop, maintain, schema, sequence};
use crate::engine::{Exec, Halt, LockMode, Relation};
use crate::error::{PgError, SqlState};
use crate::sql::ast::Command;
use crate::sql::face::{Column, CommandTag, Context, Outcome};
use crate::sql::settings;
use crate::types::{Datum, Type};

pub(super) fn run(command: &Command, context: &mut Context<'_>) -> Result<Outcome, Halt> {
    let tag = match command {
        Command::CreateTable(create) => {
            ddl::create_table(create, context)?;
            "CREATE TABLE"
        }
        Command::CreateIndex(create) => {
            ddl::create_index(create, context)?;
            "CREATE INDEX"
        }
        Command::CreateSequence(create) => {
            sequence::create(create, context)?;
            "CREATE SEQUENCE"
        }
        Command::Drop {
            object,
            if_exists,
            cascade,
            names,
        } => {
            drop::drop(*object, *if_exists, *cascade, names, context)?;
            object.tag()
        }
        Command::CreateView(create) => {
            super::view::create_view(create, context)?;
            "CREATE VIEW"
        }
        Command::CreateTableAs(create) => {
            if let Some(count) = super::view::create_table_as(create, context)? {
                return Ok(Outcome {
                    tag: CommandTag::Select(count),
                    rows: Vec::new(),
                });
            }
            "CREATE TABLE AS"
        }
        Command::Comment(on) => {
            if let Some(relation) = on {
                let found = ddl::find(&context.exec, relation)?;
                let found =
                    found.ok_or_else(|| PgError::undefined_table(&relation.name.join(".")))?;
                let mode = LockMode::ShareUpdateExclusive;
                context.exec.lock_relation(found.id(), mode)?;
            }
            context.exec.change_unread()?;
            "COMMENT"
        }
        Command::DropIndexConcurrently {
            if_exists,
            cascade,
            names,
        } => {
            drop::drop_concurrently(*if_exists, *cascade, names, context)?;
            "DROP INDEX"
        }
        Command::Reindex(relation) | Command::ReindexConcurrently(relation) => {
            let concurrently = matches!(command, Command::ReindexConcurrently(_));
            let found = ddl::find(&context.exec, relation)?;
            let (table, one) = match found {
                Some(Relation::Table(table)) => (table, None),
                Some(Relation::Index(table, index)) => (table, Some(index.id)),
                _ => return Err(PgError::undefined_table(&relation.name.join(".")).into()),
            };
            let (done, what) = match concurrently {
                true => {
                    let done = context.exec.reindex_concurrently(&table, one)?;
                    (done, "has no indexes that can be reindexed concurrently")
                }
                false => {
                    let done = context.exec.reindex(&table, one)?;
                    (done, "has no indexes to reindex")
                }
            };
            if !done {
                let message = format!("table \"{}\" {what}", table.name);
                let notice = PgError::notice(SqlState::SUCCESSFUL_COMPLETION, message);
                context.exec.notice(notice);
            }
            "REINDEX"
        }
        Command::CreateExtension {
            name,
            if_not_exists,
        } => {
            let message = format!("extension \"{name}\" already exists");
            let code = SqlState::DUPLICATE_OBJECT;
            if !if_not_exists {
                return Err(PgError::new(code, message).into());
            }
            let notice = PgError::notice(code, format!("{message}, skipping"));
            context.exec.notice(notice);
            "CREATE EXTENSION"
        }
        Command::Alter(alter) => {
            super::alter::alter(alter, context)?;
            alter.object.alter_tag()
        }
        Command::AlterSequence(alter) => {
            sequence::alter(alter, context)?;
            "ALTER SEQUENCE"
        }
        Command::CreateEnum { name, labels } => {
            super::types::create(name, labels, context)?;
            "CREATE TYPE"
        }
        Command::AlterEnum { name, change } => {
            super::types::alter(name, change, context)?;
            "ALTER TYPE"
        }
        Command::DropType {
            if_exists,
            cascade,
            names,
        } => {
            super::types::drop(names, *if_exists, *cascade, context)?;
            "DROP TYPE"
        }
        Command::CreateSchema {
            name,
            if_not_exists,
        } => {
            schema::create_schema(name, *if_not_exists, context)?;
            "CREATE SCHEMA"
        }
        Command::RenameSchema { from, to } => {
            schema::rename_schema(from, to, context)?;
            "ALTER SCHEMA"
        }
        Command::CreateDatabase(name) => {
            schema::create_database(name, context)?;
            "CREATE DATABASE"
        }
        Command::DropDatabase { name, if_exists } => {
            schema::drop_database(name, *if_exists, context)?;
            "DROP DATABASE"
        }
        Command::Vacuum {
            vacuums,
            full,
            tables,
        } => {
            maintain::vacuum(*vacuums, *full, tables, context)?;
            if *vacuums { "VACUUM" } else { "ANALYZE" }
        }
        Command::Checkpoint => {
            context.exec.checkpoint()?;
            "CHECKPOINT"
        }
        Command::Truncate {
            tables,
            restart_identity,
            cascade,
        } => {
            ddl::truncate(tables, *restart_identity, *cascade, context)?;
            "TRUNCATE TABLE"
        }
        Command::Lock {
            tables,
            mode,
            nowait,
        } => {
            constraint::lock(tables, *mode, *nowait, context)?;
            "LOCK TABLE"
        }
        Command::SetConstraints { names, deferred } => {
            constraint::set_constraints(names.as_deref(), *deferred, context)?;
            "SET CONSTRAINTS"
        }
        Command::Set {
            name,
            value,
            local,
            listed,
        } => {
            if *listed {
                crate::sql::settings::refuse_list(name)?;
            }
            context.settings.set(name, value.as_deref(), *local)?;
            "SET"
        }
        Command::Role(command) => super::role::run(command, context)?,
        Command::Listen(channel) => {
            context.exec.listen(context.database, channel)?;
            "LISTEN"
        }
        Command::Unlisten(channel) => {
            context.exec.unlisten(context.database, channel.as_ref())?;
            "UNLISTEN"
        }
        Command::Notify { channel, payload } => {
            let payload = payload.as_deref().unwrap_or("");
            context.exec.notify(context.database, channel, payload)?;
            "NOTIFY"
        }
        Command::Reset(name) if &**name == "all" => {
            context.settings.reset_all();
            "RESET"
        }
        Command::Reset(name) => {
            context.settings.set(name, None, false)?;
            "RESET"
        }
        Command::Show(name) => {
            return Ok(Outcome {
                tag: CommandTag::Plain("SHOW"),
                rows: show(name, context)?,
            });
        }
        Command::Unsupported(what) => return Err(PgError::feature_not_supported(what).into()),
        _ => {
            // The server's own scripts have none: they know no client, prepared statements or cursors.
            let what = "a command of a session in a script that the server itself runs";
            return Err(PgError::feature_not_supported(what).into());
        }
    };
    Ok(Outcome {
        tag: CommandTag::Plain(tag),
        rows: Vec::new(),
    })
}

fn show(name: &str, context: &mut Context<'_>) -> Result<Vec<Vec<Datum>>, PgError> {
    if name != "all" {
        let value = match transaction_setting(&context.exec, name) {
            Some(value) => value,
            None => context.settings.get(name)?,
        };
        return Ok(vec![vec![Datum::text(value)]]);
    }
    let all = context.settings.all().into_iter();
    Ok(all
        .map(|(name, value)| vec![Datum::text(name), Datum::text(value), Datum::text("")])
        .collect())
}

/// The columns of SHOW.
pub(crate) fn show_columns(name: &str) -> Vec<Column> {
    let names = match name {
        "all" => vec!["name", "setting", "description"],
        name => vec![settings::spelled(name)],
    };
    let column = |name: &str| Column {
        name: name.into(),
        ty: Type::Text,
        typmod: -1,
        table: 0,
        attnum: 0,
    };
    names.into_iter().map(column).collect()
}

/// Settings that are the transaction's.
pub(crate) fn transaction_setting(exec: &Exec<'_>, name: &str) -> Option<String> {
    if let Some(value) = exec.engine.config().show(name) {
        return Some(value);
    }
    let options = exec.tx.options;
    Some(match name.to_lowercase().as_str() {
        "transaction_isolation" => options.isolation.name().into(),
        "transaction_read_only" => if options.read_only { "on" } else { "off" }.into(),
        "transaction_deferrable" => if options.deferrable { "on" } else { "off" }.into(),
        _ => return None,
    })
}
