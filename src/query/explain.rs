//! A word from the inside: its tokens, their way through the Huffman tree, and what makes them probable.
//!
//! In: a model that was trained here, and a word. Out: for each token of the word its path, the probability of each
//! branch that it takes, and the contexts that it is most probable in.
//!
//! A model predicts a token t from a hidden vector h: P(t | h) is the product, over the inner nodes n on the path to t,
//! of σ(h·v_n) where the branch is 0 and of 1 − σ(h·v_n) where it is 1. Here h is the vector of one context token: what
//! skip-gram is trained on, and CBOW with a window that holds this token alone.

use serde::Serialize;

use crate::error::{Error, Result};
use crate::huffman::{HuffmanTree, TreePath};
use crate::math;
use crate::query::lookup::lookup;
use crate::tokens::TokenId;
use crate::vectors::{Model, Rows};

/// The answer to `explain`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The word that was asked.
    pub word: String,
    /// Its tokens, in order; one when it is a row as a whole.
    pub tokens: Vec<ExplainedToken>,
}

/// One token of a word.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExplainedToken {
    /// What the token is called.
    pub name: String,
    /// Its spelling in `tokenizer.json`, where that is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Its id: row of the vectors, leaf of the tree.
    pub id: usize,
    /// How often it occurred in the training text.
    pub count: u64,
    /// The context in which the probabilities of `path` hold: the one that was asked for, else the most probable one.
    pub given: String,
    /// −log₂ P(token | given).
    pub bits: f64,
    /// The way from the root.
    pub path: Vec<Branch>,
    /// The contexts in which the token is most probable, the best first.
    pub contexts: Vec<Context>,
}

/// One inner node on the way to a token.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Branch {
    /// The inner node: row of `nodes`; 0 is the root.
    pub node: u32,
    /// The branch that is taken, 0 or 1.
    pub bit: u8,
    /// The probability of taking it, 0 to 1.
    pub probability: f64,
}

/// A token as the only context of another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Context {
    /// What the context is called.
    pub word: String,
    /// P(token | context).
    pub probability: f64,
    /// −log₂ of it.
    pub bits: f64,
}

/// Shows the tokens of a word, their paths, and the `k` contexts that each is most probable in; `given` names the
/// context for the probabilities along the path.
///
/// # Errors
/// [`Error::Format`] when the model has no tree: it was not trained here, or with negative sampling. [`Error::UnknownWord`] as [`lookup`];
/// [`Error::Config`] when `given` is several tokens.
pub fn explain(model: &Model, word: &str, given: Option<&str>, k: usize) -> Result<Explanation> {
    let embeddings = &model.embeddings;
    let nodes = model.tree_nodes()?;
    let Some(counts) = embeddings.counts() else {
        return Err(Error::format(model.path(), "has no counts, so no tree: only trained models can be explained"));
    };
    let tree = HuffmanTree::from_counts(counts)?;
    let found = lookup(embeddings, word)?;
    let given = match given {
        None => None,
        Some(given) => match lookup(embeddings, given)?.rows[..] {
            [row] => Some(row),
            _ => return Err(Error::config("given", format!("'{given}' is several tokens, expected one"))),
        },
    };
    let explain_token = |&row: &usize| {
        let path = tree.path(TokenId(row as u32));
        let bits = bits_in_each_context(model, nodes, path);
        let mut best: Vec<usize> = (0..bits.len()).filter(|&context| embeddings.is_answer(context)).collect();
        best.sort_by(|&a, &b| bits[a].total_cmp(&bits[b]));
        let context = given.or(best.first().copied()).unwrap_or(row);
        best.truncate(k);
        ExplainedToken {
            name: embeddings.word(row).into_owned(),
            token: embeddings.spelling(row),
            id: row,
            count: counts[row],
            given: embeddings.word(context).into_owned(),
            bits: bits[context],
            path: branches(nodes, path, embeddings.row(context)),
            contexts: best
                .into_iter()
                .map(|context| Context {
                    word: embeddings.word(context).into_owned(),
                    probability: (-bits[context]).exp2(),
                    bits: bits[context],
                })
                .collect(),
        }
    };
    Ok(Explanation { word: found.word, tokens: found.rows.iter().map(explain_token).collect() })
}

/// −log₂ P(token | context) for every context, `[n_tokens]`: the token is the one at the end of `path`.
fn bits_in_each_context(model: &Model, nodes: &Rows, path: TreePath<'_>) -> Vec<f64> {
    let embeddings = &model.embeddings;
    let mut bits = vec![0.0; embeddings.n_rows()];
    let mut logits = vec![0.0; embeddings.n_rows()];
    for (&node, &bit) in path.nodes.iter().zip(path.bits) {
        math::row_dots(embeddings.as_slice(), nodes.row(node as usize), &mut logits);
        for (bits, &logit) in bits.iter_mut().zip(&logits) {
            *bits -= branch_probability(logit, bit).log2();
        }
    }
    bits
}

fn branches(nodes: &Rows, path: TreePath<'_>, hidden: &[f32]) -> Vec<Branch> {
    let branch = |(&node, &bit): (&u32, &u8)| {
        let probability = branch_probability(math::dot(hidden, nodes.row(node as usize)), bit);
        Branch { node, bit, probability }
    };
    path.nodes.iter().zip(path.bits).map(branch).collect()
}

/// σ(logit) for branch 0, 1 − σ(logit) = σ(−logit) for branch 1.
fn branch_probability(logit: f32, bit: u8) -> f64 {
    let z = if bit == 0 { f64::from(logit) } else { -f64::from(logit) };
    // Even at the largest f32 this is positive wherever e^−z fits an f64; beyond, the loss is infinite as it should be.
    1.0 / (1.0 + (-z).exp())
}
