//! Programs in C and C++ that know nothing of this repository but what `make install` has installed.
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unwrap_used)]

#[path = "../../msm-auth/tests/support/need.rs"]
mod need;
mod support;

use std::process::Command;

use support::{Installed, run};

/// Which memory a program touches that is not its own, what is undefined in it, and what it does not free.
const SANITIZED: &[&str] =
    &["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"];

fn sanitized(name: &str) {
    let Some(installed) = Installed::get() else { return };
    let program = installed.compile(name, SANITIZED);
    let output = run(program.command().env("ASAN_OPTIONS", "detect_leaks=1:detect_stack_use_after_return=1"));
    assert!(output.ends_with("ok\n"), "{output}");
}

fn under_valgrind(name: &str) {
    let Some(installed) = Installed::get() else { return };
    let program = installed.compile(name, &[]);
    let mut command = Command::new("valgrind");
    command.args(["--quiet", "--error-exitcode=9", "--leak-check=full", "--fair-sched=yes"]);
    command.args(["--show-leak-kinds=definite,indirect", "--errors-for-leak-kinds=definite,indirect"]);
    let output = run(program.environment(command.arg(program.path())));
    assert!(output.ends_with("ok\n"), "{output}");
}

#[test]
fn everything_once_without_a_finding() {
    sanitized("lifecycle.c");
}

#[test]
fn everything_once_without_a_finding_of_valgrind() {
    under_valgrind("lifecycle.c");
}

#[test]
fn eight_threads_and_handles_freed_under_them() {
    sanitized("threads.c");
}

#[test]
fn eight_threads_and_handles_freed_under_them_under_valgrind() {
    under_valgrind("threads.c");
}

#[test]
fn classes_free_what_they_hold() {
    sanitized("classes.cpp");
}

#[test]
fn ten_thousand_times_open_and_close_in_flat_memory() {
    let Some(installed) = Installed::get() else { return };
    let output = run(&mut installed.compile("cycles.c", &["-O1"]).command());
    assert!(output.ends_with("ok\n"), "{output}");
}

#[test]
fn a_program_takes_the_library_in_whole() {
    let Some(installed) = Installed::get() else { return };
    let program = installed.compile_with("lifecycle.c", &[], true);
    let needs = run(Command::new("ldd").arg(program.path()));
    assert!(!needs.contains("libmsm"), "{needs}");
    assert!(run(&mut Command::new(program.path())).ends_with("ok\n"));
}

#[test]
fn the_code_of_the_guide_compiles() {
    let Some(installed) = Installed::get() else { return };
    let guide = include_str!("../../docs/guide/src/c.md");
    let mut count = 0;
    for part in guide.split("\n```").skip(1).step_by(2) {
        let (language, code) = part.split_once('\n').unwrap();
        if ["c", "cpp"].contains(&language) {
            count += 1;
            let source = installed.prefix().join(format!("guide-{count}.{language}"));
            std::fs::write(&source, code.to_owned() + "\n").unwrap();
            installed.compile(&source.to_string_lossy(), &[]);
        }
    }
    assert_eq!(count, 3);
}

#[test]
fn symbols_have_versions_and_there_are_no_others() {
    let Some(installed) = Installed::get() else { return };
    let library = installed.prefix().join("lib/libmsm.so");
    let symbols = run(Command::new("nm").args(["-D", "--defined-only"]).arg(&library));
    let names: Vec<_> = symbols.lines().filter_map(|line| line.split(' ').nth(2)).collect();
    let functions = names.iter().filter(|name| name.starts_with("msm_")).count();
    assert!(functions > 30, "{symbols}");
    for name in names {
        assert!(name == "MSM_0.1" || name.starts_with("msm_") && name.ends_with("@@MSM_0.1"), "{name}");
    }
    let dynamic = run(Command::new("readelf").arg("-d").arg(&library));
    assert!(dynamic.contains("Library soname: [libmsm.so.0]"), "{dynamic}");
    for needed in dynamic.lines().filter(|line| line.contains("(NEEDED)")) {
        let known = ["libc.so.6", "libgcc_s.so.1", "libm.so.6", "ld-linux"];
        assert!(known.iter().any(|known| needed.contains(known)), "{needed}");
    }
}

#[test]
fn what_is_installed_says_which_version_it_is() {
    let Some(installed) = Installed::get() else { return };
    let said = run(installed.pkg_config().args(["--modversion", "msm"]));
    assert_eq!(said.trim(), env!("CARGO_PKG_VERSION"));
    let listed = ["bin/msm-proxy", "include/msm.h", "include/msm.hpp", "lib/libmsm.a", "lib/libmsm.so.0"];
    assert!(listed.iter().all(|file| installed.prefix().join(file).exists()));
}
