//! Files that change.

use std::os::unix::fs::symlink;

use super::*;

struct Folder {
    dir: tempfile::TempDir,
    files: Files,
}

impl Folder {
    fn new(patterns: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let patterns = patterns.iter().map(|pattern| dir.path().join(pattern)).collect();
        Self { files: Files::new(FilesSpec { patterns, port: None, tls_only: false }), dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// As whoever replaces it should.
    fn put(&self, name: &str, text: &str) {
        fs::write(self.path(".new"), text).unwrap();
        fs::rename(self.path(".new"), self.path(name)).unwrap();
    }

    fn look(&mut self) -> (Option<Vec<String>>, Option<String>) {
        let found = self.files.look();
        let shown = found.endpoints.map(|all| all.iter().map(|one| one.endpoint.authority()).collect());
        (shown, found.problem)
    }

    fn hosts(&mut self) -> Vec<String> {
        let (hosts, problem) = self.look();
        assert_eq!(problem, None);
        hosts.unwrap()
    }
}

#[test]
fn a_file_that_is_replaced_is_read_again() {
    let mut folder = Folder::new(&["targets.json"]);
    folder.put("targets.json", r#"[{"targets": ["b:1", "a:1"]}]"#);
    assert_eq!(folder.hosts(), ["a:1", "b:1"]);
    folder.put("targets.json", r#"[{"targets": ["c:1", "b:1"]}]"#);
    assert_eq!(folder.hosts(), ["b:1", "c:1"]);
    folder.put("targets.json", "[]");
    assert_eq!(folder.hosts(), [""; 0]);
}

#[test]
fn symlinks_are_followed_to_where_they_point_now() {
    // As a ConfigMap is mounted: file -> ..data/file, ..data -> a folder with a date.
    let mut folder = Folder::new(&["targets.yaml"]);
    for (version, host) in [("..v1", "a:1"), ("..v2", "b:1")] {
        fs::create_dir(folder.path(version)).unwrap();
        fs::write(folder.path(version).join("targets.yaml"), format!("- targets: ['{host}']\n")).unwrap();
    }
    symlink("..v1", folder.path("..data")).unwrap();
    symlink("..data/targets.yaml", folder.path("targets.yaml")).unwrap();
    assert_eq!(folder.hosts(), ["a:1"]);
    symlink("..v2", folder.path("..new")).unwrap();
    fs::rename(folder.path("..new"), folder.path("..data")).unwrap();
    assert_eq!(folder.hosts(), ["b:1"]);
}

#[test]
fn a_bad_file_changes_nothing_and_the_others_count() {
    let mut folder = Folder::new(&["one.json", "two.json"]);
    folder.put("one.json", "[{targets: ['a:1']}]");
    folder.put("two.json", "[{targets: ['b:1']}]");
    assert_eq!(folder.hosts(), ["a:1", "b:1"]);
    folder.put("one.json", "[{targets: ['a:1', ");
    folder.put("two.json", "[{targets: ['c:1']}]");
    let (hosts, problem) = folder.look();
    assert_eq!(hosts.unwrap(), ["a:1", "c:1"]);
    assert!(problem.unwrap().contains("one.json: "));
    fs::remove_file(folder.path("two.json")).unwrap();
    assert_eq!(folder.look().0.unwrap(), ["a:1", "c:1"]);
    folder.put("one.json", "[{targets: ['d:1']}]");
    let (hosts, problem) = folder.look();
    assert_eq!(hosts.unwrap(), ["c:1", "d:1"]);
    assert!(problem.unwrap().contains("two.json: "));
}

#[test]
fn before_anything_could_be_read_nobody_knows() {
    let mut folder = Folder::new(&["missing.json", "sub/*.json"]);
    let (hosts, problem) = folder.look();
    assert_eq!(hosts, None);
    assert!(problem.is_some());
}

#[test]
fn patterns_take_what_matches_and_let_go_what_is_gone() {
    let mut folder = Folder::new(&["*.json"]);
    folder.put("a.json", "[{targets: ['a:1']}]");
    folder.put("b.json", "[{targets: ['b:1']}]");
    folder.put(".hidden.json", "[{targets: ['h:1']}]");
    folder.put("c.yaml", "[{targets: ['c:1']}]");
    assert_eq!(folder.hosts(), ["a:1", "b:1"]);
    fs::remove_file(folder.path("a.json")).unwrap();
    assert_eq!(folder.hosts(), ["b:1"]);
    fs::remove_file(folder.path("b.json")).unwrap();
    let (hosts, problem) = folder.look();
    assert_eq!(hosts.unwrap(), ["b:1"], "the last goes by an empty list only");
    assert!(problem.unwrap().contains("no file matches"));
}

#[test]
fn names_match_patterns() {
    for (name, pattern, wanted) in [
        ("a.json", "*.json", true),
        ("a.jsonx", "*.json", false),
        ("targets-a-1.yaml", "targets-*-*.yaml", true),
        ("targets-a.yaml", "targets-*-*.yaml", false),
        ("aa", "a*a", true),
        ("a", "a*a", false),
        ("a", "*", true),
        (".a", "*", false),
    ] {
        assert_eq!(is_match(name, pattern), wanted, "{name} {pattern}");
    }
}
