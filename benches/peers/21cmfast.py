#!/usr/bin/env python3
"""Times one light-cone of the public package 21cmFAST beside `cargo bench --bench simulator`.

Needs `pip install 21cmFAST==4.1.1` (and the libraries fftw3, with single precision, and gsl to build it).

    python benches/peers/21cmfast.py [CELLS [CELL_MPC]]

The configuration is that of dawn21: constant ionising efficiency, spin temperatures in full, no
recombinations, bubbles up to 15 Mpc, one thread, redshift 6 to 35.
"""

import resource
import sys
import tempfile
import time

import py21cmfast as p21c


def main() -> None:
    cells = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    cell_mpc = float(sys.argv[2]) if len(sys.argv) > 2 else 3.0
    inputs = p21c.InputParameters(
        random_seed=1000,
        cosmo_params=p21c.CosmoParams(
            OMm=0.31, OMb=0.048, hlittle=0.68, SIGMA_8=0.81, POWER_INDEX=0.97
        ),
        simulation_options=p21c.SimulationOptions(
            HII_DIM=cells, DIM=3 * cells, BOX_LEN=cells * cell_mpc, N_THREADS=1
        ),
        matter_options=p21c.MatterOptions(
            SOURCE_MODEL="CONST-ION-EFF", USE_RELATIVE_VELOCITIES=False
        ),
        astro_options=p21c.AstroOptions(
            USE_TS_FLUCT=True,
            INHOMO_RECO=False,
            USE_EXP_FILTER=False,
            CELL_RECOMB=False,
            HII_FILTER="sharp-k",
            USE_UPPER_STELLAR_TURNOVER=False,
        ),
        astro_params=p21c.AstroParams(
            HII_EFF_FACTOR=30.0,
            ION_Tvir_MIN=4.699,
            L_X=40.0,
            NU_X_THRESH=500.0,
            X_RAY_SPEC_INDEX=1.0,
            R_BUBBLE_MAX=15.0,
        ),
        node_redshifts=p21c.get_logspaced_redshifts(
            min_redshift=6.0, z_step_factor=1.02, max_redshift=35.0
        ),
    )
    lightconer = p21c.RectilinearLightconer.between_redshifts(
        min_redshift=6.0,
        max_redshift=30.0,
        quantities=("brightness_temp",),
        resolution=inputs.simulation_options.cell_size,
    )
    with tempfile.TemporaryDirectory() as directory:
        cache = p21c.OutputCache(directory)
        start, cpu = time.perf_counter(), time.process_time()
        p21c.run_lightcone(
            lightconer=lightconer,
            inputs=inputs,
            cache=cache,
            write=False,
            progressbar=False,
            regenerate=True,
        )
        elapsed, cpu = time.perf_counter() - start, time.process_time() - cpu
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"21cmFAST {p21c.__version__}, {cells}^3 cells of {cell_mpc} Mpc: "
        f"{cpu:.1f} s CPU ({elapsed:.1f} s elapsed), peak memory {memory:.0f} MiB"
    )


if __name__ == "__main__":
    main()
