//! Reading descriptions as servers write them: what is odd is left out, and the rest is kept.

use sdp_types::Session;

use super::SdpError;
use crate::limits::Limits;

/// Reads a description. Lines that are none, or of which there are too many, are left out, and so are media sections
/// that cannot be parsed: a camera's metadata must not cost its video.
pub(super) fn read(text: &str, limits: &Limits) -> Result<Session, SdpError> {
    let mut lines = text
        .lines()
        .map(str::trim_end)
        .filter(|line| matches!(line.as_bytes(), [kind, b'=', _, ..] if kind.is_ascii_lowercase()))
        .filter(|line| !line.contains(['\0', '\r']));
    lines.next().filter(|line| *line == "v=0").ok_or(SdpError::NoVersion)?;
    let (mut head, mut sections) = (Section::new(), Vec::<Section>::new());
    for line in lines {
        if line.starts_with("m=") {
            sections.push(Section::new());
        }
        sections.last_mut().unwrap_or(&mut head).push(line);
    }
    if sections.len() > limits.media_sections {
        return Err(SdpError::TooManyTracks { count: sections.len(), limit: limits.media_sections });
    }
    let mut session =
        Session::parse(head.text.as_bytes()).map_err(|error| SdpError::Syntax(error.to_string()))?;
    if session.session_name.is_empty() {
        session.session_name = "-".into();
    }
    let parsed = sections.iter().filter_map(|section| Session::parse(section.text.as_bytes()).ok());
    session.medias = parsed.flat_map(|own| own.medias).collect();
    Ok(session)
}

/// What is before the first `m=`, or one `m=` and what belongs to it; as a description of its own.
struct Section {
    text: String,
    /// Kinds of line that there can be one of, and is.
    seen: String,
    /// Whether the latest `t=` was kept, which `r=` lines belong to.
    timed: bool,
}

impl Section {
    fn new() -> Self {
        Self { text: "v=0\r\n".into(), seen: String::new(), timed: false }
    }

    fn push(&mut self, line: &str) {
        let kind = line.chars().next().unwrap_or_default();
        let keep = match kind {
            'b' | 'c' | 'o' | 'z' => parses("", line),
            't' => {
                self.timed = parses("", line);
                self.timed
            }
            'r' => self.timed && parses("t=0 0\r\n", line),
            _ => true,
        };
        let repeated = is_single(kind, self.is_media()) && self.seen.contains(kind);
        if !keep || repeated {
            return;
        }
        if is_single(kind, self.is_media()) {
            self.seen.push(kind);
        }
        if kind == 'm' {
            self.seen.push(kind);
            // Fields are separated by one blank: a second one makes the port an empty word.
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            self.text += &words.join(" ");
        } else {
            self.text += line;
        }
        self.text += "\r\n";
    }

    fn is_media(&self) -> bool {
        self.seen.starts_with('m')
    }
}

/// Whether there can be one line of a kind only. A media section may have several `c=`.
fn is_single(kind: char, media: bool) -> bool {
    matches!(kind, 'o' | 's' | 'i' | 'u' | 'z' | 'k') || (kind == 'c' && !media)
}

/// Whether a line can be parsed, after what must come before it.
fn parses(before: &str, line: &str) -> bool {
    Session::parse(format!("v=0\r\n{before}{line}\r\n").as_bytes()).is_ok()
}
