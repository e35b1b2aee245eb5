//! Two hospitals that differ in nothing but their protected values, Wardline before them, and a third that stands for
//! the first without Wardline.

use anyhow::Result;

use super::canary::Canaries;
use crate::Conninfo;
use crate::gateway::{Gateway, Listener, ROLE_ALL};
use crate::postgres::{Cluster, Options, Version};

/// Who may do everything, and sees nothing that is protected.
/// Who sees nothing that is protected.
pub const MASKED: &str = "mia";
/// Who may do and see everything.
const SEEING: &str = "sam";
/// The resources, and their databases.
pub const WORLDS: [&str; 2] = ["hospital", "mirror"];
/// The resource that is the first world again: what differs between these two differs by chance.
pub const TWIN: &str = "twin";
/// The database that is asked without Wardline, and that the twin is.
pub const PLAIN: &str = "plain";

const TABLES: &str = include_str!("hospital.sql");

const PROTECTED: [(&str, &str); 29] = [
    ("capped.hi", "account"),
    ("patients.id", "patient_id"),
    ("patients.mrn", "mrn"),
    ("patients.ssn", "ssn"),
    ("patients.name", "name"),
    ("patients.born", "date"),
    ("patients.phone", "phone"),
    ("patients.tags", "free_text"),
    ("patients.reach", "phone"),
    ("patients.code", "ssn"),
    ("patients.doc", "free_text"),
    ("patients.account", "account"),
    ("patients.initials", "name"),
    ("encounters.patient_id", "patient_id"),
    ("notes.body", "free_text"),
    ("parted.secret", "ssn"),
    ("people.who", "name"),
    ("people.ssn", "ssn"),
    ("people_abroad.passport", "unique_code"),
    ("kept.id", "patient_id"),
    ("kept.ssn", "ssn"),
    ("kept.name", "name"),
    ("wards.ssn", "ssn"),
    ("wards.name", "name"),
    ("listing.id", "patient_id"),
    ("listing.ssn", "ssn"),
    ("listing.name", "name"),
    ("shouted.loud", "name"),
    ("shouted.bare", "ssn"),
];

const CLEAN: &str = "[\"public.departments.*\", \"public.encounters.*\", \"public.notes.*\", \"public.patients.*\", \
    \"public.scratch.*\", \"public.parted.*\", \"public.peeked.*\", \"public.told.*\", \"public.named.*\", \"public.rated.*\", \
    \"public.memos.*\", \"public.capped.*\"]";

/// One patient.
#[derive(Debug)]
pub struct Patient {
    /// The number.
    pub id: u32,
    /// The record number.
    pub mrn: &'static str,
    /// The social security number.
    pub ssn: &'static str,
    /// The name.
    pub name: &'static str,
    /// Year, month and day of birth.
    pub born: (i32, u32, u32),
    /// The telephone number.
    pub phone: &'static str,
    tags: &'static [&'static str],
    mail: &'static str,
    /// With `{ssn}` and `{name}`.
    doc: &'static str,
}

/// The patients of each world. Years stand in what is shown, so they are the same; so is what is NULL. Lengths, orders
/// and the shapes of arrays and documents are not.
pub const PATIENTS: [[Patient; 3]; 2] = [
    [
        Patient {
            id: 730_001,
            mrn: "MRN-7719-QX",
            ssn: "912-83-4756",
            name: "Quirinella Zwetschkenbaum",
            born: (1958, 7, 23),
            phone: "+43 677 9018273",
            tags: &["hepatitis-zq81"],
            mail: "quirinella@zwetschke.example",
            doc: r#"{"ssn": "{ssn}", "who": ["{name}"]}"#,
        },
        Patient {
            id: 730_002,
            mrn: "MRN-2204-KV",
            ssn: "947-16-2038",
            name: "Xaver Oberhollenzer",
            born: (1971, 12, 9),
            phone: "+39 0471 556677",
            tags: &["porphyria-vw44"],
            mail: "xaver@oberhollenz.example",
            doc: r#"{"ssn": "{ssn}", "who": ["{name}"]}"#,
        },
        Patient {
            id: 730_003,
            mrn: "MRN-9086-ZD",
            ssn: "985-27-6149",
            name: "Yngvild Thorbjoernsen",
            born: (1989, 3, 14),
            phone: "+47 915 33 120",
            tags: &["lupus-yt3058"],
            mail: "yngvild@thorbjoern.example",
            doc: r#"{"ssn": {"of": "{ssn}"}}"#,
        },
    ],
    [
        Patient {
            id: 864_211,
            mrn: "MRN-5573-BW",
            ssn: "981-47-3602",
            name: "Ludmila Czerny",
            born: (1958, 11, 2),
            phone: "+43 680 2746519",
            tags: &["gout-lc90417"],
            mail: "ludmila@czernyhof.example",
            doc: r#"{"ssn": "{ssn}", "who": ["{name}"]}"#,
        },
        Patient {
            id: 864_212,
            mrn: "MRN-8831-TA",
            ssn: "903-62-7715",
            name: "Amadeus Frankenhuysen-Lobkowitz",
            born: (1971, 5, 30),
            phone: "+39 0472 918264",
            tags: &["vertigo-af27", "nausea-af27"],
            mail: "amadeus@frankenhuys.example",
            doc: r#"["{name}", "{ssn}"]"#,
        },
        Patient {
            id: 864_213,
            mrn: "MRN-1147-PN",
            ssn: "926-95-0834",
            name: "Zbigniew Ka",
            born: (1989, 8, 25),
            phone: "+48 601 482 777",
            tags: &[],
            mail: "zbigniew@kawalec.example",
            doc: r#""{ssn}""#,
        },
    ],
];

impl Patient {
    fn born(&self) -> String {
        let (year, month, day) = self.born;
        format!("{year}-{month:02}-{day:02}")
    }

    fn digits(&self) -> String {
        self.ssn.replace('-', "")
    }

    fn rows(&self, at: usize) -> String {
        let Patient { id, mrn, ssn, name, born: _, phone, tags, mail, doc } = self;
        let (born, digits) = (self.born(), self.digits());
        let tags: String = tags.iter().map(|tag| format!("{tag},")).collect();
        let doc = doc.replace("{ssn}", ssn).replace("{name}", name);
        let number = at + 1;
        let region = if at == 0 { "east" } else { "west" };
        format!(
            "insert into patients values ({id}, '{mrn}', '{ssn}', '{name}', '{born}', '{phone}', '{{{tags}{mrn}}}', \
             row('{phone}', '{mail}'), '{ssn}', '{doc}', {digits}, 'low', true);
             insert into encounters values ({number}, {id}, 'ward {number}', {number}, '2026-01-0{number} 08:00+00');
             insert into notes (encounter_id, body) values ({number}, 'Saw {name}, {ssn}, {tags}.');
             insert into departments values ({number}, 'department {number}', {number}, {number}00.50);
             insert into unclassified values ({number}, 'of {name} {ssn}');
             insert into parted values ({number}, '{region}', '{ssn}');
             insert into people values ('{name}', '{ssn}');
             insert into people_abroad values ('{name}', '{ssn}', '{mrn}');
             insert into shadow.wards values ('{name}', '{ssn}');
             insert into wards values ('{name}', '{ssn}');
             insert into \"Ünï\" values ('{ssn}');
             insert into rated values ({number}, '{mrn}', '{mrn}', '{name}', '{ssn}');
             insert into peeked values ({number}, 'label');
             insert into memos values ({number}, 'asked again, SSN {ssn}, ward {number}', \
                '{{\"note\": \"SSN {ssn}\", \"ward\": {number}}}', '{{SSN {ssn},ward}}');"
        )
    }

    fn guard(&self, canaries: &mut Canaries) {
        let Patient { id, mrn, ssn, name, born: (year, month, day), phone, tags, mail, doc: _ } = self;
        canaries.add(&id.to_string());
        [mrn, ssn, name, phone, mail].into_iter().chain(*tags).for_each(|value| canaries.add(value));
        canaries.add_date(*year, *month, *day);
    }
}

/// Everything that runs.
#[derive(Debug)]
pub struct Stage {
    /// The server with all databases.
    pub cluster: Cluster,
    /// Wardline before it.
    pub gateway: Gateway,
}

impl Stage {
    /// Starts everything on PostgreSQL 15.
    ///
    /// # Errors
    /// Something does not start.
    pub fn start() -> Result<Stage> {
        Stage::start_on(Version::V15)
    }

    /// Starts everything on a version.
    ///
    /// # Errors
    /// Something does not start.
    pub fn start_on(version: Version) -> Result<Stage> {
        // What a plan estimates hangs on when a table was last looked at, which must not be a matter of chance.
        let settings = vec![("autovacuum".to_owned(), "off".to_owned())];
        let options = Options { version: Some(version), settings, ..Options::default() };
        let cluster = Cluster::start(options)?;
        let [one, other] = WORLDS;
        cluster.create_database(one)?;
        cluster.psql_in(one, TABLES)?;
        // Copies have the same OIDs.
        for copy in [other, PLAIN] {
            cluster.psql(&format!("create database {copy} template {one}"))?;
        }
        let [of_one, of_other] = &PATIENTS;
        for (database, patients) in [(one, of_one), (other, of_other), (PLAIN, of_one)] {
            let rows = patients.iter().enumerate().map(|(at, patient)| patient.rows(at));
            let rows = rows.collect::<Vec<_>>().join("\n");
            let after = "refresh materialized view kept; analyze";
            cluster.psql_in(database, &format!("{rows}\n{after}"))?;
        }
        let mut builder = Gateway::builder().listener(Listener::Plaintext);
        for (resource, database) in [(one, one), (other, other), (TWIN, PLAIN)] {
            // As superuser: PostgreSQL itself holds nothing back.
            let conninfo = cluster.conninfo().with_dbname(database);
            builder = builder.resource(resource, &conninfo).toml(&protection(resource));
        }
        let all = "read = [\"*\"]\nwrite = [\"*\"]\ndefine = [\"*\"]\nexecute = [\"*\"]\n\
            transfer = true\nadminister = true\nunmask = [\"*\"]";
        let gateway = builder
            .role_all()
            .role("seer", "*", all)
            .person(MASKED, &[ROLE_ALL])
            .person(SEEING, &["seer"])
            .start()?;
        Ok(Stage { cluster, gateway })
    }

    /// Returns how the masked person reaches a world.
    ///
    /// # Errors
    /// Never, for a person of the stage.
    pub fn masked(&self, world: &str) -> Result<Conninfo> {
        self.gateway.conninfo(MASKED, world)
    }

    /// Returns how somebody who sees everything reaches the first world.
    ///
    /// # Errors
    /// Never, for a person of the stage.
    pub fn seeing(&self) -> Result<Conninfo> {
        self.gateway.conninfo(SEEING, WORLDS[0])
    }

    /// Returns the way without Wardline.
    pub fn direct(&self) -> Conninfo {
        self.cluster.conninfo().with_dbname(PLAIN)
    }
}

fn protection(world: &str) -> String {
    let mut text = format!(
        "[resource.{world}.phi]\nclean = {CLEAN}\ntrusted_views = [\"public.trusted_choice.*\"]\n[resource.{world}.phi.columns]\n"
    );
    for (column, class) in PROTECTED {
        text += &format!("\"public.{column}\" = {{ class = \"{class}\" }}\n");
    }
    text += "\"shadow.wards.ssn\" = { class = \"ssn\" }\n";
    for (column, class, usage) in
        [("eq", "mrn", "equality"), ("jn", "mrn", "join"), ("res", "name", "result"), ("none", "ssn", "none")]
    {
        text += &format!("\"public.rated.{column}\" = {{ class = \"{class}\", usage = \"{usage}\" }}\n");
    }
    text
}

/// Returns what must not reach the masked person.
pub fn canaries() -> Canaries {
    let mut canaries = Canaries::default();
    PATIENTS.iter().flatten().for_each(|patient| patient.guard(&mut canaries));
    canaries
}

/// Returns the same for each world alone.
pub(super) fn canaries_of_each() -> [Canaries; 2] {
    PATIENTS.each_ref().map(|patients| {
        let mut canaries = Canaries::default();
        patients.iter().for_each(|patient| patient.guard(&mut canaries));
        canaries
    })
}

/// Fills a text of the battery with values of the first world.
pub(super) fn filled(text: &str) -> String {
    let ssn = PATIENTS[0][0].ssn;
    let half = ssn.get(..5).unwrap_or(ssn);
    let text = text.trim().replace("{ssn}", ssn).replace("{half}", half);
    text.replace("{digits}", &ssn.replace('-', ""))
}
