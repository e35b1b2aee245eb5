//! Generated clinical notes with known identifiers. Names, places and sentences were chosen apart from the recognisers'
//! lists: most of the names are rare in the United States, and a test holds that they are on no list.
#![allow(clippy::indexing_slicing, reason = "a generator for tests")]

use phi::Class;

/// A text with where its identifiers stand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Note {
    pub(crate) text: String,
    pub(crate) truth: Vec<(usize, usize, Class)>,
}

impl Note {
    fn plain(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn marked(&mut self, text: &str, class: Class) {
        let start = self.text.len();
        self.text.push_str(text);
        self.truth.push((start, self.text.len(), class));
    }
}

pub(crate) const GIVEN: &[&str] = &[
    "Oluwaseun",
    "Chidinma",
    "Ngozi",
    "Babatunde",
    "Adaeze",
    "Kwabena",
    "Akosua",
    "Thandiwe",
    "Sipho",
    "Nomvula",
    "Tadesse",
    "Selamawit",
    "Wanjiru",
    "Kipchoge",
    "Aoife",
    "Siobhan",
    "Caoimhe",
    "Eoghan",
    "Niamh",
    "Llewellyn",
    "Angharad",
    "Zbigniew",
    "Agnieszka",
    "Wojciech",
    "Grazyna",
    "Bohdan",
    "Oksana",
    "Svitlana",
    "Vytautas",
    "Rasa",
    "Jukka",
    "Päivi",
    "Aino",
    "Toivo",
    "Sigrún",
    "Þórdís",
    "Anneliese",
    "Gerlinde",
    "Gottfried",
    "Ottokar",
    "Zsófia",
    "Gergely",
    "Ilinca",
    "Horațiu",
    "Dragana",
    "Slobodan",
    "Mirjana",
    "Despina",
    "Panagiotis",
    "Vasiliki",
    "Özlem",
    "Çağlar",
    "Gülşen",
    "Farzaneh",
    "Behrouz",
    "Shirin",
    "Nasrin",
    "Zohreh",
    "Khurshid",
    "Parveen",
    "Tehmina",
    "Gurpreet",
    "Harjinder",
    "Lakshmanan",
    "Venkatesan",
    "Thirumalai",
    "Padmavathi",
    "Sanjukta",
    "Debashish",
    "Nirmala",
    "Chamari",
    "Dilshan",
    "Phirun",
    "Sreymom",
    "Boonsri",
    "Somchai",
    "Wipada",
    "Thuận",
    "Ngọc",
    "Xuân",
    "Jiahao",
    "Xiuying",
    "Yuhan",
    "Minseo",
    "Hyunwoo",
    "Jihye",
    "Takumi",
    "Haruka",
    "Nanami",
    "Makoa",
    "Leilani",
    "Tevita",
    "Sione",
    "Itzel",
    "Xochitl",
    "Cuauhtémoc",
    "Nayeli",
    "Yaretzi",
    "Anacleto",
    "Eustaquia",
    "Zenaida",
    "Evaristo",
];

pub(crate) const FAMILY: &[&str] = &[
    "Okonkwo",
    "Adeyemi",
    "Nwosu",
    "Oyelaran",
    "Mensah",
    "Owusu",
    "Dlamini",
    "Mkhize",
    "Gebremariam",
    "Haile",
    "Kamau",
    "Odhiambo",
    "Ó Súilleabháin",
    "Mac Giolla",
    "Gwynedd",
    "Llwyd",
    "Wiśniewska",
    "Szczepański",
    "Dąbrowski",
    "Kaczmarek",
    "Shevchenko",
    "Tkachuk",
    "Kazlauskas",
    "Virtanen",
    "Korhonen",
    "Nieminen",
    "Guðmundsdóttir",
    "Sigurðsson",
    "Bergqvist",
    "Lindqvist",
    "Øverland",
    "Thorvaldsen",
    "Hinterberger",
    "Obermüller",
    "Zwiebelhofer",
    "Szabó",
    "Kovács",
    "Ionescu",
    "Popovici",
    "Jovanović",
    "Stojanović",
    "Papadopoulos",
    "Karagiannis",
    "Yıldırım",
    "Demirci",
    "Hosseini",
    "Rahmani",
    "Tavakoli",
    "Ahmadzai",
    "Qureshi",
    "Bhattacharya",
    "Mukhopadhyay",
    "Subramaniam",
    "Ramanathan",
    "Jayawardena",
    "Wickramasinghe",
    "Sok",
    "Chanthavong",
    "Srisai",
    "Rattanakosin",
    "Trịnh",
    "Đặng",
    "Ouyang",
    "Situ",
    "Zhuang",
    "Kwon",
    "Hwang",
    "Namgung",
    "Yamaguchi",
    "Takahashi",
    "Kealoha",
    "Fonoti",
    "Tuilagi",
    "Quetzalcoatl",
    "Xicotencatl",
    "Echeverría",
    "Goicoechea",
    "Etxeberria",
    "Vilallonga",
    "Brandão",
    "Figueiredo",
    "van Wijngaarden",
    "de Ruijter",
    "von Stauffenberg",
    "Featherstonehaugh",
    "Cholmondeley",
    "Arbuthnot",
];

pub(crate) const CITIES: &[&str] = &[
    "Ypsilanti",
    "Schaghticoke",
    "Puyallup",
    "Tuskegee",
    "Ashtabula",
    "Wapakoneta",
    "Natchitoches",
    "Sequim",
    "Kosciusko",
    "Ocoee",
    "Manteo",
    "Winnemucca",
    "Petaluma",
    "Okeechobee",
    "Zanesville",
];

pub(crate) const STREETS: &[&str] = &[
    "Quarterhorse",
    "Tamarind",
    "Birchmere",
    "Old Quarry",
    "Whippoorwill",
    "Sassafras",
    "Ferncliff",
    "Millrace",
    "Harrowgate",
    "Goldfinch",
    "Three Notch",
    "Buckthorn",
];

const SUFFIXES: &[&str] = &["Street", "Ave", "Lane", "Road", "Blvd.", "Ct", "Terrace", "Way"];
const STATES: &[&str] = &["MI", "NY", "WA", "AL", "OH", "LA", "MS", "FL", "NC", "NV", "CA"];
const MONTHS: &[&str] = &[
    "January", "February", "March", "April", "June", "July", "August", "Sept", "October", "Nov", "December",
];
const DRUGS: &[&str] = &[
    "Metoprolol",
    "lisinopril",
    "Lasix",
    "empagliflozin",
    "Zosyn",
    "vancomycin",
    "Norco",
    "apixaban",
    "Humalog",
];
const FINDINGS: &[&str] = &[
    "Lungs clear to auscultation bilaterally.",
    "BP 132/84, HR 76, RR 16, SpO2 97% on room air.",
    "No rebound or guarding; Murphy sign negative.",
    "EKG shows normal sinus rhythm at 72 bpm with QTc 431.",
    "WBC 11.2, Hgb 9.8, Plt 245, Na 138, K 4.1, Cr 1.02.",
    "Babinski downgoing, Romberg negative, gait steady.",
    "Foley catheter draining clear urine, 450 mL over 8 hours.",
    "CT abdomen without contrast unremarkable; see impression 2 of 3.",
    "Strength 4/5 in left upper extremity, 5/5 elsewhere.",
    "Continue current regimen and recheck labs in 6 weeks.",
    "Ejection fraction 45-50% on echo, mild mitral regurgitation.",
    "Crohn's disease in remission since 2014 on adalimumab.",
    "Dose increased from 12.5 mg to 25 mg twice daily.",
    "Pain 3/10 at rest, improves with Tylenol 650 mg q6h.",
    "ICD-10 E11.9 and I10 reviewed; LOINC 4548-4 was 7.2.",
    "Hemoglobin A1c trended 8.1, 7.6, 7.2 over 18 months.",
];

/// A generator of numbers: SplitMix64, the same for the same seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(crate) fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[usize::try_from(self.below(from.len() as u64)).expect("small")]
    }

    fn digits(&mut self, count: usize) -> String {
        (0..count).map(|_| char::from(b'0' + u8::try_from(self.below(10)).expect("a digit"))).collect()
    }
}

fn full(random: &mut Random) -> String {
    format!("{} {}", random.pick(GIVEN), random.pick(FAMILY))
}

fn date(random: &mut Random) -> String {
    let (year, month, day) = (1930 + random.below(96), 1 + random.below(12), 1 + random.below(28));
    match random.below(6) {
        0 => format!("{month:02}/{day:02}/{year}"),
        1 => format!("{year}-{month:02}-{day:02}"),
        2 => format!("{} {day}, {year}", random.pick(MONTHS)),
        3 => format!("{day} {} {year}", random.pick(MONTHS)),
        4 => format!("{month}/{day}/{:02}", year % 100),
        _ => format!("{month:02}-{day:02}-{year}"),
    }
}

fn phone(random: &mut Random) -> String {
    let (area, exchange, line) = (200 + random.below(800), 200 + random.below(800), random.digits(4));
    match random.below(4) {
        0 => format!("({area}) {exchange}-{line}"),
        1 => format!("{area}-{exchange}-{line}"),
        2 => format!("{area}.{exchange}.{line}"),
        _ => format!("+1 {area} {exchange} {line}"),
    }
}

fn address(random: &mut Random) -> String {
    let street = format!("{} {} {}", 1 + random.below(9899), random.pick(STREETS), random.pick(SUFFIXES));
    match random.below(3) {
        0 => street,
        1 => format!(
            "{street}, {}, {} {:05}",
            random.pick(CITIES),
            random.pick(STATES),
            random.below(99_000) + 501
        ),
        _ => format!("{street}, Unit {}", 1 + random.below(40)),
    }
}

fn luhn(mut digits: String) -> String {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let value = u32::from(digit - b'0') << (1 - place % 2);
            value / 10 + value % 10
        })
        .sum();
    digits.push(char::from(b'0' + u8::try_from((10 - sum % 10) % 10).expect("a digit")));
    digits
}

fn npi(random: &mut Random) -> String {
    let with_prefix = luhn(format!("808401{}", random.digits(8)));
    with_prefix.trim_start_matches("80840").to_owned()
}

fn mbi(random: &mut Random) -> String {
    let mut letter = || {
        random.pick(&["A", "C", "D", "E", "F", "G", "H", "J", "K", "M", "N", "P", "Q", "R", "T"]).to_owned()
    };
    let letters: Vec<String> = (0..4).map(|_| letter()).collect();
    let digit = |random: &mut Random| random.digits(1);
    format!(
        "{}{}{}{}-{}{}{}-{}{}{}{}",
        1 + random.below(9),
        letters[0],
        digit(random),
        digit(random),
        letters[1],
        digit(random),
        digit(random),
        letters[2],
        letters[3],
        digit(random),
        digit(random)
    )
}

type Sentence = fn(&mut Note, &mut Random);

/// One kind of sentence each; `|` in the doc of a template stands for the identifier.
const SENTENCES: &[Sentence] = &[
    |n, r| {
        n.marked(&full(r), Class::Name);
        n.plain(" returns to clinic for diabetes management. ");
    },
    |n, r| {
        n.plain("I had a long talk with Ms. ");
        n.marked(r.pick(FAMILY), Class::Name);
        n.plain(" regarding the risks. ");
    },
    |n, r| {
        n.plain("Attending of record: ");
        n.marked(&full(r), Class::Name);
        n.plain(", MD. ");
    },
    |n, r| {
        n.plain("The plan was reviewed with ");
        n.marked(&full(r), Class::Name);
        n.plain(" at the bedside. ");
    },
    |n, r| {
        n.plain("His sister ");
        n.marked(r.pick(GIVEN), Class::Name);
        n.plain(" will drive him home. ");
    },
    |n, r| {
        n.plain("Per ");
        n.marked(r.pick(GIVEN), Class::Name);
        n.plain(", symptoms began after supper. ");
    },
    |n, r| {
        n.marked(r.pick(GIVEN), Class::Name);
        n.plain(" denies orthopnea and reports improved appetite. ");
    },
    |n, r| {
        n.plain("We will ask ");
        n.marked(r.pick(GIVEN), Class::Name);
        n.plain(" to keep a food diary. ");
    },
    |n, r| {
        n.plain("Name: ");
        n.marked(&format!("{}, {}", r.pick(FAMILY), r.pick(GIVEN)), Class::Name);
        n.plain("\n");
    },
    |n, r| {
        n.plain("cc: Dr. ");
        n.marked(&full(r), Class::Name);
        n.plain("\n");
    },
    |n, r| {
        n.plain("Electronically signed by ");
        n.marked(&full(r), Class::Name);
        n.plain(" RN\n");
    },
    |n, r| {
        n.plain("DOB: ");
        n.marked(&date(r), Class::Date);
        n.plain("\n");
    },
    |n, r| {
        n.plain("Last colonoscopy ");
        n.marked(&date(r), Class::Date);
        n.plain(" was normal. ");
    },
    |n, r| {
        n.plain("Sutures out on ");
        n.marked(&format!("{}/{}", 1 + r.below(12), 1 + r.below(28)), Class::Date);
        n.plain(" without complication. ");
    },
    |n, r| {
        n.plain("Can be reached at ");
        n.marked(&phone(r), Class::Phone);
        n.plain(" after 5 pm. ");
    },
    |n, r| {
        n.plain("Records faxed to ");
        n.marked(&phone(r), Class::Fax);
        n.plain(". ");
    },
    |n, r| {
        n.plain("Fax: ");
        n.marked(&phone(r), Class::Fax);
        n.plain("\n");
    },
    |n, r| {
        n.plain("SSN on file ");
        n.marked(
            &format!("{:03}-{:02}-{:04}", 1 + r.below(665), 1 + r.below(99), 1 + r.below(9999)),
            Class::Ssn,
        );
        n.plain(". ");
    },
    |n, r| {
        n.plain("MRN ");
        n.marked(&r.digits(7), Class::Mrn);
        n.plain(". ");
    },
    |n, r| {
        n.plain("(medical record no. ");
        n.marked(&format!("{}-{}", r.pick(&["KH", "SV", "WR"]), r.digits(6)), Class::Mrn);
        n.plain(") ");
    },
    |n, r| {
        n.plain("Medicare ID ");
        n.marked(&mbi(r), Class::HealthPlan);
        n.plain(". ");
    },
    |n, r| {
        n.plain("Copay charged to card ");
        let card = luhn(format!("4{}", r.digits(14)));
        n.marked(&format!("{} {} {} {}", &card[..4], &card[4..8], &card[8..12], &card[12..]), Class::Account);
        n.plain(". ");
    },
    |n, r| {
        n.plain("Billing account #");
        n.marked(&r.digits(8), Class::Account);
        n.plain(" is past due. ");
    },
    |n, r| {
        n.plain("Prescriber NPI ");
        n.marked(&npi(r), Class::Licence);
        n.plain(". ");
    },
    |n, r| {
        n.plain("Driver's license ");
        n.marked(&format!("{}{}", r.pick(&["D", "W", "K"]), r.digits(8)), Class::Licence);
        n.plain(" verified. ");
    },
    |n, r| {
        n.plain("Arrived by private vehicle, plate ");
        n.marked(&format!("{} {}", r.pick(&["KXZ", "BRV", "TQL"]), r.digits(4)), Class::Vehicle);
        n.plain(". ");
    },
    |n, r| {
        n.plain("Pump serial number ");
        n.marked(&format!("{}{}", r.pick(&["NG", "PMP", "T5X"]), r.digits(6)), Class::Device);
        n.plain(". ");
    },
    |n, r| {
        n.plain("Portal message from ");
        n.marked(
            &format!(
                "{}{}@{}.example.com",
                r.pick(&["quiet.heron", "tulip_", "jx"]),
                r.digits(2),
                r.pick(&["post", "in"])
            ),
            Class::Email,
        );
        n.plain(" received. ");
    },
    |n, r| {
        n.plain("Images at ");
        n.marked(&format!("https://pacs.example.net/study/{}", r.digits(6)), Class::Url);
        n.plain(" reviewed. ");
    },
    |n, r| {
        n.plain("Video visit from ");
        n.marked(
            &format!("{}.{}.{}.{}", 11 + r.below(200), r.below(256), r.below(256), 1 + r.below(254)),
            Class::Ip,
        );
        n.plain(" was stable. ");
    },
    |n, r| {
        n.plain("Lives alone at ");
        n.marked(&address(r), Class::Geographic);
        n.plain(". ");
    },
    |n, r| {
        n.plain("Grew up in ");
        n.marked(r.pick(CITIES), Class::Geographic);
        n.plain(" and worked as a welder. ");
    },
    |n, r| {
        n.plain("Transferred from a facility in ");
        n.marked(&format!("{}, {}", r.pick(CITIES), r.pick(STATES)), Class::Geographic);
        n.plain(". ");
    },
    |n, r| {
        n.plain("This is a ");
        n.marked(&format!("{}", 90 + r.below(14)), Class::Age);
        n.plain(" year old woman with falls. ");
    },
    |n, r| {
        n.plain("Enrolled with fingerprint ID ");
        n.marked(&format!("{}-{}", r.pick(&["FP", "BX", "L2"]), r.digits(6)), Class::Biometric);
        n.plain(". ");
    },
    |n, r| {
        n.plain("Face photo ");
        n.marked(&format!("{}_{}_{}", r.pick(&["IMG", "DSC", "PT"]), r.digits(8), r.digits(4)), Class::Photo);
        n.plain(" taken for the chart. ");
    },
    |n, r| {
        n.plain("Accession ");
        n.marked(&format!("S{}-{}", 10 + r.below(16), r.digits(5)), Class::UniqueCode);
        n.plain(" pending. ");
    },
];

/// Sentences that are harder: no announcing word, unusual verbs, capitals throughout.
const HARD: &[Sentence] = &[
    |n, r| {
        n.plain("Spoke w/ ");
        n.marked(r.pick(GIVEN), Class::Name);
        n.plain(" re: biopsy results. ");
    },
    |n, r| {
        n.plain("\nPATIENT: ");
        n.marked(&format!("{}, {}", r.pick(FAMILY), r.pick(GIVEN)).to_uppercase(), Class::Name);
        n.plain("\n");
    },
    |n, r| {
        n.marked(r.pick(GIVEN), Class::Name);
        n.plain(" slept poorly and skipped breakfast. ");
    },
    |n, r| {
        n.plain("Thank you for referring ");
        n.marked(&full(r), Class::Name);
        n.plain(" to our practice. ");
    },
    |n, r| {
        n.plain("The ");
        n.marked(r.pick(FAMILY), Class::Name);
        n.plain(" family met with palliative care. ");
    },
    |n, r| {
        n.marked(&full(r), Class::Name);
        n.plain("\nDischarge Summary\n");
    },
    |n, r| {
        n.plain("pt's neighbor ");
        n.marked(&r.pick(GIVEN).to_lowercase(), Class::Name);
        n.plain(" found her on the floor. ");
    },
    |n, r| {
        n.plain("Stays with cousin on ");
        n.marked(&format!("{} {}", r.pick(STREETS), r.pick(SUFFIXES)), Class::Geographic);
        n.plain(" most weekends. ");
    },
    |n, r| {
        n.plain("She is from ");
        n.marked(r.pick(CITIES), Class::Geographic);
        n.plain(" originally. ");
    },
    |n, r| {
        n.plain("New cell ");
        n.marked(&format!("555-{}", r.digits(4)), Class::Phone);
        n.plain(". ");
    },
    |n, r| {
        n.plain("Fell the week of the ");
        n.marked(&format!("{}th of {}", 4 + r.below(16), r.pick(&["March", "June", "August"])), Class::Date);
        n.plain(" again. ");
    },
    |n, r| {
        n.plain("s/p CABG ");
        n.marked(&format!("{}/{}", 1 + r.below(12), 1990 + r.below(35)), Class::Date);
        n.plain(" without sequelae. ");
    },
];

/// Sentences without identifiers that look as if they had some.
const DECOYS: &[&str] = &[
    "Wolff-Parkinson-White pattern absent.",
    "Entresto held, Mounjaro continued, Lovenox 40 mg daily.",
    "Kaplan-Meier estimate discussed.",
    "St. Jude valve in good position.",
    "Kayexalate given once; Zosyn de-escalated.",
    "Glasgow Coma Scale 15, NIHSS 2.",
    "SNOMED 44054006 mapped to E11.9.",
    "NDC 0002-8215-01 dispensed, 30 tablets.",
    "Viral load 1250000 copies/mL.",
    "Ranson criteria 1 of 5 at 48 hours.",
    "Follow the Mediterranean diet.",
    "Ratio 1/2, grade 3/6 murmur, vision 20/40.",
    "Score 12/30 on MoCA in 2021.",
    "Referred to Physical Therapy and Speech Pathology.",
];

/// Returns a note of some sentences with identifiers among sentences without.
pub(crate) fn note(random: &mut Random) -> Note {
    of(random, SENTENCES, FINDINGS)
}

/// Returns a note of harder sentences, among sentences that mislead.
#[allow(dead_code, reason = "the benchmark does not need it")]
pub(crate) fn hard_note(random: &mut Random) -> Note {
    of(random, HARD, DECOYS)
}

/// Returns a note with one identifier among a page of findings, as most notes are.
#[allow(dead_code, reason = "only the benchmark needs it")]
pub(crate) fn sparse_note(random: &mut Random) -> Note {
    let mut note = Note::default();
    for _ in 0..6 {
        note.plain(random.pick(FINDINGS));
        note.plain(" ");
    }
    let sentence = usize::try_from(random.below(SENTENCES.len() as u64)).expect("small");
    SENTENCES[sentence](&mut note, random);
    for _ in 0..6 {
        note.plain(random.pick(FINDINGS));
        note.plain("\n");
    }
    note
}

fn of(random: &mut Random, sentences: &[Sentence], between: &[&str]) -> Note {
    let mut note = Note::default();
    for _ in 0..6 {
        for _ in 0..random.below(3) {
            note.plain(random.pick(between));
            note.plain(if random.below(4) == 0 { "\n" } else { " " });
        }
        if random.below(4) == 0 {
            note.plain(&format!("Started on {} for symptom control. ", random.pick(DRUGS)));
        }
        let sentence = usize::try_from(random.below(sentences.len() as u64)).expect("small");
        sentences[sentence](&mut note, random);
    }
    note
}
