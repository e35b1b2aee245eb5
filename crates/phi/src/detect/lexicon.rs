//! What is known of single words: one table for names, places, months, and the words that announce an identifier.
//!
//! The lists were written from general knowledge for this crate. The table keeps 24 bits of a word's hash instead of the
//! word: one that is not listed is taken for a listed one less than once in ten million, which a detector can bear.

use std::sync::LazyLock;

/// A set of properties of a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags(u64);

impl Flags {
    pub(super) const NONE: Flags = Flags(0);
    pub(super) const GIVEN: Flags = Flags(1);
    pub(super) const FAMILY: Flags = Flags(1 << 1);
    /// An ordinary or medical word, which is no name only because it has a capital.
    pub(super) const ORDINARY: Flags = Flags(1 << 2);
    pub(super) const PLACE: Flags = Flags(1 << 3);
    pub(super) const TITLE: Flags = Flags(1 << 4);
    /// A word that a name follows: relatives, roles, `by`, `name`.
    pub(super) const BEFORE_NAME: Flags = Flags(1 << 5);
    pub(super) const CREDENTIAL: Flags = Flags(1 << 6);
    pub(super) const PARTICLE: Flags = Flags(1 << 7);
    /// What a person does or is in a note: follows a name at the start of a sentence.
    pub(super) const AFTER_NAME: Flags = Flags(1 << 8);
    /// What follows the name of a disease or device that is called after somebody.
    pub(super) const AFTER_EPONYM: Flags = Flags(1 << 9);
    pub(super) const STREET: Flags = Flags(1 << 10);
    pub(super) const STATE: Flags = Flags(1 << 11);
    pub(super) const UNIT: Flags = Flags(1 << 12);
    /// Living, moving and coming from: a place follows.
    pub(super) const BEFORE_PLACE: Flags = Flags(1 << 13);
    pub(super) const COUNTY: Flags = Flags(1 << 14);
    pub(super) const MONTH: Flags = Flags(1 << 15);
    /// A date without a year may follow.
    pub(super) const BEFORE_DATE: Flags = Flags(1 << 16);
    pub(super) const PHONE: Flags = Flags(1 << 17);
    pub(super) const FAX: Flags = Flags(1 << 18);
    pub(super) const SSN: Flags = Flags(1 << 19);
    pub(super) const MRN: Flags = Flags(1 << 20);
    pub(super) const PLAN: Flags = Flags(1 << 21);
    pub(super) const ACCOUNT: Flags = Flags(1 << 22);
    pub(super) const LICENCE: Flags = Flags(1 << 23);
    pub(super) const VEHICLE: Flags = Flags(1 << 24);
    pub(super) const DEVICE: Flags = Flags(1 << 25);
    pub(super) const CODE: Flags = Flags(1 << 26);
    /// `number`, `no`, `id`: stands between the announcing word and the code.
    pub(super) const NUMBER: Flags = Flags(1 << 27);
    pub(super) const AGE: Flags = Flags(1 << 28);
    /// A public code system: what follows identifies nobody.
    pub(super) const CODE_SYSTEM: Flags = Flags(1 << 29);
    pub(super) const PREPOSITION: Flags = Flags(1 << 30);
    /// Begins a ZIP code or a post box.
    pub(super) const POST: Flags = Flags(1 << 31);
    /// A relative or friend.
    pub(super) const RELATIVE: Flags = Flags(1 << 32);
    pub(super) const BIOMETRIC: Flags = Flags(1 << 33);
    pub(super) const PHOTO: Flags = Flags(1 << 34);
    /// A word in lower case with none of these begins nothing.
    pub(super) const BEGINS: Flags = Flags(
        Self::LABEL.0
            | Self::MONTH.0
            | Self::PREPOSITION.0
            | Self::GIVEN.0
            | Self::FAMILY.0
            | Self::AGE.0
            | Self::POST.0
            | Self::RELATIVE.0,
    );
    /// Any word that announces a code.
    pub(super) const LABEL: Flags = Flags(
        Self::SSN.0
            | Self::MRN.0
            | Self::PLAN.0
            | Self::ACCOUNT.0
            | Self::LICENCE.0
            | Self::VEHICLE.0
            | Self::DEVICE.0
            | Self::BIOMETRIC.0
            | Self::PHOTO.0
            | Self::CODE.0,
    );
    pub(super) const NAME: Flags = Flags(Self::GIVEN.0 | Self::FAMILY.0);

    /// Returns whether any of the properties is here.
    pub(super) const fn any(self, of: Flags) -> bool {
        self.0 & of.0 != 0
    }

    pub(super) const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

/// One list: the words, separated by blanks, and what they have in common.
const LISTS: &[(&str, Flags)] = &[
    (include_str!("words/given.txt"), Flags::GIVEN),
    (include_str!("words/family.txt"), Flags::FAMILY),
    (include_str!("words/vocabulary.txt"), Flags::ORDINARY),
    (include_str!("words/places.txt"), Flags::PLACE),
    (
        "mr mrs ms miss mx dr prof professor doctor rev reverend fr sr sir madam dame lord lady rabbi imam pastor sgt capt \
      col lt maj gen hon señor señora",
        Flags::TITLE,
    ),
    (
        "patient pt name named called son daughter husband wife mother father brother sister mom dad grandmother \
      grandfather grandma grandpa grandson granddaughter aunt uncle cousin niece nephew spouse partner fiance fiancee \
      girlfriend boyfriend friend neighbor neighbour roommate guardian caregiver caretaker mother-in-law stepfather \
      stepmother stepson stepdaughter twin nurse physician surgeon provider pcp attending resident intern fellow \
      therapist pharmacist counselor dentist midwife cardiologist oncologist neurologist psychiatrist radiologist \
      hospitalist interpreter social-worker coach teacher boss employer supervisor landlord by attn cc author witness \
      contact surname lastname firstname forename alias nickname regards sincerely dear hi hello colleague assistant \
      client beneficiary subscriber member insured guarantor responsible signed dictated transcribed authored \
      electronically verified proxy poa kin",
        Flags::BEFORE_NAME,
    ),
    (
        "md do rn np pa pac phd lpn lcsw dnp msn bsn pharmd dds dmd facp facc facs mph msw cnm crna psyd dpt otr ccc \
      dpm mbbs frcs frcp esq aprn fnp cnp lmft",
        Flags::CREDENTIAL,
    ),
    (
        "van der de la del dos das da di el al bin ibn von den ter ten le du st saint abu mac mc y e ben ap ó",
        Flags::PARTICLE,
    ),
    (
        "reports reported denies denied states stated says said complains complained presents presented was is has had \
      lives lived works worked called phoned arrived returned agrees agreed feels felt appears appeared takes took \
      remains underwent tolerated continues continued wants wanted notes noted describes described came asked asks \
      requested requests brought drove accompanied visited who whose will would should can could did does tolerates \
      admits endorses confirmed declined declines refused understands verbalized received signed accepted missed \
      walked moved needs needed",
        Flags::AFTER_NAME,
    ),
    (
        "disease syndrome sign signs catheter test score scale reflex procedure maneuver manoeuvre fracture tube lymphoma \
      sarcoma tumor cyst palsy phenomenon esophagus thyroiditis chorea dementia criteria classification stain shunt \
      drain ulcer nodes lesion position incision retractor forceps clamp graft repair operation dystrophy angina \
      contracture abscess anomaly aneurysm block body bodies cells loop gland duct ligament canal tubercle triad \
      index rule law solution hospital clinic pattern estimate curve method formula equation technique approach stage \
      grade system type valve virus fever rash node",
        Flags::AFTER_EPONYM,
    ),
    (
        "street st avenue ave road rd boulevard blvd lane ln drive dr court ct place pl terrace ter way circle cir highway \
      hwy parkway pkwy square sq trail trl alley plaza row crescent close turnpike pike loop run path expressway route",
        Flags::STREET,
    ),
    // More suffixes of the United States Postal Service (Publication 28, appendix C1), without those that notes are full of.
    (
        "bayou beach bend bluff bluffs brook burg burgs bypass camp canyon cape causeway cliff cliffs corner corners cove \
      coves creek crest crossing crossroad crossroads dale estate estates ferry field fields flat flats ford fords forest \
      forge freeway garden gardens gateway glen glens green greens grove groves harbor harbors haven hill hills hollow \
      inlet island islands isle junction junctions knoll knolls lake lakes landing lodge mall manor manors meadow meadows \
      mews mill mills mission motorway mount mountain mountains orchard oval overpass park parks passage pine pines \
      plains prairie ranch ridge ridges river rue shore shores skyway spring springs spur squares station summit \
      throughway trace trailer underpass valley valleys viaduct village villages ville vista walk walks",
        Flags::STREET,
    ),
    (
        "alabama alaska arizona arkansas california colorado connecticut delaware florida georgia hawaii idaho illinois \
      indiana iowa kansas kentucky louisiana maine maryland massachusetts michigan minnesota mississippi missouri montana \
      nebraska nevada hampshire jersey mexico york carolina dakota ohio oklahoma oregon pennsylvania rhode tennessee texas \
      utah vermont virginia washington wisconsin wyoming al ak az ar ca co ct de fl ga hi id il in ia ks ky la me md ma mi \
      mn ms mo mt ne nv nh nj nm ny nc nd oh ok or pa ri sc sd tn tx ut vt va wa wv wi wy dc pr",
        Flags::STATE,
    ),
    ("apt apartment unit suite ste floor fl room rm lot bldg building", Flags::UNIT),
    (
        "lives lived living live resides resided residing reside resident moved relocated born raised grew home hometown \
      native address visiting visited travelled traveled arrived returned commutes commuting near outside staying stayed \
      works worked employed neighborhood town city village emigrated immigrated",
        Flags::BEFORE_PLACE,
    ),
    ("county township parish borough", Flags::COUNTY),
    (
        "january february march april may june july august september october november december jan feb mar apr jun jul aug \
      sep sept oct nov dec",
        Flags::MONTH,
    ),
    (
        "on since until till by from dated date dob born birthdate birthday seen visit starting started beginning before \
      after between through admitted discharged discharge admission return returned follow-up followup appointment \
      scheduled due last next effective expires exp surgery injury onset lmp edd d o b",
        Flags::BEFORE_DATE,
    ),
    (
        "phone telephone tel cell mobile call called calls pager beeper ph contact home work number voicemail text sms \
      callback dial reach",
        Flags::PHONE,
    ),
    ("fax facsimile faxed telefax", Flags::FAX),
    ("ssn social ss", Flags::SSN),
    ("mrn mr record chart emrn emr mpi empi", Flags::MRN),
    (
        "member policy subscriber beneficiary medicare medicaid insurance mbi hicn hic plan group payer coverage certificate",
        Flags::PLAN,
    ),
    (
        "account acct iban card routing aba invoice billing bank visa mastercard amex checking savings guarantor bic",
        Flags::ACCOUNT,
    ),
    (
        "license licence lic dea npi permit passport credential registration drivers driver's dl upin",
        Flags::LICENCE,
    ),
    ("plate plates vin vehicle tag license-plate", Flags::VEHICLE),
    (
        "fingerprint fingerprints retina retinal iris voiceprint palmprint biometric faceprint",
        Flags::BIOMETRIC,
    ),
    ("photo photos photograph photographs headshot portrait selfie", Flags::PHOTO),
    (
        "serial udi device implant implanted pacemaker icd defibrillator sn imei prosthesis pump stimulator model lot",
        Flags::DEVICE,
    ),
    (
        "encounter visit accession case id specimen study subject fin csn patient pt order claim reference ref \
      confirmation employee student badge participant identifier uid locker tracking ticket",
        Flags::CODE,
    ),
    ("number no num nr id is was identifier ending code numbers", Flags::NUMBER),
    ("age aged ninety hundred nonagenarian centenarian supercentenarian", Flags::AGE),
    ("zip zipcode postcode po pob p", Flags::POST),
    (
        "snomed loinc icd icd9 icd10 cpt hcpcs ndc rxnorm rxcui umls cui sctid pmid doi atc drg concept",
        Flags::CODE_SYSTEM,
    ),
    ("in from at to near of outside around", Flags::PREPOSITION),
];

/// More than twice the words, so that a miss is seen soon; 128 KiB, so that it stays in the second cache.
const SLOTS: usize = 1 << 15;

pub(super) struct Lexicon {
    /// Of each word 24 bits of its hash and, in the lowest byte, the place of its flags; 0 is an empty slot.
    slots: Box<[u32]>,
    /// The sets of flags that occur. The first is none.
    sets: Vec<Flags>,
}

static LEXICON: LazyLock<Lexicon> = LazyLock::new(Lexicon::build);

const LOWER: u64 = 0x2020_2020_2020_2020;

/// Adds the next eight bytes of a word.
const fn mix(hash: u64, chunk: u64) -> u64 {
    (hash.rotate_left(29) ^ chunk).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Returns the hash of a word in lower case.
pub(super) fn hash(word: &str) -> u64 {
    word.as_bytes().chunks(8).fold(0, |hash, chunk| mix(hash, load(chunk)))
}

/// Adds the lower case of the first `held` of eight bytes, which are ASCII letters and digits, to the hash of those
/// before: for words, this gives what [`hash`] gives.
#[inline(always)]
pub(super) fn mix_ascii(hash: u64, chunk: u64, held: usize) -> u64 {
    if held == 0 {
        return hash;
    }
    let mask = u64::MAX >> (64 - 8 * held);
    // Setting this bit makes letters lower, and leaves digits as they are.
    mix(hash, (chunk | LOWER) & mask)
}

/// Returns up to eight bytes as a number, the first lowest.
pub(super) fn load(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).rev().fold(0, |chunk, byte| chunk << 8 | u64::from(*byte))
}

impl Lexicon {
    /// Returns the table.
    pub(super) fn get() -> &'static Lexicon {
        &LEXICON
    }

    fn build() -> Lexicon {
        let mut lexicon = Lexicon { slots: vec![0; SLOTS].into(), sets: vec![Flags::NONE] };
        for (words, flags) in LISTS {
            for word in words.split_whitespace() {
                lexicon.insert(hash(word), *flags);
            }
        }
        lexicon
    }

    fn insert(&mut self, hash: u64, flags: Flags) {
        let (start, tag) = place(hash);
        for step in 0..SLOTS {
            let place = (start + step) % SLOTS;
            let slot = self.slots.get(place).copied().unwrap_or(0);
            if slot == 0 || slot & !SET == tag {
                let set = self.set(self.flags(slot).with(flags));
                self.slots.get_mut(place).into_iter().for_each(|slot| *slot = tag | set);
                return;
            }
        }
    }

    /// Returns the place of a set of flags.
    fn set(&mut self, flags: Flags) -> u32 {
        let known = self.sets.iter().position(|set| *set == flags);
        let place = known.unwrap_or_else(|| {
            self.sets.push(flags);
            self.sets.len() - 1
        });
        u32::from(u8::try_from(place).expect("the lists make fewer than 256 sets, a test holds that"))
    }

    fn flags(&self, slot: u32) -> Flags {
        let [.., set] = slot.to_be_bytes();
        self.sets.get(usize::from(set)).copied().unwrap_or_default()
    }

    /// Returns what is known of a word by its hash.
    #[inline(always)]
    pub(super) fn lookup(&self, hash: u64) -> Flags {
        let (start, tag) = place(hash);
        match self.slots.get(start) {
            Some(0) | None => Flags::NONE,
            Some(slot) if slot & !SET == tag => self.flags(*slot),
            Some(_) => self.lookup_from(start, tag),
        }
    }

    #[inline(never)]
    fn lookup_from(&self, start: usize, tag: u32) -> Flags {
        for step in 1..SLOTS {
            match self.slots.get((start + step) % SLOTS) {
                Some(0) | None => return Flags::NONE,
                Some(slot) if slot & !SET == tag => return self.flags(*slot),
                Some(_) => {}
            }
        }
        Flags::NONE
    }
}

/// The byte of a slot that names the set of flags.
const SET: u32 = 0xff;

/// The first slot and the tag: different bits of the hash. A tag is never 0, which is an empty slot.
#[allow(clippy::cast_possible_truncation, reason = "bits are picked")]
fn place(hash: u64) -> (usize, u32) {
    ((hash >> 49) as usize, ((hash >> 12 ^ hash) as u32 & !SET).max(SET + 1))
}

/// Symbols of the model: the edge of a word, 26 letters, and everything else.
const SYMBOLS: usize = 28;

/// How much more like a listed name than like a listed ordinary word each three letters are, in hundredths of a nat.
static TRIGRAMS: LazyLock<Box<[i16]>> = LazyLock::new(|| {
    let counted = |wanted: Flags| {
        let mut counts = vec![0.3_f64; SYMBOLS * SYMBOLS * SYMBOLS];
        for (words, _) in LISTS.iter().filter(|(_, flags)| wanted.any(*flags)) {
            for word in words.split_whitespace().filter(|word| word.len() > 3) {
                // A name that is an ordinary word too teaches nothing.
                let both = Lexicon::get().lookup(hash(word));
                if !(both.any(Flags::NAME) && both.any(Flags::ORDINARY)) {
                    trigrams(word, |place| counts.get_mut(place).into_iter().for_each(|count| *count += 1.0));
                }
            }
        }
        let sum: f64 = counts.iter().sum();
        counts.into_iter().map(move |count| (count / sum).ln())
    };
    let (names, ordinary) = (counted(Flags::NAME), counted(Flags::ORDINARY));
    #[allow(clippy::cast_possible_truncation, reason = "a few nats")]
    let odds = names.zip(ordinary).map(|(name, word)| ((name - word) * 100.0) as i16);
    odds.collect()
});

fn trigrams(word: &str, mut each: impl FnMut(usize)) {
    let symbol = |character: char| match character.to_ascii_lowercase() {
        letter @ 'a'..='z' => 1 + usize::try_from(u32::from(letter) - u32::from('a')).unwrap_or(0),
        _ => SYMBOLS - 1,
    };
    let (mut first, mut second) = (0, 0);
    for third in word.chars().map(symbol).chain([0]) {
        each((first * SYMBOLS + second) * SYMBOLS + third);
        (first, second) = (second, third);
    }
}

/// Returns how much a word that is on no list is written like a name rather than like an ordinary word: above 0 more so.
pub(super) fn nameness(word: &str) -> i32 {
    let mut sum = 0;
    trigrams(word, |place| sum += TRIGRAMS.get(place).copied().map_or(0, i32::from));
    // A letter beyond ASCII is rare in an English word.
    sum + if word.is_ascii() { 0 } else { 300 }
}

/// Endings of drugs, diseases, procedures and abstract nouns: a word with one is no name that we would not know.
const ENDINGS: &[&str] = &[
    "olol",
    "pril",
    "sartan",
    "statin",
    "mycin",
    "cillin",
    "azole",
    "mab",
    "tinib",
    "dipine",
    "amine",
    "idine",
    "azine",
    "oxetine",
    "apine",
    "caine",
    "gliptin",
    "gliflozin",
    "floxacin",
    "cycline",
    "parin",
    "xaban",
    "semide",
    "thiazide",
    "lukast",
    "triptan",
    "setron",
    "tidine",
    "zepam",
    "zolam",
    "barbital",
    "phylline",
    "terol",
    "sone",
    "solone",
    "onide",
    "pramine",
    "triptyline",
    "profen",
    "coxib",
    "glutide",
    "formin",
    "itis",
    "emia",
    "osis",
    "pathy",
    "ectomy",
    "otomy",
    "ostomy",
    "oscopy",
    "graphy",
    "gram",
    "logy",
    "plasty",
    "tion",
    "sion",
    "ness",
    "ology",
    "ical",
    "ization",
    "ectomies",
    "therapy",
    "scopic",
    "algia",
    "uria",
    "pnea",
    "plegia",
    "paresis",
    "trophy",
    "megaly",
    "cyte",
    "cytes",
    "penia",
    "lysis",
    "centesis",
    "genic",
    "tomic",
    "ology",
    "iatric",
    "iatry",
    "ware",
    "ology",
];

/// The endings by their last letter.
static BY_LAST: LazyLock<Vec<Vec<&'static str>>> = LazyLock::new(|| {
    let ending_in =
        |last: u8| ENDINGS.iter().copied().filter(|ending| ending.as_bytes().last() == Some(&last)).collect();
    (b'a'..=b'z').map(ending_in).collect()
});

/// Returns whether a word ends like a technical term.
pub(super) fn technical(word: &str) -> bool {
    let ends = |ending: &&str| {
        let start = word.len().checked_sub(ending.len());
        start
            .and_then(|start| word.as_bytes().get(start..))
            .is_some_and(|end| end.eq_ignore_ascii_case(ending.as_bytes()))
    };
    let last = word.as_bytes().last().map(u8::to_ascii_lowercase).filter(u8::is_ascii_lowercase);
    let endings = last.and_then(|last| BY_LAST.get(usize::from(last - b'a')));
    word.len() > 5 && endings.is_some_and(|endings| endings.iter().any(ends))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_with_all_they_are() {
        let lexicon = Lexicon::get();
        let look = |word: &str| lexicon.lookup(hash(word));
        for word in ["A", "Maria", "GONZALEZ", "o0", "electroencephalography", "sixteen16letters"] {
            let mixed =
                word.as_bytes().chunks(8).fold(0, |hash, chunk| mix_ascii(hash, load(chunk), chunk.len()));
            assert_eq!(mixed, hash(&word.to_lowercase()));
        }
        assert!(look("maria").any(Flags::GIVEN) && !look("maria").any(Flags::ORDINARY));
        assert!(
            look("may").any(Flags::GIVEN)
                && look("may").any(Flags::ORDINARY)
                && look("may").any(Flags::MONTH)
        );
        assert!(look("garcia").any(Flags::FAMILY));
        assert_eq!(look("zyxwvut"), Flags::NONE);
        let words: std::collections::BTreeSet<&str> =
            LISTS.iter().flat_map(|(words, _)| words.split_whitespace()).collect();
        assert!(words.len() * 2 < SLOTS, "{} words", words.len());
        for (words, flags) in LISTS {
            for word in words.split_whitespace() {
                assert!(look(word).any(*flags), "{word}");
                assert_eq!(word.to_lowercase(), word);
            }
        }
    }

    #[test]
    fn technical_terms_by_their_ending() {
        assert!(technical("Metoprolol") && technical("adalimumab") && technical("bronchoscopy"));
        assert!(!technical("zofia") && !technical("gram"));
    }
}
