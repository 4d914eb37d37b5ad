//! Style that can be checked, checked.

use std::path::{Path, PathBuf};

/// Longest file: one that grows beyond is several things.
const MAX_FILE_LINES: usize = 600;

const SERVICES: [&str; 7] = ["operations", "customers", "catalog", "basket", "ordering", "purchases", "notifications"];

/// Every source file of the application and of its home on AWS, by its path in its crate.
fn sources() -> Vec<(PathBuf, String)> {
    let application = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = [application, &application.with_file_name("cartwright-aws")].map(sources_of);
    files.concat()
}

fn sources_of(root: &Path) -> Vec<(PathBuf, String)> {
    let (mut folders, mut files) = (vec![root.join("src"), root.join("tests")], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                files.push((path.strip_prefix(root).unwrap().to_owned(), text));
            }
        }
    }
    assert!(files.len() > 10, "the sources are found");
    files
}

fn code_of(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap()
}

#[test]
fn every_file_says_what_it_is_and_is_not_too_long() {
    for (path, text) in sources() {
        assert!(text.starts_with("//! "), "{} does not begin with what it owns", path.display());
        let lines = code_of(&text).lines().count();
        assert!(lines <= MAX_FILE_LINES, "{} has {lines} lines", path.display());
    }
}

#[test]
fn models_are_pure() {
    for (path, text) in sources() {
        let is_model = SERVICES.iter().any(|service| path == Path::new("src").join(service).join("mod.rs"));
        if is_model || path == Path::new("src/values.rs") {
            for impure in ["async ", ".await", "Timestamp::now", "crate::app", "Store>", "std::fs", "tokio"] {
                assert!(!code_of(&text).contains(impure), "{} is not pure: {impure:?}", path.display());
            }
        }
    }
}

#[test]
fn no_service_touches_anothers_internals() {
    for (path, text) in sources() {
        for service in SERVICES {
            let own = path.starts_with(Path::new("src").join(service));
            if own || !SERVICES.iter().any(|other| path.starts_with(Path::new("src").join(other))) {
                continue;
            }
            for internal in ["store", "ops", "events", "http"] {
                let reference = format!("{service}::{internal}");
                assert!(!code_of(&text).contains(&reference), "{} uses {reference}", path.display());
            }
        }
    }
}

#[test]
fn no_handler_commits_and_no_service_publishes() {
    for (path, text) in sources() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let in_service = SERVICES.iter().any(|service| path.starts_with(Path::new("src").join(service)));
        if in_service && matches!(name, "http.rs" | "classic.rs" | "mod.rs") {
            for forbidden in ["commit(", "Batch", "transact(", "app.store"] {
                assert!(
                    !code_of(&text).contains(forbidden),
                    "{} does an operation's work: {forbidden}",
                    path.display()
                );
            }
        }
        if in_service {
            for forbidden in ["crate::local", "rusqlite", "batch.send("] {
                assert!(!code_of(&text).contains(forbidden), "{} knows the runtime: {forbidden}", path.display());
            }
        }
    }
}

#[test]
fn lints_are_expected_with_a_reason_never_allowed() {
    for (path, text) in sources() {
        let allow = concat!("#[", "allow");
        assert!(!text.contains(allow) && !text.contains(concat!("#![", "allow")), "{} allows a lint", path.display());
    }
}

#[test]
fn the_application_cannot_name_aws() {
    let manifest = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    for forbidden in ["aws", "lambda"] {
        assert!(!manifest.contains(forbidden), "the application depends on {forbidden}");
    }
}
