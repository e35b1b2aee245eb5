//! What the demonstration prints: few marks, colour only on a terminal and never with `NO_COLOR`.

use std::io::IsTerminal as _;

/// Puts words on standard output.
#[derive(Clone, Copy, Debug)]
pub(super) struct Show {
    colour: bool,
}

impl Show {
    /// Decides for standard output.
    pub(super) fn stdout() -> Show {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Show { colour: wanted && std::io::stdout().is_terminal() }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    pub(super) fn line(self, text: &str) {
        println!("{text}");
    }

    pub(super) fn title(self, text: &str) {
        println!("{}\n", self.paint("1;36", text));
    }

    pub(super) fn heading(self, text: &str) {
        println!("\n{}", self.paint("1;36", text));
    }

    /// Something is being done.
    pub(super) fn progress(self, text: &str) {
        println!("{} {text}", self.dim("·"));
    }

    /// A command as somebody would type it.
    pub(super) fn command(self, who: &str, text: &str) {
        println!("  {} {text}", self.dim(&format!("{who} $")));
    }

    /// What a program answered; long answers are cut.
    pub(super) fn answer(self, text: &str) {
        const LINES_MAX: usize = 14;
        let lines: Vec<&str> = text.trim_end().lines().collect();
        for line in lines.iter().take(LINES_MAX) {
            println!("    {line}");
        }
        if let Some(more) = lines.len().checked_sub(LINES_MAX).filter(|more| *more > 0) {
            println!("    {}", self.dim(&format!("… {more} lines more")));
        }
    }

    /// What was shown, and checked.
    pub(super) fn shown(self, text: &str) {
        println!("  {} {text}", self.paint("32", "✓"));
    }
}
