//! The table of resources as the gateway wants it, made from the configuration.

use std::sync::Arc;

use anyhow::Context as _;
use gateway::tls::{ClientTls, UpstreamTls};
use gateway::{Protected, Upstream};
use model::ResourceId;
use phi::Keys;
use phi::detect::Detector;

use crate::config::{self, Config, Protection};
use crate::node::Upstreams;

/// Returns the configured resources, with their authorities read, and what of them is protected with these keys.
pub(crate) fn table(config: &Config, keys: &Keys) -> anyhow::Result<Upstreams> {
    let entries = config.resources.iter();
    entries.map(|(name, resource)| Ok((name.clone(), Arc::new(one(name, resource, keys)?)))).collect()
}

/// Returns one of them.
pub(crate) fn one(name: &str, resource: &config::Resource, keys: &Keys) -> anyhow::Result<Upstream> {
    Ok(Upstream {
        id: ResourceId(name.into()),
        host: resource.host.clone(),
        port: resource.port,
        database: resource.database.clone(),
        bounds: resource.bounds,
        identity: resource.identity.clone(),
        tls: tls(&resource.tls).with_context(|| format!("resource `{name}`"))?,
        protected: resource.protection.as_ref().map(|protection| Arc::new(protected(name, protection, keys))),
    })
}

/// Finds what would stop [`table`], without any key.
pub(crate) fn check(config: &Config) -> anyhow::Result<()> {
    config.resources.iter().try_for_each(|(name, resource)| {
        tls(&resource.tls).map(drop).with_context(|| format!("resource `{name}`"))
    })
}

fn protected(resource: &str, protection: &Protection, keys: &Keys) -> Protected {
    let Protection {
        columns,
        clean,
        patients,
        issuer,
        detects,
        trusted,
        trusted_views,
        filters_per_hour,
        record_numbers,
    } = protection.clone();
    let issuer = issuer.as_deref().unwrap_or(resource).into();
    let detector = detects.then(|| Detector::with_record_numbers(record_numbers));
    let keys = keys.clone();
    Protected { columns, clean, patients, issuer, detector, trusted, trusted_views, filters_per_hour, keys }
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use gateway::CleanColumns;
    use model::RootKey;
    use phi::operator::KeyId;

    use super::*;

    #[test]
    fn what_is_configured_reaches_the_gateway() {
        let text = "node = \"gw1\"\n[resource.hospital]\nprotocol = \"postgres\"\nhost = \"h\"\n\
                    tls = { mode = \"disable\", exception = \"a test, nobody, never\" }\n\
                    phi = { clean = [\"a.*\"], patients = [\"b.c.d\"], columns = { \"b.c.e\" = { class = \"ssn\" } } }\n\
                    [resource.open]\nprotocol = \"postgres\"\nhost = \"h\"\n\
                    tls = { mode = \"disable\", exception = \"a test, nobody, never\" }\n";
        let config = Config::parse(Path::new("wardline.toml"), text).config.expect("valid");
        check(&config).expect("sound");
        let keys = Keys::derive(&RootKey::new([7; 32]), KeyId::new(1).expect("in range"));
        let table = table(&config, &keys).expect("a table");
        assert!(table["open"].protected.is_none());
        let protected = table["hospital"].protected.as_ref().expect("protected");
        assert_eq!(protected.columns[0].1.class, phi::Class::Ssn);
        assert_eq!(protected.clean, [CleanColumns::Schema { schema: "a".into() }]);
        assert_eq!(&*protected.patients[0].column, "d");
        assert_eq!(protected.keys.id().number(), 1);
    }
}
