//! Sealed codes: the way to emergency access for the day when nobody can sign in as usual.
//!
//! A code is in two halves, for two custodians. A file in the data folder holds digests only; neither the registry nor an
//! identity provider is asked. A code works once: that it is used is durable before it is of use. Wrong ones lock.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::rand;
use model::Micros;
use serde::{Deserialize, Serialize};

use crate::config::sha256;
use crate::output::hex;

/// The most codes at once: what two envelopes hold.
pub(crate) const CODES_MAX: usize = 100;
/// Wrong codes within the window, after which all codes are locked.
const FAILURES_MAX: u32 = 5;
const FAILURE_WINDOW_US: u64 = 15 * 60 * 1_000_000;
const LOCK_US: u64 = 15 * 60 * 1_000_000;
/// Random bytes of a half.
const HALF_BYTES: usize = 10;
const SALT_BYTES: usize = 16;
/// Longest file that is taken for one of codes.
const FILE_BYTES_MAX: u64 = 1 << 20;
const VERSION: u32 = 1;
/// Digits of base 32 that are not taken for each other (Crockford).
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const DIGITS_OF_GROUP: usize = 4;

/// What the file holds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sheet {
    version: u32,
    /// Tells sheets apart: part of the names of their codes.
    sheet: String,
    made_us: u64,
    made_by: String,
    codes: Vec<Code>,
    #[serde(default)]
    failures: Vec<u64>,
    #[serde(default)]
    locked_until_us: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Code {
    salt: String,
    digest: String,
    #[serde(default)]
    used_us: Option<u64>,
    #[serde(default)]
    used_by: Option<String>,
}

/// A fresh code, in clear: the only time.
#[derive(Debug)]
pub(crate) struct Fresh {
    pub(crate) name: String,
    pub(crate) halves: [String; 2],
}

/// What is left of a sheet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) sheet: String,
    pub(crate) made: Micros,
    pub(crate) made_by: String,
    /// Each code's name, and when and by whom it was used.
    pub(crate) codes: Vec<(String, Option<(Micros, String)>)>,
    pub(crate) locked_until: Option<Micros>,
}

/// Why a code is not taken.
#[derive(Debug)]
pub(crate) enum NotTaken {
    /// No codes were made.
    NoSheet,
    /// Too many were wrong.
    Locked {
        /// Whether this attempt did it.
        now: bool,
    },
    /// It is none, or was used before: one and the same answer.
    Wrong,
    /// The file cannot be read or written.
    File(io::Error),
}

impl fmt::Display for NotTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotTaken::NoSheet => f.write_str("there are no sealed codes"),
            NotTaken::Locked { .. } => f.write_str("sealed codes are locked after wrong ones"),
            NotTaken::Wrong => f.write_str("that is no sealed code, or it was used before"),
            NotTaken::File(error) => write!(f, "the file of sealed codes: {error}"),
        }
    }
}

impl From<io::Error> for NotTaken {
    fn from(error: io::Error) -> NotTaken {
        NotTaken::File(error)
    }
}

/// Makes codes; those of an earlier sheet are of no use any more.
pub(crate) fn make(path: &Path, count: usize, by: &str, now: Micros) -> io::Result<Vec<Fresh>> {
    let sheet = hex(&random::<2>()?).to_ascii_uppercase();
    let mut codes = Vec::with_capacity(count);
    let mut fresh = Vec::with_capacity(count);
    for number in 1..=count.min(CODES_MAX) {
        let halves = [random::<HALF_BYTES>()?, random::<HALF_BYTES>()?];
        let salt = random::<SALT_BYTES>()?;
        codes.push(Code {
            salt: hex(&salt),
            digest: hex(&digest(&hex(&salt), &halves)),
            used_us: None,
            used_by: None,
        });
        fresh.push(Fresh { name: format!("{sheet}-{number}"), halves: halves.map(|half| shown(&half)) });
    }
    let sheet = Sheet {
        version: VERSION,
        sheet,
        made_us: now.0,
        made_by: by.to_owned(),
        codes,
        failures: Vec::new(),
        locked_until_us: None,
    };
    write(path, &sheet)?;
    Ok(fresh)
}

/// Finds the code that the halves are, in either order; it is not used by that. A wrong one counts.
pub(crate) fn find(path: &Path, halves: [&str; 2], now: Micros) -> Result<String, NotTaken> {
    let mut sheet = read(path)?.ok_or(NotTaken::NoSheet)?;
    if sheet.locked_until_us.is_some_and(|until| now.0 < until) {
        return Err(NotTaken::Locked { now: false });
    }
    let halves = halves.map(bytes);
    let orders = match halves {
        [Some(one), Some(other)] => vec![[one, other], [other, one]],
        [_, _] => Vec::new(),
    };
    let found = sheet.codes.iter().position(|code| {
        let fits = |halves| {
            verify_slices_are_equal(hex(&digest(&code.salt, halves)).as_bytes(), code.digest.as_bytes())
        };
        code.used_us.is_none() && orders.iter().any(|halves| fits(halves).is_ok())
    });
    if let Some(place) = found {
        return Ok(format!("{}-{}", sheet.sheet, place + 1));
    }
    sheet.failures.retain(|at| now.0.saturating_sub(*at) < FAILURE_WINDOW_US && *at <= now.0);
    sheet.failures.push(now.0);
    let locks = sheet.failures.len() >= usize::try_from(FAILURES_MAX).unwrap_or(usize::MAX);
    if locks {
        sheet.failures.clear();
        sheet.locked_until_us = Some(now.0.saturating_add(LOCK_US));
    }
    write(path, &sheet)?;
    Err(if locks { NotTaken::Locked { now: true } } else { NotTaken::Wrong })
}

/// Uses a code that was found. It is durable when this returns.
pub(crate) fn spend(path: &Path, name: &str, by: &str, now: Micros) -> Result<(), NotTaken> {
    let mut sheet = read(path)?.ok_or(NotTaken::NoSheet)?;
    let place =
        name.strip_prefix(&format!("{}-", sheet.sheet)).and_then(|number| number.parse::<usize>().ok());
    let code = place.and_then(|number| sheet.codes.get_mut(number.checked_sub(1)?));
    let code = code.filter(|code| code.used_us.is_none()).ok_or(NotTaken::Wrong)?;
    (code.used_us, code.used_by) = (Some(now.0), Some(by.to_owned()));
    sheet.failures.clear();
    Ok(write(path, &sheet)?)
}

/// Returns what is left of the sheet; `None` where none was made.
pub(crate) fn left(path: &Path) -> io::Result<Option<Left>> {
    let Some(sheet) = read(path)? else { return Ok(None) };
    let used = |code: Code| code.used_us.map(|at| (Micros(at), code.used_by.unwrap_or_default()));
    let codes = sheet.codes.into_iter().enumerate();
    Ok(Some(Left {
        codes: codes.map(|(place, code)| (format!("{}-{}", sheet.sheet, place + 1), used(code))).collect(),
        sheet: sheet.sheet,
        made: Micros(sheet.made_us),
        made_by: sheet.made_by,
        locked_until: sheet.locked_until_us.map(Micros),
    }))
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| io::Error::other("the system has no random bytes"))?;
    Ok(bytes)
}

fn digest(salt: &str, halves: &[[u8; HALF_BYTES]; 2]) -> [u8; 32] {
    sha256(
        format!("wardline/break-glass/code/v1\n{salt}\n{}\n{}", hex(&halves[0]), hex(&halves[1])).as_bytes(),
    )
}

/// Writes a half in groups of digits.
fn shown(half: &[u8; HALF_BYTES]) -> String {
    let mut text = String::new();
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in half {
        (bits, held) = (bits << 8 | u32::from(*byte), held + 8);
        while held >= 5 {
            held -= 5;
            let digit = usize::try_from(bits >> held & 31).unwrap_or(0);
            if text.len() % (DIGITS_OF_GROUP + 1) == DIGITS_OF_GROUP {
                text.push('-');
            }
            text.push(char::from(DIGITS.get(digit).copied().unwrap_or(b'0')));
        }
    }
    text
}

/// Reads a half back: without regard to case, blanks and hyphens, and with letters that look like digits.
fn bytes(text: &str) -> Option<[u8; HALF_BYTES]> {
    let mut half = Vec::with_capacity(HALF_BYTES);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for c in text.chars().filter(|c| !c.is_whitespace() && *c != '-') {
        let c = match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            c => c,
        };
        let digit = DIGITS.iter().position(|digit| char::from(*digit) == c)?;
        (bits, held) = (bits << 5 & 0xffff | u32::try_from(digit).ok()?, held + 5);
        if held >= 8 {
            held -= 8;
            half.push((bits >> held & 0xff).to_le_bytes()[0]);
        }
    }
    half.try_into().ok().filter(|_| held == 0)
}

fn read(path: &Path) -> io::Result<Option<Sheet>> {
    let length = match fs::metadata(path) {
        Ok(found) => found.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if length > FILE_BYTES_MAX {
        return Err(io::Error::other("it is too long"));
    }
    let sheet: Sheet = serde_json::from_slice(&fs::read(path)?)?;
    if sheet.version != VERSION {
        return Err(io::Error::other("it is of a version that is not known here"));
    }
    Ok(Some(sheet))
}

fn write(path: &Path, sheet: &Sheet) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(&serde_json::to_vec_pretty(sheet)?)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Micros = Micros(1_795_426_200_000_000);

    fn later(us: u64) -> Micros {
        Micros(NOW.0 + us)
    }

    #[test]
    fn halves_read_as_they_are_written() {
        for half in [[0; HALF_BYTES], [0xff; HALF_BYTES], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]] {
            let text = shown(&half);
            assert_eq!(text.len(), 19, "{text}");
            assert_eq!(bytes(&text), Some(half), "{text}");
            let sloppy = text.to_ascii_lowercase().replace('-', " ").replace('0', "o").replace('1', "l");
            assert_eq!(bytes(&sloppy), Some(half), "{sloppy}");
        }
        for wrong in ["", "0000", "0000-0000-0000-000", "0000-0000-0000-00000", "0000-0000-0000-000U", "é"] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_code_works_once_with_both_halves_and_no_half_is_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("codes.json");
        assert!(matches!(find(&path, ["A", "B"], NOW), Err(NotTaken::NoSheet)));
        let fresh = make(&path, 3, "ann", NOW).unwrap();
        let file = fs::read_to_string(&path).unwrap();
        for code in &fresh {
            for half in &code.halves {
                assert!(!file.contains(half) && !file.contains(&hex(&bytes(half).unwrap())));
            }
        }
        let [a, b] = [&fresh[1].halves[0], &fresh[1].halves[1]];
        assert_eq!(find(&path, [b, a], NOW).unwrap(), fresh[1].name);
        assert_eq!(find(&path, [a, b], NOW).unwrap(), fresh[1].name, "finding is not using");
        assert!(matches!(find(&path, [a, a], NOW), Err(NotTaken::Wrong)));
        assert!(matches!(find(&path, [a, &fresh[2].halves[1]], NOW), Err(NotTaken::Wrong)));
        spend(&path, &fresh[1].name, "ben", later(1)).unwrap();
        assert!(matches!(spend(&path, &fresh[1].name, "ben", later(2)), Err(NotTaken::Wrong)));
        assert!(matches!(find(&path, [a, b], later(2)), Err(NotTaken::Wrong)));
        let left = left(&path).unwrap().unwrap();
        assert_eq!(left.codes[1], (fresh[1].name.clone(), Some((later(1), "ben".to_owned()))));
        assert!(left.codes[0].1.is_none() && left.codes[2].1.is_none());
        // A new sheet ends the old one.
        let other = make(&path, 1, "ann", NOW).unwrap();
        assert!(find(&path, [&fresh[0].halves[0], &fresh[0].halves[1]], NOW).is_err());
        assert!(find(&path, [&other[0].halves[0], &other[0].halves[1]], NOW).is_ok());
    }

    #[test]
    fn wrong_codes_lock_all_for_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("codes.json");
        let fresh = make(&path, 1, "ann", NOW).unwrap();
        let right = [fresh[0].halves[0].as_str(), fresh[0].halves[1].as_str()];
        for attempt in 1..FAILURES_MAX {
            assert!(matches!(find(&path, ["no", "code"], NOW), Err(NotTaken::Wrong)), "{attempt}");
        }
        assert!(matches!(find(&path, ["no", "code"], NOW), Err(NotTaken::Locked { now: true })));
        assert!(matches!(find(&path, right, later(LOCK_US - 1)), Err(NotTaken::Locked { now: false })));
        assert!(find(&path, right, later(LOCK_US)).is_ok());
        // Failures that lie apart do not add up.
        for attempt in 0..2 * u64::from(FAILURES_MAX) {
            let at = later(LOCK_US + attempt * FAILURE_WINDOW_US);
            assert!(matches!(find(&path, ["no", "code"], at), Err(NotTaken::Wrong)), "{attempt}");
        }
    }
}
