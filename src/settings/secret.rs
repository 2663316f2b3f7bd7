//! Where a secret is kept. The configuration never holds it itself.

use std::path::PathBuf;

use super::Table;

/// A file or an environment variable with a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// The option that names the place.
    pub option: &'static str,
    place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    File(PathBuf),
    Environment(String),
}

/// A secret that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{option}`: {reason}")]
pub struct Unreadable {
    /// The option that names its place.
    pub option: &'static str,
    /// Why not.
    pub reason: String,
}

impl Secret {
    /// Reads the options `file` and `env`, of which at most one may be given. Does not read the secret.
    pub fn read(table: &mut Table<'_>, file: &'static str, env: &'static str) -> Option<Secret> {
        let path = table.text(file);
        let variable = table.text(env);
        if let (Some(_), Some(variable)) = (&path, &variable) {
            table.problem(variable.span.clone(), format!("give either `{file}` or `{env}`, not both"));
        }
        let from_file = path.map(|path| Secret { option: file, place: Place::File(path.value.into()) });
        from_file.or_else(|| variable.map(|variable| Secret { option: env, place: Place::Environment(variable.value) }))
    }

    /// The secret, without the line break at its end.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is empty.
    pub fn load(&self) -> Result<String, Unreadable> {
        let unreadable = |reason: String| Unreadable { option: self.option, reason };
        let secret = match &self.place {
            Place::File(path) => {
                std::fs::read_to_string(path).map_err(|error| unreadable(format!("{}: {error}", path.display())))?
            }
            Place::Environment(variable) => {
                std::env::var(variable).map_err(|error| unreadable(format!("variable `{variable}`: {error}")))?
            }
        };
        match secret.trim_end_matches(['\r', '\n']) {
            "" => Err(unreadable("the secret is empty".to_owned())),
            secret => Ok(secret.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_secret_is_read_without_its_line_break_and_a_missing_one_names_its_option() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, " s3cret ").unwrap();
        let secret = |path: PathBuf| Secret { option: "password_file", place: Place::File(path) };
        assert_eq!(secret(file.path().into()).load().as_deref(), Ok(" s3cret "));
        let error = secret("/nowhere/x".into()).load().unwrap_err().to_string();
        assert!(error.starts_with("`password_file`: /nowhere/x: "), "{error}");
        let empty = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(secret(empty.path().into()).load().unwrap_err().reason, "the secret is empty");
        let secret = Secret { option: "password_env", place: Place::Environment("MODELWATCH_NOT_SET".to_owned()) };
        assert!(secret.load().unwrap_err().to_string().contains("`MODELWATCH_NOT_SET`"));
    }
}
