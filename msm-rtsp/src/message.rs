//! Requests and responses. The request URI is kept as it came, byte for byte, and headers in their order: Digest,
//! URL rewriting and odd peers all need that.

pub use rtsp_types::{Method, StatusCode, Version};

use bytes::Bytes;

use crate::error::MessageError;

/// Headers in the order of the message. Names compare without case.
///
/// Values cannot hold line breaks or other control characters, so that nothing which comes from a peer can end a
/// header line early when it is written to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// The first value of a header.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every value of a header.
    pub fn all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.0.iter().filter(move |(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Headers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends a header.
    ///
    /// # Errors
    /// [`MessageError::Injection`] for a name that is no token or a value with control characters.
    pub fn push(&mut self, name: &str, value: &str) -> Result<(), MessageError> {
        if !is_token(name) || !is_value(value) {
            return Err(MessageError::Injection { name: name.escape_debug().collect() });
        }
        self.0.push((name.to_owned(), value.to_owned()));
        Ok(())
    }

    /// Replaces all values of a header by one.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), MessageError> {
        self.remove(name);
        self.push(name, value)
    }

    /// Removes a header.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(own, _)| !own.eq_ignore_ascii_case(name));
    }
}

/// What routes look at.
impl msm_core::route::Headers for Headers {
    fn any(&self, name: &str, passes: &mut dyn FnMut(&str) -> bool) -> bool {
        self.all(name).any(passes)
    }
}

/// Whether `name` may stand as a method or header name (`RFC 2326 §15.1`, token).
#[must_use]
pub fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(is_token_byte)
}

pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_value(value: &str) -> bool {
    value.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The request URI as it came: absolute, `*`, or whatever an odd peer sent.
    pub uri: String,
    /// 1.0 or 2.0.
    pub version: Version,
    /// The headers.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
}

impl Request {
    /// A request without headers and body.
    #[must_use]
    pub fn new(method: Method, uri: impl Into<String>) -> Self {
        Self {
            method,
            uri: uri.into(),
            version: Version::V1_0,
            headers: Headers::default(),
            body: Bytes::new(),
        }
    }

    /// Adds a header whose value we made ourselves; one that cannot be written is left out.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl AsRef<str>) -> Self {
        let _ = self.headers.push(name, value.as_ref());
        self
    }

    /// Sets the body and its type.
    #[must_use]
    pub fn with_body(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.with("Content-Type", content_type)
    }

    /// Sequence number of the request (`RFC 2326 §12.17`).
    #[must_use]
    pub fn cseq(&self) -> Option<u32> {
        cseq(&self.headers)
    }

    /// The session that the request names, without parameters.
    #[must_use]
    pub fn session(&self) -> Option<&str> {
        self.headers.get("Session").map(|value| value.split(';').next().unwrap_or_default().trim())
    }

    /// Appends the request as text.
    ///
    /// # Errors
    /// [`MessageError::Injection`] if the URI has white space or control characters.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), MessageError> {
        let method = method_name(&self.method);
        if self.uri.is_empty()
            || !self.uri.bytes().all(|byte| byte > b' ' && byte != 0x7f)
            || !is_token(method)
        {
            return Err(MessageError::Injection { name: "request URI".into() });
        }
        out.extend_from_slice(format!("{method} {} {}\r\n", self.uri, version_text(self.version)).as_bytes());
        write_rest(out, &self.headers, &self.body);
        Ok(())
    }
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// 1.0 or 2.0.
    pub version: Version,
    /// Three digits.
    pub status: u16,
    /// The reason phrase; empty takes the standard one.
    pub reason: String,
    /// The headers.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
}

impl Response {
    /// A response without headers and body.
    #[must_use]
    pub fn new(status: u16) -> Self {
        Self {
            version: Version::V1_0,
            status,
            reason: String::new(),
            headers: Headers::default(),
            body: Bytes::new(),
        }
    }

    /// Adds a header; a value that cannot be written is left out.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl AsRef<str>) -> Self {
        let _ = self.headers.push(name, value.as_ref());
        self
    }

    /// Sets the body and its type.
    #[must_use]
    pub fn with_body(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.with("Content-Type", content_type)
    }

    /// Whether the request succeeded.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Sequence number of the request that this answers.
    #[must_use]
    pub fn cseq(&self) -> Option<u32> {
        cseq(&self.headers)
    }

    /// Appends the response as text.
    pub fn write(&self, out: &mut Vec<u8>) {
        let reason: String = if self.reason.is_empty() {
            match self.status {
                200 => "OK".into(),
                status => StatusCode::from(status).to_string(),
            }
        } else {
            self.reason.chars().filter(|character| !character.is_control()).collect()
        };
        out.extend_from_slice(
            format!("{} {} {reason}\r\n", version_text(self.version), self.status).as_bytes(),
        );
        write_rest(out, &self.headers, &self.body);
    }
}

/// A method as it is written.
#[must_use]
pub fn method_name(method: &Method) -> &str {
    match method {
        Method::Describe => "DESCRIBE",
        Method::GetParameter => "GET_PARAMETER",
        Method::Options => "OPTIONS",
        Method::Pause => "PAUSE",
        Method::Play => "PLAY",
        Method::PlayNotify => "PLAY_NOTIFY",
        Method::Redirect => "REDIRECT",
        Method::Setup => "SETUP",
        Method::SetParameter => "SET_PARAMETER",
        Method::Announce => "ANNOUNCE",
        Method::Record => "RECORD",
        Method::Teardown => "TEARDOWN",
        Method::Extension(name) => name,
    }
}

/// One number of digits only; of several headers none can be trusted.
fn cseq(headers: &Headers) -> Option<u32> {
    let mut values = headers.all("CSeq");
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    value.bytes().all(|byte| byte.is_ascii_digit()).then(|| value.parse().ok())?
}

fn version_text(version: Version) -> &'static str {
    match version {
        Version::V1_0 => "RTSP/1.0",
        Version::V2_0 => "RTSP/2.0",
    }
}

fn write_rest(out: &mut Vec<u8>, headers: &Headers, body: &[u8]) {
    for (name, value) in headers.iter() {
        if !name.eq_ignore_ascii_case("Content-Length") {
            out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
    }
    if !body.is_empty() {
        out.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
}
