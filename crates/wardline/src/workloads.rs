//! Programs that sign in by themselves: found by what an authority vouches for, never by a secret of ours.
//!
//! A program is of the configuration and not of the registry: it has an owner there, roles, and one name that certificates
//! say. Its identity is made from its name, so that it is the same on every node and after every start.

use std::sync::Arc;

use aws_lc_rs::digest;
use gateway::tls::ClientCertificate;
use identity::{Reason, WrongCertificate};
use model::{PersonId, Principal, Secret, Shown};
use tokio::time::Instant;

use crate::admin::{Reply, WorkloadView};
use crate::config::{CertificateName, Config, Workload};
use crate::node::Node;
use crate::sign_in::answer_together;

/// What the names of programs begin with, wherever they are shown: no login name can.
const PREFIX: &str = "workload:";

/// Returns the name under which a program is recorded.
pub(crate) fn shown(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// Returns the identity of the program of that name.
pub(crate) fn id(name: &str) -> PersonId {
    let digest = digest::digest(&digest::SHA256, format!("wardline/workload/v1\n{name}").as_bytes());
    let (first, _) = digest.as_ref().split_first_chunk().expect("SHA-256 has 32 bytes");
    PersonId(u128::from_be_bytes(*first))
}

/// Returns the programs as policy sees them.
pub(crate) fn members(config: &Config) -> impl Iterator<Item = policy::Person> + '_ {
    config.workloads.iter().map(|(name, workload)| policy::Person {
        id: id(name),
        name: shown(name).into(),
        roles: workload.roles.iter().map(|role| role.as_str().into()).collect(),
        disabled: false,
        program: true,
    })
}

fn principal(name: &str, workload: &Workload) -> Principal {
    let roles: Vec<Arc<str>> = workload.roles.iter().map(|role| role.as_str().into()).collect();
    Principal {
        id: id(name),
        name: shown(name).into(),
        roles: roles.into(),
        agent: None,
        shown: Shown::alone("certificate"),
    }
}

impl Node {
    /// Returns the program of that name if the certificate is its own.
    pub(crate) fn prove_certificate(
        &self,
        name: &str,
        certificate: &ClientCertificate,
    ) -> Result<Principal, Reason> {
        let names = certificate.names()?;
        let config = self.config.load();
        let found = config.workloads.get(name);
        let found = found.filter(|found| found.certificate.as_ref().is_some_and(|name| name.is_in(names)));
        let workload = found.ok_or(Reason::Certificate(WrongCertificate::OfAnother))?;
        Ok(principal(name, workload))
    }

    /// Answers for a program that came with a secret in place of a certificate; `None` where the name is no program's.
    pub(crate) async fn prove_workload(
        &self,
        name: &str,
        _secret: &Secret,
    ) -> Option<Result<Principal, Reason>> {
        let began = Instant::now();
        if !self.config.load().workloads.contains_key(name) {
            return None;
        }
        let verdict = Err(Reason::Certificate(WrongCertificate::Missing));
        Some(answer_together(began, verdict).await)
    }

    /// Lists the programs of the configuration in force.
    pub(crate) async fn workload_list(&self) -> Result<Reply, crate::admin::Refusal> {
        let people = self.registry.people().await.map_err(|error| crate::admin::Refusal::because(&error))?;
        let config = self.config.load();
        let view = |(name, workload): (&String, &Workload)| {
            let owner = people.iter().find(|person| person.name == workload.owner);
            let finding = match owner {
                None => "the owner is nobody of the registry",
                Some(owner) if owner.disabled_at.is_some() => "the owner may not sign in any more",
                Some(_) => "",
            };
            WorkloadView {
                name: shown(name),
                id: id(name).to_string(),
                owner: workload.owner.clone(),
                roles: workload.roles.clone(),
                means: means(workload),
                finding: finding.to_owned(),
            }
        };
        Ok(Reply::Workloads(config.workloads.iter().map(view).collect()))
    }
}

fn means(workload: &Workload) -> Vec<String> {
    let certificate = workload.certificate.as_ref().map(|name| match name {
        CertificateName::Uri(uri) => format!("certificate with the URI {uri}"),
        CertificateName::Dns(dns) => format!("certificate with the DNS name {dns}"),
        CertificateName::Subject(subject) => format!("certificate with the subject {subject}"),
    });
    certificate.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_that_of_a_name_and_nobody_elses() {
        assert_eq!(id("billing"), id("billing"));
        assert_ne!(id("billing"), id("billing2"));
        // Another identity would be another program in the trail.
        assert_eq!(id("billing").to_string(), ID_OF_BILLING);
        assert!(registry::name_fits(&shown("billing")).is_err(), "a person could have that name");
    }

    const ID_OF_BILLING: &str = "5c8f838086579e6f97ef67cf71e938ff";
}
