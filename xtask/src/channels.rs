//! The channels of notifications, proved with receivers that others have written: the real binary, the library of Standard
//! Webhooks, and an SMTP server.

use std::process::Command;

use crate::{Outcome, root, run, server, tools};

/// Starts a server of this build, leads orders through their whole life, and looks at what arrives.
pub(crate) fn channels() -> Outcome {
    let python = tools::receivers()?.join("python");
    let folder = root().join("target/channels-data");
    let _ = std::fs::remove_dir_all(&folder);
    let script = root().join("xtask/src/channels.py");
    run(Command::new(python).arg(script).arg(server()?).arg(folder))
}
