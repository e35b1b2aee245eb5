//! The first three digits of a ZIP code, where enough people share them.
//!
//! 164.514(b)(2)(i)(B) lets the three digits stand only where more than 20,000 people live. The list is the union of
//! those published for the censuses of 2000 and 2010, so a prefix that was ever too small stays `000`. Prefixes that the
//! postal service does not use, and those of the armed forces, are not known to be large, and are `000` too.

/// The version of the list of restricted and unused prefixes.
pub const ZIP3_LIST_VERSION: &str = "2000+2010/1";

/// 20,000 people or fewer in the census of 2000 or of 2010.
const RESTRICTED: [u16; 23] = [
    36, 59, 63, 102, 202, 203, 204, 205, 369, 556, 692, 753, 772, 790, 821, 823, 830, 831, 878, 879, 884,
    890, 893,
];

/// Prefixes that are not assigned, as first and last.
#[rustfmt::skip]
const UNUSED: [(u16, u16); 50] = [
    (0, 4), (90, 99), (192, 192), (213, 213), (269, 269), (340, 340), (343, 343), (345, 345), (348, 348),
    (353, 353), (375, 375), (419, 419), (428, 429), (517, 519), (529, 529), (533, 533), (536, 536), (552, 552),
    (555, 555), (568, 569), (578, 579), (589, 589), (621, 621), (632, 632), (642, 643), (649, 649), (659, 659),
    (663, 663), (682, 682), (694, 699), (702, 702), (709, 709), (715, 715), (732, 733), (742, 742), (771, 771),
    (817, 819), (839, 839), (842, 842), (848, 849), (851, 851), (854, 854), (858, 858), (861, 862), (866, 869),
    (876, 876), (885, 889), (892, 892), (896, 896), (899, 899),
];

/// More that are not assigned or not a place.
const UNUSED_WEST: [(u16, u16); 4] = [(901, 901), (909, 909), (929, 929), (962, 966)];

/// Returns the three digits to show for a ZIP code of five digits, with or without `-` and four more (or a blank, or
/// nothing between), and `None` where the text is no ZIP code.
pub(crate) fn zip3(text: &[u8]) -> Option<[u8; 3]> {
    let digits = text.first_chunk::<5>()?;
    let rest = match text.get(5..).unwrap_or_default() {
        [b'-' | b' ', rest @ ..] => rest,
        rest => rest,
    };
    let plausible = digits.iter().chain(rest).all(u8::is_ascii_digit) && matches!(rest.len(), 0 | 4);
    if !plausible {
        return None;
    }
    let prefix: [u8; 3] = *digits.first_chunk()?;
    let number = prefix.iter().fold(0_u16, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    let unused = UNUSED.iter().chain(&UNUSED_WEST).any(|(first, last)| (*first..=*last).contains(&number));
    if unused || RESTRICTED.contains(&number) { Some(*b"000") } else { Some(prefix) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(
            zip3(text.as_bytes()).map(|digits| digits.to_vec()),
            expected.map(|e| e.as_bytes().to_vec())
        );
    }

    #[test]
    fn three_digits_where_many_live() {
        check("02139", Some("021"));
        check("02139-4307", Some("021"));
        check("021394307", Some("021"));
        check("03601", Some("000"));
        check("82301-0001", Some("000"));
        check("00012", Some("000"));
        check("09012", Some("000"));
        check("2139", None);
        check("0213a", None);
        check("02139-43", None);
        check("SW1A 1AA", None);
    }
}
