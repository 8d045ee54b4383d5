//! `wordgrove transformer train`: text → a transformer.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value, json};
use wordgrove::text::Corpus;
use wordgrove::transformer::{
    Claim, Examples, FitConfig, OpenedRun, Run, Transformer, TransformerConfig, add_marks, fit, plant,
};
use wordgrove::{Error, Event, Progress, Tokenizer};

use super::data::{Data, DataArguments, HeldOut, Reader};
use super::settings::{SettingArguments, Settings};
use super::{use_threads, usual_verb};
use crate::cli::failure::{Failure, Outcome};
use crate::cli::inputs::{spare, spare_model};
use crate::cli::memory;
use crate::cli::number::{bytes, whole};
use crate::cli::output::{grouped, print_json, size};
use crate::cli::terminal::Terminal;

/// What `transformer train` is told.
#[derive(Args)]
#[command(
    after_help = "The folder holds the best transformer so far, by the loss on what is held out, in the layout that Hugging \
    Face transformers loads (GPT-2, Marian, BERT) where the settings allow it. Ctrl-C saves, and --resume goes on.\n\n\
    A start:\n  wordgrove train mytext.txt -o models/vectors --vocab-size 8192 --dim 256\n  wordgrove transformer train \
    mytext.txt -o models/writer --plant models/vectors\n  wordgrove transformer generate models/writer 'Once upon a time'"
)]
pub struct Arguments {
    #[command(flatten)]
    data: DataArguments,
    /// The folder to write; a transformer that is there is replaced when the first one is complete
    #[arg(short, long, value_name = "MODEL")]
    output: PathBuf,
    #[command(flatten)]
    settings: SettingArguments,
    /// Go on with the run in MODEL, on the same text. --steps may be more: the learning rate then goes on along the longer
    /// way down, and so first rises
    #[arg(long, conflicts_with_all = ["plant", "tokenizer", "tokens", "vocab_size", "min_count"])]
    resume: bool,
    /// Threads, 1 to 1024 [default: all cores; with --resume as many as the run began with]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole(1..=1024usize))]
    threads: Option<usize>,
    /// Refuse to start when more memory than this would be needed, like 4G [default: what the machine has free]
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = bytes)]
    memory_limit: Option<u64>,
    /// Write what happens to this file, a JSON object a line
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Print a JSON object at the end
    #[arg(long)]
    json: bool,
    /// Print nothing but warnings and errors
    #[arg(long, short)]
    quiet: bool,
}

/// A run and what it reads.
struct Prepared {
    run: Run,
    tokenizer: Tokenizer,
    notes: Map<String, Value>,
    data: Data,
}

pub fn run(arguments: &Arguments) -> Outcome {
    // What can be found out before the work begins is found out before the work begins.
    let settings = arguments.settings.read()?;
    arguments.data.check()?;
    if !arguments.resume {
        settings.fit()?;
        settings.transformer(1 << 24)?.check()?;
    }
    check_destination(arguments, 0)?;
    if let Some(log) = &arguments.log {
        spare(&arguments.data.inputs(), "--log", log)?;
        spare_model(&arguments.output, "--log", log)?;
    }
    let path = &arguments.output;
    // Two runs would take turns in replacing each other's folder.
    let _claim = Claim::new(path)?;
    let opened = if arguments.resume { Some(open_run(arguments, &settings)?) } else { None };
    let new = if arguments.resume { Terminal::going_on } else { Terminal::new };
    let terminal = new(arguments.quiet, arguments.log.as_deref())?;
    let Prepared { mut run, tokenizer, notes, mut data } = match opened {
        Some((opened, fit)) => resume(arguments, opened, fit, &terminal)?,
        None => begin(arguments, &settings, &terminal)?,
    };
    say_data(&run, &data, &terminal);
    let mut save = |run: &Run| {
        run.save(path, &tokenizer, &notes)?;
        terminal.log(&json!({"event": "saved", "model": path.display().to_string(), "step": run.state.step}));
        Ok(())
    };
    let validation = data.validation.as_mut().map(|examples| &mut **examples as &mut dyn Examples);
    fit(&mut run, &mut *data.train, validation, &mut save, &terminal)?;
    terminal.finish()?;
    let next = usual_verb(run.transformer.config().shape);
    let best = run.state.best().map_or(0, |best| best.step);
    terminal.say(&format!(
        "saved {}, as it was at step {best}\ntry: wordgrove transformer {next} {0} TEXT",
        path.display()
    ));
    if arguments.json {
        print_json(&json!({
            "model": path.display().to_string(), "steps": run.state.step, "best_step": best,
            "parameters": run.transformer.parameters().n_parameters(), "reports": run.state.reports,
            "peak_rss_bytes": memory::peak_rss_bytes(),
        }))?;
    }
    Ok(())
}

fn begin(arguments: &Arguments, settings: &Settings, terminal: &Terminal) -> Outcome<Prepared> {
    let fit = settings.fit()?;
    let n_threads = use_threads(arguments.threads)?;
    let vectors = arguments.data.vectors()?;
    let corpus = Corpus::open_with(&arguments.data.texts, terminal)?;
    let tokenizer = arguments.data.tokenizer(vectors.as_ref(), &corpus, terminal)?;
    let mut config = settings.transformer(tokenizer.n_tokens())?;
    let tokenizer = add_marks(&tokenizer, &mut config)?;
    config.check()?;
    check_size(arguments, &config, fit.batch_size, terminal)?;
    let held_out = arguments.data.held_out().unwrap_or(HeldOut::Usual);
    let mut data = reader(arguments, &tokenizer, &config, &fit, &held_out, terminal).read(&corpus)?;
    if let Some(known) = vectors.as_ref().and_then(|model| model.embeddings.counts()) {
        // The tree of the vectors, so that its nodes can be planted; the marks are as frequent as in this text.
        data.counts[..known.len()]
            .iter_mut()
            .zip(known)
            .filter(|(_, known)| **known > 0)
            .for_each(|(count, known)| *count = *known);
    }
    let seed = fit.seed;
    let run = Run::new(Transformer::new(config, Some(&data.counts), seed)?, fit)?;
    let mut notes = notes(arguments, &data, &held_out, n_threads);
    if let Some(model) = &vectors {
        let transformer = &run.transformer;
        let tree = transformer.tree().map(|tree| &**tree);
        let planted = plant(model, transformer.config(), transformer.parameters(), tree, seed)?;
        let nodes = planted.n_nodes.map_or(String::new(), |n| format!(" and {} nodes of the tree", grouped(n as u64)));
        terminal.say(&format!(
            "planted {} vectors of {} numbers{nodes} from {}",
            grouped(planted.n_tokens as u64),
            planted.dim,
            model.path().display()
        ));
        notes.insert(
            "planted".to_string(),
            json!({"from": model.path().display().to_string(), "tokens": planted.n_tokens, "nodes": planted.n_nodes}),
        );
    }
    Ok(Prepared { run, tokenizer, notes, data })
}

/// The run in the folder, and how it is to be trained from now on.
fn open_run(arguments: &Arguments, settings: &Settings) -> Outcome<(OpenedRun, FitConfig)> {
    let opened = Run::open(&arguments.output)?;
    let differences = settings.differences(&opened.run, &["steps", "validate_every"])?;
    if !differences.is_empty() {
        return other_than_the_run(arguments, &format!("it has other settings: {}", differences.join(", ")));
    }
    let config = settings.fit_over(&opened.run.config)?;
    config.check()?;
    let step = opened.run.state.step;
    if step >= config.steps {
        return Err(Failure::Usage(format!("--resume: all {step} steps are done; give more --steps to go on")));
    }
    Ok((opened, config))
}

fn resume(arguments: &Arguments, opened: OpenedRun, fit: FitConfig, terminal: &Terminal) -> Outcome<Prepared> {
    let OpenedRun { mut run, tokenizer, notes: before } = opened;
    let noted = before.get("threads").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    let n_threads = use_threads(arguments.threads.or(noted))?;
    let config = run.transformer.config();
    check_size(arguments, config, run.config.batch_size, terminal)?;
    let corpus = Corpus::open_with(&arguments.data.texts, terminal)?;
    let noted_part = before.get("held_out").and_then(|noted| serde_json::from_value::<HeldOut>(noted.clone()).ok());
    let held_out = arguments.data.held_out().or(noted_part.clone()).unwrap_or(HeldOut::Usual);
    let data = reader(arguments, &tokenizer, config, &run.config, &held_out, terminal).read(&corpus)?;
    let mut notes = notes(arguments, &data, &held_out, n_threads);
    for (name, what) in [("train", "text"), ("validation", "held-out text")] {
        if before.get(name) == notes.get(name) {
            continue;
        }
        return match noted_part {
            Some(noted) if noted != held_out => {
                other_than_the_run(arguments, &format!("it holds out {noted}, not {held_out}"))
            }
            _ => other_than_the_run(arguments, &format!("the {what} is not the one that it began with")),
        };
    }
    if let Some(planted) = before.get("planted") {
        notes.insert("planted".to_string(), planted.clone());
    }
    let (step, was) = (run.state.step, std::mem::replace(&mut run.config, fit));
    terminal.say(&format!("going on after step {} of {}", grouped(step), grouped(run.config.steps)));
    if let Some(noted) = noted.filter(|&noted| noted != n_threads) {
        let text = format!(
            "the run began on {noted} threads and goes on with {n_threads}: its results will be as good, but not the same \
             to the last bit"
        );
        terminal.report(&Event::Warning(&text));
    }
    let (before, after) = (was.rate(step), run.config.rate(step));
    if after > 1.01 * before {
        terminal.say(&format!("with more steps the learning rate goes on at {after:.2e}, where it was {before:.2e}"));
    }
    Ok(Prepared { run, tokenizer, notes, data })
}

fn other_than_the_run<T>(arguments: &Arguments, how: &str) -> Outcome<T> {
    let path = arguments.output.display();
    Err(Failure::Usage(format!(
        "--resume: this is not the run in {path}: {how}; give the same, or train anew elsewhere"
    )))
}

fn reader<'a>(
    arguments: &'a Arguments,
    tokenizer: &'a Tokenizer,
    config: &'a TransformerConfig,
    fit: &FitConfig,
    held_out: &'a HeldOut,
    progress: &'a Terminal,
) -> Reader<'a> {
    let output = &arguments.output;
    Reader { tokenizer, config, batch_size: fit.batch_size, seed: fit.seed, held_out, output, progress }
}

/// What a run is known by when it goes on.
fn notes(arguments: &Arguments, data: &Data, held_out: &HeldOut, n_threads: usize) -> Map<String, Value> {
    // As text, because numbers of 64 bits do not survive every reader of JSON.
    let print = |fingerprint: u64| Value::String(format!("{fingerprint:016x}"));
    let texts: Vec<String> = arguments.data.texts.iter().map(|text| text.display().to_string()).collect();
    let validation = data.validation.as_ref().map_or(Value::Null, |examples| print(examples.fingerprint()));
    Map::from_iter([
        ("texts".to_string(), json!(texts)),
        ("train".to_string(), print(data.train.fingerprint())),
        ("validation".to_string(), validation),
        ("held_out".to_string(), held_out.note()),
        ("threads".to_string(), json!(n_threads)),
    ])
}

/// Says how large it will be, and refuses what does not fit.
fn check_size(arguments: &Arguments, config: &TransformerConfig, batch_size: usize, terminal: &Terminal) -> Outcome {
    let estimate = config.estimate(batch_size, rayon::current_num_threads());
    terminal.say(&format!(
        "{}: {} parameters ({}), training needs about {}",
        config.shape,
        grouped(estimate.n_parameters),
        size(estimate.parameter_bytes),
        size(estimate.training_bytes)
    ));
    terminal.log(&json!({
        "event": "size", "parameters": estimate.n_parameters, "parameter_bytes": estimate.parameter_bytes,
        "training_bytes": estimate.training_bytes,
    }));
    let what = format!("{} parameters and their training", grouped(estimate.n_parameters));
    memory::check_bytes(
        arguments.memory_limit,
        estimate.training_bytes,
        &what,
        "a smaller --batch-size, --context-len, --d-model or --n-layers",
    )?;
    // Once more, now that it is known how much room there must be.
    check_destination(arguments, estimate.parameter_bytes)
}

/// A destination that holds something else is a slip in the command, not bad data.
fn check_destination(arguments: &Arguments, parameter_bytes: u64) -> Outcome {
    Run::check_destination(&arguments.output, parameter_bytes).map_err(|error| match error {
        Error::Format { .. } => Failure::Usage(format!("--output: {error}")),
        other => Failure::Library(other),
    })
}

fn say_data(run: &Run, data: &Data, terminal: &Terminal) {
    let (steps, n_batches) = (run.config.steps, data.train.n_batches());
    let held_out = match &data.validation {
        Some(examples) => format!("{} tokens held out", grouped(examples.n_ids())),
        None => "nothing held out".to_string(),
    };
    terminal.say(&format!(
        "{} tokens to learn from, {held_out}; {} steps are {:.1} passes",
        grouped(data.train.n_ids()),
        grouped(steps),
        steps as f64 / n_batches as f64
    ));
}
