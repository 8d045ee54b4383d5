//! The command line: one file per verb, and the table of them.
//!
//! Everything here uses the library's public names, as a stranger would. Answers go to standard output, everything
//! else to standard error. Exit codes: 0 done, 1 failure, 2 wrong usage, 3 bad input data, 130 interrupted.

mod analogy;
mod convert;
mod demo;
mod evaluate;
mod explain;
mod export;
mod failure;
mod info;
mod inputs;
mod memory;
mod model;
mod nearest;
mod number;
mod odd_one_out;
mod output;
mod query;
mod resume;
mod similarity;
mod spelling;
mod terminal;
mod tokenizer;
mod train;
#[cfg(feature = "transformer")]
mod transformer;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use failure::Outcome;

/// Grows word vectors from plain text on a Huffman tree, and answers questions with them.
#[derive(Parser)]
// No colours: the parser's own wish to colour cannot be trusted to see a plain terminal (with CI set it sees none).
#[command(name = "wordgrove", color = clap::ColorChoice::Never, version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Begin with: wordgrove demo\nThen: wordgrove train mytext.txt -o models/mine\n      \
    wordgrove analogy models/mine father - man + woman")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Show the main job on the corpus that is shipped: learn tokens, train, ask, save
    Demo(demo::Arguments),
    /// Train vectors on text files
    Train(Box<train::Arguments>),
    /// Learn, use and look into a tokenizer
    Tokenizer(tokenizer::Arguments),
    /// Train a small transformer, which can start from the vectors; let it write, translate, embed
    #[cfg(feature = "transformer")]
    Transformer(transformer::Arguments),
    /// The words nearest to a word
    #[command(visible_alias = "neighbors", alias = "nn")]
    Nearest(nearest::Arguments),
    /// Arithmetic with words: father - man + woman
    #[command(visible_alias = "calc")]
    Analogy(analogy::Arguments),
    /// The cosine of two words
    Similarity(similarity::Arguments),
    /// The word that does not belong
    OddOneOut(odd_one_out::Arguments),
    /// Accuracy on analogy questions, correlation with people's judgement of word pairs
    Evaluate(evaluate::Arguments),
    /// Turn a model or a file of vectors into another format
    Convert(convert::Arguments),
    /// Turn a model into what other people's programs load: a static embedding, a transformer to train
    Export(export::Arguments),
    /// What a model, or a file of vectors, is
    Info(info::Arguments),
    /// A word's pieces, its path in the tree with the probability at each node, its most probable contexts
    Explain(explain::Arguments),
}

/// Runs the program with these arguments, its own name first.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let parsed = Arguments::command().try_get_matches_from(spelling::with_two_dashes(arguments)).and_then(|matches| {
        let mut arguments = Arguments::from_arg_matches(&matches)?;
        if let Verb::Train(train) = &mut arguments.verb {
            train.given = resume::Given::of(&matches);
        }
        Ok(arguments)
    });
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) => {
            // A reader that left is no reason to complain about a help text.
            let _ = error.print();
            let is_help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return ExitCode::from(if is_help { 0 } else { 2 });
        }
    };
    match outcome(arguments.verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn outcome(verb: Verb) -> Outcome {
    wordgrove::math::cpu()?;
    terminal::survive_file_size_limit();
    match verb {
        Verb::Demo(arguments) => demo::run(&arguments),
        Verb::Train(arguments) => train::run(&arguments),
        Verb::Tokenizer(arguments) => tokenizer::run(&arguments),
        #[cfg(feature = "transformer")]
        Verb::Transformer(arguments) => transformer::run(&arguments),
        Verb::Nearest(arguments) => nearest::run(&arguments),
        Verb::Analogy(arguments) => analogy::run(&arguments),
        Verb::Similarity(arguments) => similarity::run(&arguments),
        Verb::OddOneOut(arguments) => odd_one_out::run(&arguments),
        Verb::Evaluate(arguments) => evaluate::run(&arguments),
        Verb::Convert(arguments) => convert::run(&arguments),
        Verb::Export(arguments) => export::run(&arguments),
        Verb::Info(arguments) => info::run(&arguments),
        Verb::Explain(arguments) => explain::run(&arguments),
    }
}
