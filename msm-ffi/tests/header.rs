//! What is committed for C is what the code says.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn own(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn header() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap();
    let sources =
        ["version", "result", "options", "burst", "stats", "event", "log", "mesh", "reader", "publisher"];
    let builder = sources.iter().fold(cbindgen::Builder::new().with_config(config), |builder, source| {
        builder.with_src(root.join(format!("src/{source}.rs")))
    });
    let mut text = Vec::new();
    builder.generate().unwrap().write(&mut text);
    // What is a heading in Rust's documentation is a word here.
    String::from_utf8(text).unwrap().replace("# Safety\n", "Requires:\n")
}

#[test]
fn the_header_is_what_the_code_says() {
    let header = header();
    if std::env::var_os("MSM_WRITE_HEADER").is_some() {
        fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("include/msm.h"), &header).unwrap();
    }
    assert!(
        own("include/msm.h") == header,
        "include/msm.h is not what the code says: `make header` writes it"
    );
}

fn functions(text: &str, begins: impl Fn(&str) -> Option<&str>) -> BTreeSet<String> {
    text.lines().filter_map(|line| begins(line).map(str::to_owned)).collect()
}

#[test]
fn the_library_has_each_function_of_the_header_under_a_version() {
    let declared = functions(&own("include/msm.h"), |line| {
        let (before, _) = line.split_once('(')?;
        let name = before.rsplit([' ', '*']).next()?;
        (!line.starts_with([' ', '*']) && !line.starts_with("typedef") && name.starts_with("msm_"))
            .then_some(name)
    });
    let versioned = functions(&own("libmsm.map"), |line| {
        line.trim().strip_suffix(';').filter(|name| name.starts_with("msm_"))
    });
    assert!(declared.len() > 30, "{declared:?}");
    assert_eq!(declared, versioned);
    let exported: BTreeSet<_> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
        .unwrap()
        .flat_map(|file| {
            let text = fs::read_to_string(file.unwrap().path()).unwrap();
            let mut names = Vec::new();
            for part in text.split("#[unsafe(no_mangle)]").skip(1) {
                let (_, rest) = part.split_once(" fn ").unwrap();
                names.push(rest.split('(').next().unwrap().to_owned());
            }
            names
        })
        .collect();
    assert_eq!(exported, declared);
}
