//! The `smoothing` option: exactly one of `half_life`, `alpha` and `window`.

use std::time::Duration;

use crate::settings::{Placed, Table};
use crate::smoothing::Smoothing;

/// Above so many ticks, a window is worth a word about its memory.
const LONG_WINDOW_TICKS: u128 = 100_000;

/// Reads `smoothing = { ... }` of `parent`. `None` if it is not there or wrong (then that has been noted).
pub(super) fn read(parent: &mut Table<'_>, tick: Duration) -> Option<Smoothing> {
    let mut table = parent.table("smoothing")?;
    let half_life = table.duration("half_life");
    let alpha = table.number("alpha");
    let window = table.duration("window");
    let seed_first = table.choice("seed", &[("first", true)]);
    let given: Vec<&str> = ["half_life", "alpha", "window"].into_iter().filter(|key| table.has(key)).collect();
    if given.len() != 1 {
        table.problem(
            table.span(),
            "takes exactly one of `half_life`, `alpha` and `window`, for example { half_life = \"30m\" }",
        );
    } else if table.has("seed") && !table.has("alpha") {
        table.problem(table.span_of("seed"), "`seed` goes with `alpha`; the other modes start without bias anyway");
    }
    let smoothing = match (half_life, alpha, window) {
        (Some(span), ..) => check_half_life(&table, span, tick),
        (None, Some(keep), _) => check_alpha(&table, keep, seed_first.unwrap_or(false)),
        (None, None, Some(span)) => check_window(&table, span, tick),
        (None, None, None) => None,
    };
    table.finish();
    if given.len() == 1 { smoothing } else { None }
}

fn check_half_life(table: &Table<'_>, found: Placed<Duration>, tick: Duration) -> Option<Smoothing> {
    if found.value < tick {
        table.problem(found.span, format_args!("`half_life` must not be shorter than a tick, {}", show(tick)));
        return None;
    }
    Some(Smoothing::HalfLife(found.value))
}

fn check_alpha(table: &Table<'_>, found: Placed<f64>, seed_first: bool) -> Option<Smoothing> {
    if !(found.value > 0.0 && found.value < 1.0) {
        let meaning = "it is how much of the old value one outcome keeps, such as 0.99";
        table.problem(found.span, format_args!("`alpha` must lie between 0 and 1; {meaning}"));
        return None;
    }
    Some(Smoothing::Alpha { keep: found.value, seed_first })
}

fn check_window(table: &Table<'_>, found: Placed<Duration>, tick: Duration) -> Option<Smoothing> {
    let ticks = found.value.as_micros() / tick.as_micros().max(1);
    if ticks == 0 || !found.value.as_micros().is_multiple_of(tick.as_micros().max(1)) {
        let whole = Duration::from_micros(tick.as_micros().saturating_mul(ticks.max(1)).try_into().unwrap_or(u64::MAX));
        let near = format!("such as \"{}\"", show(whole));
        table.problem(found.span, format_args!("`window` must be a whole number of ticks of {}, {near}", show(tick)));
        return None;
    }
    if ticks > LONG_WINDOW_TICKS {
        let advice = "a `half_life` needs only one, and a longer `tick` makes them fewer";
        table.warn(
            found.span,
            format!("{}: every series keeps {ticks} ticks in memory for this `window`; {advice}", table.title()),
        );
    }
    Some(Smoothing::Window(found.value))
}

/// A duration as it is written in the file: `24h5m`, `30m`.
pub(super) fn show(span: Duration) -> String {
    let hours = span.as_secs() / 3600;
    // Days are longer to read only from three on: "24h" is what people write.
    let text = if hours < 72 && hours > 0 {
        let rest = span.saturating_sub(Duration::from_secs(hours * 3600));
        let rest = if rest.is_zero() { String::new() } else { humantime::format_duration(rest).to_string() };
        format!("{hours}h{rest}")
    } else {
        humantime::format_duration(span).to_string()
    };
    text.replace("days", "d").replace("day", "d").replace(' ', "")
}
