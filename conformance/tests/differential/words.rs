//! What was seen, as text that is the same wherever the same was seen.

use std::collections::BTreeMap;

use amqp_blocking::{Delivery, Error, ErrorKind, Outcome, Returned};

/// Gives the names that a broker made up names that tell which is which, and no more.
#[derive(Debug, Default)]
pub(crate) struct Names {
    given: BTreeMap<String, String>,
}

impl Names {
    /// The text with its made-up names replaced, and times left out.
    pub(crate) fn plain(&mut self, text: &str) -> String {
        let text = self.replace(text, "amq.gen-", |letter| letter.is_ascii_alphanumeric() || "-_".contains(letter));
        let text = self.replace(&text, "amq.ctag-", |letter| letter.is_ascii_alphanumeric() || "-_".contains(letter));
        // Dead letters tell when they died.
        self.replace(&text, "Timestamp(", |letter| letter.is_ascii_digit())
    }

    fn replace(&mut self, text: &str, start: &str, is_part: impl Fn(char) -> bool) -> String {
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(start) {
            let (before, name) = rest.split_at(at);
            let end = name[start.len()..].find(|letter| !is_part(letter)).map_or(name.len(), |end| start.len() + end);
            let (name, after) = name.split_at(end);
            plain.push_str(before);
            if start == "Timestamp(" {
                plain.push_str(start);
            } else {
                let number = self.given.len() + 1;
                let given = self.given.entry(name.to_owned());
                plain.push_str(given.or_insert_with(|| format!("<{}{number}>", start.trim_end_matches('-'))));
            }
            rest = after;
        }
        plain + rest
    }
}

pub(crate) fn error(error: &Error) -> String {
    match error.kind() {
        ErrorKind::ChannelClosed(reason) => {
            format!("channel closed: {} {} ({}.{})", reason.code.0, reason.text, reason.class_id, reason.method_id)
        }
        ErrorKind::ConnectionClosed(reason) => {
            format!("connection closed: {} {} ({}.{})", reason.code.0, reason.text, reason.class_id, reason.method_id)
        }
        ErrorKind::ConnectionLost { kind, .. } => format!("connection lost: {kind:?}"),
        kind => format!("{kind:?}"),
    }
}

pub(crate) fn delivery(delivery: &Delivery) -> String {
    format!(
        "{}{} {:?} from {:?} by {:?} {} {:?} {:?}",
        delivery.delivery_tag().value(),
        if delivery.redelivered() { " again" } else { "" },
        String::from_utf8_lossy(&delivery.to_bytes()),
        delivery.exchange(),
        delivery.routing_key(),
        delivery.consumer_tag(),
        delivery.message_count(),
        delivery.properties(),
    )
}

pub(crate) fn returned(returned: &Returned) -> String {
    format!(
        "{} {} {:?} from {:?} by {:?} {:?}",
        returned.reply_code().0,
        returned.reply_text(),
        String::from_utf8_lossy(&returned.body().to_bytes()),
        returned.exchange(),
        returned.routing_key(),
        returned.properties(),
    )
}

pub(crate) fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Acked => "acked".to_owned(),
        Outcome::Nacked => "nacked".to_owned(),
        Outcome::Returned(message) => format!("returned {}", returned(message)),
        Outcome::Unknown(cause) => format!("unknown, {}", error(cause)),
    }
}
