//! Unfinished runs: where their checkpoints lie, and whether a command may go on with one.
//!
//! A run that is resumed keeps its settings. A flag that is given again must agree with them; one that does not is
//! refused by name, with what it was.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf, absolute};

use clap::ArgMatches;
use clap::parser::ValueSource;
use serde_json::{Map, Value, json};
use wordgrove::{Checkpoint, CheckpointFolder, Error, Event, Progress};

use super::failure::{Failure, Outcome};
use super::terminal::Terminal;

/// The flags that were on the command line, as their fields are called.
#[derive(Debug, Clone, Default)]
pub struct Given(Vec<String>);

impl Given {
    /// Of the verb that was called.
    pub fn of(matches: &ArgMatches) -> Given {
        let Some((_, verb)) = matches.subcommand() else { return Given::default() };
        let was_given = |id: &&clap::Id| verb.value_source(id.as_str()) == Some(ValueSource::CommandLine);
        Given(verb.ids().filter(was_given).map(|id| id.to_string()).collect())
    }

    fn has(&self, field: &str) -> bool {
        self.0.iter().any(|given| given == field)
    }
}

/// Where the checkpoints of the run that makes this model lie: beside it, `MODEL.checkpoint`.
pub fn folder(output: &Path) -> PathBuf {
    let target = fs::canonicalize(output).unwrap_or_else(|_| output.to_path_buf());
    let mut name = target.file_name().map_or_else(|| OsString::from("model"), OsString::from);
    name.push(".checkpoint");
    target.with_file_name(name)
}

/// What is kept for us in a checkpoint: the settings as `config.json` has them, and where the texts are.
pub fn about(settings: &Map<String, Value>, texts: &[PathBuf]) -> Value {
    let place = |text: &PathBuf| match text.as_os_str() == "-" {
        true => Some("-".to_string()),
        false => Some(absolute(text).ok()?.to_str()?.to_string()),
    };
    // A path that JSON cannot hold has to be given again.
    let texts: Option<Vec<String>> = texts.iter().map(place).collect();
    json!({"settings": settings, "texts": texts})
}

/// The settings that are kept in a checkpoint.
pub fn settings(checkpoint: &Checkpoint) -> Map<String, Value> {
    checkpoint.about["settings"].as_object().cloned().unwrap_or_default()
}

/// The texts to go on with: those that were given again, or those of the checkpoint.
pub fn texts(checkpoint: &Checkpoint, given: Vec<PathBuf>) -> Outcome<Vec<PathBuf>> {
    if !given.is_empty() {
        return Ok(given);
    }
    let kept: Option<Vec<PathBuf>> = checkpoint.about["texts"]
        .as_array()
        .and_then(|texts| texts.iter().map(|text| text.as_str().map(PathBuf::from)).collect());
    match kept {
        Some(texts) if !texts.iter().any(|text| text == Path::new("-")) => Ok(texts),
        _ => {
            Err(Failure::Usage("--resume: give the same texts again; the checkpoint cannot hold where they are".into()))
        }
    }
}

/// The newest checkpoint in `folder`, to be resumed.
pub fn read(folder: &mut CheckpointFolder, at: &Path, terminal: &Terminal) -> Outcome<Checkpoint> {
    let Some(checkpoint) = folder.read(terminal)? else {
        let at = at.display();
        return Err(Failure::Usage(format!(
            "--resume: there is no unfinished run, for there is no {at} with a checkpoint in it: to train anew, leave \
             --resume out"
        )));
    };
    let cpu = wordgrove::math::cpu()?;
    if checkpoint.cpu != cpu {
        terminal.report(&Event::Warning(&format!(
            "the run was begun on a processor with {}, this one has {cpu}: the last digits will come out differently",
            checkpoint.cpu
        )));
    }
    Ok(checkpoint)
}

/// Refuses to begin anew where an unfinished run lies.
pub fn check_nothing_is_lost(folder: &CheckpointFolder) -> Outcome {
    match folder.newest() {
        None => Ok(()),
        Some(newest) => Err(Failure::Usage(format!(
            "--output: there is an unfinished run, {}: go on with it by --resume, or begin anew and lose it by \
             --start-over",
            newest.display()
        ))),
    }
}

/// Refuses flags that do not agree with the run; `wanted` has the settings as the command line would have them.
pub fn check_flags(given: &Given, wanted: &Map<String, Value>, checkpoint: &Checkpoint) -> Outcome {
    /// Other spellings of a setting.
    const ALSO: [(&str, &str); 3] = [("cbow", "architecture"), ("sg", "architecture"), ("hs", "loss")];
    /// Those that change nothing about what comes out.
    const FREE: [&str; 1] = ["texts"];
    let kept = settings(checkpoint);
    let mut refused = Vec::new();
    for (setting, wanted) in wanted {
        let field = setting.replace('-', "_");
        let is_given = given.has(&field) || ALSO.iter().any(|&(other, meant)| meant == setting && given.has(other));
        let then = kept.get(setting).unwrap_or(&Value::Null);
        let is_free = FREE.contains(&setting.as_str()) || (setting == "threads" && may_change_threads(checkpoint));
        if is_given && !is_free && then != wanted {
            refused.push(format!("--{setting}: {} was given, the run has {}", plain(wanted), plain(then)));
        }
    }
    if refused.is_empty() {
        return Ok(());
    }
    Err(Failure::Usage(format!("{}; leave it out to go on, or begin anew with --start-over", refused.join("; "))))
}

/// Whether another number of threads leaves the result as it is, or there is no one result to begin with.
fn may_change_threads(checkpoint: &Checkpoint) -> bool {
    checkpoint.config.deterministic || checkpoint.config.workers > 1
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "none".to_string(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What to do next, where the end of a run leaves a checkpoint.
pub fn advise(error: Error, folder: &CheckpointFolder, output: &Path) -> Error {
    let output = output.display();
    match error {
        Error::Interrupted(how) if folder.newest().is_some() => {
            Error::Interrupted(format!("{how}; go on with: wordgrove train --resume -o {output}"))
        }
        Error::Diverged(how) if folder.newest().is_some() => {
            Error::Diverged(format!("{how} --start-over (what was learned before lies in the newest checkpoint)"))
        }
        other => other,
    }
}
