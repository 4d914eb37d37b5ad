//! The files for those who watch one machine: they ask for what is there, and say what the code says.

use std::collections::BTreeSet;
use std::path::Path;

use cartwright::metrics::{ALL, Kind};
use cartwright_aws::alarms::{ALARMS, prometheus_rules};
use saphyr::{LoadableYamlNode, Yaml};
use serde_json::Value;

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Checks that a query asks for metrics that exist, by labels that they have. The names of those metrics.
fn check_query(query: &str) -> BTreeSet<&'static str> {
    let words: Vec<&str> = query
        .split(|char: char| !(char.is_ascii_alphanumeric() || char == '_'))
        .filter(|word| !word.is_empty())
        .collect();
    let mut asked = BTreeSet::new();
    for word in words.iter().filter(|word| word.starts_with("cartwright_")) {
        let metric = ALL.iter().find(|metric| match metric.kind {
            Kind::Histogram(_) => {
                word.strip_prefix(metric.name).is_some_and(|suffix| ["_bucket", "_sum", "_count"].contains(&suffix))
            }
            Kind::Counter | Kind::Gauge => *word == metric.name,
        });
        let metric = metric.unwrap_or_else(|| panic!("there is no metric {word}: {query}"));
        asked.insert(metric.name);
    }
    assert!(!asked.is_empty(), "it asks for nothing of ours: {query}");
    let labels: BTreeSet<&str> = ALL
        .iter()
        .filter(|metric| asked.contains(metric.name))
        .flat_map(|metric| metric.labels.iter().copied())
        .collect();
    let by = query.split("by (").skip(1).filter_map(|rest| rest.split_once(')')).map(|(names, _)| names);
    let filters = query.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(filters, _)| filters);
    let named = by.flat_map(|names| names.split(',').map(str::trim).collect::<Vec<_>>());
    let filtered = filters.flat_map(|filters| filters.split(',').filter_map(|filter| filter.split(['=', '!']).next()));
    for label in named.chain(filtered) {
        assert!(label == "le" || labels.contains(label), "none of its metrics has the label {label}: {query}");
    }
    asked
}

#[test]
fn the_rules_of_prometheus_are_those_of_the_table_and_ask_for_what_there_is() {
    let kept = file("deploy/prometheus-rules.yaml");
    let made = prometheus_rules();
    let fresh = Path::new(env!("CARGO_TARGET_TMPDIR")).join("prometheus-rules.yaml");
    std::fs::write(&fresh, &made).unwrap();
    assert!(kept == made, "the table has changed; copy {} to deploy", fresh.display());
    let yaml = Yaml::load_from_str(&kept).unwrap();
    let rules = yaml[0]["groups"][0]["rules"].as_vec().unwrap();
    assert_eq!(rules.len(), ALARMS.iter().filter(|alarm| alarm.prometheus.is_some()).count());
    for rule in rules {
        let text = |name: &str| rule[name].as_str().unwrap_or_else(|| panic!("no {name} in {rule:?}"));
        check_query(text("expr"));
        assert!(!text("expr").contains("LIMIT") && text("for").ends_with('m'), "{rule:?}");
        assert!(["page", "ticket"].contains(&rule["labels"]["severity"].as_str().unwrap()));
        assert!(!rule["annotations"]["summary"].as_str().unwrap().is_empty());
    }
}

#[test]
fn the_dashboard_asks_for_what_there_is_and_leaves_nothing_out_that_tells_how_the_shop_is() {
    let dashboard: Value = serde_json::from_str(&file("deploy/grafana-dashboard.json")).unwrap();
    let (mut asked, mut places) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        let place = &panel["gridPos"];
        assert!(
            places.insert((place["x"].as_u64(), place["y"].as_u64())),
            "two panels in one place: {}",
            panel["title"]
        );
        for target in panel["targets"].as_array().unwrap() {
            asked.extend(check_query(target["expr"].as_str().unwrap()));
        }
    }
    let told_by_alarms = ["cartwright_store_writable", "cartwright_spans_dropped_total", "cartwright_events_total"];
    for metric in ALL {
        assert!(asked.contains(metric.name) || told_by_alarms.contains(&metric.name), "{} is nowhere", metric.name);
    }
}

#[test]
fn every_alarm_is_explained() {
    let documentation = file("docs/operations.md");
    for alarm in ALARMS {
        let row = format!("| `{}` | {} |", alarm.name, alarm.says);
        assert!(documentation.contains(&row), "no row {row:?} in docs/operations.md");
        for cloudwatch in alarm.cloudwatch {
            let ends_in = format!("`…{}`", cloudwatch.ends_in);
            let line = documentation.lines().find(|line| line.starts_with(&row)).unwrap_or_default();
            assert!(line.contains(&ends_in), "{} does not name {ends_in}", alarm.name);
        }
    }
}
