//! The storefront and the desk in a real browser: what buyers and operators do, and the pictures of it for the documentation.

use std::path::PathBuf;
use std::process::Command;

use rustix::process::geteuid;

use crate::{Outcome, root, run, server, tools};

const USAGE: &str = "Usage: cargo xtask pages [--screenshots]";

/// Names under which systems install a browser that the tests can drive.
const BROWSERS: [&str; 5] =
    ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "microsoft-edge-stable"];
/// Where macOS keeps one.
const BROWSER_OF_MACOS: &str = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome";

/// Runs the tests of the pages against a server of this build; with `--screenshots`, draws the pictures in `docs/images`
/// instead.
///
/// # Errors
/// When a test fails, or there is no browser and none can be installed.
pub(crate) fn pages(arguments: &[String]) -> Outcome {
    let tests = root().join("crates/cartwright/web-tests");
    let what = match arguments {
        [] => vec!["--test".to_owned(), "--test-concurrency=1".to_owned(), "--test-reporter=spec".to_owned()],
        [only] if only == "--screenshots" => vec!["screenshots.mjs".to_owned()],
        _ => return Err(USAGE.to_owned()),
    };
    let (browser, node, modules) = (browser()?, tools::node()?, tools::browser_modules()?);
    run(Command::new(node)
        .current_dir(tests)
        .args(what)
        .env("CARTWRIGHT", server()?)
        .env("CHROMIUM", browser)
        .env("PAGES_TOOLS", modules)
        .env("PICTURES", root().join("docs/images")))
}

/// Installs what the tests of the pages need.
///
/// # Errors
/// As [`pages`].
pub(crate) fn install() -> Outcome {
    browser()?;
    tools::node()?;
    tools::browser_modules().map(drop)
}

/// A browser: that which `CHROMIUM` names, one that is installed, or, as root where there is apt, one that is installed now.
fn browser() -> Outcome<PathBuf> {
    let named = std::env::var_os("CHROMIUM").map(PathBuf::from);
    if let Some(found) = named.or_else(installed) {
        return Ok(found);
    }
    if geteuid().is_root() && tools::find_program("apt-get").is_some() {
        println!("installing Chromium with apt-get (once)");
        run(Command::new("apt-get").args(["update", "--quiet", "--quiet"]))?;
        let install = ["install", "--quiet", "--quiet", "--yes", "--no-install-recommends", "chromium"];
        run(Command::new("apt-get").args(install).env("DEBIAN_FRONTEND", "noninteractive"))?;
    }
    installed().ok_or_else(|| {
        "there is no browser to test the pages with: install Chromium or Chrome (on Debian and Ubuntu: apt-get install \
         chromium), or name one in the environment variable CHROMIUM"
            .to_owned()
    })
}

fn installed() -> Option<PathBuf> {
    let of_macos = PathBuf::from(BROWSER_OF_MACOS);
    BROWSERS.iter().find_map(|name| tools::find_program(name)).or_else(|| of_macos.is_file().then_some(of_macos))
}
