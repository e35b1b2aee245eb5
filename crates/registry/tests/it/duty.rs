//! Accounts, delegations and campaigns.

use model::{Micros, PersonId, Shown};
use registry::{
    AccountKind, Decided, Details, Error, NewCampaign, NewDelegation, NewRight, Registry, Scope, TokenRow,
    Verdict,
};

use super::support::{NOW, new_person, token, with_nina};

const NINA: PersonId = PersonId(7);
const OTTO: PersonId = PersonId(8);
const LEA: PersonId = PersonId(9);

async fn with_three() -> super::support::Opened {
    let opened = with_nina().await;
    for (id, name) in [(8, "otto"), (9, "lea")] {
        opened.registry.add_person(&new_person(id, name), NOW).await.unwrap();
    }
    opened
}

#[tokio::test]
async fn accounts_are_described_and_their_last_use_is_kept() {
    let opened = with_three().await;
    let registry = &opened.registry;
    assert_eq!(registry.account_kind(NINA).await.unwrap(), AccountKind::Person);
    registry.note_uses(&[(NINA, Micros(50))], &[("lab".into(), "app".into(), Micros(5))]).await.unwrap();
    let details = Details { kind: AccountKind::Service, owner: Some(LEA), ..Details::default() };
    registry.describe_account(NINA, &details).await.unwrap();
    registry.describe_upstream("lab", "app", Some(LEA), Some(OTTO)).await.unwrap();
    registry
        .note_uses(&[(NINA, Micros(40)), (OTTO, Micros(60))], &[("lab".into(), "app".into(), Micros(9))])
        .await
        .unwrap();
    let known = registry.account_details().await.unwrap();
    assert_eq!(
        known[&NINA],
        Details { last_used_at: Some(Micros(50)), ..details },
        "an earlier use changes nothing"
    );
    assert_eq!(known[&OTTO], Details { last_used_at: Some(Micros(60)), ..Details::default() });
    let upstream = registry.upstream_accounts().await.unwrap();
    assert_eq!((upstream[0].owner, upstream[0].last_used_at), (Some(LEA), Some(Micros(9))));
    let nobody = registry.describe_account(PersonId(1), &details).await;
    assert!(matches!(nobody, Err(Error::UnknownPerson)));
}

#[tokio::test]
async fn a_delegation_and_its_token_are_one() {
    let opened = with_three().await;
    let registry = &opened.registry;
    let shown = Shown::with_factor("delegation", Micros(7));
    let token_with_factor = TokenRow { shown: shown.clone(), ..token(3, 90) };
    let new = NewDelegation {
        agent: NINA,
        person: OTTO,
        purpose: Some("treatment".into()),
        token: token_with_factor,
    };
    assert_eq!(registry.delegate(&new, Micros(10)).await.unwrap(), 1);
    let row = registry.delegation_of_token([3; 16]).await.unwrap().unwrap();
    assert_eq!((row.agent, row.person, row.until), (NINA, OTTO, Micros(90)));
    assert!(!row.is_in_force(Micros(9)) && row.is_in_force(Micros(10)) && !row.is_in_force(Micros(90)));
    assert_eq!(registry.token([3; 16]).await.unwrap().unwrap().shown, shown, "what the person showed");
    assert!(registry.delegation_of_token([4; 16]).await.unwrap().is_none());
    assert!(
        registry
            .delegate(&NewDelegation { person: NINA, token: token(5, 90), ..new.clone() }, NOW)
            .await
            .is_err(),
        "for itself"
    );
    assert!(registry.token([5; 16]).await.unwrap().is_none(), "half of it was left");
    assert!(registry.end_delegation(1, "otto", "done", Micros(20)).await.unwrap());
    assert!(!registry.end_delegation(1, "otto", "done", Micros(30)).await.unwrap());
    assert_eq!(registry.token([3; 16]).await.unwrap().unwrap().revoked_at, Some(Micros(20)));
    assert!(registry.delegations(false).await.unwrap().is_empty());
    assert_eq!(registry.delegations(true).await.unwrap().len(), 1);
}

fn right(person: PersonId, role: &str) -> NewRight {
    let person_name = person.to_string();
    NewRight { person, person_name, role: role.to_owned(), request: None, reviewer: (LEA, "lea".to_owned()) }
}

async fn campaign(registry: &Registry) -> u64 {
    let rights = [(NINA, "analyst"), (NINA, "nurse"), (OTTO, "analyst"), (OTTO, "nurse")];
    let new = NewCampaign {
        scope: Scope::Resource("hospital".to_owned()),
        due_at: Micros(100),
        escalate: Some((OTTO, "otto".to_owned(), 60)),
        by: "lea".to_owned(),
        rights: rights.map(|(person, role)| right(person, role)).to_vec(),
    };
    registry.start_campaign(&new, NOW).await.unwrap()
}

async fn roles(registry: &Registry, name: &str) -> String {
    registry.person(name).await.unwrap().unwrap().roles.join(" ")
}

#[tokio::test]
async fn what_is_decided_about_a_right_is_done_with_it_at_once_and_once() {
    let opened = with_three().await;
    let registry = &opened.registry;
    let number = campaign(registry).await;
    let decide = async |item: u64, verdict: Verdict| {
        registry.decide_right((number, item), &verdict, ("lea", "because"), Micros(50)).await
    };
    assert!(!registry.close_campaign(number, NOW).await.unwrap(), "nothing is decided");
    assert_eq!(decide(1, Verdict::Confirm).await.unwrap(), Decided::Confirmed);
    assert_eq!(roles(registry, "nina").await, "analyst nurse");
    assert_eq!(decide(2, Verdict::ChangeTo("clerk".to_owned())).await.unwrap(), Decided::Changed);
    assert_eq!(roles(registry, "nina").await, "analyst clerk");
    assert!(matches!(decide(2, Verdict::Lapse).await, Err(Error::DecidedBefore)));
    assert!(matches!(decide(9, Verdict::Confirm).await, Err(Error::UnknownRight)));
    assert_eq!(decide(3, Verdict::Lapse).await.unwrap(), Decided::Unanswered);
    registry.set_roles(OTTO, &[]).await.unwrap();
    assert_eq!(decide(4, Verdict::Confirm).await.unwrap(), Decided::Gone, "it was taken away elsewhere");
    assert!(registry.close_campaign(number, Micros(60)).await.unwrap());
    assert!(!registry.close_campaign(number, Micros(61)).await.unwrap());
    let rights = registry.campaign_rights(number).await.unwrap();
    let decided: Vec<&str> = rights
        .iter()
        .map(|right| right.decided.as_ref().map_or("open", |(decided, ..)| decided.name()))
        .collect();
    assert_eq!(decided, ["confirmed", "changed", "unanswered", "gone"]);
    assert_eq!(rights[1].changed_to.as_deref(), Some("clerk"));
    assert_eq!(registry.campaigns().await.unwrap()[0].closed_at, Some(Micros(60)));
}

#[tokio::test]
async fn somebody_else_is_asked_once_and_never_about_themselves() {
    let opened = with_three().await;
    let registry = &opened.registry;
    let number = campaign(registry).await;
    registry.escalate_right((number, 1), (OTTO, "otto"), Micros(160), Micros(100)).await.unwrap();
    registry.escalate_right((number, 1), (LEA, "lea"), Micros(900), Micros(200)).await.unwrap();
    let right = &registry.campaign_rights(number).await.unwrap()[0];
    assert_eq!((right.reviewer, right.due_at), (OTTO, Micros(160)), "once");
    let own = registry.escalate_right((number, 3), (OTTO, "otto"), Micros(160), Micros(100)).await;
    assert!(matches!(own, Err(Error::Database(_))), "the table says so too");
}
