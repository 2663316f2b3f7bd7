//! The two bodies of a mail, from templates that are part of the program; a broken template never hides a notice.

use std::sync::LazyLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior};

use super::view::View;

/// Steps a template may take; the fullest notice needs less than a tenth of it.
const FUEL: u64 = 200_000;

/// Sources of the templates.
struct Templates {
    text: &'static str,
    html: &'static str,
}

impl Templates {
    const BUILTIN: Templates = Templates { text: include_str!("mail.txt"), html: include_str!("mail.html") };
}

/// The two forms of one mail.
pub(super) struct Body {
    pub(super) text: String,
    pub(super) html: String,
}

/// The templates, compiled once.
static BUILTIN: LazyLock<Result<Environment<'_>, minijinja::Error>> = LazyLock::new(|| compile(&Templates::BUILTIN));

/// Both bodies; a plain notice that names the error if a template fails.
pub(super) fn render(view: &View) -> Body {
    render_with(view, BUILTIN.as_ref())
}

fn render_with(view: &View, environment: Result<&Environment<'_>, &minijinja::Error>) -> Body {
    match environment.map(|environment| from_templates(view, environment)) {
        Ok(Ok(body)) => body,
        Ok(Err(error)) => plain(view, &error),
        Err(error) => plain(view, error),
    }
}

fn compile(templates: &Templates) -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment
        .set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build()?);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    // The name's ending is what turns escaping on.
    environment.add_template("mail.txt", templates.text)?;
    environment.add_template("mail.html", templates.html)?;
    Ok(environment)
}

fn from_templates(view: &View, environment: &Environment<'_>) -> Result<Body, minijinja::Error> {
    let value = minijinja::Value::from(minijinja::value::Serde(view));
    Ok(Body {
        text: environment.get_template("mail.txt")?.render(&value)?,
        html: environment.get_template("mail.html")?.render(&value)?,
    })
}

fn plain(view: &View, error: &minijinja::Error) -> Body {
    let text = format!(
        "{}\n\n{}\nThis notice is plain because its template failed: {error}\n",
        view.subject,
        view.lines().join("\n")
    );
    let html = format!("<pre>{}</pre>\n", minijinja::HtmlEscape(&text));
    Body { text, html }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::notification::{Receiver, Rendering};

    fn check_fallback(text: &'static str, html: &'static str, expected: &str) {
        let options = Rendering { zone: jiff::tz::TimeZone::UTC, status_page: None, instance: "<watch>".to_owned() };
        let receiver = Receiver { notifier: "ops".to_owned(), recipient: "a@b.example".to_owned() };
        let view = View::of_test(&receiver, Timestamp::from_secs(0), &options);
        let body = render_with(&view, compile(&Templates { text, html }).as_ref());
        assert!(body.text.starts_with("[TEST] modelwatch on <watch> can reach you\n"), "{}", body.text);
        assert!(body.text.contains("Recipient: a@b.example"), "{}", body.text);
        assert!(body.text.contains(expected), "{}", body.text);
        assert!(body.html.starts_with("<pre>[TEST] modelwatch on &lt;watch&gt; can"), "{}", body.html);
    }

    #[test]
    fn a_broken_template_gives_a_plain_notice_that_names_the_error() {
        check_fallback("{% if %}", "", "template failed: syntax error");
        check_fallback("", "{{ no_such_name }}", "template failed: undefined value");
        check_fallback(
            "{% for i in range(9000) %}{% for j in range(9000) %}.{% endfor %}{% endfor %}",
            "",
            "ran out of fuel",
        );
    }
}
