//! What a policy forbids is forbidden by whatever name it is reached. `patient_names` is a view over `patients`.

use super::*;

const FORBID: &str =
    r#"@id("no-patients") forbid (principal, action, resource == Relation::"hospital/public.patients");"#;

impl Scene {
    /// Asks a simple query that must not reach the resource.
    async fn refused(&mut self, text: &str, status: u8) {
        self.client.send(&simple(text)).await;
        let sent = self.server.expect("Q").await;
        assert!(!sent[0].starts_with(text.as_bytes()), "`{text}` was sent");
        self.server.send(&[error("42601"), ready(status)].concat()).await;
        let got = self.client.expect("EZ").await;
        assert!(got[0].windows(5).any(|w| w == b"42501"), "{text}");
    }
}

#[tokio::test]
async fn a_view_is_refused_once_its_table_is_forbidden() {
    let mut scene = Scene::begin().await;
    let text = "SELECT * FROM patient_names";
    scene.query(text, &rows(1, b'I')).await;
    scene.forbid(2, FORBID);
    scene.query("SELECT id FROM notes", &rows(1, b'I')).await;
    scene.refused(text, b'I').await;
    scene.refused("SELECT name FROM public.patient_names_2", b'I').await;
    scene.publish(3, true);
    scene.query("SELECT id FROM notes", &rows(1, b'I')).await;
    scene.query(text, &rows(1, b'I')).await;
    scene.still_serves().await;
}

#[tokio::test]
async fn so_is_what_was_prepared_bound_or_declared_before() {
    let mut scene = Scene::begin().await;
    scene.query("BEGIN", &[done("BEGIN"), ready(b'T')].concat()).await;
    let prepare = "PREPARE mine AS SELECT * FROM patient_names";
    scene.query(prepare, &[done("PREPARE"), ready(b'T')].concat()).await;
    let declare = "DECLARE cursor CURSOR FOR SELECT * FROM patient_names";
    scene.query(declare, &[done("DECLARE CURSOR"), ready(b'T')].concat()).await;
    scene.client.send(&[parse("named", "TABLE patient_names"), sync()].concat()).await;
    scene.server.expect("PS").await;
    scene.server.send(&[PARSED, &ready(b'T')].concat()).await;
    scene.client.expect("1Z").await;
    scene.client.send(&[bind("open", "named"), execute("open", 1), sync()].concat()).await;
    scene.server.expect("BES").await;
    scene.server.send(&[BOUND, &row(), SUSPENDED, &ready(b'T')].concat()).await;
    scene.client.expect("2DsZ").await;
    scene.query("EXECUTE mine", &rows(1, b'T')).await;
    scene.query("FETCH cursor", &rows(1, b'T')).await;

    scene.forbid(2, FORBID);
    scene.query("SELECT id FROM notes", &rows(1, b'T')).await;
    for text in ["EXECUTE mine", "FETCH cursor"] {
        scene.refused(text, b'T').await;
    }
    for asks in [execute("open", 1), bind("", "named"), parse("", "TABLE patient_names")] {
        let kind = if asks[0] == b'P' { b'P' } else { b'D' };
        scene.client.send(&[asks, sync()].concat()).await;
        let (sent, body) = scene.server.message().await.unwrap();
        let body = String::from_utf8_lossy(&body).into_owned();
        assert!(sent == kind && body.contains("wardline: refused"), "{body}");
        scene.server.expect("S").await;
        scene.server.send(&[error("26000"), ready(b'T')].concat()).await;
        let got = scene.client.expect("EZ").await;
        assert!(got[0].windows(5).any(|w| w == b"42501"));
    }
}

/// What the transaction made is not in the catalogue yet: a view of it may stand over anything.
#[tokio::test]
async fn nothing_passes_a_forbid_by_objects_that_the_transaction_made() {
    let mut scene = Scene::begin().await;
    scene.forbid(2, FORBID);
    scene.query("BEGIN", &[done("BEGIN"), ready(b'T')].concat()).await;
    scene.query("SELECT body FROM public.notes", &rows(1, b'T')).await;
    scene.query("CREATE TABLE made (id int)", &[done("CREATE TABLE"), ready(b'T')].concat()).await;
    scene.refused("SELECT body FROM public.notes", b'T').await;
    scene.refused("UPDATE public.made SET id = 1", b'T').await;
    scene.query("SELECT relname FROM pg_catalog.pg_class", &rows(1, b'T')).await;
    scene.query("CREATE TABLE more (id int)", &[done("CREATE TABLE"), ready(b'T')].concat()).await;
}
