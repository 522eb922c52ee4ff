//! Contestants in turn, round after round, so that what disturbs one disturbs all.

use std::time::Instant;

use rayon::ThreadPool;

/// Somebody who computes a pass.
pub struct Contestant<'a> {
    pub name: String,
    pub run: Box<dyn FnMut() + Send + 'a>,
}

/// What the rounds gave for one contestant.
pub struct Outcome {
    pub name: String,
    /// Median time.
    pub seconds: f64,
    /// Median over the rounds of its time divided by that of the first contestant.
    pub ratio: f64,
}

/// Middle value, of an even number the mean of both.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        (values[middle - 1] + values[middle]) / 2.0
    } else {
        values[middle]
    }
}

fn seconds(pool: &ThreadPool, contestant: &mut Contestant<'_>) -> f64 {
    let run = &mut contestant.run;
    pool.install(|| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    })
}

/// The fastest of some ways to do the same, each tried twice: index.
pub fn fastest(pool: &ThreadPool, candidates: &mut [Contestant<'_>]) -> usize {
    let times = candidates
        .iter_mut()
        .map(|candidate| seconds(pool, candidate).min(seconds(pool, candidate)));
    let best = times.enumerate().min_by(|(_, a), (_, b)| a.total_cmp(b));
    best.map_or(0, |(index, _)| index)
}

/// Runs all contestants once, then `rounds` times in turn.
pub fn compete(
    pool: &ThreadPool,
    rounds: usize,
    contestants: &mut [Contestant<'_>],
) -> Vec<Outcome> {
    for contestant in contestants.iter_mut() {
        seconds(pool, contestant);
    }
    let times: Vec<Vec<f64>> = (0..rounds)
        .map(|_| contestants.iter_mut().map(|c| seconds(pool, c)).collect())
        .collect();
    contestants
        .iter()
        .enumerate()
        .map(|(i, contestant)| Outcome {
            name: contestant.name.clone(),
            seconds: median(times.iter().map(|round| round[i]).collect()),
            ratio: median(times.iter().map(|round| round[i] / round[0]).collect()),
        })
        .collect()
}
