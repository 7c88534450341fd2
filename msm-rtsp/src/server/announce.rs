//! Telling a client of a session that is up that what it gets is described otherwise from now on.

use rtsp_types::Method;

use crate::message::Request;

/// A session, and its stream's new description.
#[derive(Clone, Copy, Debug)]
pub struct Announce<'a> {
    /// The session's URL, as the client knows it.
    pub url: &'a str,
    /// The session's identifier.
    pub session: &'a str,
    /// What DESCRIBE would answer now.
    pub description: &'a [u8],
}

impl Announce<'_> {
    /// The request, of RTSP 1.0 alone (`RFC 2326 §10.3`): 2.0 has none.
    #[must_use]
    pub fn request(&self) -> Request {
        Request::new(Method::Announce, self.url)
            .with("Session", self.session)
            .with("Content-Base", format!("{}/", self.url.trim_end_matches('/')))
            .with_body("application/sdp", self.description.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_a_publisher_sends_with_a_session() {
        let announce = Announce { url: "rtsp://h/a", session: "17", description: b"v=0\r\n" };
        let mut text = Vec::new();
        announce.request().write(&mut text).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "ANNOUNCE rtsp://h/a RTSP/1.0\r\nSession: 17\r\nContent-Base: rtsp://h/a/\r\nContent-Type: application/sdp\r\n\
             Content-Length: 5\r\n\r\nv=0\r\n"
        );
    }
}
