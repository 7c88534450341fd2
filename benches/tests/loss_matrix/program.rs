//! The program.

use std::process::{Command, Output};

fn loss_matrix(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loss_matrix")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_program_prints_its_table_and_draws_its_plot() {
    let svg = std::env::temp_dir().join(format!("loss-matrix-{}.svg", std::process::id()));
    let arguments = ["--quick", "--only", "8M,rtt20,100ms,random", "--svg", svg.to_str().unwrap()];
    let first = loss_matrix(&arguments);
    let output = text(&first.stdout);
    assert!(output.contains("seed 1"), "{output}");
    let row = output.lines().find(|line| line.starts_with("8M/5%/random/rtt20/100ms ")).unwrap();
    let residual: f64 = row.split_whitespace().nth(2).unwrap().parse().unwrap();
    assert!((0.04..0.06).contains(&residual), "{row}");
    assert!(row.contains("(99+"), "{row}");
    let missed = output.lines().any(|line| line.starts_with("MISSED "));
    assert_eq!(first.status.code(), Some(i32::from(missed)), "{output}");
    assert_eq!(loss_matrix(&arguments).stdout, first.stdout, "everything follows from the seed");
    let picture = std::fs::read_to_string(&svg).unwrap();
    std::fs::remove_file(&svg).unwrap();
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
    assert!(picture.contains("prefers-color-scheme:dark") && picture.contains(">unprotected</text>"));
    assert!(!picture.contains("NaN") && !picture.contains("inf"));
}

#[test]
fn the_program_fails_where_a_bound_is_missed_and_only_there() {
    // Steps of the loss have no bound.
    assert_eq!(loss_matrix(&["--quick", "--only", "1%>10%,8M,rtt20,50ms"]).status.code(), Some(0));
    let unknown = loss_matrix(&["--only", "8M,no-such-word"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("no-such-word"));
    assert_eq!(loss_matrix(&["--fast"]).status.code(), Some(2));
}
