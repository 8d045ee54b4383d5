//! `wordgrove analogy`: arithmetic with words.

use std::io::Write;

use clap::{Args, ValueEnum};
use wordgrove::query::{self, Expression, analogy};

use super::failure::Outcome;
use super::model::ModelArguments;
use super::output::{escaped, out, print_json};
use super::query::{AnswerArguments, each_question, print_answers, print_composed};

/// What `analogy` is told.
#[derive(Args)]
#[command(after_help = "Examples:\n  wordgrove analogy MODEL father - man + woman\n  \
    wordgrove analogy MODEL man : woman :: father : ?")]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Words with + and - between them, or `a : b :: c : ?`; without them, a question a line of standard input
    #[arg(value_name = "EXPRESSION")]
    expression: Vec<String>,
    /// How candidates are scored: by the cosine to the sum (3CosAdd), or by a product of cosines (3CosMul)
    #[arg(long, value_name = "METHOD", default_value = "add")]
    method: Method,
    #[command(flatten)]
    answers: AnswerArguments,
}

/// How candidates are scored.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Method {
    /// 3CosAdd (Mikolov et al. 2013)
    #[value(alias = "3cosadd")]
    Add,
    /// 3CosMul (Levy & Goldberg 2014)
    #[value(alias = "3cosmul")]
    Mul,
}

impl From<Method> for query::Method {
    fn from(method: Method) -> query::Method {
        match method {
            Method::Add => query::Method::Add,
            Method::Mul => query::Method::Mul,
        }
    }
}

pub fn run(arguments: &Arguments) -> Outcome {
    let candidates = arguments.answers.candidates();
    if !arguments.expression.is_empty() {
        // A question that is none is found before a large model is opened.
        Expression::parse(&arguments.expression)?;
    }
    let embeddings = arguments.model.open()?.embeddings;
    each_question(&arguments.expression, &mut |words| {
        let expression = Expression::parse(words)?;
        let found = analogy(&embeddings, &expression, arguments.method.into(), candidates)?;
        if arguments.answers.json {
            return Ok(print_json(&found)?);
        }
        let mut out = out();
        writeln!(out, "{}", escaped(&found.query))?;
        for word in &found.composed {
            print_composed(&mut out, &word.word, &word.pieces)?;
        }
        print_answers(&mut out, &found.results, &found.excluded)?;
        Ok(out.flush()?)
    })
}
