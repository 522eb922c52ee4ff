//! How loops over pieces of the grid are run: in this thread or on the rayon pool.

use rayon::prelude::*;

/// Who runs the pieces of a loop. The results are the same bits either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Execution {
    /// The calling thread: one light-cone per thread suits small boxes.
    Serial,
    /// The rayon pool in which the caller runs: many threads for one large box.
    Parallel,
}

impl Execution {
    /// Applies `work` to every piece, with a scratch value made by `scratch` for each thread, and returns
    /// the results in the order of the pieces.
    pub(crate) fn run<Piece, Scratch, Output>(
        self,
        pieces: Vec<Piece>,
        scratch: impl Fn() -> Scratch + Sync + Send,
        work: impl Fn(&mut Scratch, Piece) -> Output + Sync + Send,
    ) -> Vec<Output>
    where
        Piece: Send,
        Output: Send,
    {
        match self {
            Self::Serial => {
                let mut scratch = scratch();
                pieces
                    .into_iter()
                    .map(|piece| work(&mut scratch, piece))
                    .collect()
            }
            Self::Parallel => pieces.into_par_iter().map_init(scratch, work).collect(),
        }
    }
}

/// Runs `operation` compiled for the widest vectors of this processor.
///
/// Everything called within must be `#[inline(always)]` to profit. No fused multiply-add is ever written
/// here, so that the results are the same bits on processors with and without it.
#[inline(always)]
pub(crate) fn vectorised<Output>(operation: impl FnOnce() -> Output) -> Output {
    pulp::Arch::new().dispatch(operation)
}
