#!/usr/bin/env python3
"""Times one light-cone of the public package 21cmFAST beside `cargo bench --bench simulator`.

Needs `pip install 21cmFAST==4.1.1` (and the libraries fftw3, with single precision, and gsl to build it).

    python benches/peers/21cmfast.py [CELLS [CELL_MPC]]

The configuration is that of dawn21 on one thread, a light-cone from redshift 6 to 30, without heating by Lyman-alpha
photons and the CMB.
"""

import resource
import sys
import tempfile
import time

import configuration_21cmfast as configuration
import py21cmfast as p21c


def main() -> None:
    cells = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    cell_mpc = float(sys.argv[2]) if len(sys.argv) > 2 else 3.0
    parameters = {"zeta": 30.0, "log10_tvir": 4.699, "log10_lx_sfr": 40.0, "e0_kev": 0.5}
    inputs = configuration.inputs(cells, cell_mpc, 3, 1000, parameters, extra_heating=False)
    with tempfile.TemporaryDirectory() as directory:
        start, cpu = time.perf_counter(), time.process_time()
        configuration.light_cone(inputs, (6.0, 30.0), directory)
        elapsed, cpu = time.perf_counter() - start, time.process_time() - cpu
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"21cmFAST {p21c.__version__}, {cells}^3 cells of {cell_mpc} Mpc: "
        f"{cpu:.1f} s CPU ({elapsed:.1f} s elapsed), peak memory {memory:.0f} MiB"
    )


if __name__ == "__main__":
    main()
