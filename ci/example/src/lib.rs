//! A shop, as far as the README needs one.

use tokio_postgres::{Client, Error};

/// Marks an invoice as paid; a second time changes nothing.
pub async fn pay(client: &mut Client, id: i32) -> Result<(), Error> {
    let tx = client.transaction().await?;
    let paid = "update invoice set paid = true where id = $1 and not paid";
    tx.execute(paid, &[&id]).await?;
    tx.commit().await
}
