//! Numbers drawn from a seed: the same seed, the same images, whatever else is drawn in the run.

/// A stream of numbers (splitmix64).
#[derive(Clone, Debug)]
pub struct Draw(u64);

impl Draw {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A stream for the part of a run that `index` names.
    pub fn of(seed: u64, index: u64) -> Self {
        let mut draw = Self(seed ^ index.wrapping_mul(0xd6e8_feb8_6659_fd93));
        draw.bits();
        draw
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is above zero.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound as u64) as usize
    }

    /// True once in `one_in`.
    pub fn once_in(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }
}
