//! Reads time lines, and shows where two of them part.

use std::time::Duration;

/// A time line.
#[derive(Clone, Debug, Default)]
pub(super) struct Script {
    /// What happens: the second, and the words; in the order of time.
    pub(super) steps: Vec<(i64, Vec<String>)>,
    /// The transitions that are wanted.
    pub(super) wanted: Vec<String>,
    /// The notices that are wanted.
    pub(super) mails: Vec<String>,
}

/// Reads a time line; the module's documentation says what there is.
pub(super) fn read(text: &str) -> Script {
    let mut script = Script::default();
    for words in text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).filter(|words| !words.is_empty())
    {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        match words.as_slice() {
            ["want", at, "mail", what @ ..] => script.mails.push(format!("{at} {}", what.join(" "))),
            ["want", at, what @ ..] => script.wanted.push(format!("{at} {}", what.join(" "))),
            ["at", at, what @ ..] => script.steps.push((seconds(at), owned(what))),
            ["until", at] => script.steps.push((seconds(at), owned(&["end"]))),
            ["from", from, "to", to, "every", step, what @ ..] => {
                let steps = (seconds(from)..seconds(to)).step_by(usize::try_from(seconds(step)).expect("a step"));
                script.steps.extend(steps.map(|at| (at, owned(&[&["both"], what].concat()))));
            }
            other => panic!("not understood: {other:?}"),
        }
    }
    script.steps.sort_by_key(|(at, _)| *at);
    script
}

/// Both sides of a difference, line by line.
pub(super) fn side_by_side(got: &[String], wanted: &[String]) -> String {
    let rows = (0..got.len().max(wanted.len())).map(|row| {
        let [got, wanted] = [got, wanted].map(|side| side.get(row).map_or("", String::as_str));
        format!("{} {got:<60} | {wanted}", if agrees(got, wanted) { ' ' } else { '!' })
    });
    format!("  {:<60} | wanted\n{}", "got", rows.collect::<Vec<_>>().join("\n"))
}

/// Whether something happened as it was wanted. Its time may be wanted as a range, `2m..4m`: retries are jittered.
pub(super) fn agrees(got: &str, wanted: &str) -> bool {
    let (Some((at, got)), Some((wanted_at, wanted))) = (got.split_once(' '), wanted.split_once(' ')) else {
        return got == wanted;
    };
    let in_time = match wanted_at.split_once("..") {
        Some((from, to)) => (seconds(from)..=seconds(to)).contains(&seconds(at)),
        None => at == wanted_at,
    };
    in_time && got == wanted
}

/// The seconds of a span of time.
pub(super) fn seconds(text: &str) -> i64 {
    humantime::parse_duration(text).expect("a duration").as_secs() as i64
}

/// A second as time lines write it.
pub(super) fn shown(secs: i64) -> String {
    humantime::format_duration(Duration::from_secs(secs.unsigned_abs())).to_string().replace(' ', "")
}
