//! What protection reaches: the table of losses, budgets and schemes, in virtual time.
//!
//! `cargo run --release -p msm-benches --bin loss_matrix -- [--quick] [--only FILTER] [--packets N] [--seed N] [--svg FILE]`
//!
//! FILTER is words of a cell's name with commas between, as in `8M,5%,burst3`; it may be given several times. Exits with 1 if a bound
//! is missed in one of the cells that ran, after a line for each; with 2 if it could not run.

use std::path::PathBuf;
use std::process::ExitCode;

use msm_benches::Result;
use msm_benches::matrix::variants::VARIANTS;
use msm_benches::matrix::{bounds, grid, plot, sweep, table};

/// What the command line asked for.
struct Options {
    quick: bool,
    only: Vec<String>,
    packets: Option<u64>,
    seed: u64,
    svg: Option<PathBuf>,
}

impl Options {
    fn from_arguments() -> Result<Self> {
        let mut options = Self { quick: false, only: Vec::new(), packets: None, seed: 1, svg: None };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} takes a value"));
            match argument.as_str() {
                "--quick" => options.quick = true,
                "--only" => options.only.push(value()?),
                "--packets" => {
                    options.packets = Some(value()?.parse().map_err(|error| format!("--packets: {error}"))?);
                }
                "--seed" => options.seed = value()?.parse().map_err(|error| format!("--seed: {error}"))?,
                "--svg" => options.svg = Some(value()?.into()),
                _ => return Err(format!("unknown argument {argument}").into()),
            }
        }
        Ok(options)
    }
}

fn run() -> Result<bool> {
    let options = Options::from_arguments()?;
    let mut cells = grid::cells(options.quick);
    cells.retain(|cell| options.only.is_empty() || options.only.iter().any(|filter| cell.is_named(filter)));
    if let Some(packets) = options.packets {
        cells.iter_mut().for_each(|cell| cell.packets = packets);
    }
    if cells.is_empty() {
        return Err(format!("no cell is named {}", options.only.join(" or ")).into());
    }
    let rows = sweep::sweep(&cells, VARIANTS, options.seed)?;
    let names: Vec<_> = VARIANTS.iter().map(|variant| variant.name).collect();
    let quick = if options.quick { ", a quick run: its figures are rough" } else { "" };
    println!("Share of packets that the reader did not get in time; seed {}{quick}\n", options.seed);
    print!("{}", table::table(&rows, &names));
    if let Some(path) = options.svg {
        std::fs::write(&path, plot::svg(&rows)).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let misses = bounds::misses(&rows, options.quick);
    println!();
    for miss in &misses {
        println!("MISSED {miss}");
    }
    if misses.is_empty() {
        println!("Every bound on these {} cells is met.", rows.len());
    }
    Ok(misses.is_empty())
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("loss_matrix: {error}");
            ExitCode::from(2)
        }
    }
}
