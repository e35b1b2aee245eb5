//! Two hospitals that differ in nothing but their protected values, Wardline before them, and a third that stands for
//! the first without Wardline.

use testbed::Conninfo;
use testbed::gateway::{Gateway, Listener, ROLE_ALL};
use testbed::postgres::{Cluster, Options, Version};

use super::canary::Canaries;

/// Who may do everything, and sees nothing that is protected.
pub(crate) const MASKED: &str = "mia";
/// Who may do and see everything.
pub(crate) const SEEING: &str = "sam";
/// The resources, and their databases.
pub(crate) const WORLDS: [&str; 2] = ["hospital", "mirror"];
/// The database that is asked without Wardline.
const PLAIN: &str = "plain";

const TABLES: &str = include_str!("hospital.sql");

const PROTECTED: [(&str, &str); 28] = [
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
    \"public.scratch.*\", \"public.parted.*\", \"public.peeked.*\", \"public.told.*\", \"public.named.*\"]";

/// One patient.
pub(crate) struct Patient {
    pub(crate) id: u32,
    mrn: &'static str,
    pub(crate) ssn: &'static str,
    name: &'static str,
    born: (i32, u32, u32),
    phone: &'static str,
    tag: &'static str,
    mail: &'static str,
}

/// The patients of each world. Years stand in what is shown, so they are the same.
pub(crate) const PATIENTS: [[Patient; 3]; 2] = [
    [
        Patient {
            id: 730_001,
            mrn: "MRN-7719-QX",
            ssn: "912-83-4756",
            name: "Quirinella Zwetschkenbaum",
            born: (1958, 7, 23),
            phone: "+43 677 9018273",
            tag: "hepatitis-zq81",
            mail: "quirinella@zwetschke.example",
        },
        Patient {
            id: 730_002,
            mrn: "MRN-2204-KV",
            ssn: "947-16-2038",
            name: "Xaver Oberhollenzer",
            born: (1971, 12, 9),
            phone: "+39 0471 556677",
            tag: "porphyria-vw44",
            mail: "xaver@oberhollenz.example",
        },
        Patient {
            id: 730_003,
            mrn: "MRN-9086-ZD",
            ssn: "985-27-6149",
            name: "Yngvild Thorbjoernsen",
            born: (1989, 3, 14),
            phone: "+47 915 33 120",
            tag: "lupus-yt3058",
            mail: "yngvild@thorbjoern.example",
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
            tag: "gout-lc90417",
            mail: "ludmila@czernyhof.example",
        },
        Patient {
            id: 864_212,
            mrn: "MRN-8831-TA",
            ssn: "903-62-7715",
            name: "Amadeus Frankenhuysen-Lobkowitz",
            born: (1971, 5, 30),
            phone: "+39 0472 918264",
            tag: "vertigo-af27",
            mail: "amadeus@frankenhuys.example",
        },
        Patient {
            id: 864_213,
            mrn: "MRN-1147-PN",
            ssn: "926-95-0834",
            name: "Zbigniew Ka",
            born: (1989, 8, 25),
            phone: "+48 601 482 777",
            tag: "asthma-zk6612",
            mail: "zbigniew@kawalec.example",
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
        let Patient { id, mrn, ssn, name, born: _, phone, tag, mail } = self;
        let (born, digits) = (self.born(), self.digits());
        let number = at + 1;
        let region = if at == 0 { "east" } else { "west" };
        format!(
            "insert into patients values ({id}, '{mrn}', '{ssn}', '{name}', '{born}', '{phone}', '{{{tag},{mrn}}}', \
             row('{phone}', '{mail}'), '{ssn}', '{{\"ssn\": \"{ssn}\", \"who\": [\"{name}\"]}}', {digits}, 'low', true);
             insert into encounters values ({number}, {id}, 'ward {number}', {number}, '2026-01-0{number} 08:00+00');
             insert into notes (encounter_id, body) values ({number}, 'Saw {name}, {ssn}, {tag}.');
             insert into departments values ({number}, 'department {number}', {number}, {number}00.50);
             insert into unclassified values ({number}, 'of {name} {ssn}');
             insert into parted values ({number}, '{region}', '{ssn}');
             insert into people values ('{name}', '{ssn}');
             insert into people_abroad values ('{name}', '{ssn}', '{mrn}');
             insert into shadow.wards values ('{name}', '{ssn}');
             insert into wards values ('{name}', '{ssn}');
             insert into \"Ünï\" values ('{ssn}');
             insert into peeked values ({number}, 'label');"
        )
    }

    fn guard(&self, canaries: &mut Canaries) {
        let Patient { id, mrn, ssn, name, born: (year, month, day), phone, tag, mail } = self;
        canaries.add(&id.to_string());
        [mrn, ssn, name, phone, tag, mail].into_iter().for_each(|value| canaries.add(value));
        canaries.add_date(*year, *month, *day);
    }
}

/// Everything that runs.
pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
    pub(crate) gateway: Gateway,
}

impl Stage {
    pub(crate) fn start() -> Stage {
        let options = Options { version: Some(Version::V15), ..Options::default() };
        let cluster = Cluster::start(options).expect("PostgreSQL 15");
        cluster.create_database(WORLDS[0]).expect("a database");
        cluster.psql_in(WORLDS[0], TABLES).expect("tables");
        // Copies have the same OIDs.
        for copy in [WORLDS[1], PLAIN] {
            cluster.psql(&format!("create database {copy} template {}", WORLDS[0])).expect("a copy");
        }
        for (database, patients) in
            [(WORLDS[0], &PATIENTS[0]), (WORLDS[1], &PATIENTS[1]), (PLAIN, &PATIENTS[0])]
        {
            let rows = patients.iter().enumerate().map(|(at, patient)| patient.rows(at));
            let rows = rows.collect::<Vec<_>>().join("\n");
            let after = "refresh materialized view kept; analyze";
            cluster.psql_in(database, &format!("{rows}\n{after}")).expect("rows");
        }
        let mut builder = Gateway::builder().listener(Listener::Plaintext);
        for world in WORLDS {
            // As superuser: PostgreSQL itself holds nothing back.
            let conninfo = cluster.conninfo().with_dbname(world);
            builder = builder.resource(world, &conninfo).toml(&protection(world));
        }
        let all = "read = [\"*\"]\nwrite = [\"*\"]\ndefine = [\"*\"]\nexecute = [\"*\"]\n\
            transfer = true\nadminister = true\nunmask = [\"*\"]";
        let gateway = builder
            .role_all()
            .role("seer", "*", all)
            .person(MASKED, &[ROLE_ALL])
            .person(SEEING, &["seer"])
            .start()
            .expect("Wardline");
        Stage { cluster, gateway }
    }

    /// Returns how the masked person reaches a world.
    pub(crate) fn masked(&self, world: &str) -> Conninfo {
        self.gateway.conninfo(MASKED, world).expect("a person")
    }

    /// Returns how somebody who sees everything reaches the first world.
    pub(crate) fn seeing(&self) -> Conninfo {
        self.gateway.conninfo(SEEING, WORLDS[0]).expect("a person")
    }

    /// Returns the way without Wardline.
    pub(crate) fn direct(&self) -> Conninfo {
        self.cluster.conninfo().with_dbname(PLAIN)
    }
}

fn protection(world: &str) -> String {
    let mut text = format!("[resource.{world}.phi]\nclean = {CLEAN}\n[resource.{world}.phi.columns]\n");
    for (column, class) in PROTECTED {
        text += &format!("\"public.{column}\" = {{ class = \"{class}\" }}\n");
    }
    text += "\"shadow.wards.ssn\" = { class = \"ssn\" }\n";
    text
}

/// Returns what must not reach the masked person.
pub(crate) fn canaries() -> Canaries {
    let mut canaries = Canaries::default();
    PATIENTS.iter().flatten().for_each(|patient| patient.guard(&mut canaries));
    canaries
}
