//! Problems as people read them: message, place, the line itself, and a caret below the mistake.

use std::fmt;
use std::ops::Range;

use crate::settings::{Level, Problem, Problems};

/// All problems of one file, in its order, ready to be shown.
#[derive(Clone, Debug, Default)]
pub struct Report {
    name: String,
    text: String,
    problems: Vec<Problem>,
}

impl Report {
    /// The problems of `text`; `name` is what the file is called.
    pub fn new(name: &str, text: &str, problems: Vec<Problem>) -> Report {
        Report { name: name.to_owned(), text: text.to_owned(), problems }
    }

    /// The problems.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// How many of them make the configuration unusable.
    pub fn errors(&self) -> usize {
        self.problems.iter().filter(|problem| problem.level == Level::Error).count()
    }
}

/// Each problem with its line; nothing at all if there is none.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            write_problem(f, &self.name, &self.text, problem)?;
        }
        Ok(())
    }
}

fn write_problem(f: &mut fmt::Formatter<'_>, name: &str, text: &str, problem: &Problem) -> fmt::Result {
    let level = match problem.level {
        Level::Error => "error",
        Level::Warning => "warning",
    };
    writeln!(f, "{level}: {}", printable(&problem.message))?;
    // What is missing altogether has no line to show.
    if problem.span == (0..0) {
        return writeln!(f, "  --> {name}");
    }
    let place = Excerpt::new(&without_secrets(text), &problem.span);
    let margin = " ".repeat(place.line_number.to_string().len());
    writeln!(f, "{margin} --> {name}:{}:{}", place.line_number, place.column)?;
    writeln!(f, "{margin} |")?;
    writeln!(f, "{} | {}", place.line_number, place.shown)?;
    writeln!(f, "{margin} | {}{}", " ".repeat(place.caret_at), "^".repeat(place.carets))
}

/// The text with `*` for what may be a secret: values of options that sound like one and are no file or variable.
///
/// Secrets do not belong in the file, but librdkafka's may be there, and a slip beside one must not print it.
/// Every byte is replaced by one, so that places stay.
fn without_secrets(text: &str) -> String {
    const SOUNDS: [&str; 7] = ["passw", "pasw", "passp", "secret", "token", "jaas", "key.pem"];
    const HARMLESS: [&str; 5] = ["_file", "_env", ".location", "url", "#"];
    let mask = |line: &str| match line.split_once('=') {
        Some((key, value)) => {
            let name = key.to_lowercase();
            let is_secret =
                SOUNDS.iter().any(|part| name.contains(part)) && !HARMLESS.iter().any(|part| name.contains(part));
            let hide = |c: char| if c.is_whitespace() { c.to_string() } else { "*".repeat(c.len_utf8()) };
            if is_secret { format!("{key}={}", value.chars().map(hide).collect::<String>()) } else { line.to_owned() }
        }
        None => line.to_owned(),
    };
    text.split_inclusive('\n').map(mask).collect()
}

/// The line of a span, cut to what fits a terminal. All widths are in characters.
struct Excerpt {
    line_number: usize,
    /// Counted from 1, in characters of the file.
    column: usize,
    shown: String,
    caret_at: usize,
    carets: usize,
}

impl Excerpt {
    /// Longest line that is shown whole.
    const WIDTH: usize = 110;
    /// What is kept before the mistake if the line is cut.
    const LEAD: usize = 40;

    fn new(text: &str, span: &Range<usize>) -> Excerpt {
        let start = floor_char_boundary(text, span.start);
        let line_start = text.get(..start).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1);
        let line = text.get(line_start..).unwrap_or_default().lines().next().unwrap_or_default();
        let end = floor_char_boundary(text, span.end.min(line_start + line.len())).max(start);
        let chars_in = |range: Range<usize>| text.get(range).map_or(0, |part| part.chars().count());
        let (before, within) = (chars_in(line_start..start), chars_in(start..end).max(1));

        let long = line.chars().count() > Excerpt::WIDTH;
        let skipped = if long { before.saturating_sub(Excerpt::LEAD) } else { 0 };
        let mut window: String = line.chars().skip(skipped).take(Excerpt::WIDTH).map(printable_char).collect();
        if skipped > 0 {
            window.replace_range(..window.chars().next().map_or(0, char::len_utf8), "…");
        }
        if long && line.chars().count() > skipped + Excerpt::WIDTH {
            window.push('…');
        }
        Excerpt {
            line_number: text.get(..line_start).map_or(0, |before| before.matches('\n').count()) + 1,
            column: before + 1,
            shown: window.trim_end().to_owned(),
            caret_at: before - skipped,
            carets: within.min(Excerpt::WIDTH.saturating_sub(before - skipped)).max(1),
        }
    }
}

fn floor_char_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// A tab takes one column here, so that the caret below stands where it should; other controls would move the cursor.
fn printable_char(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

fn printable(message: &str) -> String {
    message
        .chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect()
}

/// Notes the errors of the TOML parser, in words for people who do not know its grammar.
///
/// One a line, and none behind a list that is never closed: there the parser takes everything for items of the list.
pub(super) fn syntax_errors(text: &str, errors: &[toml::de::Error], problems: &Problems) {
    let mut errors: Vec<(Range<usize>, &str)> =
        errors.iter().map(|error| (error.span().unwrap_or(0..0), error.message())).collect();
    errors.sort_by_key(|(span, _)| span.start);
    let never_closed = errors.iter().any(|(_, message)| message.starts_with("unclosed array"));
    let mut last_line = None;
    for (span, message) in errors {
        let line = text.get(..span.start).map(|before| before.matches('\n').count());
        if never_closed && message.starts_with("missing comma") {
            return problems.add(span, "the list that ends before this is not closed, expected `]`");
        }
        if line != last_line {
            let found = text.get(span.clone()).unwrap_or_default();
            problems.add(span, syntax_message(message, found));
        }
        last_line = line;
    }
}

fn syntax_message(message: &str, found: &str) -> String {
    let is_word = found.starts_with(|c: char| c.is_alphanumeric());
    let starts = |beginning: &str| message.starts_with(beginning);
    if starts("duplicate key") {
        format!("`{found}` is there twice")
    } else if is_word
        && (starts("string values must be quoted") || starts("invalid boolean") || starts("invalid float"))
    {
        format!("a text must stand in quotes: \"{}\"", found.trim())
    } else if starts("invalid unquoted key") && found.contains('*') {
        "a name with `*` must stand in quotes, such as [model.\"eta-*\"]".to_owned()
    } else if starts("invalid basic string, expected `\"`") {
        "a text is not closed, expected `\"`".to_owned()
    } else {
        message.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, span: Range<usize>, expected: &str) {
        let problems = Problems::default();
        problems.add(span, "wrong");
        let shown = Report::new("f", text, problems.into_sorted()).to_string();
        assert_eq!(shown.trim_start_matches("error: wrong\n"), expected);
    }

    #[test]
    fn carets_count_characters() {
        check("a = \"größe\" # x\n", 4..13, "  --> f:1:5\n  |\n1 | a = \"größe\" # x\n  |     ^^^^^^^\n");
    }

    #[test]
    fn a_tab_takes_one_column_and_controls_are_shown_as_such() {
        check("\ta\u{1b} = 1\r\n", 1..2, "  --> f:1:2\n  |\n1 |  a\u{fffd} = 1\n  |  ^\n");
    }

    #[test]
    fn a_span_over_several_lines_is_marked_on_its_first() {
        check("x = 1\na = [\n1]\n", 10..14, "  --> f:2:5\n  |\n2 | a = [\n  |     ^\n");
    }

    #[test]
    fn the_end_of_the_file_has_a_place() {
        check("a = [", 5..5, "  --> f:1:6\n  |\n1 | a = [\n  |      ^\n");
    }

    #[test]
    fn spans_outside_of_the_text_or_inside_a_character_do_not_panic() {
        for span in [0..99, 98..99, 3..4, Range { start: 4, end: 2 }] {
            let problem = Problem { level: Level::Error, span, message: "wrong".to_owned() };
            assert!(Report::new("f", "a=ö", vec![problem]).to_string().contains("f:1:"));
        }
    }

    #[test]
    fn what_may_be_a_secret_is_not_shown() {
        check(
            "\"sasl.pasword\" = \"hüsh\"\n",
            0..14,
            "  --> f:1:1\n  |\n1 | \"sasl.pasword\" = *******\n  | ^^^^^^^^^^^^^^\n",
        );
        check("password_file = 1\n", 16..17, "  --> f:1:17\n  |\n1 | password_file = 1\n  |                 ^\n");
    }

    #[test]
    fn a_long_line_is_cut_around_the_mistake() {
        let text = format!("{}X{}", "a".repeat(500), "b".repeat(500));
        let problem = Problem { level: Level::Warning, span: 500..501, message: "wrong".to_owned() };
        let shown = Report::new("f", &text, vec![problem]).to_string();
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[1], "  --> f:1:501");
        assert_eq!(lines[3].find('X').map(|at| lines[3][..at].chars().count()), lines[4].find('^'));
        assert!(lines.iter().all(|line| line.chars().count() < 120), "{shown}");
    }
}
