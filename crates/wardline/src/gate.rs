//! What the gateway asks of the rest of the process, answered by the open [`Node`].

use std::sync::Arc;

use gateway::tls::ClientCertificate;
use gateway::{Approval, Claim, Control, Parting, SecondDevice, Upstream};
use identity::scram::Mechanism;
use identity::{Reason, ScramSignIn};
use model::{Micros, PersonId, Principal, ResourceId, Secret};
use policy::Snapshot;
use tokio::sync::watch;
use trail::Trail;
use vault::Credential;

use crate::node::Node;

impl Control for Node {
    async fn approval(&self, claim: &Claim) -> Option<Result<Approval, Reason>> {
        self.begin_approval(claim)
    }

    async fn sign_in(&self, name: &str, secret: Secret) -> Result<Principal, Reason> {
        if let Some(verdict) = self.prove_workload(name, &secret).await {
            return verdict;
        }
        let proof = self.prove(name, secret).await?;
        self.acting_for(proof).await
    }

    fn sign_in_certificate(&self, name: &str, certificate: &ClientCertificate) -> Result<Principal, Reason> {
        self.prove_certificate(name, certificate)
    }

    async fn scram_start(
        &self,
        name: &str,
        mechanism: Mechanism,
        binding: Option<&[u8]>,
        client_first: &[u8],
    ) -> Result<(ScramSignIn, String), Reason> {
        self.scram_begin(name, mechanism, binding, client_first).await
    }

    async fn scram_finish(
        &self,
        sign_in: ScramSignIn,
        name: &str,
        client_final: &[u8],
    ) -> Result<(Principal, String), Reason> {
        let (proof, server_final) = self.scram_end(sign_in, name, client_final).await?;
        Ok((self.acting_for(proof).await?, server_final))
    }

    fn resource(&self, name: &str) -> Option<Arc<Upstream>> {
        self.upstreams.load().get(name).cloned()
    }

    fn credential(&self, resource: &ResourceId) -> Option<Credential> {
        match self.vault.credential(resource) {
            Ok(Some(credential)) => {
                self.uses.note_upstream(&resource.0, &credential.user, Node::now(self));
                Some(credential)
            }
            Ok(None) => {
                tracing::error!(%resource, "no credential; run `wardline vault set`");
                None
            }
            Err(error) => {
                tracing::error!(%resource, %error, "the credential cannot be read");
                None
            }
        }
    }

    fn spare_credential(&self, resource: &ResourceId) -> Option<Credential> {
        self.spare(resource)
    }

    fn second_device(&self) -> SecondDevice {
        self.config.load().sign_in.second_device
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        Node::snapshot(self)
    }

    fn snapshot_changes(&self) -> watch::Receiver<u64> {
        Node::snapshot_changes(self)
    }

    fn parting(&self, person: PersonId, resource: &ResourceId) -> Option<Parting> {
        self.partings.words(person, resource, Node::now(self))
    }

    fn trail(&self) -> &Trail {
        &self.trail
    }

    fn now(&self) -> Micros {
        Node::now(self)
    }
}
