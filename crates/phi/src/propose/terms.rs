//! What names of tables and columns say: the terms of the field, as schemas write them.
//!
//! A term that is met too often costs a reviewer a line; one that is missing may cost a name. So a name that holds a
//! term says what the term says, wherever in the name it stands, and only the words of [`counts`] speak for harmlessness.

use crate::Class;
use crate::detect::words;

/// What a name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Says {
    pub(super) class: Class,
    /// What says it.
    pub(super) what: &'static str,
    /// It is a ZIP code, of which three digits may be shown.
    pub(super) zip: bool,
}

/// What a column stands among.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Around {
    /// The table's rows are people.
    pub(super) people: bool,
    /// The table has a street.
    pub(super) address: bool,
}

/// What a harmless name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counts {
    /// How much or how many.
    Amount,
    /// One of a few.
    Code,
    /// What was measured.
    Measure,
}

/// A name taken apart.
struct Name {
    words: Vec<String>,
    joined: String,
}

impl Name {
    fn of(name: &str) -> Name {
        let words: Vec<String> = words(name)
            .into_iter()
            .map(|word| word.trim_end_matches(|character: char| character.is_ascii_digit()).to_owned())
            .filter(|word| !word.is_empty())
            .collect();
        Name { joined: words.concat(), words }
    }

    /// Whether one of the words is one of these.
    fn has(&self, wanted: &str) -> bool {
        wanted.split_whitespace().any(|wanted| self.words.iter().any(|word| word == wanted))
    }

    /// Whether one of these stands anywhere in the name, also where words are not kept apart.
    fn holds(&self, wanted: &str) -> bool {
        wanted.split_whitespace().any(|wanted| self.joined.contains(wanted))
    }

    fn ends(&self, wanted: &str) -> bool {
        wanted.split_whitespace().any(|wanted| self.joined.ends_with(wanted))
    }
}

/// One line of the dictionary.
struct Term {
    class: Class,
    /// Words that say it.
    words: &'static str,
    /// Parts of a name that say it.
    parts: &'static str,
}

/// In the order in which they are asked: the first that is met says what the column is.
const TERMS: &[Term] = &[
    Term { class: Class::Ssn, words: "ssn ssnr sin nino", parts: "socialsec socialinsurance" },
    Term { class: Class::Fax, words: "fax", parts: "faxn telefax" },
    Term { class: Class::Email, words: "email mail emailaddress", parts: "email" },
    Term {
        class: Class::Mrn,
        words: "mrn mrns mpi empi emrn chartno",
        parts: "medicalrecord medrec recordnumber chartnumber masterpatient",
    },
    Term {
        class: Class::Phone,
        words: "phone phones telephone tel mobile cellphone cell pager msisdn",
        parts: "phone telno mobileno",
    },
    Term { class: Class::Ip, words: "ip ipaddr ipaddress ipv", parts: "ipaddress remoteaddr clientaddr" },
    Term { class: Class::Url, words: "url uri website homepage web", parts: "website homepage" },
    Term {
        class: Class::Photo,
        words: "photo photos photograph picture portrait face avatar headshot selfie",
        parts: "photo",
    },
    Term {
        class: Class::Biometric,
        words: "biometric biometrics fingerprint voiceprint iris retina genome dna",
        parts: "biometric fingerprint voiceprint",
    },
    Term {
        class: Class::HealthPlan,
        words: "mbi hicn medicare medicaid subscriber beneficiary member memberid policy insurance insured plan",
        parts: "policyno policynum subscriber beneficiary healthplan memberid",
    },
    Term {
        class: Class::Account,
        words: "account accounts acct iban bic card cardno creditcard routing bank",
        parts: "accountn creditcard cardnumber iban",
    },
    Term {
        class: Class::Licence,
        words: "npi dea license licence certificate passport driver upin",
        parts: "license licence passport",
    },
    Term { class: Class::Vehicle, words: "vin plate vehicle", parts: "licenseplate" },
    Term {
        class: Class::Device,
        words: "udi serial imei imsi deviceid pacemaker implant mac",
        parts: "serialn",
    },
    Term {
        class: Class::Date,
        words: "dob dod birthdate birthday birth born deathdate deceased died death",
        parts: "birthda dateofbirth deathda dateofdeath birthyear",
    },
    Term { class: Class::Age, words: "age ages agey", parts: "ageyears ageat" },
    Term {
        class: Class::Geographic,
        words: "address addresses addr street streets road city town village county zip zipcode postcode postal plz \
            parish suburb neighborhood neighbourhood district latitude longitude lat lon lng geo geom geocode location \
            coordinates residence apartment apt birthplace hometown",
        parts: "address zipcode postalcode postcode latitude longitude birthplace",
    },
    Term {
        class: Class::UniqueCode,
        words: "login username userid loginid password passwd secret token hash fingerprint signature accession barcode \
            badge employeeid externalid nationalid",
        parts: "username password nationalid",
    },
    Term {
        class: Class::FreeText,
        words: "note notes body text comment comments narrative description remark remarks message messages content \
            history directions instructions instruction sig findings finding impression impressions assessment plan \
            reason reasons summary memo report transcript letter subjective objective complaint hpi soap discharge_summary \
            feedback question answer title subject",
        parts: "freetext comment narrative",
    },
];

/// Words that make a name a person's.
const OF_PERSON: &str = "first last middle given family full maiden sur patient person contact guarantor member \
    guardian mother father spouse relative kin provider physician doctor nurse staff employee employer author user \
    subscriber insured emergency caregiver preferred nick legal display holder recipient sender";
/// Names by themselves.
const NAMES: &str = "surname forename firstname lastname middlename givenname familyname fullname maidenname nickname \
    fname lname mname initials alias aka kin guardian mother father spouse relative employer author physician doctor \
    nurse attending referring";

/// Returns what a column's name says it holds.
pub(super) fn says(name: &str, around: Around) -> Option<Says> {
    let column = Name::of(name);
    let says = |class| Says { class, what: "name", zip: false };
    if is_name(name) || (around.people && column.has("name names")) {
        return Some(says(Class::Name));
    }
    if around.address && column.has("unit line") {
        return Some(says(Class::Geographic));
    }
    let term = TERMS.iter().find(|term| column.has(term.words) || column.holds(term.parts))?;
    let zip = term.class == Class::Geographic
        && (column.has("zip zipcode plz") || column.holds("zip postcode postal"));
    Some(Says { zip, ..says(term.class) })
}

/// Tells whether a column's name says that it holds a person's name.
pub(super) fn is_name(name: &str) -> bool {
    let column = Name::of(name);
    let named = column.has("name names");
    (named && column.has(OF_PERSON))
        || column.has(NAMES)
        || column.holds(
            "firstname lastname middlename givenname familyname fullname maidenname patientname surname",
        )
}

/// Tells whether a column's name says street or house.
pub(super) fn is_street(name: &str) -> bool {
    Name::of(name).has("street address addr road address_line")
}

/// Tells whether a table's name says that its rows are people.
pub(super) fn is_of_people(table: &str) -> bool {
    Name::of(table).has(
        "patient patients person persons people staff employee employees provider providers physician physicians \
         doctor doctors nurse nurses practitioner practitioners clinician clinicians user users contact contacts \
         guarantor guarantors member members subscriber subscribers relative relatives guardian guardians client \
         clients customer customers beneficiary beneficiaries caregiver caregivers subject subjects resident residents \
         donor donors author authors",
    )
}

/// Tells whether the rows of a table so called are the patients themselves. Only where no table is called after
/// patients, people under another name are meant.
pub(super) fn is_patients(table: &str, by_another_name: bool) -> bool {
    const PATIENTS: [&str; 2] = ["patient", "patients"];
    const OTHERS: [&str; 12] = [
        "person",
        "persons",
        "people",
        "subject",
        "subjects",
        "beneficiary",
        "beneficiaries",
        "enrollee",
        "enrollees",
        "member",
        "members",
        "resident",
    ];
    /// What schemas put before or behind a table's own name.
    const AROUND: [&str; 16] = [
        "tbl",
        "t",
        "dim",
        "dbo",
        "master",
        "mst",
        "demographic",
        "demographics",
        "base",
        "core",
        "data",
        "info",
        "information",
        "main",
        "table",
        "registry",
    ];
    let name = Name::of(table);
    let is = |word: &str| PATIENTS.contains(&word) || (by_another_name && OTHERS.contains(&word));
    name.words.iter().any(|word| is(word))
        && name.words.iter().all(|word| is(word) || AROUND.contains(&word.as_str()))
}

/// Tells whether a column's name says that it holds the number of a patient.
pub(super) fn is_patient_id(name: &str) -> bool {
    let column = Name::of(name);
    let number = column.has("id ids no nr num number key sk fk ref uuid guid");
    (column.has("patient pat pt") && number && !column.has("mrn"))
        || column.ends("patientid patid patientno patientkey")
}

/// Tells whether a name says nothing by itself, such as `id`.
pub(super) fn is_generic(name: &str) -> bool {
    Name::of(name).words.len() < 2
}

/// Returns what a name says that leaves no room for an identifier in a number or a single character.
pub(super) fn counts(name: &str) -> Option<Counts> {
    const AMOUNTS: &str = "count counts total totals amount amounts quantity qty minutes hours days seconds duration \
        length width height weight size floor beds capacity price cost charge charges billed paid fee tax balance \
        percent percentage rate ratio score dose dosage refills repeats attempts retries temperature pulse bpm \
        systolic diastolic spo bmi version priority level rank stage grade step weeks";
    const CODES: &str =
        "sex gender status state flag flags type kind category active enabled is has yn priority level";
    const MEASURES: &str = "value result reading measurement";
    /// What may be counted and is somebody's all the same.
    const OF_SOMEBODY: &str = "id ids no nr number num key ref uuid guid code";
    let column = Name::of(name);
    if column.has(OF_SOMEBODY) {
        return None;
    }
    if column.has(AMOUNTS) {
        return Some(Counts::Amount);
    }
    let code = || column.has(CODES).then_some(Counts::Code);
    code().or_else(|| column.has(MEASURES).then_some(Counts::Measure))
}
