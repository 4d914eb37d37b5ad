//! The package of the Lambda functions: one binary and the roots it trusts, in a zip that is the same for the same input.

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::{Outcome, cargo, root, run, tools};

/// Largest zip: each start of a function on a fresh machine loads it first.
const MAX_ZIP_BYTES: usize = 6 * 1024 * 1024;
/// The level that means Zopfli, with 15 iterations: deflated as small as can be, in a minute.
const ZOPFLI: i64 = 24;
/// The C library of Amazon Linux 2023, where functions run: 2.34. What was built for a newer one does not start there.
const GLIBC_MINOR: u32 = 34;

/// The profile they are built with, in `Cargo.toml`.
pub(crate) const PROFILE: &str = "function";

/// What the functions run on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Architecture {
    X86,
    Arm,
}

impl Architecture {
    fn target(self) -> &'static str {
        match self {
            Architecture::X86 => "x86_64-unknown-linux-gnu",
            Architecture::Arm => "aarch64-unknown-linux-gnu",
        }
    }

    fn is_ours(self) -> bool {
        self.target().starts_with(std::env::consts::ARCH) && cfg!(target_os = "linux")
    }
}

/// Where the template expects the zip.
pub(crate) fn package() -> PathBuf {
    root().join("target/lambda/cartwright.zip")
}

/// Where the binary is that was built for x86-64.
pub(crate) fn binary() -> PathBuf {
    root().join("target").join(Architecture::X86.target()).join(PROFILE).join("bootstrap")
}

/// Builds the functions for release, and packs them.
///
/// # Errors
/// When they do not build, would not start on Lambda, or are larger than they should be.
pub(crate) fn lambda(architecture: Architecture) -> Outcome {
    let binary = build(architecture)?;
    check_c_library(&binary)?;
    let zip = package();
    let bytes = pack(&binary, &zip, ZOPFLI)?;
    let megabytes = |bytes: usize| format!("{}.{:02} MB", bytes >> 20, ((bytes & 0xf_ffff) * 100) >> 20);
    println!("bootstrap: {}", megabytes(fs::metadata(&binary).map_or(0, |file| file.len() as usize)));
    println!("{}: {}", zip.display(), megabytes(bytes));
    if bytes > MAX_ZIP_BYTES {
        return Err(format!("the zip has more than {}; each cold start loads it", megabytes(MAX_ZIP_BYTES)));
    }
    Ok(())
}

fn build(architecture: Architecture) -> Outcome<PathBuf> {
    let target = architecture.target();
    let what = ["--locked", "--profile", PROFILE, "--package", "cartwright-aws", "--bin", "bootstrap", "--target"];
    if architecture.is_ours() {
        run(cargo().arg("build").args(what).arg(target))?;
    } else {
        let zig = tools::zig()?;
        run(std::process::Command::new("rustup").args(["target", "add", target]).current_dir(root()))?;
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let paths = std::iter::once(zig).chain(std::env::split_paths(&paths));
        let paths = std::env::join_paths(paths).map_err(|error| format!("PATH cannot be extended: {error}"))?;
        let target = format!("{target}.2.{GLIBC_MINOR}");
        run(cargo().arg("zigbuild").args(what).arg(target).env("PATH", paths))?;
    }
    Ok(root().join("target").join(target).join(PROFILE).join("bootstrap"))
}

/// Fails when the binary asks for a newer C library than there is on Lambda.
fn check_c_library(binary: &Path) -> Outcome {
    let bytes = fs::read(binary).map_err(|error| format!("cannot read {}: {error}", binary.display()))?;
    const NAME: &[u8] = b"GLIBC_2.";
    let minors = bytes.windows(NAME.len() + 2).filter_map(|window| {
        let digits = window.strip_prefix(NAME)?.iter().take_while(|byte| byte.is_ascii_digit());
        digits.fold(None, |number: Option<u32>, digit| Some(number.unwrap_or(0) * 10 + u32::from(digit - b'0')))
    });
    match minors.max() {
        Some(minor) if minor > GLIBC_MINOR => Err(format!(
            "the binary needs GLIBC 2.{minor}, and Lambda has 2.{GLIBC_MINOR}: build on an older system, such as Debian 12"
        )),
        _ => Ok(()),
    }
}

/// Packs a binary with the roots. The size of the zip.
pub(crate) fn pack(binary: &Path, zip: &Path, level: i64) -> Outcome<usize> {
    let failed = |what: &Path, error: &dyn std::fmt::Display| format!("cannot pack {}: {error}", what.display());
    let roots = root().join("deploy/amazon-roots.pem");
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, path, permissions) in [("bootstrap", binary, 0o755), ("amazon-roots.pem", &roots, 0o644)] {
        let bytes = fs::read(path).map_err(|error| failed(path, &error))?;
        // No time of day: the same files make the same zip, and an unchanged function is not deployed again.
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        let options = options.compression_level(Some(level)).unix_permissions(permissions);
        writer.start_file(name, options).map_err(|error| failed(path, &error))?;
        writer.write_all(&bytes).map_err(|error| failed(path, &error))?;
    }
    let bytes = writer.finish().map_err(|error| failed(zip, &error))?.into_inner();
    fs::create_dir_all(zip.parent().unwrap_or(zip)).map_err(|error| failed(zip, &error))?;
    fs::write(zip, &bytes).map_err(|error| failed(zip, &error))?;
    Ok(bytes.len())
}
