//! The corpora that we ship are what their generator writes, and hold what they promise.

use std::path::Path;

#[path = "../corpora/files.rs"]
mod files;
#[path = "../corpora/grammar.rs"]
mod grammar;

fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpora").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_generator_writes_the_shipped_files_byte_for_byte() {
    for (name, text) in files::files() {
        assert!(text == shipped(name), "{name} differs: cargo run --example generate-corpus");
    }
}

#[test]
fn the_corpora_are_small() {
    let total: usize = files::files().iter().map(|(_, text)| text.len()).sum();
    assert!(total <= 2_000_000, "{total} bytes");
}

#[test]
fn english_lines_read_like_english() {
    for line in shipped("english.txt").lines() {
        let first = line.trim_start_matches('"').chars().next();
        assert!(first.is_some_and(char::is_uppercase), "{line}");
        assert!(line.ends_with(['.', '!', '?', '"']), "{line}");
        assert!(
            !line.contains(['{', '}', '[', ']', '|', ';']) || line.contains("; "),
            "a sign of the grammar is left: {line}"
        );
        assert!(!line.contains("  ") && !line.contains(" ,") && !line.contains(".."), "{line}");
        let words: Vec<&str> = line.split(' ').collect();
        for pair in words.windows(2) {
            let before_vowel = pair[1].starts_with(['a', 'e', 'i', 'o']);
            let article_fits = match pair[0].trim_start_matches('"') {
                "a" | "A" => !before_vowel || pair[1].starts_with("euro") || pair[1].starts_with("one"),
                "an" | "An" => {
                    before_vowel || pair[1].starts_with(['u', 'h']) || pair[1].starts_with(char::is_uppercase)
                }
                _ => true,
            };
            assert!(article_fits, "{} {}: {line}", pair[0], pair[1]);
        }
    }
}

#[test]
fn every_question_is_four_words_that_the_text_has_often() {
    let text = shipped("english.txt");
    let mut counts = std::collections::HashMap::new();
    for word in text.split(|char: char| !char.is_alphabetic()) {
        *counts.entry(word).or_insert(0) += 1;
    }
    let analogies = shipped("analogies.txt");
    let (mut n_sections, mut n_questions) = (0, 0);
    for line in analogies.lines() {
        if line.starts_with(": ") {
            n_sections += 1;
            continue;
        }
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words.len(), 4, "{line}");
        assert!(words.iter().all(|word| counts.get(word).is_some_and(|&count| count >= 40)), "{line}");
        assert!((1..4).all(|i| !words[..i].contains(&words[i])), "{line}");
        n_questions += 1;
    }
    assert!(n_sections >= 12 && n_questions >= 2000, "{n_sections} sections, {n_questions} questions");
    assert!(analogies.contains("\nman woman father mother\n") || analogies.contains("\nfather mother man woman\n"));
}

#[test]
fn chinese_has_no_spaces() {
    for line in shipped("chinese.txt").lines() {
        assert!(line.ends_with('。') && !line.contains(|char: char| char.is_ascii() || char.is_whitespace()), "{line}");
    }
}
