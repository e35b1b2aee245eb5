//! AWS Signature Version 4 of one request.

use aws_lc_rs::hmac;
use trail::sha256;

use crate::date::Date;
use crate::s3::Credentials;

/// A request before it is signed. Headers are in lower case.
pub(crate) struct Unsigned<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: &'a [(&'a str, String)],
    pub(crate) headers: &'a [(&'a str, String)],
    pub(crate) body_sha256: &'a str,
}

/// Returns the value of `authorization`. The headers must hold `host`, `x-amz-date` and `x-amz-content-sha256`.
pub(crate) fn authorization(
    request: &Unsigned<'_>,
    credentials: &Credentials,
    region: &str,
    at: Date,
) -> String {
    let mut headers: Vec<&(&str, String)> = request.headers.iter().collect();
    headers.sort_by_key(|(name, _)| *name);
    let signed = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    let canonical = format!(
        "{}\n{}\n{}\n{lines}\n{signed}\n{}",
        request.method,
        request.path,
        query(request.query),
        request.body_sha256
    );
    let scope = format!("{}/{region}/s3/aws4_request", at.day());
    let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", at.basic(), hex(&sha256(canonical.as_bytes())));
    let mut key = format!("AWS4{}", credentials.secret.expose()).into_bytes();
    for part in [at.day().as_str(), region, "s3", "aws4_request"] {
        key = mac(&key, part);
    }
    let signature = hex(&mac(&key, &text));
    format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed}, Signature={signature}",
        credentials.id
    )
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

/// Returns the query, sorted and encoded, as it is signed and sent.
pub(crate) fn query(query: &[(&str, String)]) -> String {
    let encode =
        |(name, value): &(&str, String)| format!("{}={}", encoded(name, false), encoded(value, false));
    let mut parts: Vec<String> = query.iter().map(encode).collect();
    parts.sort_unstable();
    parts.join("&")
}

/// Percent-encodes everything but what RFC 3986 leaves unreserved.
pub(crate) fn encoded(text: &str, keep_slash: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        if plain || (keep_slash && byte == b'/') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use model::Secret;

    use super::*;

    /// The example of AWS's documentation, "GET Object".
    #[test]
    fn the_example_of_the_specification_holds() {
        let credentials = Credentials {
            id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        };
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let headers = [
            ("host", "examplebucket.s3.amazonaws.com".to_owned()),
            ("range", "bytes=0-9".to_owned()),
            ("x-amz-content-sha256", empty.to_owned()),
            ("x-amz-date", "20130524T000000Z".to_owned()),
        ];
        let request =
            Unsigned { method: "GET", path: "/test.txt", query: &[], headers: &headers, body_sha256: empty };
        let at = Date::of(UNIX_EPOCH + Duration::from_secs(1_369_353_600));
        let signed = authorization(&request, &credentials, "us-east-1", at);
        let signature = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";
        assert!(signed.ends_with(signature), "{signed}");
    }

    #[test]
    fn the_query_is_sorted_and_encoded() {
        let query_of = [("prefix", "a b/ü".to_owned()), ("list-type", "2".to_owned())];
        assert_eq!(query(&query_of), "list-type=2&prefix=a%20b%2F%C3%BC");
        assert_eq!(encoded("a b/c", true), "a%20b/c");
    }
}
