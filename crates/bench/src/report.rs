//! What comes out: a table for people, JSON for programs.

use std::fmt::Write;

use serde::Serialize;

use crate::load::{Latency, Run};
use crate::machine::Machine;
use crate::servers::Pinning;
use crate::storage::{Commits, Speed, Storage};

/// What others may take of a core before the report says that they disturbed it.
const MAX_OTHERS: f64 = 0.15;

/// Everything that was measured.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) quick: bool,
    /// The cores of servers and load; none when they were not pinned.
    pub(crate) pinning: Option<Pinning>,
    sections: Vec<Section>,
    pub(crate) storage: Option<Storage>,
    /// Why something could not be measured.
    failures: Vec<String>,
}

/// What was measured of one thing.
#[derive(Serialize)]
pub(crate) struct Section {
    title: String,
    /// What is counted, as the head of its column.
    rate: &'static str,
    lines: Vec<Line>,
}

/// A line of a section.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Line {
    /// One run.
    Run { name: String, run: Run },
    /// The rounds of something that was compared. The one with the median rate is shown.
    Rounds { name: String, runs: Vec<Run> },
    /// How two compare.
    Ratio { name: String, ratio: Ratio },
    /// Anything else, in words.
    Note(String),
}

impl Section {
    /// A section without lines.
    pub(crate) fn new(title: impl Into<String>, rate: &'static str) -> Self {
        Section { title: title.into(), rate, lines: Vec::new() }
    }

    /// Adds a run. Of an open load, latency is shown from when the work was due.
    pub(crate) fn run(&mut self, name: impl Into<String>, run: Run) {
        self.lines.push(Line::Run { name: name.into(), run });
    }

    /// Adds rounds.
    pub(crate) fn rounds(&mut self, name: impl Into<String>, runs: Vec<Run>) {
        self.lines.push(Line::Rounds { name: name.into(), runs });
    }

    /// Adds a comparison, if there was one.
    pub(crate) fn ratio(&mut self, name: impl Into<String>, ratio: Option<Ratio>) {
        self.lines.extend(ratio.map(|ratio| Line::Ratio { name: name.into(), ratio }));
    }

    /// Adds what has no columns.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.lines.push(Line::Note(note.into()));
    }

    /// Whether it has no lines.
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    fn runs(&self) -> impl Iterator<Item = &Run> {
        self.lines.iter().flat_map(|line| match line {
            Line::Run { run, .. } => std::slice::from_ref(run),
            Line::Rounds { runs, .. } => runs.as_slice(),
            Line::Ratio { .. } | Line::Note(_) => &[],
        })
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        write_heads(out, &self.title, self.rate)?;
        self.lines.iter().try_for_each(|line| match line {
            Line::Run { name, run } => write_run(out, name, run),
            Line::Rounds { name, runs } => middle(runs).map_or(Ok(()), |run| write_run(out, name, run)),
            Line::Ratio { name, ratio } => write_ratio(out, name, ratio),
            Line::Note(note) => writeln!(out, "  {note}"),
        })
    }
}

/// How two that were measured in alternating rounds compare.
#[derive(Debug, Serialize)]
pub(crate) struct Ratio {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) greatest: f64,
    pub(crate) rounds: Vec<f64>,
}

impl Ratio {
    /// `ours` ÷ `theirs`, round by round; none when a round was not measured.
    pub(crate) fn of<T>(ours: &[T], theirs: &[T], value: impl Fn(&T) -> Option<f64>) -> Option<Self> {
        let ratios = ours.iter().zip(theirs).map(|(ours, theirs)| Some(value(ours)? / value(theirs)?));
        let rounds = ratios.collect::<Option<Vec<_>>>().filter(|rounds| !rounds.is_empty())?;
        let extreme = |pick: fn(f64, f64) -> f64| rounds.iter().copied().reduce(pick);
        let (least, greatest) = (extreme(f64::min)?, extreme(f64::max)?);
        Some(Ratio { median: median(rounds.clone()), least, greatest, rounds })
    }
}

/// The middle of these values, the mean of the two in the middle, or 0 of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let upper = values.len() / 2;
    match values.len() {
        0 => 0.0,
        count if count % 2 == 0 => f64::midpoint(values[upper - 1], values[upper]),
        _ => values[upper],
    }
}

impl Report {
    /// A report without measurements.
    pub(crate) fn new(machine: Machine, quick: bool, pinning: Option<Pinning>) -> Self {
        Report { machine, quick, pinning, sections: Vec::new(), storage: None, failures: Vec::new() }
    }

    /// Adds what was measured, or why it was not.
    pub(crate) fn add(&mut self, measured: crate::Result<Vec<Section>>) {
        match measured {
            Ok(sections) => self.sections.extend(sections),
            Err(error) => self.failures.push(error.to_string()),
        }
    }

    fn runs(&self) -> impl Iterator<Item = &Run> {
        self.sections.iter().flat_map(Section::runs)
    }

    /// How many requests, checks and rows failed.
    pub(crate) fn error_count(&self) -> u64 {
        self.failures.len() as u64 + self.runs().map(|run| run.errors).sum::<u64>()
    }

    /// What went wrong: each row that could not be measured, and the first of each run.
    pub(crate) fn errors(&self) -> Vec<&str> {
        self.failures.iter().chain(self.runs().flat_map(|run| &run.first_errors)).map(String::as_str).collect()
    }

    /// The report for people.
    pub(crate) fn table(&self) -> String {
        let mut out = String::new();
        self.write(&mut out).expect("writing to a string does not fail");
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let Machine { cpu, cores, kernel, disk, load_average, git_commit, rustc, .. } = &self.machine;
        writeln!(out, "Cartwright benchmark{}", if self.quick { " (quick: not a measurement)" } else { "" })?;
        writeln!(out, "  machine   {cpu}, {cores} cores, {kernel}")?;
        writeln!(out, "  disk      {disk}")?;
        writeln!(out, "  build     commit {git_commit}, {rustc}")?;
        writeln!(out, "  load      average of the machine before the run: {load_average}")?;
        match self.pinning {
            Some(_) => {
                writeln!(out, "  cores     each server on one core, the load on another; the store rows use all")?
            }
            None => {
                writeln!(out, "  cores     NOT PINNED (one core, or no taskset): servers and load disturb each other")?
            }
        }
        writeln!(
            out,
            "  columns   CPU µs: of the server for one; server, load, others: what they took of a core; then latency"
        )?;
        if self.machine.disk_is_memory {
            writeln!(out, "  WARNING   the data is in memory: fsync does nothing, and no write below is durable")?;
        }
        self.storage.iter().try_for_each(|storage| write_storage(out, storage))?;
        self.sections.iter().try_for_each(|section| section.write(out))?;
        let others = self.runs().filter_map(|run| run.others_busy).fold(0.0, f64::max);
        if others > MAX_OTHERS {
            writeln!(
                out,
                "\n  DISTURBED: others took up to {:.0} % of a core meanwhile. Measure again on a quiet machine.",
                others * 100.0
            )?;
        }
        Ok(())
    }
}

/// The heads of the columns [`write_run`] fills.
fn write_heads(out: &mut String, title: &str, rate: &str) -> std::fmt::Result {
    writeln!(out, "\n{title}")?;
    writeln!(
        out,
        "  {:44} {rate:>10} {:>8} {:>7} {:>6} {:>6}   {:>8} {:>8} {:>8} {:>8} {:>8}",
        "", "CPU µs", "server", "load", "others", "p50 ms", "p90", "p99", "p99.9", "max"
    )
}

fn write_run(out: &mut String, name: &str, run: &Run) -> std::fmt::Result {
    write_line(out, name, run, run.latency_from_due.as_ref().unwrap_or(&run.latency))
}

fn write_line(out: &mut String, name: &str, run: &Run, latency: &Latency) -> std::fmt::Result {
    let percent = |share: Option<f64>| share.map_or("-".to_owned(), |share| format!("{:.0} %", share * 100.0));
    let cpu = run.server_cpu_us.map_or("-".to_owned(), |cpu| format!("{cpu:.1}"));
    let [server, load, others] = [run.server_busy, run.load_busy, run.others_busy].map(percent);
    let rate = run.done_per_s;
    writeln!(out, "  {name:44} {rate:>10.0} {cpu:>8} {server:>7} {load:>6} {others:>6}   {}", latency_text(latency))
}

fn latency_text(latency: &Latency) -> String {
    let Latency { p50_us, p90_us, p99_us, p999_us, max_us } = latency;
    [p50_us, p90_us, p99_us, p999_us, max_us].map(|us| format!("{:>8.3}", us / 1e3)).join(" ")
}

fn write_ratio(out: &mut String, name: &str, ratio: &Ratio) -> std::fmt::Result {
    let Ratio { median, least, greatest, rounds } = ratio;
    writeln!(out, "  {name:44} {median:>10.2}   median of {} rounds, {least:.2} to {greatest:.2}", rounds.len())
}

/// The run with the median rate.
fn middle(runs: &[Run]) -> Option<&Run> {
    let mut sorted: Vec<_> = runs.iter().collect();
    sorted.sort_by(|one, other| one.done_per_s.total_cmp(&other.done_per_s));
    sorted.get(sorted.len() / 2).copied()
}

fn write_storage(out: &mut String, storage: &Storage) -> std::fmt::Result {
    let (per_s, latency) = (storage.fsync.per_s, latency_text(&storage.fsync.latency));
    let title =
        "Durable commits at the store, against plain SQLite with as many commits in a transaction as there are clients";
    writeln!(out, "\n{title}")?;
    writeln!(out, "  {:44} {per_s:>10.0}   p50 to max, ms {latency}", "fdatasync of 4 KB appends, 1 thread")?;
    writeln!(
        out,
        "  {:32} {:>9} {:>9} {:>7}  {:13} {:>9} {:>9} {:>7}",
        "medians of 3 rounds", "store/s", "plain/s", "ratio", "rounds", "store µs", "plain µs", "CPU"
    )?;
    for Commits { kind, clients, store, reference, rate, cpu, .. } in &storage.rows {
        let per_s = |speeds: &[Speed]| median(speeds.iter().map(|speed| speed.per_s).collect());
        let cpu_us = |speeds: &[Speed]| median(speeds.iter().filter_map(|speed| speed.cpu_us).collect());
        writeln!(
            out,
            "  {:32} {:>9.0} {:>9.0} {:>7.2}  {:13} {:>9.1} {:>9.1} {:>7.2}",
            format!("{}, {clients} clients", kind.name()),
            per_s(store),
            per_s(reference),
            rate.median,
            format!("{:.2} to {:.2}", rate.least, rate.greatest),
            cpu_us(store),
            cpu_us(reference),
            cpu.as_ref().map_or(0.0, |cpu| cpu.median)
        )?;
        if *clients == 1 {
            writeln!(out, "    one commit took {:.2} times one fdatasync", storage.fsync.per_s / per_s(store))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_taken_round_by_round() {
        let ratio = Ratio::of(&[1.0, 9.0, 4.0], &[2.0, 3.0, 4.0], |value| Some(*value)).unwrap();
        assert_eq!((ratio.median, ratio.least, ratio.greatest, ratio.rounds), (1.0, 0.5, 3.0, vec![0.5, 3.0, 1.0]));
        assert!(Ratio::of(&[1.0], &[2.0], |_| None).is_none());
        assert!(Ratio::of::<f64>(&[], &[], |value| Some(*value)).is_none());
    }

    #[test]
    fn the_median_of_an_even_count_lies_between() {
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median(Vec::new()), 0.0);
    }
}
