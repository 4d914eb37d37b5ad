//! A trace as a picture: a line for each step under what it came of, and how long it took.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::collector::Span;

const WIDTH: u64 = 960;
const LABELS: u64 = 430;
const LINE: u64 = 20;
const INDENT: u64 = 14;
const COLORS: [&str; 6] = ["#888888", "#888888", "#2f6fde", "#7a8a99", "#c2571a", "#2a8a4a"];

/// The picture, as SVG.
pub(super) fn of(spans: &[Span]) -> String {
    let (Some(first), Some(last)) =
        (spans.iter().map(|span| span.began).min(), spans.iter().map(|span| span.ended).max())
    else {
        return String::new();
    };
    let mut lines = Vec::new();
    collect(spans, None, 0, &mut lines);
    let height = LINE * (lines.len() as u64 + 2);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"8\" y=\"14\" fill=\"#333333\">A checkout, {} from its request to the last of what came of it</text>\n",
        millis(last - first)
    );
    let room = WIDTH - LABELS - 80;
    for (at, (depth, span)) in lines.iter().enumerate() {
        let y = LINE * (at as u64 + 1);
        let x = LABELS + (span.began - first) * room / (last - first).max(1);
        let width = ((span.ended - span.began) * room / (last - first).max(1)).max(2);
        let color = COLORS[usize::try_from(span.kind).unwrap().min(COLORS.len() - 1)];
        let took = millis(span.ended - span.began);
        let _ = writeln!(
            svg,
            "<text class=\"step\" x=\"{}\" y=\"{}\" fill=\"#222222\">{}</text>\
             <rect x=\"{x}\" y=\"{}\" width=\"{width}\" height=\"12\" fill=\"{color}\"/>\
             <text x=\"{}\" y=\"{}\" fill=\"#555555\" font-size=\"10\">{took}</text>",
            8 + depth * INDENT,
            y + 14,
            span.name,
            y + 4,
            x + width + 4,
            y + 14
        );
    }
    svg + "</svg>\n"
}

/// The steps that a picture shows, each once.
pub(super) fn steps(svg: &str) -> BTreeSet<String> {
    let texts = svg.split("<text class=\"step\"").skip(1);
    texts.filter_map(|rest| Some(rest.split_once('>')?.1.split_once('<')?.0.to_owned())).collect()
}

fn millis(nanos: u64) -> String {
    let micros = nanos / 1000;
    format!("{}.{:02} ms", micros / 1000, micros % 1000 / 10)
}

fn collect<'a>(spans: &'a [Span], parent: Option<&str>, depth: u64, lines: &mut Vec<(u64, &'a Span)>) {
    let mut children: Vec<&Span> = spans.iter().filter(|span| span.parent.as_deref() == parent).collect();
    children.sort_by_key(|span| (span.began, span.ended));
    for span in children {
        lines.push((depth, span));
        collect(spans, Some(&span.id), depth + 1, lines);
    }
}
