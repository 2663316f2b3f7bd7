//! Mail: MIME by `lettre`, one SMTP session and one recipient a message, or a file for each message.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters};
use lettre::transport::smtp::commands::Auth;
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::{Category, Code, Detail, Response, Severity};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{BuildError, Notifier, SendError, Sending, causes, load, words};
use crate::notification::Message;

mod config;

pub use config::{Config, Server, Tls, Way};

/// A server may take minutes to answer to the end of a message (RFC 5321, 4.5.3.2.6): it has this many times `timeout`.
const HANDOVER_TIMEOUTS: u32 = 5;
/// The first step, for what is said of its failure.
const CONNECTING: &str = "while connecting";
/// How long to wait for the answer to QUIT, which says nothing any more.
const QUIT_TIMEOUT: Duration = Duration::from_secs(2);
/// Replies that refuse the login, not the message (RFC 4954, 6): a mended password helps.
const LOGIN_REFUSED: [u16; 4] = [530, 534, 535, 538];

/// A mail notifier.
#[derive(Debug)]
pub struct Email {
    from: Mailbox,
    to: Vec<Mailbox>,
    reply_to: Option<Mailbox>,
    exit: Exit,
}

#[derive(Debug)]
enum Exit {
    Smtp(Box<Smtp>),
    Directory(PathBuf),
}

struct Smtp {
    host: String,
    port: u16,
    tls: Tls,
    parameters: Option<TlsParameters>,
    login: Option<Login>,
    hello: ClientId,
    timeout: Duration,
}

struct Login {
    credentials: Credentials,
    /// Every form in which the password goes over the wire, and so may come back in a reply.
    secrets: Vec<String>,
}

impl std::fmt::Debug for Smtp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Smtp({}:{})", self.host, self.port)
    }
}

impl Email {
    /// Reads the password and the certificates; makes the directory.
    ///
    /// # Errors
    ///
    /// [`BuildError`] if one of them cannot be used.
    pub fn build(name: &str, config: &Config) -> Result<Email, BuildError> {
        let exit = match &config.way {
            Way::Server(server) => Exit::Smtp(Box::new(Smtp::build(name, server)?)),
            Way::Directory(path) => {
                std::fs::create_dir_all(path)
                    .map_err(|error| BuildError::new(name, "directory", format!("{}: {error}", path.display())))?;
                Exit::Directory(path.clone())
            }
        };
        Ok(Email { from: config.from.clone(), to: config.to.clone(), reply_to: config.reply_to.clone(), exit })
    }

    /// The message as mail. The same bytes for every attempt, but for the MIME boundary.
    fn mail(&self, message: &Message) -> Result<lettre::Message, SendError> {
        let known = self.to.iter().find(|mailbox| mailbox.email.to_string() == message.recipient).cloned();
        // A recipient that has left the configuration is still owed its notices.
        let to = match known {
            Some(mailbox) => mailbox,
            None => message
                .recipient
                .parse()
                .map_err(|error| SendError::refused(format!("{:?}: {error}", message.recipient)))?,
        };
        let domain = self.from.email.domain();
        let bracketed = |id: &str| format!("<{id}@{domain}>");
        let mut mail = lettre::Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(message.subject.clone())
            .message_id(Some(bracketed(&message.id)));
        if let Some(reply_to) = &self.reply_to {
            mail = mail.reply_to(reply_to.clone());
        }
        if let Some(thread) = &message.thread {
            let roots: Vec<String> = thread.split(' ').map(bracketed).collect();
            mail = mail.in_reply_to(roots.first().cloned().unwrap_or_default()).references(roots.join(" "));
        }
        let automatic = [("Auto-Submitted", "auto-generated"), ("X-Auto-Response-Suppress", "All")];
        let ours = message.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in automatic.into_iter().chain(ours) {
            let name = HeaderName::new_from_ascii(name.to_owned())
                .map_err(|error| SendError::refused(format!("header {name:?}: {error}")))?;
            mail = mail.raw_header(HeaderValue::new(name, words(value)));
        }
        mail.multipart(MultiPart::alternative_plain_html(message.text.clone(), message.html.clone()))
            .map_err(|error| SendError::refused(causes(&error)))
    }
}

impl Notifier for Email {
    fn recipients(&self) -> Vec<String> {
        self.to.iter().map(|mailbox| mailbox.email.to_string()).collect()
    }

    fn send<'a>(&'a self, message: &'a Message) -> Sending<'a> {
        Box::pin(async move {
            let mail = self.mail(message)?;
            match &self.exit {
                Exit::Smtp(smtp) => smtp.send(&mail).await,
                Exit::Directory(path) => write(path, &message.id, &mail).await,
            }
        })
    }
}

/// Named by the message's id, so that another attempt replaces the file.
async fn write(directory: &Path, id: &str, mail: &lettre::Message) -> Result<String, SendError> {
    let (path, bytes) = (directory.join(format!("{id}.eml")), mail.formatted());
    let target = path.clone();
    let written = tokio::task::spawn_blocking(move || std::fs::write(target, bytes)).await;
    match written {
        Ok(Ok(())) => Ok(format!("written to {}", path.display())),
        Ok(Err(error)) => Err(SendError::retry(format!("{}: {error}", path.display()))),
        Err(error) => Err(SendError::retry(format!("{}: {error}", path.display()))),
    }
}

impl Smtp {
    fn build(name: &str, server: &Server) -> Result<Smtp, BuildError> {
        let parameters = match server.tls {
            Tls::None => None,
            Tls::Starttls | Tls::Implicit => Some(tls_parameters(name, server)?),
        };
        let login = match &server.login {
            Some((username, secret)) => Some(Login::new(username, load(secret, name)?)),
            None => None,
        };
        Ok(Smtp {
            host: server.host.clone(),
            port: server.port,
            tls: server.tls,
            parameters,
            login,
            hello: server.hello_name.clone().map_or_else(ClientId::default, ClientId::Domain),
            timeout: server.timeout,
        })
    }

    /// One session for one message: a kept connection would be dead after the server's idle time (lettre#743).
    async fn send(&self, mail: &lettre::Message) -> Result<String, SendError> {
        let mut session = self.open().await?;
        let bytes = mail.formatted();
        let handover = session.send(mail.envelope(), &bytes);
        let limit = self.timeout * HANDOVER_TIMEOUTS;
        let answer = match timeout(limit, handover).await {
            Ok(answer) => answer.map_err(|error| self.failure("while handing the message over", &error, true)),
            Err(_) => Err(self.silent("while handing the message over", limit)),
        }?;
        // The message is the server's now; whatever comes after must not look like a failure.
        drop(timeout(QUIT_TIMEOUT, session.quit()).await);
        Ok(words(&format!("{} {}", answer.code(), answer.message().collect::<Vec<_>>().join(" "))))
    }

    /// Connects, encrypts and logs in.
    async fn open(&self) -> Result<AsyncSmtpConnection, SendError> {
        let mut session = match (self.tls, self.parameters.clone()) {
            (Tls::Implicit, parameters) => {
                let server = (self.host.as_str(), self.port);
                let connect = AsyncSmtpConnection::connect_tokio1(server, None, &self.hello, parameters, None);
                self.step(CONNECTING, connect).await?
            }
            _ => {
                let stream = Box::new(self.dial().await?);
                self.step(CONNECTING, AsyncSmtpConnection::connect_with_transport(stream, &self.hello)).await?
            }
        };
        if let (Tls::Starttls, Some(parameters)) = (self.tls, &self.parameters) {
            self.step("at STARTTLS", session.starttls(parameters.clone(), &self.hello)).await?;
        }
        if let Some(login) = &self.login {
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            self.step("at the login", session.auth(&mechanisms, &login.credentials)).await?;
        }
        Ok(session)
    }

    /// lettre can connect by itself, and must where TLS comes first; but it writes the end of a message apart, which by
    /// Nagle's algorithm waits for the acknowledgement of what came before, which servers delay by 40 ms.
    async fn dial(&self) -> Result<TcpStream, SendError> {
        let connected = timeout(self.timeout, TcpStream::connect((self.host.as_str(), self.port))).await;
        let connected = connected.map_err(|_| self.silent(CONNECTING, self.timeout))?;
        let stream = connected.and_then(|stream| stream.set_nodelay(true).map(|()| stream));
        stream.map_err(|error| SendError::retry(format!("{error} ({})", self.place(CONNECTING))))
    }

    async fn step<T>(
        &self,
        when: &str,
        step: impl Future<Output = Result<T, lettre::transport::smtp::Error>>,
    ) -> Result<T, SendError> {
        match timeout(self.timeout, step).await {
            Ok(done) => done.map_err(|error| self.failure(when, &error, false)),
            Err(_) => Err(self.silent(when, self.timeout)),
        }
    }

    fn place(&self, when: &str) -> String {
        format!("{}:{}, {when}", self.host, self.port)
    }

    fn silent(&self, when: &str, limit: Duration) -> SendError {
        SendError::retry(format!(
            "{}:{} {when}: no answer within {}",
            self.host,
            self.port,
            humantime::format_duration(limit)
        ))
    }

    /// Only a refusal of the message itself is final. One of the session (greeting, EHLO, STARTTLS, login) is about us and
    /// may be mended while the message waits.
    fn failure(&self, when: &str, error: &lettre::transport::smtp::Error, of_message: bool) -> SendError {
        let code = error.status().map(u16::from);
        let said = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
        let said = code.map_or_else(|| causes(error), |code| words(&format!("{code} {said}")));
        let reason = format!("{} ({})", self.without_secrets(said), self.place(when));
        let is_login = code.is_some_and(|code| LOGIN_REFUSED.contains(&code));
        // A client error while handing over: the server lacks what the address needs (SMTPUTF8).
        let is_final = of_message && !is_login && (error.is_permanent() || error.is_client());
        if is_final { SendError::refused(reason) } else { SendError::retry(reason) }
    }

    /// Some servers repeat the line that they did not understand, with the password in it.
    fn without_secrets(&self, said: String) -> String {
        let secrets = self.login.iter().flat_map(|login| &login.secrets);
        secrets.fold(said, |said, secret| said.replace(secret, "***"))
    }
}

impl Login {
    fn new(username: &str, password: String) -> Login {
        let credentials = Credentials::new(username.to_owned(), password.clone());
        // "Password:", the challenge of the LOGIN mechanism.
        let code = Code::new(Severity::PositiveIntermediate, Category::Unspecified3, Detail::Four);
        let challenge = Response::new(code, vec!["UGFzc3dvcmQ6".to_owned()]);
        let commands = [
            Auth::new(Mechanism::Plain, credentials.clone(), None),
            Auth::new_from_response(Mechanism::Login, credentials.clone(), &challenge),
        ];
        let last_word = |command: Auth| command.to_string().split_whitespace().last().map(ToOwned::to_owned);
        let encoded = commands.into_iter().flatten().filter_map(last_word);
        Login { secrets: std::iter::once(password).chain(encoded).collect(), credentials }
    }
}

fn tls_parameters(name: &str, server: &Server) -> Result<TlsParameters, BuildError> {
    let mut builder = TlsParameters::builder(server.host.clone());
    if let Some(path) = &server.ca_file {
        let pem = super::read_text(name, "ca_file", path)?;
        let wrong = || BuildError::new(name, "ca_file", format!("{} holds no certificate in PEM form", path.display()));
        if !pem.contains("-----BEGIN CERTIFICATE-----") {
            return Err(wrong());
        }
        let certificate = Certificate::from_pem(pem.as_bytes()).map_err(|_| wrong())?;
        builder = builder.certificate_store(CertificateStore::None).add_root_certificate(certificate);
    }
    builder.build_rustls().map_err(|error| BuildError::new(name, "tls", causes(&error)))
}
