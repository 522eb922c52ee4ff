"""dawn21's configuration of the public package 21cmFAST 4.1.1: constant ionising efficiency, spin temperatures in
full, no recombinations, bubbles up to 15 Mpc."""

import py21cmfast as p21c

# The cosmology of Gillet et al. (2019).
COSMOLOGY = {"omega_m": 0.31, "omega_b": 0.048, "h": 0.68, "sigma_8": 0.81, "n_s": 0.97}


def inputs(cells, cell_mpc, fine_factor, seed, parameters, cosmology=None, nearest_redshift=6.0, extra_heating=True):
    """All inputs of a simulation of one thread; `extra_heating` is that by Lyman-alpha photons and the CMB."""
    cosmology = cosmology or COSMOLOGY
    return p21c.InputParameters(
        random_seed=seed,
        cosmo_params=p21c.CosmoParams(
            OMm=cosmology["omega_m"],
            OMb=cosmology["omega_b"],
            hlittle=cosmology["h"],
            SIGMA_8=cosmology["sigma_8"],
            POWER_INDEX=cosmology["n_s"],
        ),
        simulation_options=p21c.SimulationOptions(
            HII_DIM=cells, DIM=fine_factor * cells, BOX_LEN=cells * cell_mpc, N_THREADS=1
        ),
        matter_options=p21c.MatterOptions(SOURCE_MODEL="CONST-ION-EFF", USE_RELATIVE_VELOCITIES=False),
        astro_options=p21c.AstroOptions(
            # Otherwise M_TURN counts, and ION_Tvir_MIN does not.
            M_MIN_in_Mass=False,
            USE_TS_FLUCT=True,
            USE_LYA_HEATING=extra_heating,
            USE_CMB_HEATING=extra_heating,
            INHOMO_RECO=False,
            USE_EXP_FILTER=False,
            CELL_RECOMB=False,
            HII_FILTER="sharp-k",
            USE_UPPER_STELLAR_TURNOVER=False,
        ),
        astro_params=p21c.AstroParams(
            HII_EFF_FACTOR=parameters["zeta"],
            ION_Tvir_MIN=parameters["log10_tvir"],
            L_X=parameters["log10_lx_sfr"],
            NU_X_THRESH=1000.0 * parameters["e0_kev"],
            X_RAY_SPEC_INDEX=1.0,
            R_BUBBLE_MAX=15.0,
        ),
        node_redshifts=p21c.get_logspaced_redshifts(
            min_redshift=nearest_redshift, z_step_factor=1.02, max_redshift=35.0
        ),
    )


def light_cone(inputs, redshift_range, directory):
    """A light-cone of the brightness temperature; `directory` holds what 21cmFAST writes meanwhile."""
    lightconer = p21c.RectilinearLightconer.between_redshifts(
        min_redshift=redshift_range[0],
        max_redshift=redshift_range[1],
        quantities=("brightness_temp",),
        resolution=inputs.simulation_options.cell_size,
        # Otherwise slices lie at the distances of another cosmology than that of the boxes.
        cosmo=inputs.cosmo_params.cosmo,
    )
    return p21c.run_lightcone(
        lightconer=lightconer,
        inputs=inputs,
        cache=p21c.OutputCache(directory),
        write=False,
        progressbar=False,
        regenerate=True,
    )
