//! JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{BoxError, Codec, Decode, Encode, essence};

/// JSON, by serde: `application/json`. It also reads what is JSON by its suffix, `application/problem+json` for example.
///
/// [`Message::json`](crate::Message::json) and [`Content::json`](crate::Content::json) are its short forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Json;

impl Codec for Json {
    fn content_type(&self) -> &str {
        "application/json"
    }

    fn accepts(&self, content_type: &str) -> bool {
        let essence = essence(content_type).to_ascii_lowercase();
        essence == self.content_type() || essence == "text/json" || essence.ends_with("+json")
    }
}

impl<T: Serialize + ?Sized> Encode<T> for Json {
    fn encode(&self, value: &T) -> Result<Vec<u8>, BoxError> {
        Ok(serde_json::to_vec(value)?)
    }
}

impl<T: DeserializeOwned> Decode<T> for Json {
    fn decode(&self, body: &[u8]) -> Result<T, BoxError> {
        Ok(serde_json::from_slice(body)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f41_json_reads_what_is_json_by_its_type() {
        for yes in ["application/json", "Application/JSON; charset=utf-8", "application/vnd.api+json", "text/json"] {
            assert!(Json.accepts(yes), "{yes}");
        }
        for no in ["", "application/jsonp", "text/plain", "application/msgpack; profile=json"] {
            assert!(!Json.accepts(no), "{no}");
        }
    }
}
