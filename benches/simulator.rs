//! CPU time and memory of one light-cone, stage by stage.
//!
//! `cargo bench --bench simulator -- [CELLS [CELL_MPC [THREADS [REPEATS]]]]`; without arguments 50 cells of
//! 3 Mpc (redshift 6 to 30), one thread, three times. With more threads than one the times are elapsed
//! times.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark stops at the first wrong argument"
)]

use std::time::{Duration, Instant};

use dawn21::simulator::cosmology::GILLET_2019;
use dawn21::simulator::execution::Execution;
use dawn21::simulator::light_cone::{LightCone, LightConeShape};
use dawn21::simulator::parameters::{Astrophysics, Grid, Simulation};
use dawn21::simulator::run::{InitialDensity, SimulatedLightCone, Universe, simulate};

/// CPU time of this process where the system tells it.
fn cpu_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/self/schedstat").ok()?;
    let nanoseconds = text.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

/// Largest resident memory of this process in MiB.
fn peak_memory_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

fn main() {
    let numbers: Vec<f64> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .map(|argument| argument.parse().unwrap())
        .collect();
    let argument = |i: usize, default: f64| numbers.get(i).copied().unwrap_or(default);
    let grid = Grid {
        cells: argument(0, 50.0) as usize,
        cell_mpc: argument(1, 3.0),
        fine_factor: 3,
    };
    let threads = argument(2, 1.0) as usize;
    let repeats = argument(3, 3.0) as usize;
    let (execution, pool) = if threads > 1 {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        (Execution::Parallel, Some(pool))
    } else {
        (Execution::Serial, None)
    };
    println!(
        "{} cells of {} Mpc per side, redshift 6 to 30, {threads} thread(s)",
        grid.cells, grid.cell_mpc
    );
    let mut totals = Vec::new();
    for repeat in 0..repeats {
        let start = Instant::now();
        let cpu_start = cpu_time();
        let work = || -> SimulatedLightCone {
            let universe = Universe::new(&GILLET_2019);
            let shape = LightConeShape {
                slices: LightCone::slices_between(universe.distances(), grid.cell_mpc, 6.0, 30.0),
                y_planes: vec![0],
            };
            let simulation = Simulation::new(Astrophysics::default(), grid.clone());
            simulate(
                &universe,
                &simulation,
                InitialDensity::Drawn,
                repeat as u64,
                &shape,
                execution,
                &mut |_| true,
            )
            .unwrap()
        };
        let cone = match &pool {
            Some(pool) => pool.install(work),
            None => work(),
        };
        let elapsed = start.elapsed();
        // With one thread, this is the CPU time of everything since the start.
        let total = match (cpu_time(), cpu_start) {
            (Some(end), Some(start)) if threads == 1 => end - start,
            _ => elapsed,
        };
        totals.push(total);
        let stages: Vec<String> = cone
            .times
            .stages()
            .iter()
            .map(|(name, time)| format!("{name} {:.3}", time.as_secs_f64()))
            .collect();
        println!(
            "run {repeat}: total {:.3} s (elapsed {:.3} s): {}",
            total.as_secs_f64(),
            elapsed.as_secs_f64(),
            stages.join(", ")
        );
    }
    totals.sort();
    println!(
        "median {:.3} s per light-cone; peak memory {:.0} MiB",
        totals[totals.len() / 2].as_secs_f64(),
        peak_memory_mib().unwrap_or(f64::NAN)
    );
}
