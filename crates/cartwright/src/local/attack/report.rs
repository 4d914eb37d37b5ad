//! What an attack found, for people and for programs.

use std::fmt::Write as _;

use serde_json::json;

use super::races::Race;
use super::target::{Left, Outcome, Trouble};

/// How one race went, over all its rounds.
pub(super) struct Row {
    name: &'static str,
    harm: &'static str,
    held: usize,
    broken: Vec<String>,
    not_run: Vec<String>,
}

impl Row {
    pub(super) fn new(race: &Race) -> Row {
        Row { name: race.name, harm: race.harm, held: 0, broken: Vec::new(), not_run: Vec::new() }
    }

    pub(super) fn add(&mut self, outcome: Outcome) {
        match outcome {
            Ok(()) => self.held += 1,
            Err(Trouble::Broken(why)) => self.broken.push(why),
            Err(Trouble::NotRun(why)) => self.not_run.push(why),
        }
    }

    fn verdict(&self) -> &'static str {
        match (self.broken.is_empty(), self.not_run.is_empty()) {
            (false, _) => "BROKEN",
            (true, false) => "not run",
            (true, true) => "held",
        }
    }
}

/// The whole report.
pub(super) struct Report {
    pub(super) url: String,
    pub(super) rounds: u16,
    pub(super) racers: u8,
    pub(super) rows: Vec<Row>,
    pub(super) left: Left,
}

impl Report {
    /// 0: everything held. 1: something broke. 2: a race could not be run.
    pub(super) fn exit_code(&self) -> u8 {
        if self.rows.iter().any(|row| !row.broken.is_empty()) {
            1
        } else {
            u8::from(self.rows.iter().any(|row| !row.not_run.is_empty())) * 2
        }
    }

    pub(super) fn table(&self) -> String {
        let Report { url, rounds, racers, rows, left } = self;
        let mut text = format!("{url}: {rounds} rounds of each race, {racers} requests at once\n\n");
        for row in rows {
            let _ = writeln!(text, "  {:<42}  {:<8} {}/{rounds}", row.name, row.verdict(), row.held);
            if !row.broken.is_empty() {
                let _ = writeln!(text, "      where it breaks, {}", row.harm);
            }
            for why in row.broken.iter().chain(&row.not_run) {
                let _ = writeln!(text, "      {why}");
            }
        }
        let broken = rows.iter().filter(|row| !row.broken.is_empty()).count();
        let not_run = rows.iter().filter(|row| row.broken.is_empty() && !row.not_run.is_empty()).count();
        let _ = writeln!(
            text,
            "\n{} of {} races held, {broken} broke, {not_run} could not be run.",
            rows.len() - broken - not_run,
            rows.len()
        );
        let _ = writeln!(text, "{} orders stay, which the API cannot remove.", left.orders);
        if left.others > 0 {
            let _ = writeln!(text, "{} products, baskets or customers could not be removed.", left.others);
        }
        text
    }

    pub(super) fn json(&self) -> String {
        let Report { url, rounds, racers, rows, left } = self;
        let row = |row: &Row| {
            json!({"race": row.name, "harm": row.harm, "verdict": row.verdict(), "held": row.held, "broken": row.broken,
                "notRun": row.not_run})
        };
        let races: Vec<_> = rows.iter().map(row).collect();
        let left = json!({"orders": left.orders, "others": left.others});
        format!("{}\n", json!({"url": url, "rounds": rounds, "racers": racers, "races": races, "left": left}))
    }
}
