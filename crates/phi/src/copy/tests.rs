//! Cases: a stream in, a stream out, whole and split at every byte.

use super::*;

const ROW_MAX: usize = 64;

/// Doubles the second column, makes `drop` NULL, keeps the rest.
fn each(row: &Row<'_>, column: usize, out: &mut Vec<u8>) -> Cell {
    match (column, row.cell(column)) {
        (1, Some(b"drop")) => Cell::Null,
        (1, Some(cell)) => {
            out.extend_from_slice(cell);
            out.extend_from_slice(cell);
            Cell::Masked
        }
        _ => Cell::Keep,
    }
}

fn rewrite(style: &Style, header: bool, chunks: &[&[u8]]) -> Result<Vec<u8>, Error> {
    let mut rewriter = Rewriter::new(style.clone(), 2, header, ROW_MAX)?;
    let mut out = Vec::new();
    for chunk in chunks {
        rewriter.feed(chunk, &mut out, &mut each)?;
    }
    rewriter.finish().map(|()| out)
}

#[track_caller]
fn check(style: &Style, header: bool, stream: &[u8], expected: Result<&[u8], Error>) {
    let expected = expected.map(<[u8]>::to_vec);
    let whole = rewrite(style, header, &[stream]);
    assert_eq!(whole, expected, "{}", String::from_utf8_lossy(whole.as_deref().unwrap_or_default()));
    for split in 0..=stream.len() {
        let (head, tail) = stream.split_at(split);
        assert_eq!(rewrite(style, header, &[head, tail]), expected, "split at {split}");
    }
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(rewrite(style, header, &bytes), expected, "byte by byte");
}

#[test]
fn text_streams() {
    let text = Style::text();
    check(&text, false, b"", Ok(b""));
    check(&text, false, b"1\ta\n2\tb\n", Ok(b"1\taa\n2\tbb\n"));
    check(&text, false, b"\\N\t\\N\n\t\n", Ok(b"\\N\t\\N\n\t\n"));
    check(&text, false, b"1\tdrop\n", Ok(b"1\t\\N\n"));
    check(&text, false, b"a\\\\\tx\\ny\\\\\n", Ok(b"a\\\\\tx\\ny\\\\x\\ny\\\\\n"));
    check(&text, false, b"\\101\t\\101\\x42\n", Ok(b"\\101\tABAB\n"));
    check(&text, false, b"1\ta\n\\.\n", Ok(b"1\taa\n\\.\n"));
    check(&text, true, b"id\tname\n1\ta\n", Ok(b"id\tname\n1\taa\n"));
    check(&text, false, b"1\ta", Err(Error::Cut));
    check(&text, false, b"1\n", Err(Error::Columns(2)));
    check(&text, false, b"1\ta\tb\n", Err(Error::Columns(2)));
    check(&text, false, b"\\.\n1\ta\n", Err(Error::AfterEnd));
    let other = Style::Text { delimiter: b'|', null: b"-".to_vec() };
    check(&other, false, b"-|a\\|\tb\n", Ok(b"-|a\\|\\tba\\|\\tb\n"));
    check(&other, false, b"1|drop\n", Ok(b"1|-\n"));
}

#[test]
fn csv_streams() {
    let csv = Style::csv();
    check(&csv, false, b"1,a\n", Ok(b"1,aa\n"));
    check(&csv, false, b"1,\"a,\n\"\"b\"\n", Ok(b"1,\"a,\n\"\"ba,\n\"\"b\"\n"));
    check(&csv, false, b"1,\n2,\"\"\n", Ok(b"1,\n2,\"\"\n"));
    check(&csv, false, b"1,drop\n", Ok(b"1,\n"));
    check(&csv, false, b"\"x\ny\",a\n", Ok(b"\"x\ny\",aa\n"));
    check(&csv, true, b"\"i\nd\",name\n1,a\n", Ok(b"\"i\nd\",name\n1,aa\n"));
    check(&csv, false, b"1,\"a\n", Err(Error::Cut));
    check(&csv, false, b"1\n", Err(Error::Columns(2)));
    let other = Style::Csv { delimiter: b';', null: b"NA".to_vec(), quote: b'\'', escape: b'\\' };
    check(&other, false, b"NA;'a\\'b\\\\'\n", Ok(b"NA;'a\\'b\\\\a\\'b\\\\'\n"));
    check(&other, false, b"1;N\n", Ok(b"1;NN\n"));
}

#[test]
fn binary_streams() {
    let start = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    let stream = |rows: &[u8]| [start.clone(), rows.to_vec()].concat();
    let row = b"\0\x02\xff\xff\xff\xff\0\0\0\x01a";
    let end = b"\xff\xff";
    let masked = stream(b"\0\x02\xff\xff\xff\xff\0\0\0\x02aa\xff\xff");
    check(&Style::Binary, false, &stream(&[row.as_slice(), end].concat()), Ok(&masked));
    let dropped = stream(b"\0\x02\0\0\0\0\0\0\0\x04drop\xff\xff");
    check(&Style::Binary, false, &dropped, Ok(&stream(b"\0\x02\0\0\0\0\xff\xff\xff\xff\xff\xff")));
    check(&Style::Binary, false, &stream(row), Err(Error::Cut));
    check(&Style::Binary, false, &stream(b"\0\x03"), Err(Error::Columns(2)));
    check(&Style::Binary, false, &stream(b"\0\x02\xff\xff\xff\xfe"), Err(Error::Malformed));
    check(&Style::Binary, false, &stream(b"\xff\xffx"), Err(Error::AfterEnd));
    check(&Style::Binary, false, b"PGCOPX\n\xff\r\n\0", Err(Error::Malformed));
}

#[test]
fn rows_are_bounded() {
    let long = vec![b'a'; ROW_MAX + 1];
    check(&Style::text(), false, &long, Err(Error::RowTooLong(ROW_MAX)));
    check(&Style::csv(), false, &[b"\"".to_vec(), long.clone()].concat(), Err(Error::RowTooLong(ROW_MAX)));
    let mut line = [long, b"\n".to_vec()].concat();
    line[1] = b'\t';
    check(&Style::text(), false, &line, Err(Error::RowTooLong(ROW_MAX)));
}

#[test]
fn after_an_error_nothing_more() {
    let mut rewriter = Rewriter::new(Style::text(), 2, false, ROW_MAX).expect("options");
    let mut out = Vec::new();
    assert_eq!(rewriter.feed(b"1\ta\n1\n", &mut out, &mut each), Err(Error::Columns(2)));
    assert!(out.is_empty(), "not even the rows before it");
    assert_eq!(rewriter.feed(b"1\ta\n", &mut out, &mut each), Err(Error::Columns(2)));
    assert_eq!(rewriter.finish(), Err(Error::Columns(2)));
}

#[test]
fn options_are_checked() {
    let new = |style| Rewriter::new(style, 2, false, ROW_MAX).map(drop);
    assert_eq!(new(Style::Text { delimiter: b'\\', null: Vec::new() }), Err(Error::Options));
    assert_eq!(new(Style::Text { delimiter: b'|', null: b"\n".to_vec() }), Err(Error::Options));
    let csv = Style::Csv { delimiter: b',', null: Vec::new(), quote: b',', escape: b'"' };
    assert_eq!(new(csv), Err(Error::Options));
}

#[test]
fn a_table_without_columns() {
    let mut rewriter = Rewriter::new(Style::text(), 0, false, ROW_MAX).expect("options");
    let mut out = Vec::new();
    assert_eq!(rewriter.feed(b"\n\n", &mut out, &mut each), Ok(2));
    assert_eq!(out, b"\n\n");
}
