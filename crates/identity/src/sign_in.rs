//! Signing in by SCRAM: the exchange of messages joined with the account's rules.

use model::Micros;

use crate::account::{self, Account, Proof, Reason};
use crate::scram::{Mechanism, Salts, ServerFirst, Verifier};
use crate::token::StoredToken;

/// A sign-in by SCRAM, waiting for the client's proof.
///
/// The proof is held against the password and the person's tokens alike. For a person who does not exist, is disabled
/// or is locked, the messages look the same and cost the same.
#[derive(Debug)]
pub struct ScramSignIn {
    exchange: ServerFirst,
    account: Option<Account>,
    tokens: Vec<StoredToken>,
}

impl ScramSignIn {
    /// Answers the client's first message. `name` is who they claim to be; a name inside the message is ignored, as
    /// PostgreSQL does.
    ///
    /// `binding` is the `tls-server-end-point` value of our certificate, or nothing on a connection without TLS.
    /// `tokens` are the person's, also the expired ones, which then fail by that name.
    pub fn start(
        name: &str,
        account: Option<Account>,
        tokens: Vec<StoredToken>,
        salts: &Salts,
        mechanism: Mechanism,
        binding: Option<&[u8]>,
        client_first: &[u8],
    ) -> Result<(ScramSignIn, String), Reason> {
        let mocked = salts.parameters(name);
        let own = account.as_ref().and_then(|account| account.scram.as_ref());
        let first = own.or_else(|| tokens.iter().find_map(|token| token.scram.as_ref()));
        let parameters = first.map_or(&mocked, Verifier::parameters);
        let (exchange, message) = ServerFirst::answer(client_first, mechanism, binding, parameters)?;
        Ok((ScramSignIn { exchange, account, tokens }, message))
    }

    /// Checks the client's proof; returns who it is and the last message to the client.
    pub fn finish(self, client_final: &[u8], at: Micros) -> Result<(Proof, String), Reason> {
        let ScramSignIn { exchange, account, tokens } = self;
        let own = account.as_ref().and_then(|account| account.scram.as_ref()).map(|it| (it, None));
        let of_tokens = tokens.iter().filter_map(|token| Some((token.scram.as_ref()?, Some(token))));
        let candidates: Vec<(&Verifier, Option<&StoredToken>)> = own.into_iter().chain(of_tokens).collect();
        let verifiers: Vec<&Verifier> = candidates.iter().map(|(verifier, _)| *verifier).collect();

        let checked = exchange.check(client_final, &verifiers)?;
        let matched = match checked.as_ref().and_then(|(index, _)| candidates.get(*index)) {
            Some((_, Some(token))) => account::alive(token, at).map(Some),
            Some((_, None)) => Ok(Some(account::by_password())),
            None if candidates.is_empty() => Err(Reason::NoVerifier),
            None => Ok(None),
        };
        let proof = account::admit(account.as_ref(), matched, at)?;
        let (_, server_final) = checked.ok_or(Reason::WrongPassword)?;
        Ok((proof, server_final))
    }
}
