//! The pages of sealed codes, by the command line alone.

use crate::place::Place;

#[test]
fn codes_are_made_only_where_their_pages_can_be_written() {
    let place = Place::ready();
    let new = ["break-glass", "codes", "new", "--count", "2", "--pages"];
    let nowhere = place.run(&[&new[..], &["nowhere"]].concat()).exits(2);
    assert!(nowhere.stderr.contains("no codes were made"), "{nowhere:?}");
    place.run(&["break-glass", "codes", "list"]).exits(1);
    std::fs::create_dir(place.path("pages")).expect("made");
    place.run(&[&new[..], &["pages"]].concat()).exits(0);
    let sheet = || place.run(&["break-glass", "codes", "list", "--json"]).exits(0).json()["sheet"].clone();
    let before = sheet();
    let files: Vec<_> = std::fs::read_dir(place.path("pages")).expect("a folder").flatten().collect();
    assert_eq!(files.len(), 2, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(file.path()).expect("text");
        assert!(text.starts_with("Wardline: sealed codes") && !text.ends_with(' '), "{text}");
    }
    place.run(&[&new[..], &["nowhere"]].concat()).exits(2);
    assert_eq!(sheet(), before, "those before still work");
}
