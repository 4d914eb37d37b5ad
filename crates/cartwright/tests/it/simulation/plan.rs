//! A run's decisions: one word for each step, drawn from a seed or taken from a list that was shortened.

/// Steps of the shortest run, and how many more the longest has.
const MIN_STEPS: usize = 120;
const MORE_STEPS: usize = 240;

/// The decisions of one run. Where the words end, all goes well from then on: nothing fails, and what is under way is brought
/// to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What the ids of the run are made of.
    pub seed: u64,
    /// What is there at the start, and which faults there are at all.
    pub setting: u64,
    /// The steps.
    pub words: Vec<u64>,
}

impl Plan {
    /// The run of a seed.
    pub fn of_seed(seed: u64) -> Plan {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d;
        let setting = next(&mut state);
        let steps = MIN_STEPS + next(&mut state) as usize % MORE_STEPS;
        Plan { seed, setting, words: (0..steps).map(|_| next(&mut state)).collect() }
    }
}

/// A word, from which one decision after the other is taken. Zero decides every time for what comes first: no fault, the
/// oldest, the least.
#[derive(Debug, Clone, Copy)]
pub struct Word(pub u64);

impl Word {
    /// One of the first `count` numbers.
    pub fn pick(&mut self, count: usize) -> usize {
        let count = count.max(1) as u64;
        let picked = self.0 % count;
        self.0 /= count;
        usize::try_from(picked).unwrap()
    }

    /// True once in so many words.
    pub fn once_in(&mut self, count: usize) -> bool {
        self.pick(count) == count - 1
    }
}

/// The next random number (SplitMix64).
pub fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
