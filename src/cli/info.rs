//! `wordgrove info`: what a model, or a file of vectors, is.

use std::io::Write;

use clap::Args;
use serde_json::{Value, json};
use wordgrove::vectors::{Embeddings, Layout, Model, Source, Verified};

use super::failure::Outcome;
use super::model::ModelArguments;
use super::output::{escaped, grouped, out, print_json, size};

/// What `info` is told.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let opened = arguments.model.open()?;
    match opened.source {
        Source::Model => model(&Model::open(&arguments.model.model)?, arguments),
        Source::File(layout) => file(&opened.embeddings, layout, arguments),
    }
}

fn model(model: &Model, arguments: &Arguments) -> Outcome {
    let verified = model.verify()?;
    let embeddings = &model.embeddings;
    let (n_tokens, dim) = (embeddings.n_rows(), embeddings.dim());
    let n_nodes = model.nodes.as_ref().map(|nodes| nodes.n_rows());
    let n_outputs = model.outputs.as_ref().map(|outputs| outputs.n_rows());
    let checksums = match verified {
        Verified::Intact => "intact",
        Verified::Unknown => "none",
    };
    if arguments.json {
        print_json(&json!({
            "kind": "model", "tokens": n_tokens, "dim": dim, "nodes": n_nodes, "outputs": n_outputs,
            "checksums": checksums, "wordgrove": model.config,
        }))?;
        return Ok(());
    }
    let mut out = out();
    writeln!(
        out,
        "{}: a wordgrove model, checksums: {checksums}",
        escaped(&arguments.model.model.display().to_string())
    )?;
    writeln!(
        out,
        "  vectors       {} of {dim} numbers ({})",
        grouped(n_tokens as u64),
        size((n_tokens * dim * 4) as u64)
    )?;
    if let Some(n_nodes) = n_nodes {
        writeln!(out, "  tree nodes    {} of {dim} numbers", grouped(n_nodes as u64))?;
    }
    if let Some(n_outputs) = n_outputs {
        writeln!(out, "  outputs       {} of {dim} numbers", grouped(n_outputs as u64))?;
    }
    if let Some(config) = &model.config {
        writeln!(out, "  tokens        {}", config.tokens)?;
        if config.n_text_tokens > 0 {
            let (tokens, sentences) = (grouped(config.n_text_tokens), grouped(config.n_sentences));
            writeln!(out, "  text          {tokens} tokens in {sentences} sentences")?;
        }
        for (name, value) in &config.settings {
            let value = match value {
                Value::Null => continue,
                Value::String(text) => text.clone(),
                Value::Array(items) => {
                    items.iter().map(|item| item.as_str().unwrap_or("?")).collect::<Vec<_>>().join(" ")
                }
                other => other.to_string(),
            };
            writeln!(out, "  {name:<13} {}", escaped(&value))?;
        }
        for epoch in &config.epochs {
            let held_out = epoch.held_out_bits.map_or(String::new(), |bits| format!(", held-out {bits:.4}"));
            writeln!(out, "  epoch {:<7} {} {:.4} bits{held_out}", epoch.epoch, epoch.measure, epoch.train_bits)?;
        }
        writeln!(out, "  written by    wordgrove {}", config.wordgrove_version)?;
    }
    Ok(out.flush()?)
}

fn file(embeddings: &Embeddings, layout: Layout, arguments: &Arguments) -> Outcome {
    let format = match layout {
        Layout::TextWithHeader => "word2vec text",
        Layout::TextWithoutHeader => "GloVe text",
        Layout::Binary => "word2vec binary",
    };
    let (n_rows, dim) = (embeddings.n_rows(), embeddings.dim());
    if arguments.json {
        print_json(&json!({"kind": "file", "format": format, "vectors": n_rows, "dim": dim}))?;
        return Ok(());
    }
    let mut out = out();
    writeln!(
        out,
        "{}: {format}, {} vectors of {dim} numbers",
        escaped(&arguments.model.model.display().to_string()),
        grouped(n_rows as u64)
    )?;
    Ok(out.flush()?)
}
