//! `wordgrove transformer train`: text → a transformer.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value, json};
use wordgrove::files::parent;
use wordgrove::text::Corpus;
use wordgrove::transformer::{
    AttentionKind, OpenedRun, Run, Shape, Transformer, TransformerConfig, add_marks, fit, plant,
};
use wordgrove::{Error, Tokenizer};

use super::data::{BatchSettings, Data, DataArguments};
use super::settings::SettingArguments;
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
    /// Go on with the run in MODEL, on the same text; --steps may be more
    #[arg(long, conflicts_with_all = ["plant", "tokenizer", "tokens", "vocab_size", "min_count"])]
    resume: bool,
    /// Threads, 1 to 1024 [default: all cores]
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
    settings.fit()?;
    settings.transformer(1 << 24)?.check()?;
    check_destination(arguments, 0)?;
    if let Some(log) = &arguments.log {
        spare(&arguments.data.inputs(), "--log", log)?;
        spare_model(&arguments.output, "--log", log)?;
    }
    let opened = if arguments.resume { Some(open_run(arguments)?) } else { None };
    super::use_threads(arguments.threads)?;
    let terminal = Terminal::new(arguments.quiet, arguments.log.as_deref())?;
    let Prepared { mut run, tokenizer, notes, mut data } = match opened {
        Some(opened) => resume(arguments, opened, &terminal)?,
        None => begin(arguments, &terminal)?,
    };
    say_data(&run, &data, &terminal);
    let path = &arguments.output;
    let mut save = |run: &Run| run.save(path, &tokenizer, &notes);
    let validation =
        data.validation.as_mut().map(|examples| &mut **examples as &mut dyn wordgrove::transformer::Examples);
    let result = fit(&mut run, &mut *data.train, validation, &mut save, &terminal);
    terminal.log(&json!({"event": "saved", "model": path.display().to_string(), "step": run.state.step}));
    result?;
    terminal.finish()?;
    let next = match run.transformer.config().shape {
        Shape::Decoder => "generate",
        Shape::EncoderDecoder => "translate",
        Shape::Encoder => "embed",
    };
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

fn begin(arguments: &Arguments, terminal: &Terminal) -> Outcome<Prepared> {
    let settings = arguments.settings.read()?;
    let fit = settings.fit()?;
    let vectors = arguments.data.vectors()?;
    let corpus = Corpus::open_with(&arguments.data.texts, terminal)?;
    let tokenizer = arguments.data.tokenizer(vectors.as_ref(), &corpus, terminal)?;
    let mut config = settings.transformer(tokenizer.n_tokens())?;
    let tokenizer = add_marks(&tokenizer, &mut config)?;
    config.check()?;
    check_size(arguments, &config, fit.batch_size, terminal)?;
    let batch = BatchSettings { size: fit.batch_size, seed: fit.seed };
    let mut data = arguments.data.read(&corpus, &tokenizer, &config, batch, &parent(&arguments.output), terminal)?;
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
    let mut notes = notes(arguments, &data);
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

fn open_run(arguments: &Arguments) -> Outcome<OpenedRun> {
    let settings = arguments.settings.read()?;
    let mut opened = Run::open(&arguments.output)?;
    let mut ours = opened.run.transformer.config().settings();
    let fit = serde_json::to_value(&opened.run.config).expect("settings are numbers");
    ours.extend(fit.as_object().cloned().unwrap_or_default());
    let differences = settings.differences(&ours, &["steps", "validate_every"]);
    if !differences.is_empty() {
        let path = arguments.output.display();
        return Err(Failure::Usage(format!(
            "--resume: the run in {path} has other settings: {}; leave them out, or train anew elsewhere",
            differences.join(", ")
        )));
    }
    if let Some(steps) = settings.asked("steps") {
        opened.run.config.steps = steps;
    }
    if let Some(every) = settings.asked("validate_every") {
        opened.run.config.validate_every = every;
    }
    Ok(opened)
}

fn resume(arguments: &Arguments, opened: OpenedRun, terminal: &Terminal) -> Outcome<Prepared> {
    let OpenedRun { run, tokenizer, notes: before } = opened;
    let config = run.transformer.config();
    check_size(arguments, config, run.config.batch_size, terminal)?;
    let corpus = Corpus::open_with(&arguments.data.texts, terminal)?;
    let batch = BatchSettings { size: run.config.batch_size, seed: run.config.seed };
    let data = arguments.data.read(&corpus, &tokenizer, config, batch, &parent(&arguments.output), terminal)?;
    let mut notes = notes(arguments, &data);
    for (name, what) in [("train", "text"), ("validation", "held-out text")] {
        if before.get(name) != notes.get(name) {
            return Err(Failure::Usage(format!(
                "--resume: the {what} is not the one that the run in {} began with; give the same, or train anew elsewhere",
                arguments.output.display()
            )));
        }
    }
    if let Some(planted) = before.get("planted") {
        notes.insert("planted".to_string(), planted.clone());
    }
    let step = run.state.step;
    terminal.say(&format!("going on after step {} of {}", grouped(step), grouped(run.config.steps)));
    if step >= run.config.steps {
        return Err(Failure::Usage(format!("--resume: all {step} steps are done; give more --steps to go on")));
    }
    Ok(Prepared { run, tokenizer, notes, data })
}

/// What a run is known by when it goes on.
fn notes(arguments: &Arguments, data: &Data) -> Map<String, Value> {
    // As text, because numbers of 64 bits do not survive every reader of JSON.
    let print = |fingerprint: u64| Value::String(format!("{fingerprint:016x}"));
    let texts: Vec<String> = arguments.data.texts.iter().map(|text| text.display().to_string()).collect();
    Map::from_iter([
        ("texts".to_string(), json!(texts)),
        ("train".to_string(), print(data.train.fingerprint())),
        (
            "validation".to_string(),
            data.validation.as_ref().map_or(Value::Null, |examples| print(examples.fingerprint())),
        ),
    ])
}

/// Says how large it will be, and refuses what does not fit.
fn check_size(arguments: &Arguments, config: &TransformerConfig, batch_size: usize, terminal: &Terminal) -> Outcome {
    let mut estimate = config.estimate(batch_size, AttentionKind::Tiled);
    // The best parameters are kept beside the present ones; while a run is saved there are nine times the parameters: twice
    // themselves, two moments, and all of that but the best once more on its way into files, with a copy of the best.
    estimate.training_bytes = estimate.training_bytes.saturating_add(estimate.parameter_bytes);
    estimate.training_bytes = estimate.training_bytes.max(estimate.parameter_bytes.saturating_mul(9));
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
    let (steps, n_batches) = (run.config.steps, data.train.n_batches() as u64);
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
