//! Passwords on their way in: from the terminal without echo, or from standard input. Never from arguments.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};

use anyhow::{Context as _, bail};
use aws_lc_rs::rand;
use model::Secret;
use zeroize::Zeroizing;

use crate::cli::PasswordSource;

/// Longest line taken as a password.
const LINE_BYTES_MAX: u64 = 4096;

/// The characters of generated passwords: no two that look alike. A power of two, so that none is likelier.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Characters of a generated password: 24 × 5 = 120 bits.
const GENERATED_CHARS: usize = 24;

/// A password, and whether it has to be shown because nobody knows it yet.
#[derive(Debug)]
pub(crate) struct NewPassword {
    pub(crate) password: Secret,
    pub(crate) generated: bool,
}

/// Returns a new password as the arguments say: asked twice, read, or made.
pub(crate) fn new_password(source: &PasswordSource, whose: &str) -> anyhow::Result<NewPassword> {
    if source.generate_password {
        return Ok(NewPassword { password: generate()?, generated: true });
    }
    if source.password_stdin {
        return Ok(NewPassword { password: from_stdin()?, generated: false });
    }
    let password = ask(&format!("New password for {whose}: "))?;
    if ask("Once more: ")? != password {
        bail!("the two passwords differ; nothing was changed");
    }
    Ok(NewPassword { password, generated: false })
}

/// Returns a known password, asked once or read from standard input.
pub(crate) fn known_password(from_standard_input: bool, whose: &str) -> anyhow::Result<Secret> {
    if from_standard_input { from_stdin() } else { ask(&format!("Password for {whose}: ")) }
}

/// Returns the two halves of a sealed code: asked one after the other, or the first two lines of standard input.
pub(crate) fn two_halves() -> anyhow::Result<[Secret; 2]> {
    if io::stdin().is_terminal() {
        return Ok([ask("First half of the code: ")?, ask("Second half of the code: ")?]);
    }
    let mut text = Zeroizing::new(String::new());
    io::stdin().lock().take(LINE_BYTES_MAX).read_to_string(&mut text).context("reading the code")?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let halves = [lines.next(), lines.next()];
    let [Some(first), Some(second)] = halves else {
        bail!("standard input holds no two lines with the halves of a code")
    };
    Ok([first, second].map(|half| Secret::new(half.to_owned())))
}

/// Tells whether somebody can be asked.
pub(crate) fn is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Returns one passphrase of each custodian: asked for, when they are new twice, or read from standard input, one a line.
pub(crate) fn passphrases(count: u8, asked: bool, new: bool) -> anyhow::Result<Vec<Secret>> {
    let mut lines = io::stdin().lock().take(LINE_BYTES_MAX * u64::from(count));
    let mut passphrases = Vec::new();
    for number in 1..=count {
        if asked {
            let passphrase = ask(&format!("Passphrase of custodian {number} of {count}: "))?;
            if new && ask("Once more: ")? != passphrase {
                bail!("the two passphrases differ; nothing was written");
            }
            passphrases.push(passphrase);
            continue;
        }
        let mut text = Zeroizing::new(String::new());
        lines.read_line(&mut text).context("reading the passphrases")?;
        let passphrase = text.trim_end_matches(['\r', '\n']);
        if passphrase.is_empty() {
            bail!("standard input holds no passphrase of custodian {number}; one a line is taken");
        }
        passphrases.push(Secret::new(passphrase));
    }
    Ok(passphrases)
}

/// Returns a code of a second factor, asked for or read from the next line of standard input.
pub(crate) fn code(from_standard_input: bool) -> anyhow::Result<Secret> {
    if from_standard_input { from_stdin() } else { ask("Code of the authenticator, or a recovery code: ") }
}

fn ask(prompt: &str) -> anyhow::Result<Secret> {
    if !io::stdin().is_terminal() {
        bail!("there is no terminal to ask for the password; use --password-stdin");
    }
    let password = rpassword::prompt_password(prompt)
        .context("the terminal cannot be asked for the password; use --password-stdin")?;
    Ok(Secret::new(password))
}

/// Returns the first line of standard input.
fn from_stdin() -> anyhow::Result<Secret> {
    let mut text = Zeroizing::new(String::new());
    io::stdin().lock().take(LINE_BYTES_MAX).read_line(&mut text).context("reading the password")?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        bail!("standard input holds no password; its first line is taken");
    }
    Ok(Secret::new(password))
}

/// Returns a password made of random characters, in groups.
fn generate() -> anyhow::Result<Secret> {
    let mut random = Zeroizing::new([0_u8; GENERATED_CHARS]);
    rand::fill(random.as_mut_slice()).ok().context("the system gives no random numbers")?;
    let mut text = String::new();
    for (index, byte) in random.iter().enumerate() {
        if index > 0 && index % 6 == 0 {
            text.push('-');
        }
        let letter = ALPHABET.get(usize::from(byte & 31)).expect("five bits index 32 letters");
        text.push(char::from(*letter));
    }
    Ok(Secret::new(text))
}
