//! Files that documents name.

use super::text::{code, documents, files, is_like, read, root};

/// Ends of names of files that only this workspace can have.
const ENDS: [&str; 5] = [".rs", ".md", ".sh", ".svg", ".conf"];

/// Whether a word of a document is a path into the workspace.
fn is_path(word: &str, tops: &[String]) -> bool {
    let plain = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "._/-*".contains(c));
    let top = word.split('/').next().unwrap_or_default();
    let inside = word.contains('/') && tops.iter().any(|own| own == top);
    // `resolv.conf` is the system's, and so is what begins at the root of the file system.
    plain
        && !word.starts_with(['/', '*', '.'])
        && word != "resolv.conf"
        && (inside || ENDS.iter().any(|end| word.ends_with(end)))
}

fn exists(word: &str, files: &[String]) -> bool {
    let word = word.trim_end_matches('/');
    let below = format!("{word}/");
    files.iter().any(|file| {
        let end = file.match_indices('/').map(|(at, _)| &file[at + 1..]);
        file.starts_with(&below) || std::iter::once(&**file).chain(end).any(|end| is_like(end, word, '*'))
    })
}

#[test]
fn each_file_that_a_document_names_is_there() {
    let files = files();
    let mut tops: Vec<_> = files.iter().filter_map(|file| Some(file.split_once('/')?.0.to_owned())).collect();
    tops.dedup();
    let (mut missing, mut count) = (Vec::new(), 0);
    for (document, text) in documents() {
        for word in code(&text).iter().flat_map(|code| code.split_whitespace()) {
            let word = word.trim_end_matches([':', ',', ';', '.']);
            if is_path(word, &tops) {
                count += 1;
                if !exists(word, &files) {
                    missing.push(format!("{document}: {word}"));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(count > 60, "{count} paths");
}

/// The modules of a crate's root.
fn modules(lib: &str, is_public: bool) -> Vec<String> {
    let text = read(lib);
    let found = text.lines().filter_map(|line| {
        let name =
            line.strip_prefix("pub mod ").or_else(|| line.strip_prefix("mod ").filter(|_| !is_public))?;
        Some(name.strip_suffix(';')?.to_owned())
    });
    found.collect()
}

#[test]
fn the_map_has_each_crate_and_its_modules() {
    let map = read("ARCHITECTURE.md");
    let row = |name: &str| map.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
    for name in ["msm-core", "msm-rtsp", "msm-auth", "msm-fec", "msm-link", "msm-udp", "msm", "msm-proxy"] {
        let row = row(name).unwrap_or_else(|| panic!("no row of {name}"));
        if name != "msm" && name != "msm-proxy" {
            for module in modules(&format!("{name}/src/lib.rs"), true) {
                assert!(row.contains(&format!("`{module}`")), "{module} is not in the row of {name}");
            }
        }
    }
    let inside = map.split("## Inside `msm`").nth(1).unwrap().split("\n## ").next().unwrap();
    let cells: Vec<_> =
        inside.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next()).collect();
    for module in modules("src/lib.rs", false) {
        assert!(cells.iter().any(|cell| cell.contains(&format!("`{module}`"))), "{module} is not in the map");
    }
}

#[test]
fn each_link_leads_somewhere() {
    let (mut broken, mut count) = (Vec::new(), 0);
    for (document, text) in documents() {
        let dir = root().join(&document).parent().unwrap().to_owned();
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split(')').next().unwrap();
            if target.contains("://") {
                continue;
            }
            count += 1;
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let whole = if path.is_empty() { text.clone() } else { String::new() };
            let whole = if path.ends_with(".md") {
                std::fs::read_to_string(dir.join(path)).unwrap_or_default()
            } else {
                whole
            };
            let is_there = path.is_empty() || dir.join(path).exists();
            if !is_there || !(anchor.is_empty() || headings(&whole).any(|heading| heading == anchor)) {
                broken.push(format!("{document}: {target}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(count > 20, "{count} links");
}

/// A document's headings as links name them.
fn headings(text: &str) -> impl Iterator<Item = String> {
    text.lines().filter(|line| line.starts_with('#')).map(|line| {
        let words = line.trim_start_matches('#').trim().to_lowercase();
        let kept = words.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}
