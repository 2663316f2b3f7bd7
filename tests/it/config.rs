//! Configuration: every mistake has its fixture with the message it gives; the shipped files are whole and right.

use std::path::{Path, PathBuf};

use modelwatch::cli::check;
use modelwatch::config::{self, Config, Defaults};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join(directory)).expect(directory);
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect(directory).path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths.sort();
    paths
}

fn file_name(path: &Path) -> String {
    path.file_name().expect("a file").to_string_lossy().into_owned()
}

fn parse(path: &Path) -> Result<(Config, config::Report), config::Report> {
    let text = std::fs::read_to_string(path).expect("UTF-8");
    config::parse(&file_name(path), &text, &Defaults::default())
}

/// `UPDATE_GOLDEN=1 cargo test --test it config` writes the messages anew; read the difference before committing it.
#[test]
fn every_mistake_gives_its_message() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    let fixtures = files("tests/it/config", "toml");
    assert!(fixtures.len() >= 24, "only {} fixtures", fixtures.len());
    for path in &fixtures {
        let report = match parse(path) {
            Ok((_, warnings)) => warnings,
            Err(report) => report,
        };
        assert!(!report.problems().is_empty(), "{} has no mistake", path.display());
        let (shown, golden) = (report.to_string(), path.with_extension("stderr"));
        if update {
            std::fs::write(&golden, &shown).expect("golden file");
        } else if std::fs::read_to_string(&golden).ok().as_ref() != Some(&shown) {
            wrong.push(format!("{}\n{shown}", file_name(path)));
        }
    }
    assert!(wrong.is_empty(), "other messages than expected (UPDATE_GOLDEN=1 accepts them):\n\n{}", wrong.join("\n"));
}

#[test]
fn no_message_is_left_without_its_fixture() {
    let orphans: Vec<PathBuf> =
        files("tests/it/config", "stderr").into_iter().filter(|path| !path.with_extension("toml").exists()).collect();
    assert_eq!(orphans, Vec::<PathBuf>::new());
}

#[test]
fn shipped_files_pass_without_a_warning() {
    let mut paths = files("config/examples", "toml");
    assert!(paths.len() >= 3);
    paths.extend(files("config", "toml"));
    for path in paths {
        match parse(&path) {
            Ok((_, warnings)) => assert_eq!(warnings.to_string(), "", "{}", path.display()),
            Err(report) => panic!("{}:\n{report}", path.display()),
        }
    }
}

/// The reference file as it is, and with its commented options uncommented.
fn reference() -> (String, String) {
    let text = std::fs::read_to_string(root().join("config/modelwatch.toml")).expect("UTF-8");
    let is_option = |rest: &str| rest.starts_with(|c: char| c.is_ascii_lowercase()) && rest.contains(" = ");
    let uncomment = |line: &str| match line.strip_prefix('#') {
        Some(rest) if is_option(rest) => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    let uncommented = text.lines().map(uncomment).collect();
    (text, uncommented)
}

#[test]
fn commented_options_of_the_reference_show_their_defaults() {
    let (text, uncommented) = reference();
    assert!(uncommented.contains("\ntick = ") && uncommented.contains("\nlisten = "), "nothing was uncommented");
    let parse = |text: &str| match config::parse("modelwatch.toml", text, &Defaults::default()) {
        Ok((config, _)) => format!("{config:#?}"),
        Err(report) => panic!("{report}"),
    };
    assert_eq!(parse(&text), parse(&uncommented));
}

#[test]
fn every_option_is_in_the_reference() {
    // What may stand in several places is shown in one of them.
    let same = |option: &str| {
        let tail = |part: &str| option.rfind(part).map(|at| option[at..].to_owned());
        tail(".smoothing.")
            .or_else(|| option.strip_suffix("_password_env").map(|secret| format!("{secret}_password_file")))
            .or_else(|| option.contains(".all_of.").then(|| option.replace(".all_of.", ".")))
            .unwrap_or(option.to_owned())
    };
    let options = config::options(&reference().1);
    let shown: Vec<String> = options.iter().filter(|(_, found)| **found).map(|(option, _)| same(option)).collect();
    let missing: Vec<&String> = options.keys().filter(|option| !shown.contains(&same(option))).collect();
    assert!(options.len() > 60, "the readers asked for {} options only", options.len());
    assert_eq!(missing, Vec::<&String>::new());
}

#[track_caller]
fn check_run(path: &Path, expected: u8) -> (String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    assert_eq!(check::run(path, &mut out, &mut err).expect("memory"), expected);
    (String::from_utf8(out).expect("UTF-8"), String::from_utf8(err).expect("UTF-8"))
}

#[test]
fn check_sums_up_what_a_good_file_says() {
    let (out, err) = check_run(&root().join("config/examples/eta-regression.toml"), 0);
    assert_eq!(err, "");
    assert!(out.contains("rule eta-rmse: eta: rmse above 4 for 5m tells oncall (critical)"), "{out}");
}

#[test]
fn check_of_a_bad_file_is_78_and_of_none_66() {
    let (out, err) = check_run(&root().join("tests/it/config/unknown-indicator.toml"), 78);
    assert_eq!(out, "");
    assert!(err.contains("did you mean `rmse`?") && err.ends_with("not usable, 1 error\n"), "{err}");
    let (_, err) = check_run(Path::new("/nowhere/modelwatch.toml"), 66);
    assert!(err.starts_with("error: cannot read the configuration /nowhere/modelwatch.toml: No such file"), "{err}");
}

#[test]
fn a_file_that_is_no_text_says_where() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("latin1.toml");
    std::fs::write(&path, b"# caf\xe9\n[engine]\n").expect("a file");
    let (_, err) = check_run(&path, 78);
    assert!(err.contains("latin1.toml:1:6") && err.contains("no UTF-8 text"), "{err}");
}

proptest::proptest! {
    /// Whatever is in the file: no panic, and either a configuration or at least one reason.
    #[test]
    fn mangled_files_give_reasons(at in 0usize..6000, gone in 0usize..40, put in "[ -~\\n\\t\u{e9}\u{0}]{0,6}") {
        let text = std::fs::read_to_string(root().join("config/modelwatch.toml")).expect("UTF-8");
        let chars: Vec<char> = text.chars().collect();
        let (head, tail) = chars.split_at(at.min(chars.len()));
        let mangled: String = head.iter().copied().chain(put.chars()).chain(tail.iter().copied().skip(gone)).collect();
        if let Err(report) = config::parse("f", &mangled, &Defaults::default()) {
            proptest::prop_assert!(report.errors() > 0 && report.to_string().starts_with(['e', 'w']));
        }
    }
}

#[test]
fn the_configuration_in_the_readme_passes_without_a_warning() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("UTF-8");
    let block = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block of TOML");
    match config::parse("README.md", block, &Defaults::default()) {
        Ok((_, warnings)) => assert_eq!(warnings.to_string(), ""),
        Err(report) => panic!("{report}"),
    }
}
