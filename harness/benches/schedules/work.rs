//! The work that every row does.

use tokio_postgres::{Client, Config, Error};

/// What the server is asked to have.
pub(crate) const SCHEMA: &str = "create table t (id int)";

/// One transaction on a stock client.
pub(crate) async fn transaction(client: &mut Client) -> Result<(), Error> {
    let tx = client.transaction().await?;
    tx.execute("INSERT INTO t VALUES (1)", &[]).await?;
    tx.commit().await
}

/// How a client of ours introduces itself.
pub(crate) fn config() -> Config {
    let mut config = Config::new();
    config.user("postgres").dbname("postgres");
    config
}
