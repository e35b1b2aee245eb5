//! What policies were made from, by their digest: which one was in force when is the trail's to say.

use model::Micros;

use crate::Registry;
use crate::database::{Reader, time};
use crate::error::Error;

impl Registry {
    /// Keeps what a policy was made from. What is there already stays.
    pub async fn keep_policy(&self, digest: [u8; 32], sources: &[u8], at: Micros) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        let sql =
            "INSERT INTO policies (digest, sources, kept_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        sqlx::query(sql)
            .bind(digest.to_vec())
            .bind(sources.to_vec())
            .bind(time(at))
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }

    /// Returns what the policy of that digest was made from, if it was kept.
    pub async fn policy_sources(&self, digest: [u8; 32]) -> Result<Option<Vec<u8>>, Error> {
        let mut transaction = self.begin_read().await?;
        let sql = "SELECT sources FROM policies WHERE digest = $1";
        let row = sqlx::query(sql).bind(digest.to_vec()).fetch_optional(&mut *transaction).await?;
        match row {
            Some(row) => Reader(&row).bytes_if_any("sources"),
            None => Ok(None),
        }
    }
}
