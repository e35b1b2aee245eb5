//! The check digits and number rules of identifiers. Digits come in as values 0 to 9.

/// Luhn's sum over digits, the check digit last: payment cards.
pub(super) fn luhn(digits: &[u8]) -> bool {
    luhn_sum(digits).is_multiple_of(10) && digits.iter().any(|digit| *digit > 0)
}

fn luhn_sum(digits: &[u8]) -> u32 {
    let doubled = |(place, digit): (usize, &u8)| {
        let value = u32::from(*digit) << (place % 2);
        value / 10 + value % 10
    };
    digits.iter().rev().enumerate().map(doubled).sum()
}

/// A National Provider Identifier: Luhn with the prefix 80840, which adds 24.
pub(super) fn npi(digits: &[u8]) -> bool {
    digits.len() == 10 && matches!(digits.first(), Some(1 | 2)) && (luhn_sum(digits) + 24).is_multiple_of(10)
}

/// A bank routing number: weights 3, 7, 1, and a prefix that was assigned.
pub(super) fn aba(digits: &[u8]) -> bool {
    let [a, b, ..] = digits else { return false };
    let prefix = a * 10 + b;
    let weights = [3_u32, 7, 1].into_iter().cycle();
    let sum: u32 = digits.iter().zip(weights).map(|(digit, weight)| u32::from(*digit) * weight).sum();
    digits.len() == 9 && matches!(prefix, 1..=12 | 21..=32 | 61..=72 | 80) && sum.is_multiple_of(10)
}

/// A Social Security number by area, group and serial.
pub(super) fn ssn(digits: &[u8]) -> bool {
    let [a, b, c, d, e, f, g, h, i] = digits else { return false };
    let area = u32::from(*a) * 100 + u32::from(*b) * 10 + u32::from(*c);
    !matches!(area, 0 | 666 | 900..) && (*d, *e) != (0, 0) && (*f, *g, *h, *i) != (0, 0, 0, 0)
}

/// A North American number of ten digits: neither area nor exchange begins with 0 or 1.
pub(super) fn nanp(digits: &[u8]) -> bool {
    let [area, _, _, exchange, _, _, _, _, _, _] = digits else { return false };
    (2..=9).contains(area) && (2..=9).contains(exchange)
}

/// A DEA number: two letters (the second may be 9), and seven digits of which the last checks.
pub(super) fn dea(text: &[u8]) -> bool {
    let [first, second, digits @ ..] = text else { return false };
    let [a, b, c, d, e, f, check] = digits else { return false };
    let digit = |byte: &u8| u32::from(byte.wrapping_sub(b'0'));
    let sum = digit(a) + digit(c) + digit(e) + 2 * (digit(b) + digit(d) + digit(f));
    first.is_ascii_alphabetic()
        && (second.is_ascii_alphabetic() || *second == b'9')
        && digits.iter().all(u8::is_ascii_digit)
        && sum % 10 == digit(check)
}

/// A Medicare Beneficiary Identifier without its dashes: eleven characters, letters without S, L, O, I, B and Z.
pub(super) fn mbi(text: &[u8]) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphabetic() && !b"SLOIBZ".contains(&byte.to_ascii_uppercase());
    let sound = |(place, byte): (usize, &u8)| match place {
        0 => (b'1'..=b'9').contains(byte),
        1 | 4 | 7 | 8 => letter(*byte),
        2 | 5 => letter(*byte) || byte.is_ascii_digit(),
        _ => byte.is_ascii_digit(),
    };
    text.len() == 11 && text.iter().enumerate().all(sound)
}

/// Whether a text could be a vehicle identification number, and whether its check digit is right.
pub(super) fn vin(text: &[u8]) -> (bool, bool) {
    const WEIGHTS: [u32; 17] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];
    let value = |byte: u8| match byte.to_ascii_uppercase() {
        digit @ b'0'..=b'9' => Some(u32::from(digit - b'0')),
        letter @ b'A'..=b'H' => Some(u32::from(letter - b'A') + 1),
        letter @ (b'J'..=b'N' | b'P' | b'R') => Some(u32::from(letter - b'J') + 1),
        letter @ b'S'..=b'Z' if letter != b'Q' => Some(u32::from(letter - b'S') + 2),
        _ => None,
    };
    let digits = text.iter().filter(|byte| byte.is_ascii_digit()).count();
    if text.len() != 17 || digits < 4 || digits == 17 {
        return (false, false);
    }
    let mut sum = 0;
    for (byte, weight) in text.iter().zip(WEIGHTS) {
        let Some(value) = value(*byte) else { return (false, false) };
        sum += value * weight;
    }
    let check = match sum % 11 {
        10 => b'X',
        digit => b'0' + u8::try_from(digit).expect("below ten"),
    };
    (true, text.get(8).is_some_and(|byte| byte.to_ascii_uppercase() == check))
}

/// A GTIN of 14 digits, as in the device identifier of a UDI: weights 3 and 1.
pub(super) fn gtin(digits: &[u8]) -> bool {
    let sum: u32 = digits.iter().zip([3_u32, 1].into_iter().cycle()).map(|(d, w)| u32::from(*d) * w).sum();
    digits.len() == 14 && sum.is_multiple_of(10) && digits.iter().any(|digit| *digit > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digits(text: &str) -> Vec<u8> {
        text.bytes().map(|byte| byte - b'0').collect()
    }

    #[test]
    fn numbers_with_right_and_wrong_check_digits() {
        assert!(luhn(&digits("4111111111111111")) && !luhn(&digits("4111111111111112")));
        assert!(npi(&digits("1234567893")) && !npi(&digits("1234567890")) && !npi(&digits("3234567893")));
        assert!(aba(&digits("021000021")) && !aba(&digits("021000022")) && !aba(&digits("991000021")));
        assert!(dea(b"AB1234563") && !dea(b"AB1234564") && !dea(b"1B1234563") && dea(b"F91234563"));
        assert!(gtin(&digits("00643169001763")) && !gtin(&digits("00643169001764")));
        assert_eq!(vin(b"1HGCM82633A004352"), (true, true));
        assert_eq!(vin(b"1HGCM82643A004352"), (true, false));
        assert_eq!(vin(b"1HGCM82633A00435O"), (false, false));
        assert_eq!(vin(b"11111111111111111"), (false, false));
    }

    #[test]
    fn number_rules() {
        assert!(ssn(&digits("123456789")));
        for wrong in ["000456789", "666456789", "900456789", "123006789", "123450000", "12345678"] {
            assert!(!ssn(&digits(wrong)), "{wrong}");
        }
        assert!(nanp(&digits("6175550123")) && !nanp(&digits("1175550123")) && !nanp(&digits("6171550123")));
        assert!(mbi(b"1EG4TE5MK73") && !mbi(b"1SG4TE5MK73") && !mbi(b"0EG4TE5MK73") && !mbi(b"1EG4TE5MK7"));
    }
}
