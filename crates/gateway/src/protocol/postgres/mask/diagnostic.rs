//! Errors and notices for people who do not see everything.
//!
//! A message may quote a value: one that does not convert, a row that breaks a constraint, whatever a function raises.
//! Those of the classes that speak of the statement's own text and names, of the transaction or the connection stay;
//! of all others the text is withheld. What is never passed: detail beyond those classes, context, internal queries.
//! What is raised within a function, a trigger among them, may have any code, text and names: it has a context, and of
//! it only severity, position and a code of PostgreSQL's own pass.
//! Source: PostgreSQL documentation, "Error and Notice Message Fields" and appendix "PostgreSQL Error Codes".

use crate::protocol::postgres::codec::{self, Malformed};

/// Classes of SQLSTATE whose messages speak of names, syntax, rights, the transaction or the connection.
const NAMING: [&[u8; 2]; 16] = [
    b"00", b"03", b"08", b"0A", b"25", b"26", b"28", b"34", b"3D", b"3F", b"40", b"42", b"55", b"57", b"0B",
    b"2D",
];

/// Severities of what is meant for the resource's own log; anything may be in it.
const LOGGED: [&[u8]; 6] = [b"LOG", b"DEBUG1", b"DEBUG2", b"DEBUG3", b"DEBUG4", b"DEBUG5"];

/// Appends an `ErrorResponse` or `NoticeResponse` without anything that may be a value.
///
/// # Errors
/// When the message is malformed; nothing is appended then.
pub(crate) fn canonical(frame: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let kind = frame.first().copied().unwrap_or(b'N');
    let fields = codec::error_fields(frame)?;
    let code = fields.iter().find(|(kind, _)| *kind == b'C').map_or(&b""[..], |(_, code)| code);
    let within = fields.iter().any(|(kind, _)| *kind == b'W');
    // PL/pgSQL's RAISE takes any code.
    let raised = fields.contains(&(b'R', b"exec_stmt_raise"));
    let code: &[u8] = if raised { b"P0001" } else { code };
    let logged =
        fields.iter().any(|(kind, value)| *kind == b'V' && (LOGGED.contains(value) || value == b"DEBUG"));
    let names = !within && !raised && !logged && NAMING.iter().any(|class| code.starts_with(*class));
    codec::message(out, kind, |out| {
        for (kind, value) in &fields {
            let value: &[u8] = match kind {
                // Severity, code, position in the statement's own text, and where in PostgreSQL it was raised.
                b'C' => code,
                b'S' | b'V' | b'P' | b'F' | b'L' | b'R' => value,
                // The names of schema, table, column, type and constraint.
                b's' | b't' | b'c' | b'd' | b'n' if !within && !raised => value,
                b'M' | b'H' if names => value,
                b'M' => withheld(code),
                _ => continue,
            };
            out.push(*kind);
            codec::put_cstr(out, value);
        }
        out.push(0);
    });
    Ok(())
}

/// Returns the words in place of a message, by the class of its code.
fn withheld(code: &[u8]) -> &'static [u8] {
    match code.get(..2) {
        Some(b"01") => b"a warning (its text is withheld: it may quote a protected value)",
        Some(b"21") => b"more rows than one (the text is withheld: it may quote a protected value)",
        Some(b"22") => b"a value does not fit (the text is withheld: it may quote a protected value)",
        Some(b"23") => b"a constraint is violated (the text is withheld: it may quote a protected value)",
        Some(b"P0") => b"raised by a function (the text is withheld: it may quote a protected value)",
        Some(_) | None => b"the text is withheld: it may quote a protected value",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error(fields: &[(u8, &[u8])]) -> Vec<u8> {
        let mut frame = Vec::new();
        codec::message(&mut frame, b'E', |out| {
            for (kind, value) in fields {
                out.push(*kind);
                codec::put_cstr(out, value);
            }
            out.push(0);
        });
        frame
    }

    fn shown(frame: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        canonical(frame, &mut out).unwrap();
        out
    }

    #[test]
    fn values_are_withheld_and_names_stay() {
        let frame = error(&[
            (b'S', b"ERROR"),
            (b'C', b"23505"),
            (b'M', b"duplicate key value violates unique constraint \"patients_ssn_key\""),
            (b'D', b"Key (ssn)=(900-12-3456) already exists."),
            (b'n', b"patients_ssn_key"),
        ]);
        let text = String::from_utf8(shown(&frame)).unwrap();
        assert!(!text.contains("900-12"), "{text}");
        assert!(text.contains("23505") && text.contains("a constraint is violated"), "{text}");
        assert!(text.contains("npatients_ssn_key"), "{text}");
        let syntax = error(&[(b'S', b"ERROR"), (b'C', b"42601"), (b'M', b"syntax error"), (b'P', b"8")]);
        assert_eq!(shown(&syntax), syntax);
    }

    #[test]
    fn what_a_function_raises_is_withheld_whatever_its_code() {
        for more in
            [(b'W', b"PL/pgSQL function told() line 1 at RAISE".as_slice()), (b'R', b"exec_stmt_raise")]
        {
            let frame = error(&[
                (b'S', b"ERROR"),
                (b'C', b"91283"),
                (b'M', b"900-12-3456"),
                (b'H', b"900-12-3456"),
                (b'c', b"900-12-3456"),
                more,
            ]);
            let text = String::from_utf8(shown(&frame)).unwrap();
            assert!(!text.contains("900-12"), "{text}");
            assert_eq!(text.contains("P0001"), more.0 == b'R', "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_of_a_text_gets_through_but_by_an_allowed_field(kind in any::<u8>(), code in "[0-9A-Z]{5}") {
            const CANARY: &[u8] = b"canary900123456";
            prop_assume!(kind != 0 && !b"SVCPFLRstcdn".contains(&kind));
            let out = shown(&error(&[(b'S', b"ERROR"), (b'C', code.as_bytes()), (kind, CANARY)]));
            let there = out.windows(CANARY.len()).any(|window| window == CANARY);
            let names = NAMING.iter().any(|class| code.as_bytes().starts_with(*class));
            prop_assert_eq!(there, names && matches!(kind, b'M' | b'H'));
        }

        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut out = Vec::new();
            if canonical(&bytes, &mut out).is_err() {
                prop_assert!(out.is_empty());
            }
        }
    }
}
