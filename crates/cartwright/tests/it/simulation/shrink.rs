//! From a run that broke a promise to the shortest one that breaks it too.

use super::mutants::Mutant;
use super::plan::Plan;
use super::world::{FAULT_KINDS, Home, Simulator};

/// Runs that are spent on making a history shorter.
const MAX_RUNS: usize = 4_000;

/// The shortest plan found that still fails: with fewer steps, and with steps that decide for the plainest.
pub fn shrink(simulator: &Simulator, plan: &Plan, home: Home, mutant: Option<Mutant>) -> Plan {
    let (mut best, mut runs) = (plan.clone(), 0);
    let kind = simulator.run(plan, home, mutant, false).broken.map(|broken| kind_of(&broken));
    let mut fails = |plan: &Plan| {
        runs += 1;
        runs <= MAX_RUNS && simulator.run(plan, home, mutant, false).broken.map(|broken| kind_of(&broken)) == kind
    };
    loop {
        let before = best.clone();
        remove_blocks(&mut best, &mut fails);
        make_plain(&mut best, &mut fails);
        if best == before {
            return best;
        }
    }
}

/// What is broken, without the ids and numbers that differ from run to run.
fn kind_of(broken: &str) -> String {
    let is_word = |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase());
    broken.split_whitespace().filter(is_word).collect::<Vec<_>>().join(" ")
}

/// Removes stretches of steps, the long ones first.
fn remove_blocks(best: &mut Plan, fails: &mut impl FnMut(&Plan) -> bool) {
    let mut length = best.words.len().next_power_of_two();
    while length > 0 {
        let mut at = 0;
        while at < best.words.len() {
            let mut shorter = best.clone();
            shorter.words.drain(at..(at + length).min(best.words.len()));
            if fails(&shorter) {
                *best = shorter;
            } else {
                at += length;
            }
        }
        length /= 2;
    }
}

/// Makes words decide for less: nothing at all, or the step alone without its fault.
fn make_plain(best: &mut Plan, fails: &mut impl FnMut(&Plan) -> bool) {
    for bit in 0..FAULT_KINDS {
        let setting = best.setting & !(1 << bit);
        let plainer = Plan { setting, ..best.clone() };
        if setting != best.setting && fails(&plainer) {
            *best = plainer;
        }
    }
    for at in 0..best.words.len() {
        let word = best.words[at];
        for plainer in [0, word % 100, word % 10_000, word % 1_000_000] {
            if plainer < best.words[at] {
                let mut plain = best.clone();
                plain.words[at] = plainer;
                if fails(&plain) {
                    *best = plain;
                    break;
                }
            }
        }
    }
}
