//! `msm-proxy status`: asks a running proxy, and shows its answer as tables.

use serde_json::{Map, Value};
use std::fmt::Write as _;
use std::io::{self, Read, Write as _};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Longest answer that is read.
const MAX_ANSWER: u64 = 64 * 1024 * 1024;
/// How long to wait for the connection, and for each part of the answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatusError {
    /// The address has no host or port, or the host is unknown.
    #[error("not an address: {0}; write e.g. 127.0.0.1:18000")]
    Address(io::Error),
    /// Nothing listens there.
    #[error("no answer: {0}; is the proxy running, and is this its admin.address?")]
    Connect(io::Error),
    /// The connection broke.
    #[error("the answer broke off: {0}")]
    Io(#[from] io::Error),
    /// Something else listens there.
    #[error("not a proxy's admin server: {0}")]
    Answer(String),
}

/// Asks the admin server at `address` for its status.
///
/// # Errors
/// See [`StatusError`].
pub fn fetch(address: &str) -> Result<Value, StatusError> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs().map_err(StatusError::Address)? {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(stream) => return ask(stream),
            Err(error) => last = error,
        }
    }
    Err(StatusError::Connect(last))
}

fn ask(mut stream: TcpStream) -> Result<Value, StatusError> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    // HTTP/1.0: the body ends with the connection.
    stream.write_all(b"GET /status HTTP/1.0\r\nAccept: application/json\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    parse(&answer)
}

fn parse(answer: &[u8]) -> Result<Value, StatusError> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) =
        text.split_once("\r\n\r\n").ok_or_else(|| StatusError::Answer("no HTTP answer".to_owned()))?;
    let line = head.lines().next().unwrap_or_default();
    if !line.starts_with("HTTP/1.") || line.split(' ').nth(1) != Some("200") {
        return Err(StatusError::Answer(format!("it says {:?}", clean(line))));
    }
    serde_json::from_str(body).map_err(|error| StatusError::Answer(error.to_string()))
}

/// Text without control characters: names of streams come from peers, and terminals obey escapes.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}

/// A value in a cell.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => clean(text),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(" "),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| format!("{}={}", clean(key), cell(value)))
            .collect::<Vec<_>>()
            .join(" "),
        other => other.to_string(),
    }
}

/// Columns that lead, in this order; the others follow by name.
const LEADING: [&str; 5] = ["name", "url", "route", "cluster", "endpoint"];

/// The status as text: single values as `key value` lines, then a table for each list of objects and each map of
/// objects.
pub fn table(status: &Value) -> String {
    let Value::Object(fields) = status else { return format!("{}\n", cell(status)) };
    let mut out = String::new();
    let width = fields.keys().map(|key| key.chars().count()).max().unwrap_or(0);
    let mut tables = Vec::new();
    for (key, value) in fields {
        match rows_of(value) {
            Some(rows) => tables.push((key, rows)),
            None => {
                let _ = writeln!(out, "{:<width$}  {}", clean(key), cell(value));
            }
        }
    }
    for (key, rows) in tables {
        if !out.is_empty() {
            out.push('\n');
        }
        let _ = writeln!(out, "{} ({})", clean(key), rows.len());
        if !rows.is_empty() {
            write_table(&mut out, &rows);
        }
    }
    out
}

/// The rows of a list of objects, or of a map of objects with their keys as names.
fn rows_of(value: &Value) -> Option<Vec<Map<String, Value>>> {
    match value {
        Value::Array(items) => items.iter().map(|item| item.as_object().cloned()).collect(),
        Value::Object(entries) if !entries.is_empty() => entries
            .iter()
            .map(|(name, entry)| {
                let mut row = entry.as_object()?.clone();
                row.insert("name".to_owned(), Value::String(name.clone()));
                Some(row)
            })
            .collect(),
        _ => None,
    }
}

fn write_table(out: &mut String, rows: &[Map<String, Value>]) {
    let mut columns: Vec<&str> = Vec::new();
    for key in rows.iter().flat_map(Map::keys) {
        if !columns.contains(&key.as_str()) {
            columns.push(key);
        }
    }
    columns.sort_by_key(|key| {
        (LEADING.iter().position(|leading| leading == key).unwrap_or(LEADING.len()), *key)
    });
    let mut lines: Vec<Vec<String>> = vec![columns.iter().map(|key| clean(key).to_uppercase()).collect()];
    for row in rows {
        lines.push(columns.iter().map(|key| row.get(*key).map_or_else(|| "-".to_owned(), cell)).collect());
    }
    let width_of = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|text| text.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width_of).collect();
    // Numbers are read by their last digit.
    let numeric: Vec<bool> = columns
        .iter()
        .map(|key| {
            let mut values =
                rows.iter().filter_map(|row| row.get(*key)).filter(|value| !value.is_null()).peekable();
            values.peek().is_some() && values.all(Value::is_number)
        })
        .collect();
    for line in &lines {
        let mut text = String::from("  ");
        for ((cell, &width), &right) in line.iter().zip(&widths).zip(&numeric) {
            let _ = if right { write!(text, "{cell:>width$}  ") } else { write!(text, "{cell:<width$}  ") };
        }
        out.push_str(text.trim_end());
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tables() {
        let status = json!({
            "version": "0.1.0",
            "streams": [
                {"url": "rtsp://h/a", "readers": 100, "codec": null},
                {"url": "rtsp://h/long\u{1b}[31m", "readers": 5, "tracks": ["video", "audio"]},
            ],
            "clusters": {"enc": {"streams": 2}},
            "listeners": [],
        });
        let shown = table(&status);
        let wanted = "\
version    0.1.0

clusters (1)
  NAME  STREAMS
  enc         2

listeners (0)

streams (2)
  URL                 CODEC  READERS  TRACKS
  rtsp://h/a          -          100  -
  rtsp://h/long?[31m  -            5  video audio
";
        assert_eq!(shown.replace('\u{FFFD}', "?"), wanted, "\n{shown}");
        assert_eq!(table(&json!("x")), "x\n");
    }

    #[test]
    fn answers() {
        assert_eq!(parse(b"HTTP/1.0 200 OK\r\nA: b\r\n\r\n{\"a\":1}").expect("good"), json!({"a": 1}));
        for bad in [
            &b""[..],
            b"SSH-2.0\r\n\r\n",
            b"HTTP/1.0 404 Not Found\r\n\r\n",
            b"HTTP/1.0 200 OK\r\n\r\n<html>",
        ] {
            assert!(matches!(parse(bad), Err(StatusError::Answer(_))), "{bad:?}");
        }
    }

    #[test]
    fn nothing_there() {
        assert!(matches!(fetch("nonsense"), Err(StatusError::Address(_))));
        assert!(matches!(fetch("127.0.0.1:1"), Err(StatusError::Connect(_))));
    }
}
