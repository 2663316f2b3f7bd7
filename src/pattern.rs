//! Names with `*` for any run of characters. Everything else stands for itself.

/// Whether `name` is one of the names that `pattern` stands for.
///
/// Linear for one `*`, at most `O(pattern · name)`: foreign names cannot make it slow.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // Where to go on if what follows the last `*` does not fit: one byte more for that `*`.
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            retry = Some((p, n));
        } else if pattern.get(p) == name.get(n) {
            (p, n) = (p + 1, n + 1);
        } else if let Some((after_star, taken)) = retry {
            (p, n) = (after_star, taken + 1);
            retry = Some((p, n));
        } else {
            return false;
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

/// Whether there is a name that both patterns stand for.
pub fn overlap(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    // reachable[j]: the part of `one` read so far and the first `j` bytes of `other` have a name in common.
    let mut reachable: Vec<bool> = (0..=other.len()).map(|j| other.iter().take(j).all(|byte| *byte == b'*')).collect();
    for byte in one {
        let mut next = Vec::with_capacity(reachable.len());
        next.push(*byte == b'*' && reachable.first() == Some(&true));
        for (j, (opposite, before)) in other.iter().zip(reachable.windows(2)).enumerate() {
            let star = *byte == b'*' || *opposite == b'*';
            let steps =
                if star { before.get(1) == Some(&true) || next.get(j) == Some(&true) } else { byte == opposite };
            next.push(if star { steps } else { steps && before.first() == Some(&true) });
        }
        reachable = next;
    }
    reachable.last() == Some(&true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, name: &str, expected: bool) {
        assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        if !name.contains('*') {
            assert_eq!(overlap(pattern, name), expected, "{pattern} overlap {name}");
            assert_eq!(overlap(name, pattern), expected, "{name} overlap {pattern}");
        }
    }

    #[test]
    fn a_star_takes_any_run() {
        check("eta", "eta", true);
        check("eta", "eta2", false);
        check("eta-*", "eta-", true);
        check("eta-*", "eta-berlin", true);
        check("eta-*", "fraud", false);
        check("*-eu", "fraud-eu-eu", true);
        check("a*b*c", "axbxbc", true);
        check("a*b*c", "axcxb", false);
        check("*", "", true);
        check("", "", true);
        check("", "a", false);
        check("**", "größe", true);
    }

    #[test]
    fn overlap_of_two_patterns_is_symmetric() {
        for (one, other, expected) in [
            ("eta-*", "*-berlin", true),
            ("eta-*", "fraud-*", false),
            ("*", "*", true),
            ("a*a", "a", false),
            ("a*", "*b", true),
            ("*x*", "a*", true),
        ] {
            assert_eq!(overlap(one, other), expected, "{one} {other}");
            assert_eq!(overlap(other, one), expected, "{other} {one}");
        }
    }
}
