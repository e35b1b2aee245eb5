//! The table of resources as the gateway wants it, made from the configuration.

use std::sync::Arc;

use anyhow::Context as _;
use gateway::Upstream;
use gateway::tls::{ClientTls, UpstreamTls};
use model::ResourceId;

use crate::config::{self, Config};
use crate::node::Upstreams;

/// Returns the configured resources, with their authorities read.
pub(crate) fn table(config: &Config) -> anyhow::Result<Upstreams> {
    let entries = config.resources.iter().map(|(name, resource)| {
        let tls = tls(&resource.tls).with_context(|| format!("resource `{name}`"))?;
        let id = ResourceId(name.as_str().into());
        let (host, database) = (resource.host.clone(), resource.database.clone());
        Ok((
            name.clone(),
            Arc::new(Upstream { id, host, port: resource.port, database, tls, protected: None }),
        ))
    });
    entries.collect()
}

fn tls(tls: &config::UpstreamTls) -> anyhow::Result<UpstreamTls> {
    Ok(match tls {
        config::UpstreamTls::VerifyFull { ca: None } => UpstreamTls::Required(ClientTls::verify_full(None)?),
        config::UpstreamTls::VerifyFull { ca: Some(path) } => {
            let pem = std::fs::read(path).with_context(|| format!("{}", path.display()))?;
            let client = ClientTls::verify_full(Some(&pem)).with_context(|| format!("{}", path.display()))?;
            UpstreamTls::Required(client)
        }
        config::UpstreamTls::NoVerify { exception } => {
            UpstreamTls::Required(ClientTls::no_verify(exception.clone()))
        }
        config::UpstreamTls::Disable { exception } => UpstreamTls::Disabled { exception: exception.clone() },
    })
}
