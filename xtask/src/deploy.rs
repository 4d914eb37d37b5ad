//! The deployment to AWS, by the SAM CLI.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::lambda::{Architecture, lambda};
use crate::{Outcome, root, run};

const STAGES: [&str; 4] = ["dev", "qa", "staging", "prod"];

const USAGE: &str = "Usage: cargo xtask deploy --stage dev|qa|staging|prod [--guided]";

/// Builds the functions and deploys the stack of a stage, with the parameters of `deploy/samconfig.toml`.
///
/// # Errors
/// In words, which tool or which credentials are missing; else what SAM says.
pub(crate) fn deploy(arguments: &[String]) -> Outcome {
    let (mut stage, mut guided) = (None, false);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--stage" => stage = arguments.next().filter(|stage| STAGES.contains(&stage.as_str())),
            "--guided" => guided = true,
            unknown => return Err(format!("{unknown:?} is no option of deploy\n{USAGE}")),
        }
    }
    let stage = stage.ok_or_else(|| USAGE.to_owned())?;
    let sam = find_sam()?;
    check_credentials()?;
    let folder = root().join("deploy");
    let settings = fs::read_to_string(folder.join("samconfig.toml")).unwrap_or_default();
    lambda(architecture_of(&settings, stage))?;
    let mut command = Command::new(sam);
    command.current_dir(&folder).args(["deploy", "--language-extensions", "--config-env", stage]);
    if guided {
        command.arg("--guided");
    }
    run(&mut command)
}

/// The SAM CLI: the one that is installed, or the one of `cargo xtask aws-test`.
fn find_sam() -> Outcome<PathBuf> {
    for sam in [Path::new("sam").to_owned(), root().join("target/tools/aws/bin/sam")] {
        let help = Command::new(&sam).args(["deploy", "--help"]).stderr(Stdio::null()).output();
        match help {
            Ok(help) if String::from_utf8_lossy(&help.stdout).contains("--language-extensions") => return Ok(sam),
            Ok(_) => eprintln!("{} is too old: it has no --language-extensions", sam.display()),
            Err(_) => {}
        }
    }
    Err("install the SAM CLI, release 1.167 or newer: pip install aws-sam-cli".to_owned())
}

/// Fails early where no credentials can be found, because building takes minutes.
fn check_credentials() -> Outcome {
    const VARIABLES: [&str; 6] = [
        "AWS_ACCESS_KEY_ID",
        "AWS_PROFILE",
        "AWS_DEFAULT_PROFILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ];
    let in_environment = VARIABLES.iter().any(|name| env::var_os(name).is_some_and(|value| !value.is_empty()));
    let home = env::home_dir().unwrap_or_default().join(".aws");
    if in_environment || home.join("credentials").exists() || home.join("config").exists() {
        return Ok(());
    }
    Err("there are no credentials for AWS: run `aws configure sso` or `aws configure`, or set AWS_PROFILE".to_owned())
}

/// What the parameters of a stage say the functions run on.
fn architecture_of(settings: &str, stage: &str) -> Architecture {
    let section = format!("[{stage}.");
    let mut is_ours = false;
    for line in settings.lines().map(str::trim) {
        if line.starts_with('[') {
            is_ours = line.starts_with(&section);
        }
        if is_ours && line.contains("Architecture=arm64") {
            return Architecture::Arm;
        }
    }
    Architecture::X86
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_architecture_is_that_of_the_stage() {
        let settings = "[dev.deploy.parameters]\nparameter_overrides = [\"StageName=dev\"]\n\
            [prod.deploy.parameters]\nparameter_overrides = [\n  \"Architecture=arm64\",\n]\n";
        assert!(architecture_of(settings, "prod") == Architecture::Arm);
        assert!(architecture_of(settings, "dev") == Architecture::X86);
    }
}
