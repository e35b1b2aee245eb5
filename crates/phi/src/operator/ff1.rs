//! FF1, format-preserving encryption after NIST SP 800-38G, over AES from the allowed library.
//!
//! Only encryption: nobody here turns a masked value back. Values of up to 2^238, so that one half
//! fits a `u128`.

use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};

/// The most symbols of a text: half of them, in radix 36, stay below [`MODULUS_MAX`].
pub(crate) const SYMBOLS_MAX: usize = 46;
/// One half's largest modulus: eight more bits must fit a `u128`.
const MODULUS_MAX: u128 = 1 << 119;
const BLOCK: usize = 16;

/// An FF1 cipher with its key and tweak.
#[derive(Debug)]
pub(crate) struct Ff1 {
    aes: EncryptingKey,
    tweak: Vec<u8>,
}

impl Ff1 {
    /// Returns the cipher for an AES-256 key and a tweak.
    pub(crate) fn new(key: &[u8; 32], tweak: &[u8]) -> Ff1 {
        let key = UnboundCipherKey::new(&AES_256, key).expect("32 bytes are an AES-256 key");
        let aes = EncryptingKey::ecb(key).expect("AES-256 has this mode");
        Ff1 { aes, tweak: tweak.to_vec() }
    }

    /// Encrypts symbols, each below `radix`, in place. `None`, and nothing changed, when there are too few or too many.
    pub(crate) fn encrypt(&self, radix: u32, symbols: &mut [u8]) -> Option<()> {
        let length = symbols.len();
        if length < 2 || power(radix, length.div_ceil(2))? > MODULUS_MAX {
            return None;
        }
        let (left, right) = (length / 2, length - length / 2);
        let (even, odd) = (power(radix, left)?, power(radix, right)?);
        let (mut a, mut b) = (number(radix, symbols.get(..left)?), number(radix, symbols.get(left..)?));
        let fixed = self.fixed_block(radix, length)?;
        let width = bytes_of(odd);
        for round in 0..10_u8 {
            let modulus = if round % 2 == 0 { even } else { odd };
            let y = self.round(&fixed, round, b, width, modulus)?;
            (a, b) = (b, (a + y) % modulus);
        }
        write_number(radix, a, symbols.get_mut(..left)?);
        write_number(radix, b, symbols.get_mut(left..)?);
        Some(())
    }

    /// Returns step 5's P, already encrypted: it is the first block of every round.
    fn fixed_block(&self, radix: u32, length: usize) -> Option<[u8; BLOCK]> {
        let mut block = [0; BLOCK];
        let parts = block.split_at_mut(8);
        parts.0.copy_from_slice(&[1, 2, 1, 0, 0, 0, 10, u8::try_from(length / 2).ok()?]);
        parts.0.get_mut(3..6)?.copy_from_slice(radix.to_be_bytes().get(1..)?);
        let tail = parts.1.split_at_mut(4);
        tail.0.copy_from_slice(&u32::try_from(length).ok()?.to_be_bytes());
        tail.1.copy_from_slice(&u32::try_from(self.tweak.len()).ok()?.to_be_bytes());
        self.block(&mut block)?;
        Some(block)
    }

    /// Steps 6.i to 6.iv: the keyed number of one round, already reduced.
    fn round(&self, fixed: &[u8; BLOCK], round: u8, half: u128, width: usize, modulus: u128) -> Option<u128> {
        let mut chain = *fixed;
        let mut filled = 0;
        let half = half.to_be_bytes();
        let zeros = (BLOCK - (self.tweak.len() + 1 + width) % BLOCK) % BLOCK;
        let tail = half.get(half.len() - width..)?;
        let message = self.tweak.iter().copied().chain(std::iter::repeat_n(0, zeros));
        for byte in message.chain([round]).chain(tail.iter().copied()) {
            *chain.get_mut(filled)? ^= byte;
            filled += 1;
            if filled == BLOCK {
                self.block(&mut chain)?;
                filled = 0;
            }
        }
        self.reduce(&chain, 4 * width.div_ceil(4) + 4, modulus)
    }

    /// The first `wanted` bytes of R, E(R ^ 1), E(R ^ 2), ... as a number modulo `modulus`.
    fn reduce(&self, first: &[u8; BLOCK], wanted: usize, modulus: u128) -> Option<u128> {
        let mut sum = 0_u128;
        for (number, start) in (0..wanted).step_by(BLOCK).enumerate() {
            let mut block = *first;
            if number > 0 {
                let counter = u128::from_be_bytes(block) ^ u128::try_from(number).ok()?;
                block = counter.to_be_bytes();
                self.block(&mut block)?;
            }
            sum = append(sum, block.get(..BLOCK.min(wanted - start))?, modulus);
        }
        Some(sum)
    }

    fn block(&self, block: &mut [u8; BLOCK]) -> Option<()> {
        self.aes.less_safe_encrypt(block, EncryptionContext::None).ok().map(drop)
    }
}

/// The number with bytes appended, modulo `modulus`.
fn append(number: u128, bytes: &[u8], modulus: u128) -> u128 {
    // Nearly all moduli are small, and dividing 128 bits costs several times as much.
    if let (Ok(number), Ok(modulus @ 1..=0xff_ffff_ffff_ffff)) =
        (u64::try_from(number), u64::try_from(modulus))
    {
        let sum = bytes.iter().fold(number, |sum, byte| ((sum << 8) | u64::from(*byte)) % modulus);
        return u128::from(sum);
    }
    // INVARIANT: moduli are below 2^120, so eight more bits fit.
    bytes.iter().fold(number, |sum, byte| ((sum << 8) | u128::from(*byte)) % modulus)
}

fn power(radix: u32, exponent: usize) -> Option<u128> {
    u128::from(radix).checked_pow(u32::try_from(exponent).ok()?)
}

/// The bytes that hold every number below `modulus`.
fn bytes_of(modulus: u128) -> usize {
    let bits = u128::BITS - (modulus - 1).leading_zeros();
    usize::try_from(bits.div_ceil(8)).expect("at most 16")
}

fn number(radix: u32, symbols: &[u8]) -> u128 {
    symbols.iter().fold(0, |sum, symbol| sum * u128::from(radix) + u128::from(*symbol))
}

fn write_number(radix: u32, mut number: u128, symbols: &mut [u8]) {
    for symbol in symbols.iter_mut().rev() {
        *symbol = u8::try_from(number % u128::from(radix)).expect("a radix below 256");
        number /= u128::from(radix);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [
        0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6, 0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c, 0xef,
        0x43, 0x59, 0xd8, 0xd5, 0x80, 0xaa, 0x4f, 0x7f, 0x03, 0x6d, 0x6f, 0x04, 0xfc, 0x6a, 0x94,
    ];

    #[track_caller]
    fn check(radix: u32, tweak: &[u8], plain: &str, expected: &str) {
        let mut symbols: Vec<u8> = plain
            .chars()
            .map(|c| u8::try_from(c.to_digit(radix).expect("a symbol")).expect("small"))
            .collect();
        Ff1::new(&KEY, tweak).encrypt(radix, &mut symbols).expect("in range");
        let text: String =
            symbols.iter().map(|s| char::from_digit(u32::from(*s), radix).expect("a symbol")).collect();
        assert_eq!(text, expected);
    }

    /// The samples for AES-256 that NIST publishes with SP 800-38G (FF1 samples 7, 8 and 9).
    #[test]
    fn published_samples() {
        check(10, b"", "0123456789", "6657667009");
        check(10, &[0x39, 0x38, 0x37, 0x36, 0x35, 0x34, 0x33, 0x32, 0x31, 0x30], "0123456789", "1001623463");
        let tweak = [0x37, 0x37, 0x37, 0x37, 0x70, 0x71, 0x72, 0x73, 0x37, 0x37, 0x37];
        check(36, &tweak, "0123456789abcdefghi", "xs8a0azh2avyalyzuwd");
    }

    #[test]
    fn it_permutes_and_refuses_what_does_not_fit() {
        let cipher = Ff1::new(&KEY, b"ssn");
        let mut seen = std::collections::BTreeSet::new();
        for value in 0..1000_u128 {
            let mut symbols = [0; 3];
            write_number(10, value, &mut symbols);
            cipher.encrypt(10, &mut symbols).expect("in range");
            seen.insert(symbols);
        }
        assert_eq!(seen.len(), 1000, "no two values meet");
        let mut longest = [35; SYMBOLS_MAX];
        assert!(cipher.encrypt(36, &mut longest).is_some());
        assert!(longest.iter().all(|symbol| *symbol < 36));
        assert!(cipher.encrypt(36, &mut [0; SYMBOLS_MAX + 1]).is_none());
        assert!(cipher.encrypt(2, &mut [1; 63]).is_some());
        assert!(cipher.encrypt(36, &mut [0]).is_none());
    }
}
