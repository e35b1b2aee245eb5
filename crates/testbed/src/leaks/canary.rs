//! The values that must not get out, and how they are looked for: whole, and in every form that gives them back.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Shorter forms would be found by chance.
const SHORTEST: usize = 5;
/// Forms are found by their first bytes.
const KEY: usize = 4;

/// What is looked for.
#[derive(Debug, Default)]
pub struct Canaries {
    forms: HashMap<[u8; KEY], Vec<(Vec<u8>, String)>>,
}

impl Canaries {
    /// Adds a value in all its forms.
    pub fn add(&mut self, value: &str) {
        let digits: String = value.chars().filter(char::is_ascii_digit).collect();
        for text in [value, &digits] {
            let back: String = text.chars().rev().collect();
            let [front, rest] = halves(text);
            for form in [text, &back, front, rest] {
                self.form(form.as_bytes(), value);
            }
            if text.len() > SHORTEST {
                self.form(hex(text).as_bytes(), value);
                self.form(hex(&back).as_bytes(), value);
                self.base64(text, value);
            }
        }
        self.numbers(&digits, value);
    }

    /// Adds a date: its day and month, and how PostgreSQL writes it in binary.
    pub fn add_date(&mut self, year: i32, month: u32, day: u32) {
        let value = format!("{year}-{month:02}-{day:02}");
        for form in [
            value.clone(),
            format!("{year}{month:02}{day:02}"),
            format!("{day:02}.{month:02}."),
            format!("-{month:02}-{day:02}"),
            format!("{month:02}/{day:02}"),
            format!("{day:02}/{month:02}"),
        ] {
            self.form(form.as_bytes(), &value);
        }
        self.form(&days_since_2000(year, month, day).to_be_bytes(), &value);
    }

    fn numbers(&mut self, digits: &str, value: &str) {
        if digits.len() < SHORTEST {
            return;
        }
        if let Ok(number) = digits.parse::<i64>() {
            self.form(&number.to_be_bytes(), value);
            self.form(&(-number).to_be_bytes(), value);
            if let Ok(short) = i32::try_from(number) {
                self.form(&short.to_be_bytes(), value);
            }
            // A numeric: its digits by four.
            let groups = [number / 100_000_000, number / 10_000 % 10_000, number % 10_000];
            let groups = groups.into_iter().filter_map(|group| u16::try_from(group).ok());
            self.form(&groups.flat_map(u16::to_be_bytes).collect::<Vec<u8>>(), value);
        }
        if let Ok(number) = digits.parse::<f64>() {
            self.form(&number.to_be_bytes(), value);
        }
    }

    /// What stands in the base64 of any text that holds this one.
    fn base64(&mut self, text: &str, value: &str) {
        for shift in 0..3 {
            let mut shifted = vec![b' '; shift];
            shifted.extend_from_slice(text.as_bytes());
            shifted.truncate(shifted.len() / 3 * 3);
            let whole = STANDARD.encode(&shifted);
            let inner = whole.get(if shift == 0 { 0 } else { 4 }..).unwrap_or_default();
            if inner.len() > SHORTEST {
                self.form(inner.as_bytes(), value);
            }
        }
    }

    fn form(&mut self, form: &[u8], value: &str) {
        let binary = form.iter().any(|byte| !byte.is_ascii() || *byte < b' ');
        if form.len() < if binary { KEY } else { SHORTEST } {
            return;
        }
        // Text is looked for whatever its case.
        let form = if binary { form.to_vec() } else { form.to_ascii_lowercase() };
        if let Some(key) = form.first_chunk() {
            self.forms.entry(*key).or_default().push((form, value.to_owned()));
        }
    }

    /// Returns what of the values stands in these bytes.
    pub fn found(&self, bytes: &[u8]) -> Option<String> {
        self.found_only(bytes, &[])
    }

    /// The same, less what stands in other bytes too, which cannot know the values: a number may look like one by chance.
    pub fn found_only(&self, bytes: &[u8], innocent: &[u8]) -> Option<String> {
        let lower = bytes.to_ascii_lowercase();
        let innocent = innocent.to_ascii_lowercase();
        let stands_there = |form: &[u8]| innocent.windows(form.len()).any(|at| at.eq_ignore_ascii_case(form));
        [bytes, &lower].into_iter().find_map(|bytes| {
            (0..bytes.len()).find_map(|at| {
                let rest = bytes.get(at..)?;
                let forms = self.forms.get(rest.first_chunk::<KEY>()?)?;
                let mut forms = forms.iter().filter(|(form, _)| rest.starts_with(form));
                let (form, value) = forms.find(|(form, _)| !stands_there(form))?;
                Some(format!("`{value}` as `{}`", form.escape_ascii()))
            })
        })
    }
}

fn halves(text: &str) -> [&str; 2] {
    let middle = (text.len() / 2..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.split_at_checked(middle).map_or([text, ""], |(front, rest)| [front, rest])
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// The algorithm of Howard Hinnant, "chrono-compatible low-level date algorithms".
fn days_since_2000(year: i32, month: u32, day: u32) -> i32 {
    let (month, day) = (month.cast_signed(), day.cast_signed());
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468 - 10_957
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The detector sees every form that the battery is about.
    #[test]
    fn every_form_is_found() {
        let mut canaries = Canaries::default();
        canaries.add("912-83-4756");
        canaries.add("Quirinella Zwetschkenbaum");
        canaries.add_date(1958, 7, 23);
        let seen = [
            &b"x912-83-4756x"[..],
            b"912834756",
            b"6574-38-219",
            b"657438219",
            b"912-8",
            b"34756",
            b"3931322D38332D34373536",
            b"OTEyLTgzLTQ3NTY=",
            b"QUIRINELLA Z",
            b"1958-07-23",
            b"x-07-23x",
            b"23.07.",
            &912_834_756_i32.to_be_bytes(),
            &912_834_756_f64.to_be_bytes(),
            &[0, 9, 0x05, 0x03, 0x12, 0x94],
            &(-15_137_i32).to_be_bytes(),
        ];
        for bytes in seen {
            assert!(canaries.found(bytes).is_some(), "{}", bytes.escape_ascii());
        }
        assert_eq!(canaries.found(b"1958-01-01 [SSN] [NAME] 912 4756"), None);
        assert_eq!(canaries.found_only(b"oid 34756", b"oid 34756"), None);
        assert!(canaries.found_only(b"oid 34756, 912-8", b"oid 34756").is_some());
        let inside = STANDARD.encode("a 912-83-4756 b");
        assert!(canaries.found(inside.as_bytes()).is_some());
    }
}
