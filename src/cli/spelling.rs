//! Flags as word2vec.c and fastText spell them: `-size 100` for `--size 100`.

use std::ffi::OsString;

/// The flags of those programs that are names of more than one letter.
const NAMES: [&str; 29] = [
    "train",
    "output",
    "size",
    "window",
    "sample",
    "hs",
    "negative",
    "threads",
    "iter",
    "min-count",
    "alpha",
    "cbow",
    "input",
    "dim",
    "ws",
    "epoch",
    "neg",
    "loss",
    "lr",
    "minCount",
    "thread",
    "seed",
    "vector-size",
    "workers",
    "sg",
    "epochs",
    "min-lr",
    "discard",
    "quiet",
];

/// Gives these flags the second dash that our parser wants. Nothing else is touched.
pub fn with_two_dashes(arguments: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    arguments.map(|argument| {
        let is_known = argument.to_str().and_then(|text| text.strip_prefix('-')).is_some_and(|rest| {
            let name = rest.split_once('=').map_or(rest, |(name, _)| name);
            NAMES.contains(&name)
        });
        if is_known { OsString::from(format!("-{}", argument.display())) } else { argument }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_names_with_one_dash_change() {
        let given = ["-size", "-size=5", "--size", "-k", "-", "woman", "-woman", "-o"];
        let seen: Vec<OsString> = with_two_dashes(given.iter().map(OsString::from)).collect();
        assert_eq!(seen, ["--size", "--size=5", "--size", "-k", "-", "woman", "-woman", "-o"]);
    }
}
