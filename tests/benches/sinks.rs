//! How a model bears a text longer than its context: perplexity and memory, with attention sinks, without, and with the
//! whole past.
//!
//! `cargo bench --bench sinks -- MODEL TEXT [CONTEXTS] [PASSAGES]` takes so many passages of the text (20), each so many times
//! the context length (10) long, reads them token by token, and prints the perplexity of each stretch of one context length,
//! over all passages. MODEL is a decoder with rotary positions; one with other positions reads its text in halves of the
//! context, which is printed alone.

use std::path::{Path, PathBuf};

use wordgrove::TokenId;
use wordgrove::transformer::{Checkpoint, GenerateConfig, Positions, Transformer, line_end, score_stream};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    wordgrove::transformer::settle_environment();
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [model, text, rest @ ..] = &arguments[..] else {
        return Err("usage: cargo bench --bench sinks -- MODEL TEXT [CONTEXTS] [PASSAGES]".into());
    };
    let number = |at: usize, default: usize| rest.get(at).map_or(Ok(default), |number| number.parse::<usize>());
    let (n_contexts, n_passages) = (number(0, 10)?, number(1, 20)?);
    let model = PathBuf::from(model);
    let Checkpoint { transformer, tokenizer, .. } = Checkpoint::open(&model)?;
    let tokenizer = tokenizer.ok_or("the model has no tokenizer")?;
    let config = transformer.config();
    let len = n_contexts * config.context_len;
    let mut ids: Vec<TokenId> = Vec::new();
    for line in std::fs::read_to_string(text)?.lines() {
        ids.extend(tokenizer.encode(line.as_bytes()));
        ids.extend(line_end(config));
    }
    // Each with the first token of the next, which is only told.
    let passages: Vec<&[TokenId]> =
        (0..n_passages).map_while(|passage| ids.get(passage * len..(passage + 1) * len + 1)).collect();
    if passages.is_empty() {
        return Err(format!("{text}: has {} tokens, expected more than {len}", ids.len()).into());
    }
    println!(
        "{}: {} passages of {len} tokens of {text}, context {}, positions {}",
        model.display(),
        passages.len(),
        config.context_len,
        config.positions
    );
    let alone = GenerateConfig { n_sinks: Some(0), window: None, ..GenerateConfig::default() };
    let window = config.context_len;
    match config.positions {
        Positions::Rotary => {
            for n_sinks in [4, 1] {
                let way = GenerateConfig { n_sinks: Some(n_sinks), ..alone };
                read(
                    &format!("{n_sinks} sinks, the last {}", window - n_sinks),
                    &transformer,
                    &passages,
                    &way,
                    window,
                )?;
            }
            read(&format!("the last {window} alone"), &transformer, &passages, &alone, window)?;
            read("all of the past", &with_context(&model, len)?, &passages, &alone, window)?;
        }
        _ => read("halves of the context", &transformer, &passages, &alone, window)?,
    }
    Ok(())
}

/// The same model with room for `context_len` tokens; rotary positions go on for ever.
fn with_context(model: &Path, context_len: usize) -> Result<Transformer, Failure> {
    let folder = tempfile::tempdir()?;
    for entry in std::fs::read_dir(model)? {
        let entry = entry?;
        // Its state of training goes with the context.
        if entry.file_name() != "training.safetensors" {
            std::fs::copy(entry.path(), folder.path().join(entry.file_name()))?;
        }
    }
    let path = folder.path().join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    config["wordgrove"]["transformer"]["context_len"] = context_len.into();
    if let Some(sums) = config["wordgrove"]["sha256"].as_object_mut() {
        sums.remove("training.safetensors");
    }
    std::fs::write(&path, config.to_string())?;
    Ok(Checkpoint::open(folder.path())?.transformer)
}

/// Reads all passages in one way; prints the perplexity of each stretch of `stretch_len` tokens, and how much memory there
/// is in use at the end of each in the last passage.
fn read(
    name: &str,
    transformer: &Transformer,
    passages: &[&[TokenId]],
    way: &GenerateConfig,
    stretch_len: usize,
) -> Result<(), Failure> {
    let n_stretches = (passages[0].len() - 1) / stretch_len;
    let mut nats = vec![0.0; n_stretches];
    let mut memory = vec![0.0; n_stretches];
    for passage in passages {
        score_stream(transformer, passage, way, &mut |place, log_p| {
            let stretch = (place - 1) / stretch_len;
            nats[stretch] -= log_p;
            memory[stretch] = memory_mib();
        })?;
    }
    let n_each = (passages.len() * stretch_len) as f64;
    let row = |numbers: Vec<String>| numbers.into_iter().map(|number| format!("{number:>7}")).collect::<String>();
    println!(
        "{name:>22}: perplexity   {}",
        row(nats.iter().map(|nats| format!("{:.1}", (nats / n_each).exp())).collect())
    );
    println!("{:>22}  memory in MiB{}", "", row(memory.iter().map(|mib: &f64| format!("{mib:.1}")).collect()));
    Ok(())
}

/// Memory of this process now, where the system tells.
fn memory_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}
