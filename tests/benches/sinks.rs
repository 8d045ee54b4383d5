//! How a model bears a text longer than its context: perplexity and memory, with attention sinks and without.
//!
//! `cargo bench --bench sinks -- MODEL TEXT [CONTEXTS]` reads so many times the context length (10) of the text, token by
//! token, and prints the perplexity of each stretch of one context length. MODEL is a decoder with rotary positions; one
//! with other positions reads its text in halves of the context, which is printed alone.

use std::path::PathBuf;

use wordgrove::TokenId;
use wordgrove::transformer::{Checkpoint, GenerateConfig, Positions, line_end, score_stream};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [model, text, rest @ ..] = &arguments[..] else {
        return Err("usage: cargo bench --bench sinks -- MODEL TEXT [CONTEXTS]".into());
    };
    let n_contexts = rest.first().map_or(Ok(10), |number| number.parse::<usize>())?;
    let Checkpoint { transformer, tokenizer, .. } = Checkpoint::open(&PathBuf::from(model))?;
    let tokenizer = tokenizer.ok_or("the model has no tokenizer")?;
    let config = transformer.config();
    let context_len = config.context_len;
    let mut ids: Vec<TokenId> = Vec::new();
    for line in std::fs::read_to_string(text)?.lines() {
        ids.extend(tokenizer.encode(line.as_bytes()));
        ids.extend(line_end(config));
        if ids.len() > n_contexts * context_len {
            break;
        }
    }
    ids.truncate(n_contexts * context_len + 1);
    let Some(n_scored) = ids.len().checked_sub(1).filter(|&n| n > 0) else {
        return Err(format!("{text}: has no two tokens, and so nothing to be told from what comes before it").into());
    };
    println!("{model}: {n_scored} tokens of {text}, context {context_len}, positions {}", config.positions);
    if n_scored < n_contexts * context_len {
        println!("the text ends before {n_contexts} contexts; the last stretch is shorter");
    }
    let whole = GenerateConfig { n_sinks: Some(0), window: None, ..GenerateConfig::default() };
    let ways = match config.positions {
        Positions::Rotary => vec![
            ("4 sinks and a window", GenerateConfig { n_sinks: Some(4), ..whole }),
            ("1 sink and a window", GenerateConfig { n_sinks: Some(1), ..whole }),
            ("a window alone", whole),
        ],
        _ => vec![("halves of the context", whole)],
    };
    for (name, way) in ways {
        // Of each stretch: nats, and over how many tokens.
        let mut stretches = vec![(0.0, 0usize); n_scored.div_ceil(context_len)];
        let mut memory = Vec::new();
        score_stream(&transformer, &ids, &way, &mut |place, log_p| {
            let (nats, n) = &mut stretches[(place - 1) / context_len];
            (*nats, *n) = (*nats - log_p, *n + 1);
            if place % context_len == 0 || place == n_scored {
                memory.push(memory_mib());
            }
        })?;
        let perplexities: Vec<String> =
            stretches.iter().map(|&(nats, n)| format!("{:.1}", (nats / n as f64).exp())).collect();
        println!("{name:>24}: perplexity {}", perplexities.join(" "));
        let memory: Vec<String> = memory.iter().map(|mib: &f64| format!("{mib:.0}")).collect();
        println!("{:>24}  memory in MiB {}", "", memory.join(" "));
    }
    Ok(())
}

/// Memory of this process now, where the system tells.
fn memory_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}
