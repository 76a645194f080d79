//! Checks whether a system runs: asks its health URLs, outside of any run.

use std::path::Path;
use std::time::Duration;

use rekindle_model::failure::Failure;
use rekindle_model::system::Health;
use rekindle_sources::blocking;
use rekindle_sources::place::Root;
use rekindle_vault::regular;
use serde::Deserialize;

use crate::http_client::{self, Request};

/// The default time for an answer. It is short, since the check precedes something urgent.
const PATIENCE: Duration = Duration::from_secs(2);

/// What came of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The system runs, healthy or not.
    Answered {
        /// The URL that answered, without its secrets.
        asked: String,
        /// The HTTP status.
        status: u16,
    },
    /// No process listens there, or the system does not say where it listens.
    Silent,
    /// A process may listen there, but did not answer. This is why.
    Unknown(String),
}

/// The content of the file that `address` names, which a running system writes.
#[derive(Deserialize)]
struct Address {
    listening: String,
}

/// Checks whether the living system, with its data at `root`, answers.
pub async fn ask(root: &Path, health: &Health) -> Answer {
    let mut url = health.url.clone();
    if let Some(address) = &health.address {
        let path = Root::living(root.to_owned()).place(address);
        let text = match regular::read(&path, regular::SMALL) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Answer::Silent,
            Err(error) => return Answer::Unknown(format!("{} cannot be read: {error}", path.display())),
        };
        match serde_json::from_slice::<Address>(&text) {
            Ok(address) => url.insert_str(0, address.listening.trim_end_matches('/')),
            Err(error) => {
                return Answer::Unknown(format!(
                    "{} does not say where the system listens: {error}",
                    path.display()
                ));
            }
        }
    }
    let request = Request {
        method: "GET".to_owned(),
        url,
        headers: Vec::new(),
        body: None,
        timeout: health.timeout.map_or(PATIENCE, |period| period.0),
    };
    let asked = request.shown();
    let sent = blocking(move || Ok(http_client::exchange(request))).await;
    match sent {
        Ok(Ok((status, _))) => Answer::Answered { asked, status },
        Ok(Err(error)) => {
            let none = http_client::refused(&asked, &error);
            let Failure { message, .. } = none.failure;
            if none.unsent {
                Answer::Silent
            } else {
                Answer::Unknown(message)
            }
        }
        Err(failure) => Answer::Unknown(failure.message),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use rekindle_model::system::Period;

    use super::*;

    fn at(url: String) -> Health {
        Health {
            url,
            address: None,
            timeout: Some(Period(Duration::from_secs(5))),
        }
    }

    /// Answers one connection with a status.
    fn server(status: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 1024];
            let _ = std::io::Read::read(&mut stream, &mut asked).unwrap();
            write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
            .unwrap();
        });
        url
    }

    #[tokio::test]
    async fn any_status_is_an_answer_a_closed_port_is_none_and_silence_is_not_known() {
        let root = tempfile::tempdir().unwrap();
        let url = format!("{}/health?token=x", server("503 Service Unavailable"));
        let shown = format!("GET {}", url.split('?').next().unwrap());
        let answered = Answer::Answered {
            asked: shown,
            status: 503,
        };
        assert_eq!(ask(root.path(), &at(url)).await, answered);

        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(
            ask(root.path(), &at(format!("http://{closed}/"))).await,
            Answer::Silent
        );

        let mute = TcpListener::bind("127.0.0.1:0").unwrap();
        let health = Health {
            timeout: Some(Period(Duration::from_millis(50))),
            ..at(format!("http://{}/", mute.local_addr().unwrap()))
        };
        assert!(matches!(ask(root.path(), &health).await, Answer::Unknown(_)));
    }

    #[tokio::test]
    async fn a_system_that_says_where_it_listens_is_asked_there() {
        let root = tempfile::tempdir().unwrap();
        let health = Health {
            address: Some("run/address".to_owned()),
            ..at("/health".to_owned())
        };
        assert_eq!(ask(root.path(), &health).await, Answer::Silent);
        std::fs::create_dir(root.path().join("run")).unwrap();
        let address = root.path().join("run/address");
        std::fs::write(&address, format!("{{\"listening\": {:?}}}", server("200 OK"))).unwrap();
        assert!(matches!(
            ask(root.path(), &health).await,
            Answer::Answered { status: 200, .. }
        ));
        std::fs::write(&address, "torn").unwrap();
        assert!(matches!(ask(root.path(), &health).await, Answer::Unknown(_)));
    }
}
