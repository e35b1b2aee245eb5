//! How much is found, on notes that the recognisers were not written on. The floors catch a regression; the figures
//! themselves are printed by `cargo run --release -p phi --example quality`.

#[path = "measure.rs"]
mod measure;
#[path = "notes.rs"]
mod notes;

use phi::Class;
use phi::detect::{Budget, Detector, Features, Scratch};

/// The least recall that a class may have, of 100.
const RECALL_FLOORS: [(Class, u64); 19] = [
    (Class::Name, 90),
    (Class::Geographic, 90),
    (Class::Date, 95),
    (Class::Phone, 97),
    (Class::Fax, 97),
    (Class::Email, 99),
    (Class::Ssn, 99),
    (Class::Mrn, 97),
    (Class::HealthPlan, 97),
    (Class::Account, 97),
    (Class::Licence, 97),
    (Class::Vehicle, 95),
    (Class::Device, 95),
    (Class::Url, 99),
    (Class::Ip, 97),
    (Class::Age, 97),
    (Class::UniqueCode, 90),
    (Class::Biometric, 95),
    (Class::Photo, 95),
];
/// The least share of what is masked that is an identifier, of 100.
const PRECISION_FLOOR: u64 = 90;

/// Row 5 of the conformance matrix, the part about finding: all 18 identifiers of the Safe Harbor method are planted, and
/// what is found of each is printed.
#[test]
fn row_5_recall_and_precision_stay_above_their_floors() {
    let table = measure::run(7, 3000, notes::note);
    for (class, floor) in RECALL_FLOORS {
        let row = table.row(class);
        println!("{class}: {} of {} found, the floor is {floor} of 100", row.found, row.truth);
        assert!(row.truth >= 100, "{class}: only {} cases", row.truth);
        assert!(row.found * 100 >= floor * row.truth, "{class}: {} of {} found", row.found, row.truth);
    }
    // A patient's own number is told by its column, and text is what all of them stand in.
    let told_otherwise = [Class::PatientId, Class::FreeText];
    for class in Class::ALL.into_iter().filter(|class| !told_otherwise.contains(class)) {
        assert!(RECALL_FLOORS.iter().any(|(planted, _)| *planted == class), "{class} is not planted");
    }
    assert!(table.right * 100 >= PRECISION_FLOOR * table.given, "{} of {} right", table.right, table.given);
}

/// The same where nothing announces an identifier and the rest misleads.
#[test]
fn harder_notes_have_floors_of_their_own() {
    let table = measure::run(11, 2000, notes::hard_note);
    for (class, floor) in [(Class::Name, 60), (Class::Geographic, 40), (Class::Date, 95), (Class::Phone, 95)]
    {
        let row = table.row(class);
        assert!(row.truth >= 100, "{class}: only {} cases", row.truth);
        assert!(row.found * 100 >= floor * row.truth, "{class}: {} of {} found", row.found, row.truth);
    }
    assert!(table.right * 100 >= 70 * table.given, "{} of {} right", table.right, table.given);
}

#[test]
fn the_names_of_the_notes_are_on_no_list() {
    let detector = Detector::default();
    let mut scratch = Scratch::default();
    let mut listed = |name: &str| {
        // In lower case a pair of words is found only where both are listed.
        let text = format!("mr. {}", name.to_lowercase());
        let spans = detector.find(&text, &Features::none(), &mut Budget::new(1000), &mut scratch);
        !spans.expect("enough").is_empty()
    };
    assert!(listed("garcia") && listed("maria"), "the question can be answered with yes");
    for name in notes::GIVEN.iter().chain(notes::FAMILY).filter(|name| !name.contains(' ')) {
        assert!(!listed(name), "{name}");
    }
}
