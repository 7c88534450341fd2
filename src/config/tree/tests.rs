use super::*;

fn parse(text: &str) -> Tree {
    let mut problems = Vec::new();
    let tree = Tree::parse(text, &mut problems).unwrap_or_else(|problem| panic!("{problem:?}"));
    assert_eq!(problems, []);
    tree
}

fn shape(tree: &Tree, node: &Node, out: &mut Vec<String>) {
    let value = match &node.kind {
        Kind::Null => "null".to_owned(),
        Kind::Bool(value) => value.to_string(),
        Kind::Unsigned(value) => value.to_string(),
        Kind::Signed(value) => value.to_string(),
        Kind::Float(value) => format!("{value:?}"),
        Kind::Text(text) | Kind::Env(text) => format!("{text:?}"),
        Kind::Seq(items) => {
            items.iter().for_each(|item| shape(tree, item, out));
            return;
        }
        Kind::Map(entries) => {
            entries.iter().for_each(|(_, value)| shape(tree, value, out));
            return;
        }
    };
    let Origin::Line(line) = node.origin else { panic!("no line") };
    out.push(format!("{line} {}={value}", tree.path_of(node.id)));
}

#[test]
fn values_know_line_and_path() {
    let tree = parse("# top\na:\n  - {b: 1, c: -2}\n  - b: 0755\n    c: on\nd: [x, 1.5, true, ~]\ne:\n");
    let mut out = Vec::new();
    shape(&tree, &tree.root, &mut out);
    assert_eq!(
        out,
        [
            "3 a[0].b=1",
            "3 a[0].c=-2",
            "4 a[1].b=\"0755\"",
            "5 a[1].c=\"on\"",
            "6 d[0]=\"x\"",
            "6 d[1]=1.5",
            "6 d[2]=true",
            "6 d[3]=null",
            "7 e=null"
        ]
    );
}

#[test]
fn empty_documents() {
    for text in ["", "\n", "# nothing\n", "---\n", "~", "{}"] {
        assert!(matches!(&parse(text).root.kind, Kind::Null | Kind::Map(_)), "{text:?}");
    }
}

#[test]
fn duplicate_keys_are_all_reported() {
    let mut problems = Vec::new();
    let tree = Tree::parse("a: 1\nb: 2\na: 3\nb: 4\n", &mut problems).map_err(|p| p.message).expect("parsed");
    let found: Vec<_> = problems.iter().map(|p| (p.origin.clone(), p.key.as_str())).collect();
    assert_eq!(found, [(Origin::Line(3), "a"), (Origin::Line(4), "b")]);
    assert!(problems[0].message.contains("first in line 1"));
    let Kind::Map(entries) = &tree.root.kind else { panic!("a map") };
    assert!(matches!(entries[0].1.kind, Kind::Unsigned(1)));
}

#[test]
fn many_keys_that_stand_twice_take_no_time() {
    let keys = MAX_NODES / 8;
    let once: String = (0..keys).map(|at| format!("  k{at}: 1\n")).collect();
    let mut problems = Vec::new();
    let began = std::time::Instant::now();
    let tree = Tree::parse(&format!("a:\n{once}{once}"), &mut problems);
    // Compared one by one they would be compared a billion times: minutes, in this build.
    assert!(began.elapsed() < std::time::Duration::from_secs(30), "{:?}", began.elapsed());
    assert!(tree.is_ok());
    assert_eq!(problems.len(), keys);
    let last = problems.last().map(|own| (own.key.as_str(), own.message.as_str()));
    let (key, line) = (format!("a.k{}", keys - 1), keys + 1);
    let message = format!("the key stands twice (first in line {line}); remove one");
    assert_eq!(last, Some((key.as_str(), message.as_str())));
}

#[test]
fn syntax_errors_name_their_line() {
    let error = |text: &str| Tree::parse(text, &mut Vec::new()).map(|_| ()).expect_err(text);
    let problem = error("a: 1\nb: [1, 2\n");
    assert!(matches!(problem.origin, Origin::Line(2..=3)), "{problem:?}");
    let problem = error("a: 1\n\tb: 2\n");
    assert!(matches!(problem.origin, Origin::Line(_)), "{problem:?}");
    assert!(!problem.message.contains("line"), "{problem:?}");
    error("a: *nothing\n");
    error("a: 1\n---\nb: 2\n");
    error(&"x".repeat(MAX_FILE_BYTES + 1));
    error(&format!("a: {}\n", "x".repeat(MAX_SCALAR_BYTES + 1)));
    error(&"[".repeat(MAX_DEPTH + 1));
    error(&(0..=MAX_DEPTH).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect::<String>());
}

#[test]
fn bombs_are_refused() {
    let mut laughs = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for level in 1..10 {
        let below = level - 1;
        let items = vec![format!("*a{below}"); 9].join(", ");
        laughs.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    let error = Tree::parse(&laughs, &mut Vec::new()).map(|_| ()).expect_err("bomb");
    assert!(error.message.starts_with("not valid YAML"), "{error:?}");
    let many = format!("a: &a {}\nb: [{}]\n", "x".repeat(4000), vec!["*a"; 20_000].join(","));
    assert!(Tree::parse(&many, &mut Vec::new()).is_err());
    let merges = format!("a: &a {{k: 1}}\n{}", "b: {<<: *a}\n".repeat(20_000));
    assert!(Tree::parse(&merges, &mut Vec::new()).is_err());
    let nodes = format!("a: [{}]", vec!["1"; MAX_NODES + 1].join(","));
    assert!(Tree::parse(&nodes, &mut Vec::new()).is_err());
}

#[test]
fn merges_work() {
    let tree = parse("base: &base {x: 1, y: 2}\nuse:\n  <<: *base\n  y: 3\n");
    let mut out = Vec::new();
    shape(&tree, &tree.root, &mut out);
    assert!(out.iter().any(|line| line.ends_with("use.x=1")), "{out:?}");
    assert!(out.iter().any(|line| line.ends_with("use.y=3")), "{out:?}");
    assert!(!out.iter().any(|line| line.ends_with("use.y=2")), "{out:?}");
}
