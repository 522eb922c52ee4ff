//! dawn21's convolutions and dense layers beside im2col and the products of OpenBLAS, `matrixmultiply` and
//! `gemm`, at the shapes of Table 1 of Gillet et al. (2019).
//!
//! `cargo run --release --manifest-path benches/blas/Cargo.toml`. Environment: `DAWN21_OPENBLAS` (file of the
//! library), `DAWN21_BENCH_BATCH` (images of the convolutions, 40), `DAWN21_BENCH_DENSE_BATCH` (rows of the
//! dense layer, 200), `DAWN21_BENCH_THREADS` ("1,2"), `DAWN21_BENCH_ROUNDS` (5), `DAWN21_SIMD` (level).

mod check;
mod convolution;
mod dense;
mod openblas;
mod ours;
mod passes;
mod product;
mod rounds;
mod table_1;

use std::process::ExitCode;

use dawn21_kernels::simd::Level;

use openblas::OpenBlas;
use passes::{Row, Setting};
use product::Library;

/// Environment variables of OpenBLAS that choose kernels other than those of this processor.
const SLOWING: [&str; 2] = ["OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"];

fn setting<T: std::str::FromStr>(name: &str, default: T) -> Result<T, String> {
    match std::env::var(name) {
        Ok(value) => value
            .parse()
            .map_err(|_| format!("{name}: `{value}` is no number")),
        Err(_) => Ok(default),
    }
}

fn run() -> Result<(), String> {
    let level = Level::from_environment().map_err(|error| format!("DAWN21_SIMD: {error}"))?;
    let images = setting("DAWN21_BENCH_BATCH", 40)?;
    let rows = setting("DAWN21_BENCH_DENSE_BATCH", 200)?;
    let rounds = setting("DAWN21_BENCH_ROUNDS", 5)?;
    let threads = setting("DAWN21_BENCH_THREADS", "1,2".to_owned())?;
    let openblas = OpenBlas::load()?;
    println!("OpenBLAS: {}", openblas.description);
    for name in SLOWING {
        if let Ok(value) = std::env::var(name) {
            println!("WARNING: {name}={value} is set; unset it, OpenBLAS is not at its best");
        }
    }
    println!(
        "dawn21 at level {level}; convolutions on {images} images, dense1 on {rows} rows; {rounds} rounds"
    );
    for threads in threads.split(',') {
        let threads: usize = threads
            .trim()
            .parse()
            .map_err(|_| format!("DAWN21_BENCH_THREADS: `{threads}` is no number"))?;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|error| error.to_string())?;
        let setting = Setting {
            pool: &pool,
            level,
            rounds,
            openblas: &openblas,
            libraries: [
                Library::OpenBlas(&openblas),
                Library::MatrixMultiply,
                Library::Gemm,
            ],
        };
        let mut table = setting.convolutions(images);
        table.extend(setting.dense(rows));
        print(threads, &table);
    }
    Ok(())
}

fn print(threads: usize, table: &[Row]) {
    println!("\n{threads} threads: ms per image (x the time of dawn21 as planned)\n");
    println!("| pass | who | ms/image | x dawn21 | as |");
    println!("| --- | --- | ---: | ---: | --- |");
    for row in table {
        for outcome in &row.outcomes {
            let (who, variant) = outcome.name.split_once(": ").unwrap_or((&outcome.name, ""));
            println!(
                "| {} | {who} | {:.3} | {:.2} | {variant} |",
                row.pass,
                outcome.seconds * 1e3 / row.images as f64,
                outcome.ratio,
            );
        }
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
