//! What the gateway asks of the rest of the process, answered by the open [`Node`].

use std::sync::Arc;

use gateway::tls::ClientCertificate;
use gateway::{Control, Upstream};
use identity::scram::Mechanism;
use identity::{Proof, Reason, ScramSignIn};
use model::{Micros, Principal, ResourceId, Secret};
use policy::Snapshot;
use tokio::sync::watch;
use trail::Trail;
use vault::Credential;

use crate::node::Node;

impl Control for Node {
    async fn sign_in(&self, name: &str, secret: Secret) -> Result<Principal, Reason> {
        if let Some(verdict) = self.prove_workload(name, &secret).await {
            return verdict;
        }
        self.prove(name, secret).await.map(Proof::into_principal)
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
        Ok((proof.into_principal(), server_final))
    }

    fn resource(&self, name: &str) -> Option<Arc<Upstream>> {
        self.upstreams.load().get(name).cloned()
    }

    fn credential(&self, resource: &ResourceId) -> Option<Credential> {
        match self.vault.credential(resource) {
            Ok(Some(credential)) => Some(credential),
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

    fn snapshot(&self) -> Arc<Snapshot> {
        Node::snapshot(self)
    }

    fn snapshot_changes(&self) -> watch::Receiver<u64> {
        Node::snapshot_changes(self)
    }

    fn trail(&self) -> &Trail {
        &self.trail
    }

    fn now(&self) -> Micros {
        Node::now(self)
    }
}
