//! Prints what the detectors find in each line of standard input: the line's number from 0, the first byte, the byte
//! after the last, the class. `cargo xtask bench detect` compares it with the truth and with another finder.
#![allow(missing_docs, reason = "an example")]

use std::io::{BufRead as _, Write as _};

use phi::detect::{Budget, Detector, Features, Scratch};

fn main() -> std::io::Result<()> {
    let detector = Detector::default();
    let mut scratch = Scratch::default();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for (number, line) in std::io::stdin().lock().lines().enumerate() {
        let line = line?;
        let mut budget = Budget::new(1 << 20);
        let spans = detector.find(&line, &Features::none(), &mut budget, &mut scratch);
        for span in spans.expect("a line is short") {
            writeln!(out, "{number}\t{}\t{}\t{}", span.start, span.end, span.class.name())?;
        }
    }
    out.flush()
}
