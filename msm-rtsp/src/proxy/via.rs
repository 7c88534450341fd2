//! The Via header: who a request came through, and whether it went round (`RFC 7826 §18.57`).

use crate::message::Headers;

/// Whether a request came through us already.
#[must_use]
pub fn is_loop(headers: &Headers, pseudonym: &str) -> bool {
    headers
        .all("Via")
        .flat_map(|value| value.split(','))
        .any(|hop| hop.split_ascii_whitespace().nth(1).is_some_and(|name| name == pseudonym))
}

/// The Via values for a request that goes on: those that it came with, and ours.
#[must_use]
pub fn forwarded(headers: &Headers, pseudonym: &str) -> Vec<String> {
    headers.all("Via").map(str::to_owned).chain([format!("RTSP/1.0 {pseudonym}")]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_went_round_is_seen() {
        let mut headers = Headers::default();
        assert!(!is_loop(&headers, "msm-1"));
        headers.push("Via", "RTSP/1.0 a, RTSP/1.0 b").unwrap();
        for value in forwarded(&headers, "msm-1") {
            let _ = headers.push("Via", &value);
        }
        assert!(is_loop(&headers, "msm-1"));
        assert!(!is_loop(&headers, "msm"));
    }
}
