//! Scores of the literature that those of a run are compared with.

/// The parameters of Gillet et al. (2019), in the order of the numbers here.
pub const PAPER_PARAMETERS: [&str; 4] = ["log10_tvir", "zeta", "log10_lx_sfr", "e0_kev"];

/// R2 of the paper's parameters by one published network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PublishedR2 {
    /// Who published it and what the network saw.
    pub source: &'static str,
    r2: [f64; 4],
}

/// Gillet et al. (2019), table 2: trained on ten images of each light-cone, scored on one (footnote 6).
const TEN_IMAGES: PublishedR2 = PublishedR2 {
    source: "Gillet et al. 2019, 10 training images",
    r2: [0.997, 0.955, 0.987, 0.728],
};

/// The same: trained on one image of each light-cone.
const ONE_IMAGE: PublishedR2 = PublishedR2 {
    source: "Gillet et al. 2019, 1 training image",
    r2: [0.984, 0.851, 0.981, 0.531],
};

/// Neutsch, Heneka & Brueggen (2022): whole light-cones.
const THREE_DIMENSIONS: PublishedR2 = PublishedR2 {
    source: "Neutsch et al. 2022, 3D-21cmPIE-Net",
    r2: [0.994, 0.985, 0.991, 0.859],
};

/// All of them.
pub const PUBLISHED: [PublishedR2; 3] = [TEN_IMAGES, ONE_IMAGE, THREE_DIMENSIONS];

impl PublishedR2 {
    /// R2 of a parameter; none when it is not one of the paper's.
    #[must_use]
    pub fn of(&self, parameter: &str) -> Option<f64> {
        let index = PAPER_PARAMETERS.iter().position(|name| *name == parameter);
        index.map(|index| self.r2[index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_belong_to_the_paper_s_parameters_only() {
        assert_eq!(THREE_DIMENSIONS.of("e0_kev"), Some(0.859));
        assert_eq!(TEN_IMAGES.of("zeta"), Some(0.955));
        assert_eq!(ONE_IMAGE.of("level"), None);
    }
}
