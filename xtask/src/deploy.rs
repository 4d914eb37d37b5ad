//! The deployment to AWS, by the SAM CLI; with `--watch`, one that CloudFormation takes back when an alarm rings.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::lambda::{Architecture, lambda};
use crate::{Outcome, root, run};

const STAGES: [&str; 4] = ["dev", "qa", "staging", "prod"];

const USAGE: &str = "Usage: cargo xtask deploy --stage dev|qa|staging|prod [--guided | --watch MINUTES]";

/// Alarms of the stack that take a deployment back: CloudFormation watches five at most. Of the API, of the way of the
/// events, and of what becomes of an order.
const WATCHED: [&str; 5] =
    ["ApiErrors", "RelayErrors", "OrderQueueWorkerErrors", "OrderQueueDeadLetter", "StockQueueDeadLetter"];
/// Longest watch that CloudFormation keeps.
const MAX_WATCH_MINUTES: u8 = 180;
/// The stack in which SAM keeps the bucket of its uploads.
const SAM_STACK: &str = "aws-sam-cli-managed-default";

/// Builds the functions and deploys the stack of a stage, with the parameters of `deploy/samconfig.toml`.
///
/// # Errors
/// In words, which tool or which credentials are missing; else what SAM or AWS says.
pub(crate) fn deploy(arguments: &[String]) -> Outcome {
    let (mut stage, mut guided, mut watch) = (None, false, None);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--stage" => stage = arguments.next().filter(|stage| STAGES.contains(&stage.as_str())),
            "--guided" => guided = true,
            "--watch" => watch = Some(minutes(arguments.next())?),
            unknown => return Err(format!("{unknown:?} is no option of deploy\n{USAGE}")),
        }
    }
    let stage = stage.filter(|_| !guided || watch.is_none()).ok_or_else(|| USAGE.to_owned())?;
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
    let Some(minutes) = watch else { return run(&mut command) };
    let stack = stack_of(&settings, stage).ok_or_else(|| format!("samconfig.toml has no stack_name for {stage}"))?;
    match status_of(stack)? {
        Some(_) => deploy_watched(&mut command, stack, minutes),
        None => {
            println!("{stack} is not there yet: there is nothing to watch, and nothing to go back to");
            run(&mut command)
        }
    }
}

fn minutes(argument: Option<&String>) -> Outcome<u8> {
    let minutes = argument.and_then(|minutes| minutes.parse().ok()).filter(|minutes| *minutes <= MAX_WATCH_MINUTES);
    minutes.ok_or_else(|| format!("--watch takes minutes, at most {MAX_WATCH_MINUTES}\n{USAGE}"))
}

/// Has SAM upload everything and make a change set, and carries out one that is the same but for its rollback
/// configuration, of which SAM knows nothing.
fn deploy_watched(sam: &mut Command, stack: &str, minutes: u8) -> Outcome {
    let before = change_sets(stack)?;
    run(sam.arg("--no-execute-changeset"))?;
    let Some(theirs) = change_sets(stack)?.into_iter().find(|name| !before.contains(name)) else {
        println!("nothing is to be changed");
        return Ok(());
    };
    let watched = rollback_configuration(&alarms(stack)?, minutes);
    let ours = format!("watched-{theirs}");
    make_watched(stack, &theirs, &ours, &watched)?;
    println!("{stack} is changed, and then watched for {minutes} minutes");
    cloudformation(&["execute-change-set", "--stack-name", stack, "--change-set-name", &ours])?;
    let status = loop {
        // It gives up after an hour, and says with its exit status alone how it went.
        let _ = cloudformation(&["wait", "stack-update-complete", "--stack-name", stack]);
        let status = status_of(stack)?.unwrap_or_default();
        if !status.ends_with("_IN_PROGRESS") {
            break status;
        }
    };
    if status != "UPDATE_COMPLETE" {
        let events = format!("aws cloudformation describe-stack-events --stack-name {stack}");
        return Err(format!("{stack} is {status}: an alarm rang, or a change failed; `{events}` says which"));
    }
    let outputs = ["describe-stacks", "--stack-name", stack, "--query", "Stacks[0].Outputs[].[OutputKey,OutputValue]"];
    println!("{}", cloudformation(&outputs)?);
    Ok(())
}

/// Makes the change set that is carried out: template, parameters and capabilities are those of SAM's.
fn make_watched(stack: &str, theirs: &str, ours: &str, watched: &str) -> Outcome {
    let of_theirs = ["--stack-name", stack, "--change-set-name", theirs, "--no-paginate", "--query"];
    let describe = |what: &[&str]| cloudformation(&[&["describe-change-set"], &of_theirs[..], what].concat());
    let parameters = describe(&["Parameters", "--output", "json"])?;
    let capabilities = describe(&["Capabilities"])?;
    let template = ["get-template", "--template-stage", "Original"];
    let template = cloudformation(&[&template[..], &of_theirs[..4], &["--query", "TemplateBody"]].concat())?;

    let file = root().join("target/lambda/watched.yaml");
    fs::write(&file, template).map_err(|error| format!("{}: {error}", file.display()))?;
    let bucket = "Stacks[0].Outputs[?OutputKey=='SourceBucket'].OutputValue";
    let bucket = cloudformation(&["describe-stacks", "--stack-name", SAM_STACK, "--query", bucket])?;
    let key = format!("{bucket}/{stack}/watched.template");
    aws(&["s3", "cp", "--only-show-errors", &file.to_string_lossy(), &format!("s3://{key}")])?;
    let url = format!("https://s3.{}.amazonaws.com/{key}", region()?);

    let new = ["create-change-set", "--stack-name", stack, "--change-set-name", ours, "--template-url", &url];
    let with = ["--parameters", &parameters, "--rollback-configuration", watched, "--capabilities"];
    let capabilities: Vec<&str> = capabilities.split_whitespace().collect();
    cloudformation(&[&new[..], &with, &capabilities].concat())?;
    let wait = ["wait", "change-set-create-complete", "--stack-name", stack, "--change-set-name", ours];
    cloudformation(&wait).map(drop)
}

/// The ARNs of those alarms that are there and do not ring. One that rings already says nothing of a release that may be
/// the cure.
fn alarms(stack: &str) -> Outcome<Vec<String>> {
    let resources = "StackResourceSummaries[].[LogicalResourceId,PhysicalResourceId]";
    let resources = cloudformation(&["list-stack-resources", "--stack-name", stack, "--query", resources])?;
    let names: Vec<&str> = resources
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .filter_map(|(logical, name)| WATCHED.contains(&logical).then_some(name))
        .collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let states = ["--query", "MetricAlarms[].[StateValue,AlarmArn]", "--output", "text"];
    let states = aws(&[&["cloudwatch", "describe-alarms", "--alarm-names"], &names[..], &states].concat())?;
    let (ringing, quiet): (Vec<_>, Vec<_>) =
        states.lines().filter_map(|line| line.split_once('\t')).partition(|(state, _)| *state == "ALARM");
    for (_, arn) in ringing {
        println!("{arn} rings already, and is not watched");
    }
    Ok(quiet.into_iter().map(|(_, arn)| arn.to_owned()).collect())
}

/// In the form of the API.
fn rollback_configuration(alarms: &[String], minutes: u8) -> String {
    let triggers: Vec<String> =
        alarms.iter().map(|arn| format!(r#"{{"Arn":"{arn}","Type":"AWS::CloudWatch::Alarm"}}"#)).collect();
    format!(r#"{{"RollbackTriggers":[{}],"MonitoringTimeInMinutes":{minutes}}}"#, triggers.join(","))
}

/// The names of the change sets of a stack that can be carried out.
fn change_sets(stack: &str) -> Outcome<Vec<String>> {
    let names = "Summaries[?ExecutionStatus=='AVAILABLE'].[ChangeSetName]";
    let names = cloudformation(&["list-change-sets", "--stack-name", stack, "--query", names])?;
    Ok(names.lines().map(str::to_owned).collect())
}

/// The status of a stack, unless it is not there, or was only asked for.
fn status_of(stack: &str) -> Outcome<Option<String>> {
    match cloudformation(&["describe-stacks", "--stack-name", stack, "--query", "Stacks[0].StackStatus"]) {
        Ok(status) => Ok(Some(status).filter(|status| status != "REVIEW_IN_PROGRESS")),
        Err(why) if why.contains("does not exist") => Ok(None),
        Err(why) => Err(why),
    }
}

fn region() -> Outcome<String> {
    let named = ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().find_map(|name| env::var(name).ok());
    named.map_or_else(|| aws(&["configure", "get", "region"]), Ok)
}

/// What the AWS CLI answers, as text unless `arguments` say otherwise.
fn cloudformation(arguments: &[&str]) -> Outcome<String> {
    let says_how = arguments.contains(&"--output") || arguments.first() == Some(&"wait");
    let text: &[&str] = if says_how { &[] } else { &["--output", "text"] };
    aws(&[&["cloudformation"], arguments, text].concat())
}

fn aws(arguments: &[&str]) -> Outcome<String> {
    let answer = Command::new("aws").args(arguments).output();
    let answer = answer.map_err(|error| format!("--watch needs the AWS CLI (aws): {error}"))?;
    if answer.status.success() {
        return Ok(String::from_utf8_lossy(&answer.stdout).trim_end().to_owned());
    }
    let why = String::from_utf8_lossy(&answer.stderr);
    Err(format!("aws {}: {}", arguments[..2].join(" "), why.trim()))
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
    let is_arm = lines_of(settings, stage).any(|line| line.contains("Architecture=arm64"));
    if is_arm { Architecture::Arm } else { Architecture::X86 }
}

/// What the stack of a stage is called.
fn stack_of<'a>(settings: &'a str, stage: &str) -> Option<&'a str> {
    let name = lines_of(settings, stage).find(|line| line.starts_with("stack_name"))?;
    name.split('"').nth(1)
}

/// The lines of the sections of a stage.
fn lines_of<'a>(settings: &'a str, stage: &str) -> impl Iterator<Item = &'a str> {
    let section = format!("[{stage}.");
    let mut is_ours = false;
    settings.lines().map(str::trim).filter(move |line| {
        if line.starts_with('[') {
            is_ours = line.starts_with(&section);
        }
        is_ours
    })
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

    #[test]
    fn the_stack_is_that_of_the_stage() {
        let settings = include_str!("../../deploy/samconfig.toml");
        for stage in STAGES {
            assert_eq!(stack_of(settings, stage), Some(format!("cartwright-{stage}").as_str()));
        }
        assert_eq!(stack_of(settings, "other"), None);
    }

    #[test]
    fn what_is_watched_is_told_as_the_api_wants_it() {
        let alarms = ["arn:a".to_owned(), "arn:b".to_owned()];
        let expected = r#"{"RollbackTriggers":[{"Arn":"arn:a","Type":"AWS::CloudWatch::Alarm"},"#.to_owned()
            + r#"{"Arn":"arn:b","Type":"AWS::CloudWatch::Alarm"}],"MonitoringTimeInMinutes":20}"#;
        assert_eq!(rollback_configuration(&alarms, 20), expected);
        assert_eq!(rollback_configuration(&[], 0), r#"{"RollbackTriggers":[],"MonitoringTimeInMinutes":0}"#);
    }

    #[test]
    fn a_watch_is_no_longer_than_cloudformation_keeps_it() {
        assert_eq!(minutes(Some(&"180".to_owned())), Ok(180));
        for wrong in [None, Some("181".to_owned()), Some("-1".to_owned()), Some("soon".to_owned())] {
            assert!(minutes(wrong.as_ref()).is_err(), "{wrong:?}");
        }
    }
}
