//! The steps of one layer: attention, where there is a source attention to it, feed-forward; each with its sum and its norm.

use crate::transformer::config::{Norm, Positions};
use crate::transformer::fused::Activation;
use crate::transformer::look::labelled_matrix::LabelledMatrix;
use crate::transformer::look::trace::{Learned, Story};

/// Tells layer `layer` of `stack`. `tokens` are the labels of its positions, `source` those that it looks at.
pub(super) fn tell_layer(
    story: &mut Story<'_>,
    stack: &str,
    layer: usize,
    tokens: &[String],
    source: Option<&[String]>,
) {
    let name = format!("{stack}.{layer}");
    let title = |part: &str| format!("{stack}, layer {}: {part}", layer + 1);
    let (itself, kind) = match (stack, source) {
        ("encoder", _) => ("attention", Kind::Open),
        (_, None) => ("masked attention", Kind::Masked),
        (_, Some(_)) => ("masked attention to itself", Kind::Masked),
    };
    story.begin(title(itself));
    tell_part(story, &name, "attention", tokens, |story, x| {
        tell_attention(story, &format!("{name}.attention"), x, [tokens, tokens], kind);
        "A"
    });
    if let Some(source) = source {
        story.begin(title("attention to the source"));
        tell_part(story, &name, "cross", tokens, |story, x| {
            tell_attention(story, &format!("{name}.cross"), x, [tokens, source], Kind::Cross);
            "A"
        });
    }
    story.begin(title("feed-forward"));
    tell_part(story, &name, "feed_forward", tokens, |story, x| {
        tell_feed_forward(story, &format!("{name}.feed_forward"), x, tokens);
        "F"
    });
}

/// What attention looks at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// All positions of the same text.
    Open,
    /// Those that are no later.
    Masked,
    /// Those of the source.
    Cross,
}

/// A part with its residual sum and its norm. `tell` is given what the part reads is called, and gives what comes out is.
fn tell_part(
    story: &mut Story<'_>,
    layer: &str,
    part: &str,
    tokens: &[String],
    tell: impl FnOnce(&mut Story<'_>, &str) -> &'static str,
) {
    let norm = format!("{layer}.{part}_norm");
    let sum = format!("{layer}.{part}_sum");
    let tell_sum = |story: &mut Story<'_>, formula: String| {
        story.tell_seen(sum.clone(), "add", formula, tokens, Vec::new());
        story.x = story.seen.expect(&sum).to_vec();
    };
    match story.transformer.config().norm {
        Norm::Pre => {
            let x = story.x.clone();
            story.tell_norm(norm.clone(), &norm, "N = norm(X)", tokens, &x);
            let added = tell(story, "N");
            tell_sum(story, format!("X = X + {added}: what came in stays in"));
        }
        Norm::Post => {
            let added = tell(story, "X");
            tell_sum(story, format!("X + {added}: what came in stays in"));
            let x = std::mem::take(&mut story.x);
            story.tell_norm(norm.clone(), &norm, &format!("X = norm(X + {added})"), tokens, &x);
        }
    }
}

/// From Q, K and V to what the heads bring. `x` is what the part's input is called.
fn tell_attention(story: &mut Story<'_>, at: &str, x: &str, [queries, keys]: [&[String]; 2], kind: Kind) {
    let config = story.transformer.config();
    let (width, dim) = (config.d_model, config.head_dim());
    let name = |part: &str| format!("{at}.{part}");
    let read = if kind == Kind::Cross { "Y" } else { x };
    let symbols = [["W_Q", "b_Q"], ["W_K", "b_K"], ["W_V", "b_V"]];
    let is_turned = config.positions == Positions::Rotary && kind != Kind::Cross;
    for (number, (part, title)) in [("query", "queries"), ("key", "keys"), ("value", "values")].into_iter().enumerate()
    {
        let (from, rows) = if part == "query" { (x, queries) } else { (read, keys) };
        let [weight, bias] = symbols[number];
        let letter = &weight[2..];
        let note = if kind == Kind::Cross && part != "query" { "; Y is what the encoder left" } else { "" };
        let formula = format!("{letter} = {from} · {weight}ᵀ + {bias}{note}");
        // All three lie in one matrix, or keys and values do.
        let (parameter, block) = match (kind, part) {
            (Kind::Cross, "query") => ("query", 0),
            (Kind::Cross, _) => ("key_value", number - 1),
            _ => ("qkv", number),
        };
        let block = block * width..(block + 1) * width;
        let learned: Vec<Learned> = [(weight, "weight"), (bias, "bias")]
            .map(|(symbol, ending)| story.part(symbol, &name(&format!("{parameter}.{ending}")), block.clone()))
            .to_vec();
        let shown = if is_turned && part != "value" { name(&format!("{part}_unturned")) } else { name(part) };
        let matrices = by_head(story, &shown, rows, None);
        story.tell(shown, title, formula, matrices, learned);
    }
    if is_turned {
        for (part, letter) in [("query", "Q"), ("key", "K")] {
            let formula = format!(
                "numbers i and {}+i of {letter} turned together by p · 10000^(−2i/{dim}), p = 0, 1, 2, …",
                dim / 2
            );
            let matrices = by_head(story, &name(part), queries, None);
            story.tell(name(part), &format!("{letter} with positions"), formula, matrices, Vec::new());
        }
    }
    let matrices = by_head(story, &name("scores"), queries, Some(keys));
    story.tell(name("scores"), "scores", "S = Q · Kᵀ, in each head", matrices, Vec::new());
    let matrices = by_head(story, &name("scaled"), queries, Some(keys));
    story.tell(name("scaled"), "scaled", format!("S / √d_k = S / √{dim}"), matrices, Vec::new());
    if kind == Kind::Masked {
        let matrices = by_head(story, &name("masked"), queries, Some(keys));
        story.tell(name("masked"), "mask", "−∞ for what comes later", matrices, Vec::new());
    }
    let matrices = by_head(story, &name("probabilities"), queries, Some(keys));
    let formula = "P = softmax: e^s / Σ e^s, in each row";
    story.tell(name("probabilities"), "probabilities", formula, matrices, Vec::new());
    let joined = story.seen.expect(&name("heads")).to_vec();
    let heads = (0..config.n_heads).map(|head| {
        let part = joined.chunks_exact(width).flat_map(|row| row[head * dim..(head + 1) * dim].iter().copied());
        LabelledMatrix::new(format!("head {}", head + 1), queries, part.collect())
    });
    let heads = heads.collect();
    story.tell(name("answers"), "what each head brings", "P · V, in each head", heads, Vec::new());
    story.tell_seen(name("heads"), "heads joined", "Z = the heads side by side", queries, Vec::new());
    let learned = story.linear(["W_O", "b_O"], &name("output"));
    story.tell_seen(name("output"), "linear", "A = Z · W_Oᵀ + b_O", queries, learned);
}

fn tell_feed_forward(story: &mut Story<'_>, at: &str, x: &str, tokens: &[String]) {
    let name = |part: &str| format!("{at}.{part}");
    let learned = story.linear(["W_1", "b_1"], &name("up"));
    story.tell_seen(name("up"), "wider", format!("U = {x} · W_1ᵀ + b_1"), tokens, learned);
    let formula = match story.transformer.config().activation {
        Activation::Relu => "relu(U) = the larger of U and 0",
        Activation::Gelu => "gelu(U) = U · Φ(U), Φ(u) = (1 + erf(u / √2)) / 2",
        Activation::GeluTanh => "gelu(U) = U / 2 · (1 + tanh(√(2/π) · (U + 0.044715 · U³)))",
    };
    story.tell_seen(name("activation"), "bent", format!("G = {formula}"), tokens, Vec::new());
    let learned = story.linear(["W_2", "b_2"], &name("down"));
    story.tell_seen(name("down"), "narrow again", "F = G · W_2ᵀ + b_2", tokens, learned);
}

/// A matrix for each head of what was seen, `[H, T, ..]`; `columns` are tokens, where they are not numbers.
fn by_head(story: &Story<'_>, name: &str, rows: &[String], columns: Option<&[String]>) -> Vec<LabelledMatrix> {
    let numbers = story.seen.expect(name);
    let n_heads = story.transformer.config().n_heads;
    let heads = numbers.chunks_exact(numbers.len() / n_heads).enumerate().map(|(head, numbers)| {
        let title = format!("head {}", head + 1);
        match columns {
            Some(columns) => LabelledMatrix::labelled(title, rows, columns.to_vec(), numbers.to_vec()),
            None => LabelledMatrix::new(title, rows, numbers.to_vec()),
        }
    });
    heads.collect()
}
