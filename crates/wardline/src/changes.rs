//! What administrators change, one function for each: checked, recorded, done, in force. In this order.
//!
//! The record that somebody is about to change something is durable before the change is made; what is refused is
//! recorded as refused. A change that failed after its record gets a second record that says so. No record holds a
//! secret. Used by the server for its control socket and by commands when no server runs.

mod access;
mod accounts;
mod agents;
pub(crate) mod arrivals;
pub(crate) mod breakglass;
mod directory;
pub(crate) mod entries;
pub(crate) mod exceptions;
mod factors;
mod fill;
pub(crate) mod leavers;
mod login;
mod policies;
mod recertify;
mod rotation;
mod sessions;
mod training;

pub(crate) use training::COMPLETIONS_MAX;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use gateway::{Asked, Comes, Explanation, Fate, Held};
use identity::scram::{Parameters, Verifier};
use identity::{password, token};
use model::{
    Action, Context, Kind, Micros, Object, OperationId, Outcome, Phase, Principal, Record, ResourceId,
    Secret, Shown, SqlState, Verdict,
};
use phi::Class;
use registry::{Closed, Home, NewPerson, PersonRow, Verifiers};
use vault::Credential;

use crate::admin::{
    Actor, CellView, ExplainView, NeedView, OriginView, OutputView, PersonView, Refusal, Reply, Request,
    Sensitive, StatementView,
};
use crate::config::{self, Config};
use crate::hashing::Overloaded;
use crate::node::Node;
use crate::output;
use crate::standing::Standing;

/// `system_error` of PostgreSQL's table, for a change that was recorded and then failed.
const SYSTEM_ERROR: SqlState = SqlState(*b"58000");

/// Longest display name.
const DISPLAY_NAME_CHARS_MAX: usize = 200;

/// A change about to be made: who, by which command, what.
pub(crate) struct Change<'a> {
    pub(crate) actor: &'a Actor,
    pub(crate) command: &'static str,
    pub(crate) what: String,
    /// Its number, where it is one of the registry and about to be made.
    pub(crate) number: Option<u64>,
    /// The emergency access that it is about.
    pub(crate) emergency: Option<u64>,
}

impl<'a> Change<'a> {
    pub(crate) fn new(actor: &'a Actor, command: &'static str, what: String) -> Change<'a> {
        Change { actor, command, what, number: None, emergency: None }
    }
}

impl Node {
    /// Does what was asked.
    pub(crate) async fn perform(&self, actor: &Actor, request: Request) -> Result<Reply, Refusal> {
        self.check_standing(&request)?;
        self.authorise(actor, &request).await?;
        let _turn = if waits_for_turn(&request) { Some(self.turn.lock().await) } else { None };
        self.act(actor, request).await
    }

    #[expect(clippy::too_many_lines, reason = "a flat match: each request and the function that does it")]
    async fn act(&self, actor: &Actor, request: Request) -> Result<Reply, Refusal> {
        match request {
            Request::UserAdd { name, display_name, roles, password } => {
                self.user_add(actor, name, display_name, roles, password.0).await
            }
            Request::UserPassword { name, password } => self.user_password(actor, &name, password.0).await,
            Request::UserDisable { name, ended_at_us } => self.user_disable(actor, &name, ended_at_us).await,
            Request::UserEnable { name } => self.user_enable(actor, &name).await,
            Request::UserDelete { name } => self.user_delete(actor, &name).await,
            Request::UserRoles { name, roles } => self.user_roles(actor, &name, roles).await,
            Request::UserList {} => self.user_list().await,
            Request::ScimToken { source } => self.scim_token_add(actor, &source).await,
            Request::ScimRevoke { source } => self.scim_token_revoke(actor, &source).await,
            Request::Login { name, password, life_s, code } => {
                self.login(actor, &name, password.0, code.map(|code| code.0), life_s).await
            }
            Request::UserTotp { name } => self.user_totp(actor, &name).await,
            Request::UserRecoveryCodes { name } => self.user_recovery_codes(actor, &name).await,
            Request::UserFactors { name } => self.user_factors(&name).await,
            Request::UserFactorsRemove { name } => self.user_factors_remove(actor, &name).await,
            Request::WorkloadList {} => self.workload_list().await,
            Request::DeviceBegin { provider } => self.device_begin(provider.as_deref()).await,
            Request::DeviceAsk { handle, life_s } => self.device_ask(handle.0.expose(), life_s).await,
            Request::UserBind { name, provider, subject } => {
                self.user_bind(actor, &name, &provider, &subject).await
            }
            Request::ReportLeavers { from_us, to_us } => self.report_leavers(from_us, to_us).await,
            Request::TokenRevoke { id } => self.token_revoke(actor, &id).await,
            Request::TokensRevoke { name } => self.tokens_revoke(actor, &name).await,
            Request::VaultSet { resource, user, password, second } => {
                self.vault_set(actor, resource, Credential { user, password: password.0 }, second).await
            }
            Request::VaultRotate { resource, all: false } => self.vault_rotate(actor, &resource).await,
            Request::VaultRotate { resource, all: true } => {
                self.rotate_after_emergency(actor, &resource).await
            }
            Request::VaultRemove { resource } => self.vault_remove(actor, resource).await,
            Request::VaultList {} => self.vault_list(),
            Request::Training(ask) => self.training(actor, ask).await,
            Request::Recertify(ask) => self.recertify(actor, ask).await,
            Request::Account(ask) => self.account_asked(actor, ask).await,
            Request::Agent(ask) => self.agent(actor, ask).await,
            Request::Policy(ask) => self.policy_asked(ask).await,
            Request::OperatorRights {} => Ok(self.operator_rights(actor)),
            Request::KeyList {} => self.key_list().await,
            Request::KeyRotate {} => self.key_rotate(actor).await,
            Request::KeyRotateCheckpoint { overlap_days } => {
                self.key_rotate_checkpoint(actor, overlap_days).await
            }
            Request::Entries { asked } => self.entries(actor, asked).await,
            Request::KeyEscrow { key_id, custodians } => self.key_escrow(actor, &key_id, custodians).await,
            Request::HoldAdd { hold } => self.hold_add(actor, hold).await,
            Request::HoldList {} => self.hold_list().await,
            Request::HoldRemove { id, reason } => self.hold_remove(actor, id, &reason).await,
            Request::RetentionPlan {} => self.retention_plan().await,
            Request::ExpirePropose { month, reason } => self.expire_propose(actor, month, &reason).await,
            Request::Agree { id } => self.agree(actor, id).await,
            Request::Agreements {} => self.agreement_list().await,
            Request::TrailView { what, patients, issuers, sealed: _ } => {
                self.trail_view(actor, what, patients, &issuers).await
            }
            Request::ExportFile { what, identifiers: _ } => self.export_file(actor, &what).await,
            Request::InboundAdd { source } => self.inbound_add(actor, &source).await,
            Request::InboundRemove { source, token } => {
                self.inbound_remove(actor, &source, token.as_deref()).await
            }
            Request::InboundList {} => self.inbound_list(),
            Request::ArchiveManifest { manifest } => self.archive_manifest(actor, &manifest).await,
            Request::SessionList {} => Ok(self.session_list()),
            Request::SessionKill { which, reason } => self.session_kill(actor, &which, &reason).await,
            Request::LockPlace { on, reason } => self.lock_place(actor, &on, &reason).await,
            Request::LockLift { number, reason } => self.lock_lift(actor, number, &reason).await,
            Request::LockList {} => self.lock_list().await,
            Request::AccessAsk { role, resource, purpose, reason, duration_s } => {
                let (role, resource, purpose, reason) = (&role, &resource, &purpose, &reason);
                self.access_request(actor, access::Wish { role, resource, purpose, reason, duration_s }).await
            }
            Request::AccessApprove { number } => self.access_approve(actor, number).await,
            Request::AccessDeny { number, reason } => {
                self.access_close(actor, number, Closed::Denied, &reason).await
            }
            Request::AccessWithdraw { number, reason } => {
                self.access_close(actor, number, Closed::Withdrawn, &reason).await
            }
            Request::AccessRevoke { number, reason } => {
                self.access_close(actor, number, Closed::Revoked, &reason).await
            }
            Request::AccessList { also_closed } => self.access_list(also_closed).await,
            Request::BreakGlass { act } => self.break_glass(actor, act).await,
            Request::Exception { act } => self.exception_act(actor, act).await,
            Request::SurveyBegin { resource, what } => self.survey_begin(actor, &resource, what).await,
            Request::SurveyEnd { resource, what, rows, failed } => {
                self.survey_end(actor, &resource, what, rows, failed).await
            }
            Request::TrailSeal {} => self.trail_seal(actor).await,
            Request::RegistryImport { file } => self.registry_import(actor, &file).await,
            Request::BackupBegin { to } => self.backup_begin(actor, &to).await,
            Request::BackupEnd { what } => self.backup_end(actor, Kind::BackedUp, &what).await,
            Request::DrillEnd { what } => self.backup_end(actor, Kind::Restored, &what).await,
            Request::Explain { resource, person, text, address, purpose } => {
                let context = self.circumstances(address, purpose.as_deref())?;
                self.explain(actor, &resource, &person, &text, context).await
            }
            Request::AccessMatrix { relations, classes, address, purpose } => {
                let context = self.circumstances(address, purpose.as_deref())?;
                self.access_matrix(&relations, &classes, &context)
            }
        }
    }

    async fn user_add(
        &self,
        actor: &Actor,
        name: String,
        display_name: String,
        roles: Vec<String>,
        secret: Secret,
    ) -> Result<Reply, Refusal> {
        let id = identity::person_id();
        let what = format!("add person {} (id {id}) with {}", quoted(&name), roles_shown(&roles));
        let change = Change::new(actor, "user add", what);
        let fits = registry::name_fits(&name)
            .map_err(|error| Refusal::because(&error))
            .and_then(|()| check_display_name(&display_name))
            .and_then(|()| check_roles(&self.config.load(), &roles));
        self.or_refuse(&change, fits).await?;
        let taken = self.registry.person(&name).await.map_err(|error| Refusal::because(&error))?;
        if taken.is_some() {
            let refusal = Refusal::new(format!("there is already a person named `{name}`"))
                .help("take another name, or `wardline user passwd` for a new password");
            return Err(self.refused(&change, refusal).await);
        }
        let verifiers = self.verifiers(&name, secret).await;
        let verifiers = self.or_refuse(&change, verifiers).await?;
        let (change, registry) = self.admitted_numbered(change).await?;
        let person = NewPerson { id, name: name.clone(), display_name, roles, verifiers };
        self.done(&change, registry.add_person(&person, self.now()).await).await?;
        self.publish(&self.config.load_full()).await?;
        self.person_view(&name).await
    }

    async fn user_password(&self, actor: &Actor, name: &str, secret: Secret) -> Result<Reply, Refusal> {
        let change = Change::new(actor, "user passwd", format!("set the password of {}", quoted(name)));
        let person = self.known_to_sign_in(&change, name).await?;
        let what = format!("set the password of {}, and end tokens and browsers", shown(&person));
        let change = Change { what, ..change };
        let verifiers = self.verifiers(name, secret).await;
        let verifiers = self.or_refuse(&change, verifiers).await?;
        let (change, registry) = self.admitted_numbered(change).await?;
        let set = registry.set_verifiers(person.id, &verifiers, self.now()).await;
        self.done(&change, set).await?;
        self.browsers.end_of(person.id);
        self.person_view(name).await
    }

    async fn user_enable(&self, actor: &Actor, name: &str) -> Result<Reply, Refusal> {
        let change = Change::new(actor, "user enable", format!("enable {}", quoted(name)));
        let person = self.known(&change, name).await?;
        if self.settle_departures().await?.iter().any(|departure| departure.person == person.id) {
            let refusal = Refusal::new(format!("sessions of {} are still ending", shown(&person)));
            return Err(self.refused(&change, refusal.help("try again in a moment")).await);
        }
        let change = Change { what: format!("enable {}", shown(&person)), ..change };
        let (change, registry) = self.admitted_numbered(change).await?;
        self.done(&change, registry.enable(person.id).await).await?;
        self.publish(&self.config.load_full()).await?;
        self.person_view(name).await
    }

    async fn user_roles(&self, actor: &Actor, name: &str, roles: Vec<String>) -> Result<Reply, Refusal> {
        let change = Change::new(actor, "user roles", format!("change the roles of {}", quoted(name)));
        let person = self.known(&change, name).await?;
        let (before, after) = (roles_shown(&person.roles), roles_shown(&roles));
        let what = format!("give {} {after}, before that {before}", shown(&person));
        let change = Change { what, ..change };
        let fits = check_roles(&self.config.load(), &roles);
        self.or_refuse(&change, fits).await?;
        let (change, registry) = self.admitted_numbered(change).await?;
        self.done(&change, registry.set_roles(person.id, &roles).await).await?;
        self.publish(&self.config.load_full()).await?;
        self.person_view(name).await
    }

    async fn user_list(&self) -> Result<Reply, Refusal> {
        let people = self.registry.people().await.map_err(|error| Refusal::because(&error))?;
        let locks = self.registry.locks(self.now()).await.map_err(|error| Refusal::because(&error))?;
        let views = people.into_iter().map(|person| {
            let locked = locks.get(&person.id).copied();
            view(person, locked)
        });
        Ok(Reply::People(views.collect()))
    }

    async fn token_revoke(&self, actor: &Actor, id: &str) -> Result<Reply, Refusal> {
        let change = Change::new(actor, "token revoke", "revoke a token".to_owned());
        let known = match u128::from_str_radix(id, 16) {
            Ok(number) if id.len() == 32 => {
                let found = self.registry.token(number.to_be_bytes()).await;
                found.map_err(|error| Refusal::because(&error))?
            }
            Ok(_) | Err(_) => None,
        };
        let Some(row) = known else {
            let refusal = Refusal::new("there is no such token").help("`wardline login` printed its id");
            return Err(self.refused(&change, refusal).await);
        };
        let what = format!("revoke token {} of person {}", token::TokenId(row.id), row.person);
        let change = Change { what, ..change };
        let (change, registry) = self.admitted_numbered(change).await?;
        let revoked = self.done(&change, registry.revoke_token(row.id, self.now()).await).await?;
        Ok(Reply::Revoked { tokens: u64::from(revoked) })
    }

    async fn tokens_revoke(&self, actor: &Actor, name: &str) -> Result<Reply, Refusal> {
        let what = format!("revoke the tokens of {}", quoted(name));
        let change = Change::new(actor, "token revoke", what);
        let person = self.known(&change, name).await?;
        let change = Change { what: format!("revoke all tokens of {}", shown(&person)), ..change };
        let (change, registry) = self.admitted_numbered(change).await?;
        let tokens = self.done(&change, registry.revoke_tokens(person.id, self.now()).await).await?;
        self.browsers.end_of(person.id);
        Ok(Reply::Revoked { tokens })
    }

    async fn vault_set(
        &self,
        actor: &Actor,
        resource: String,
        credential: Credential,
        second: bool,
    ) -> Result<Reply, Refusal> {
        let which = if second { "second credential" } else { "credential" };
        let what = format!("store the {which} of resource {}", quoted(&resource));
        let change = Change::new(actor, "vault set", what);
        let config = self.config.load_full();
        let in_force = config.resources.contains_key(&resource);
        // The credential of a resource that was just written into the file comes best before the file is in force.
        let known = if in_force { Ok(()) } else { check_resource_of_file(&config, &resource) };
        self.or_refuse(&change, known).await?;
        self.admitted(&change).await?;
        let id = ResourceId(resource.into());
        // Not while the one before is being changed.
        let _alone = self.rotating.lock().await;
        let stored = match second {
            true => self.vault_writer.lock().set_standby(&id, &credential),
            false => self.vault_writer.lock().set(&id, &credential),
        };
        self.done(&change, stored.and_then(|()| self.vault.reload())).await?;
        Ok(Reply::Stored { in_force })
    }

    async fn vault_remove(&self, actor: &Actor, resource: String) -> Result<Reply, Refusal> {
        let what = format!("forget the credential of resource {}", quoted(&resource));
        let change = Change::new(actor, "vault remove", what);
        let names = self.vault_writer.lock().names().map_err(|error| Refusal::because(&error))?;
        let id = ResourceId(resource.into());
        if !names.contains(&id) {
            let refusal = Refusal::new(format!("the vault holds no credential of `{id}`"))
                .help("`wardline vault list` shows what it holds");
            return Err(self.refused(&change, refusal).await);
        }
        self.admitted(&change).await?;
        let removed = self.vault_writer.lock().remove(&id);
        self.done(&change, removed.and_then(|_| self.vault.reload())).await?;
        Ok(Reply::Nothing {})
    }

    fn vault_list(&self) -> Result<Reply, Refusal> {
        let names = self.vault_writer.lock().names().map_err(|error| Refusal::because(&error))?;
        Ok(Reply::Resources(names.into_iter().map(|id| id.to_string()).collect()))
    }

    async fn trail_view(
        &self,
        actor: &Actor,
        what: String,
        patients: Vec<Sensitive>,
        issuers: &[String],
    ) -> Result<Reply, Refusal> {
        let mut record = Record::new(Kind::TrailViewed, self.now());
        actor.sign(&mut record);
        record.detail = Some(detail(&output::printable(&what)));
        let patients: Vec<Box<[u8]>> =
            patients.iter().map(|patient| patient.0.expose().as_bytes().into()).collect();
        // A record's patients are of one issuer.
        let sealer = self.trail.sealer();
        let named = issuers.iter().filter_map(|issuer| sealer.patients(0, 0, issuer, &patients));
        let records: Vec<Record<'_>> =
            named.map(|patients| Record { patients: Some(patients), ..record.clone() }).collect();
        for record in if records.is_empty() { vec![record] } else { records } {
            self.record(&record).await.map_err(|error| Refusal::because(&error))?;
        }
        Ok(Reply::Nothing {})
    }

    /// Binds files of the archive to the log. The server does not look at them: who reads the archive compares them.
    pub(crate) async fn archive_manifest(&self, actor: &Actor, manifest: &str) -> Result<Reply, Refusal> {
        let manifest: trail::Manifest = manifest.parse().map_err(|error| Refusal::because(&error))?;
        if manifest.end > self.trail.durable() {
            return Err(Refusal::new("the manifest is of entries that are not in the log"));
        }
        let mut record = Record::new(Kind::ArchiveManifest, self.now());
        record.person_name = Some(actor.shown().into());
        record.detail = Some(manifest.to_string().into());
        self.record(&record).await.map_err(|error| Refusal::because(&error))?;
        Ok(Reply::Nothing {})
    }

    async fn survey_begin(&self, actor: &Actor, resource: &str, what: String) -> Result<Reply, Refusal> {
        self.reads(&Change::new(actor, "phi scan", what), resource).await?;
        Ok(Reply::Nothing {})
    }

    async fn survey_end(
        &self,
        actor: &Actor,
        resource: &str,
        what: String,
        rows: u64,
        failed: Option<String>,
    ) -> Result<Reply, Refusal> {
        let what = match &failed {
            Some(why) => format!("{what}: {why}"),
            None => what,
        };
        let change = Change::new(actor, "phi scan", what);
        let mut record = self.survey_record(&change, resource, Phase::Settled);
        record.rows = Some(rows);
        record.outcome =
            Some(if failed.is_some() { Outcome::Failed(SYSTEM_ERROR) } else { Outcome::Completed });
        self.record_urgent(&record).await.map_err(|error| Refusal::because(&error))?;
        Ok(Reply::Nothing {})
    }

    /// Returns the circumstances to assume: now, from an address, for a purpose that people may state.
    fn circumstances(&self, address: IpAddr, purpose: Option<&str>) -> Result<Context, Refusal> {
        let snapshot = self.snapshot();
        let purpose = purpose.map(|name| {
            let known = snapshot.purposes().iter().map(|purpose| &**purpose);
            snapshot.purpose(name).ok_or_else(|| crate::commands::no_such("purpose", name, known))
        });
        // What somebody may do who just showed a second factor: without one, what asks for it is denied.
        let at = self.now();
        Ok(Context { address, at, purpose: purpose.transpose()?, factor_at: Some(at) })
    }

    /// Says what would become of a statement. The record does not hold its text, which may name a patient.
    async fn explain(
        &self,
        actor: &Actor,
        resource: &str,
        person: &str,
        text: &Sensitive,
        context: Context,
    ) -> Result<Reply, Refusal> {
        let config = self.config.load_full();
        if !config.resources.contains_key(resource) {
            check_resource_of_file(&config, resource)?;
            let refusal =
                Refusal::new(format!("the server does not know the resource {} yet", quoted(resource)));
            return Err(refusal.help("it is in the file: send the server SIGHUP, so that it reads it again"));
        }
        let upstream = self.upstreams.load().get(resource).cloned();
        let upstream =
            upstream.ok_or_else(|| Refusal::new(format!("there is no resource {}", quoted(resource))))?;
        let credential = self.vault.credential(&upstream.id).map_err(|error| Refusal::because(&error))?;
        let credential = credential.ok_or_else(|| no_credential(resource))?;
        let people = self.registry.people().await.map_err(|error| Refusal::because(&error))?;
        let Some(known) = people.iter().find(|known| known.name == person) else {
            return Err(no_person(person, people.iter().map(|known| known.name.as_str())));
        };
        let what = format!("read the catalogue, to explain a statement of {}", shown(known));
        self.reads(&Change::new(actor, "phi explain", what), resource).await?;
        let principal = Principal {
            id: known.id,
            name: known.name.as_str().into(),
            roles: known.roles.iter().map(|role| role.as_str().into()).collect(),
            agent: None,
            shown: Shown::alone("explain"),
        };
        let snapshot = self.snapshot();
        let asked = Asked { principal: &principal, snapshot: &snapshot, context };
        let explanation = gateway::explain(&upstream, &credential, asked, text.0.expose()).await;
        let explanation = explanation.map_err(|error| {
            Refusal::because(&error).help(format!("the catalogue of `{resource}` could not be read"))
        })?;
        Ok(Reply::Explained(explained(person, resource, explanation)))
    }

    /// Makes the record durable that an administrator is about to read a resource outside of any session.
    async fn reads(&self, change: &Change<'_>, resource: &str) -> Result<(), Refusal> {
        let record = self.survey_record(change, resource, Phase::Admitted);
        self.record(&record).await.map_err(|error| {
            Refusal::because(&error).help("nothing was read, because it could not be recorded")
        })
    }

    /// Returns the record of a reading of a resource by an administrator, outside of any session.
    fn survey_record<'a>(&self, change: &'a Change<'_>, resource: &str, phase: Phase) -> Record<'a> {
        let mut record = self.change_record(change, phase);
        record.action = Some(Action::Read);
        record.resource =
            Some(output::clipped(&output::printable(resource), registry::NAME_BYTES_MAX).into());
        record
    }

    fn access_matrix(
        &self,
        relations: &[String],
        classes: &[String],
        context: &Context,
    ) -> Result<Reply, Refusal> {
        let mut objects = vec![Object::Resource];
        for relation in relations {
            let Some((schema, name)) = relation.split_once('.') else {
                let refusal = Refusal::new(format!("`{relation}` is not a relation"));
                return Err(refusal.help("write `schema.name`"));
            };
            let (schema, function) = (Arc::from(schema), name.strip_suffix("()"));
            objects.push(match function {
                Some(name) => Object::Function { schema, name: name.into() },
                None => Object::Relation { schema, name: name.into() },
            });
        }
        for class in classes {
            let class: Class = class.parse().map_err(|error| Refusal::because(&error))?;
            objects.push(Object::Class(class.name().into()));
        }
        let snapshot = self.snapshot();
        let cells = snapshot.matrix(&objects, context).map(|cell| CellView {
            person: cell.name.to_string(),
            resource: cell.resource.to_string(),
            action: cell.action.name().to_owned(),
            object: cell.object.to_string(),
            allowed: cell.decision.verdict == Verdict::Allow,
            policies: cell.decision.reasons.iter().map(ToString::to_string).collect(),
        });
        Ok(Reply::Matrix(cells.collect()))
    }

    /// Returns what a password is checked against, in the forms the listener asks for.
    async fn verifiers(&self, name: &str, secret: Secret) -> Result<Verifiers, Refusal> {
        let parameters = self.scram_parameters(name);
        let made = self.hashing.run(move || {
            let scram = parameters.map(|parameters| Verifier::derive(&secret, &parameters).to_text());
            password::hash(&secret).map(|phc| Verifiers { password: Some(phc), scram })
        });
        match made.await {
            Ok(made) => made.map_err(|error| Refusal::because(&error).help("choose another password")),
            Err(Overloaded) => Err(Refusal::new("too many log-ins at once").help("try again in a moment")),
        }
    }

    /// Returns the parameters of SCRAM verifiers when the listener asks for SCRAM; otherwise none are kept.
    pub(crate) fn scram_parameters(&self, name: &str) -> Option<Parameters> {
        self.config.load().listener.scram.then(|| self.salts.parameters(name))
    }

    pub(crate) async fn known(&self, change: &Change<'_>, name: &str) -> Result<PersonRow, Refusal> {
        let found = self.registry.person(name).await.map_err(|error| Refusal::because(&error))?;
        match found {
            Some(person) => Ok(person),
            None => {
                let refusal = Refusal::new(format!("there is no person named {}", quoted(name)))
                    .help("`wardline user list` shows everybody");
                Err(self.refused(change, refusal).await)
            }
        }
    }

    async fn person_view(&self, name: &str) -> Result<Reply, Refusal> {
        match self.registry.person(name).await.map_err(|error| Refusal::because(&error))? {
            Some(person) => {
                let locks =
                    self.registry.locks(self.now()).await.map_err(|error| Refusal::because(&error))?;
                let locked = locks.get(&person.id).copied();
                Ok(Reply::Person(view(person, locked)))
            }
            None => Ok(Reply::Nothing {}),
        }
    }

    /// Makes the record durable that a change is about to be made.
    pub(crate) async fn admitted(&self, change: &Change<'_>) -> Result<(), Refusal> {
        let record = self.change_record(change, Phase::Admitted);
        self.record(&record).await.map_err(|error| {
            Refusal::because(&error).help("nothing was changed, because it could not be recorded")
        })
    }

    /// The same for a change of the registry: returns it with its number, and the registry to make it in.
    pub(crate) async fn admitted_numbered<'c>(
        &self,
        change: Change<'c>,
    ) -> Result<(Change<'c>, registry::Registry), Refusal> {
        // INVARIANT: whoever changes the registry has the turn, so numbers are given in order.
        let number = self.last_change.fetch_add(1, Ordering::Relaxed) + 1;
        let change = Change { number: Some(number), ..change };
        self.admitted(&change).await?;
        Ok((change, self.registry.as_change(number)))
    }

    /// Passes on what a check gave; a refusal is recorded.
    async fn or_refuse<T>(&self, change: &Change<'_>, checked: Result<T, Refusal>) -> Result<T, Refusal> {
        match checked {
            Ok(value) => Ok(value),
            Err(refusal) => Err(self.refused(change, refusal).await),
        }
    }

    /// Records a refusal and returns it.
    pub(crate) async fn refused(&self, change: &Change<'_>, refusal: Refusal) -> Refusal {
        let mut record = self.change_record(change, Phase::Refused);
        record.outcome = Some(Outcome::Refused);
        record.detail = Some(detail(&format!("{}: {}", change.what, refusal.message)));
        match self.record_urgent(&record).await {
            Ok(()) => refusal,
            Err(error) => Refusal::because(&error).help(format!("also: {}", refusal.message)),
        }
    }

    /// Passes on what a change gave, and records it, because the record so far says only that it was to happen.
    pub(crate) async fn done<T, E: std::error::Error>(
        &self,
        change: &Change<'_>,
        result: Result<T, E>,
    ) -> Result<T, Refusal> {
        let error = match result {
            Ok(value) => {
                self.settled(change).await;
                return Ok(value);
            }
            Err(error) => error,
        };
        let refusal = Refusal::because(&error);
        let mut record = self.change_record(change, Phase::Settled);
        record.outcome = Some(Outcome::Failed(SYSTEM_ERROR));
        record.detail = Some(detail(&format!("{}: {}", change.what, refusal.message)));
        if let Err(error) = self.record_urgent(&record).await {
            tracing::error!(%error, command = change.command, "the failure of a change could not be recorded");
        }
        Err(refusal)
    }

    /// Records that a change was made. It is made whether or not this can be recorded.
    pub(crate) async fn settled(&self, change: &Change<'_>) {
        if let Some(number) = change.number {
            self.held_change.store(number, Ordering::Relaxed);
        }
        let mut record = self.change_record(change, Phase::Settled);
        record.outcome = Some(Outcome::Completed);
        if let Err(error) = self.record_urgent(&record).await {
            tracing::error!(%error, command = change.command, "that a change was made could not be recorded");
        }
    }

    fn change_record<'a>(&self, change: &'a Change<'_>, phase: Phase) -> Record<'a> {
        let mut record = Record::new(Kind::AdminChange, self.now());
        record.phase = Some(phase);
        change.actor.sign(&mut record);
        record.command = Some(change.command.into());
        record.detail = Some(detail(&change.what));
        record.operation = change.number.map(OperationId);
        record.emergency = change.emergency;
        record
    }

    /// Refuses what depends on a registry that is not the one the trail knows, or that is gone.
    fn check_standing(&self, request: &Request) -> Result<(), Refusal> {
        if self.emergency_mode.is_in_force() && !breakglass::goes_on(request) {
            self.without_registry(request, || self.refused_in_emergency_mode())?;
        }
        let Standing::Older { registry, trail } = self.standing() else { return Ok(()) };
        self.without_registry(request, || older_registry(&self.registry.home(), registry, trail))
    }

    /// Refuses what needs the registry.
    #[expect(clippy::too_many_lines, reason = "a flat match: each request and whether it takes the registry")]
    fn without_registry(&self, request: &Request, refusal: impl FnOnce() -> Refusal) -> Result<(), Refusal> {
        match request {
            // These are about the trail, the vault and the resources.
            Request::TrailView { .. }
            | Request::Entries { .. }
            | Request::ExportFile { .. }
            | Request::InboundAdd { .. }
            | Request::InboundRemove { .. }
            | Request::InboundList {}
            | Request::ArchiveManifest { .. }
            | Request::SessionList {}
            | Request::SessionKill { .. }
            | Request::OperatorRights {}
            | Request::KeyList {}
            | Request::KeyRotate {}
            | Request::KeyRotateCheckpoint { .. }
            | Request::KeyEscrow { .. }
            | Request::TrailSeal {}
            // What a missing registry needs.
            | Request::RegistryImport { .. }
            | Request::BackupBegin { .. }
            | Request::BackupEnd { .. }
            | Request::DrillEnd { .. }
            | Request::SurveyBegin { .. }
            | Request::SurveyEnd { .. }
            | Request::VaultSet { .. }
            | Request::VaultRotate { .. }
            | Request::VaultRemove { .. }
            | Request::VaultList {} => Ok(()),
            Request::HoldAdd { .. }
            | Request::HoldList {}
            | Request::HoldRemove { .. }
            | Request::RetentionPlan {}
            | Request::ExpirePropose { .. }
            | Request::Agree { .. }
            | Request::Agreements {}
            | Request::Training(_)
            | Request::Recertify(_)
            | Request::Account(_)
            | Request::Agent(_)
            | Request::Policy(_)
            | Request::UserAdd { .. }
            | Request::UserPassword { .. }
            | Request::UserDisable { .. }
            | Request::UserEnable { .. }
            | Request::UserDelete { .. }
            | Request::UserRoles { .. }
            | Request::UserTotp { .. }
            | Request::UserRecoveryCodes { .. }
            | Request::UserFactors { .. }
            | Request::UserFactorsRemove { .. }
            | Request::UserList {}
            | Request::ReportLeavers { .. }
            | Request::WorkloadList {}
            | Request::DeviceBegin { .. }
            | Request::DeviceAsk { .. }
            | Request::UserBind { .. }
            | Request::ScimToken { .. }
            | Request::ScimRevoke { .. }
            | Request::Login { .. }
            | Request::TokenRevoke { .. }
            | Request::TokensRevoke { .. }
            | Request::LockPlace { .. }
            | Request::LockLift { .. }
            | Request::LockList {}
            | Request::AccessAsk { .. }
            | Request::AccessApprove { .. }
            | Request::AccessDeny { .. }
            | Request::AccessWithdraw { .. }
            | Request::AccessRevoke { .. }
            | Request::AccessList { .. }
            | Request::BreakGlass { .. }
            | Request::Exception { .. }
            | Request::Explain { .. }
            | Request::AccessMatrix { .. } => Err(refusal()),
        }
    }
}

/// Tells whether a request changes something that another one looks at.
fn waits_for_turn(request: &Request) -> bool {
    match request {
        Request::BreakGlass { act } => breakglass::waits_for_turn(act),
        Request::Training(ask) => ask.changes(),
        Request::Recertify(ask) => ask.changes(),
        Request::Account(ask) => ask.changes(),
        Request::Agent(ask) => ask.changes(),
        Request::Policy(_) => false,
        other => !is_looked_at(other),
    }
}

/// Tells whether a request changes nothing that another one looks at.
fn is_looked_at(request: &Request) -> bool {
    matches!(
        request,
        // A log-in waits for hashes; it changes nothing that another change looks at.
        Request::Login { .. }
            | Request::UserFactors { .. }
            | Request::AccessMatrix { .. }
            | Request::TrailView { .. }
            | Request::Entries { .. }
            | Request::ExportFile { .. }
            | Request::InboundList {}
            | Request::ArchiveManifest { .. }
            | Request::SessionList {}
            | Request::SessionKill { .. }
            // It waits for a resource.
            | Request::VaultRotate { .. }
            // These wait for somebody else's answer, and take the turn when they have it.
            | Request::DeviceBegin { .. }
            | Request::DeviceAsk { .. }
            | Request::ReportLeavers { .. }
            | Request::WorkloadList {}
            | Request::SurveyBegin { .. }
            | Request::SurveyEnd { .. }
            | Request::TrailSeal {}
            | Request::BackupEnd { .. }
            | Request::DrillEnd { .. }
            | Request::Explain { .. }
            | Request::OperatorRights {}
            | Request::KeyList {}
            | Request::HoldList {}
            | Request::RetentionPlan {}
            | Request::Agreements {}
            | Request::Exception { act: exceptions::Act::List {} }
    )
}

/// Says that a registry is older than its trail, and how to go on.
pub(crate) fn older_registry(home: &Home, registry: u64, trail: u64) -> Refusal {
    let message = format!(
        "the registry {home} is older than the trail: it is at change {registry}, the trail says that change {trail} was \
         made; whom a later change has barred would get in"
    );
    Refusal::new(message).help(
        "bring the registry of that time back, or run `wardline serve --accept-older-registry \"reason\"`; what changed \
         since is shown by `wardline trail tail --kind admin-change`",
    )
}

/// Returns a text that fits a record.
pub(crate) fn detail(text: &str) -> Cow<'static, str> {
    output::clipped(text, crate::node::DETAIL_BYTES_MAX).into()
}

/// Returns a name that may be anything, in backticks and printable.
pub(crate) fn quoted(name: &str) -> String {
    format!("`{}`", output::clipped(&output::printable(name), registry::NAME_BYTES_MAX))
}

pub(crate) fn shown(person: &PersonRow) -> String {
    format!("person `{}` (id {})", person.name, person.id)
}

fn roles_shown(roles: &[String]) -> String {
    match roles {
        [] => "no role".to_owned(),
        [role] => format!("role `{role}`"),
        roles => format!("roles `{}`", roles.join("`, `")),
    }
}

fn view(person: PersonRow, locked_until: Option<Micros>) -> PersonView {
    PersonView {
        id: person.id.to_string(),
        name: person.name,
        display_name: person.display_name,
        roles: person.roles,
        disabled: person.disabled_at.is_some(),
        locked_until: locked_until.map(output::time),
        created_at: output::time(person.created_at),
        departure: None,
    }
}

fn no_credential(resource: &str) -> Refusal {
    Refusal::new(format!("there is no credential of the resource {}", quoted(resource)))
        .help(format!("run `wardline vault set {} --user USER`", output::printable(resource)))
}

/// Says that nobody is called so, and who was probably meant.
fn no_person<'p>(name: &str, people: impl Iterator<Item = &'p str>) -> Refusal {
    let refusal = Refusal::new(format!("there is no person named {}", quoted(name)));
    match config::nearest(name, people) {
        Some(meant) => refusal.help(format!("did you mean `{meant}`?")),
        None => refusal.help("`wardline user list` shows everybody"),
    }
}

fn explained(person: &str, resource: &str, explanation: Explanation) -> ExplainView {
    let refused = explanation.statements.iter().any(|statement| !statement.refused.is_empty());
    let verdict = match (&explanation.unreadable, refused, explanation.permitted) {
        (Some(_), ..) => "unreadable",
        (None, true, _) => "refused",
        (None, false, false) => "denied",
        (None, false, true) => "sent",
    };
    let needs = explanation.needs.into_iter().map(|need| NeedView {
        action: need.action.name().to_owned(),
        object: need.object.to_string(),
        allowed: need.allowed,
        policies: need.policies,
    });
    let statements = explanation.statements.into_iter().map(|statement| StatementView {
        refused: statement.refused,
        outputs: statement.outputs.map(|outputs| outputs.into_iter().map(output_view).collect()),
    });
    ExplainView {
        person: person.to_owned(),
        resource: resource.to_owned(),
        verdict: verdict.to_owned(),
        unreadable: explanation.unreadable,
        unmasked: explanation.unmasked,
        needs: needs.collect(),
        statements: statements.collect(),
    }
}

fn output_view(output: Comes) -> OutputView {
    let fate = match output.fate {
        Fate::Plain => "plain",
        Fate::Screened => "screened",
        Fate::Masked => "masked",
        Fate::Null => "null",
        Fate::Refused => "refused",
    };
    let columns = output.columns.into_iter().map(|column| {
        let (held, rule) = match column.held {
            Held::Clean => ("clean", None),
            Held::Protected { class, operator, usage } => ("protected", Some((class, operator, usage))),
            Held::Unclassified => ("unclassified", None),
        };
        OriginView {
            name: column.name,
            held: held.to_owned(),
            class: rule.map(|(class, ..)| class.name().to_owned()),
            operator: rule.map(|(_, operator, _)| operator.to_string()),
            usage: rule.map(|(.., usage)| usage.name().to_owned()),
            seen_by: column.seen_by,
        }
    });
    OutputView { name: output.name, fate: fate.to_owned(), reason: output.reason, columns: columns.collect() }
}

/// Returns a display name of elsewhere as one that fits here.
pub(crate) fn fitting_display_name(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(DISPLAY_NAME_CHARS_MAX).collect()
}

fn check_display_name(name: &str) -> Result<(), Refusal> {
    if name.chars().count() > DISPLAY_NAME_CHARS_MAX || name.chars().any(char::is_control) {
        let message =
            format!("the display name must be at most {DISPLAY_NAME_CHARS_MAX} printable characters");
        return Err(Refusal::new(message));
    }
    Ok(())
}

fn check_roles(config: &Config, roles: &[String]) -> Result<(), Refusal> {
    let known: Vec<&str> = config.roles.iter().map(|role| role.name.as_str()).collect();
    match roles.iter().find(|role| !known.contains(&role.as_str())) {
        None => Ok(()),
        Some(unknown) if known.is_empty() => {
            Err(Refusal::new(format!("there is no role {}", quoted(unknown)))
                .help(format!("define it in {}: [[role.NAME.allow]]", config.file.display())))
        }
        Some(unknown) => Err(Refusal::new(format!("there is no role {}", quoted(unknown))).help(format!(
            "{} defines: {}",
            config.file.display(),
            known.join(", ")
        ))),
    }
}

/// Checks against the file as it is now, where a resource is not in the configuration in force.
fn check_resource_of_file(config: &Config, resource: &str) -> Result<(), Refusal> {
    match Config::load(&config.file).config {
        Some(written) => check_resource(&written, resource),
        None => check_resource(config, resource).map_err(|refusal| {
            refusal.help("the file is not valid now, so it was not looked at: `wardline check` says why")
        }),
    }
}

fn check_resource(config: &Config, resource: &str) -> Result<(), Refusal> {
    if config.resources.contains_key(resource) {
        return Ok(());
    }
    let known: Vec<&str> = config.resources.keys().map(String::as_str).collect();
    let refusal = Refusal::new(format!("there is no resource {}", quoted(resource)));
    let file = config.file.display();
    Err(match known.is_empty() {
        true => refusal.help(format!("define it in {file}: [resource.NAME]")),
        false => refusal.help(format!("{file} defines: {}", known.join(", "))),
    })
}
